// This file decides which requests are retried, and when. Each attempt waits for the
// limiter and is reported exactly once.

package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	backoffBase = 500 * time.Millisecond
	backoffCap  = 10 * time.Second
	maxWait     = time.Minute // Also if an answer requests a longer wait.
)

// retry requests one page. It retries after transient failures as long as MaxAttempts
// and the context's deadline allow. Its error is an *Error.
func (c *Client) retry(ctx context.Context, r request) (answer, error) {
	for n := 1; ; n++ {
		a, failure := c.attempt(ctx, r)
		if failure == nil {
			a.attempts = n
			return a, nil
		}
		last := *failure // A copy: observers have the original.
		last.Attempts += n - 1
		if last.Attempts < n || n >= c.options.MaxAttempts || ctx.Err() != nil || !retryable(&last) {
			return answer{}, &last
		}
		wait := retryDelay(n, a.attempt, c.options.Now(), rand.Float64())
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return answer{}, &last
		}
		if err := sleep(ctx, wait); err != nil {
			return answer{}, &Error{Reason: ReasonTimeout, Path: last.Path, Attempts: n, Err: err}
		}
	}
}

// attempt waits for the limiter and sends the request once. The error's Attempts
// is 0 if it was not sent.
func (c *Client) attempt(ctx context.Context, r request) (answer, *Error) {
	refuse := func(reason Reason, err error) (answer, *Error) {
		return answer{}, &Error{Reason: reason, Path: c.url.EscapedPath(), Err: err}
	}
	if err := ctx.Err(); err != nil {
		return refuse(ReasonTimeout, err)
	}
	key, err := c.options.Key()
	if err == nil {
		err = checkSendable(key)
	}
	if err != nil {
		return refuse(ReasonAuth, fmt.Errorf("read the key: %w", err))
	}
	if c.options.Limiter != nil {
		err := c.options.Limiter.Wait(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return refuse(ReasonTimeout, ctx.Err())
		case err != nil:
			return refuse(ReasonRateLimited, fmt.Errorf("wait for the rate limit: %w", err))
		}
	}
	r.key = key
	a, failure := c.send(ctx, r)
	if c.options.Limiter != nil {
		c.options.Limiter.Done(a.attempt)
	}
	if c.options.Observe != nil {
		c.options.Observe(a.attempt)
	}
	return a, failure
}

// retryable reports whether the same request may succeed a little later.
func retryable(err *Error) bool {
	switch err.Reason {
	case ReasonNetwork, ReasonTimeout, ReasonRateLimited, ReasonServer:
		return !errors.Is(err, context.Canceled)
	case ReasonAuth, ReasonInvalidResponse, ReasonBadRequest:
	}
	return false
}

// retryDelay returns how long to wait after the nth attempt has failed: the time that
// the answer requests, otherwise a random fraction (jitter, 0 to 1) of an exponential
// delay.
func retryDelay(n int, a Attempt, now time.Time, jitter float64) time.Duration {
	asked := a.RetryAfter
	if a.Status == http.StatusTooManyRequests && !a.RateLimit.Reset.IsZero() {
		if !a.Date.IsZero() {
			now = a.Date
		}
		asked = max(asked, a.RateLimit.Reset.Sub(now))
	}
	if asked > 0 {
		// The jitter is needed because other refused clients wait for the same moment.
		return min(min(asked, maxWait)+time.Duration(jitter*float64(backoffBase)), maxWait)
	}
	delay := backoffCap
	if n < 6 {
		delay = min(backoffBase<<(n-1), backoffCap)
	}
	return time.Duration(jitter * float64(delay))
}

// sleep returns nil after d, or the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
