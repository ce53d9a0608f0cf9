// Retries: what is worth sending again, and when. Each request takes a turn at
// the limiter and is reported once, whatever becomes of it.

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
	// This bounds how long an answer can make us wait.
	maxWait = time.Minute
)

// retry gets one page. It sends the request again after failures that pass, as
// long as attempts and the context's time allow; a wait that would outlast the
// context is not begun. Its error is an *Error.
func (c *Client) retry(ctx context.Context, r request) (answer, error) {
	for n := 1; ; n++ {
		a, failure := c.attempt(ctx, r)
		if failure == nil {
			a.attempts = n
			return a, nil
		}
		// The observers have the error too: it is theirs as it was.
		last := *failure
		last.Attempts += n - 1
		if last.Attempts < n || n >= c.options.MaxAttempts || ctx.Err() != nil || !retryable(&last) {
			return answer{}, &last
		}
		wait := retryWait(n, a.attempt, c.options.Now(), rand.Float64())
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return answer{}, &last
		}
		if err := sleep(ctx, wait); err != nil {
			return answer{}, &Error{Reason: ReasonTimeout, Path: last.Path, Attempts: n, Err: err}
		}
	}
}

// attempt takes a turn at the limiter and sends the request once. The error's
// Attempts is 0 if it did not come to that.
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

// retryWait returns how long to wait after the nth attempt, which failed: the
// time that the answer asks for, if it does, or else a random part (jitter, 0 to
// 1) of a delay that doubles.
func retryWait(n int, a Attempt, now time.Time, jitter float64) time.Duration {
	asked := a.RetryAfter
	if a.Status == http.StatusTooManyRequests && !a.RateLimit.Reset.IsZero() {
		if !a.Date.IsZero() {
			now = a.Date
		}
		asked = max(asked, a.RateLimit.Reset.Sub(now))
	}
	if asked > 0 {
		// Whoever else was refused waits for the same moment.
		return min(min(asked, maxWait)+time.Duration(jitter*float64(backoffBase)), maxWait)
	}
	delay := backoffCap
	if n < 6 {
		delay = min(backoffBase<<(n-1), backoffCap)
	}
	return time.Duration(jitter * float64(delay))
}

// sleep waits, or returns the context's error.
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
