// This file decides which requests are retried, and when. Each attempt waits for the
// limiter and is reported exactly once.

package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
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
		select {
		case <-ctx.Done():
			return answer{}, &Error{Reason: ReasonTimeout, Path: last.Path, Attempts: n, Err: ctx.Err()}
		case <-time.After(wait):
		}
	}
}

// attempt waits for the limiter and sends the request once. The error's Attempts
// is 0 if it was not sent.
func (c *Client) attempt(ctx context.Context, r request) (answer, *Error) {
	if err := ctx.Err(); err != nil {
		return answer{}, c.fail(ReasonTimeout, err)
	}
	key, err := c.options.Key()
	if err == nil {
		err = checkSendable(key)
	}
	if err != nil {
		return answer{}, c.fail(ReasonAuth, fmt.Errorf("read the key: %w", err))
	}
	if c.options.Limiter != nil {
		err := c.options.Limiter.Wait(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return answer{}, c.fail(ReasonTimeout, ctx.Err())
		case err != nil:
			return answer{}, c.fail(ReasonRateLimited, fmt.Errorf("wait for the rate limit: %w", err))
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
	transient := []Reason{ReasonNetwork, ReasonTimeout, ReasonRateLimited, ReasonServer}
	return slices.Contains(transient, err.Reason) && !errors.Is(err, context.Canceled)
}

// retryDelay returns how long to wait after the nth attempt has failed: the time that
// the answer requests, otherwise a random fraction (jitter, 0 to 1) of an exponential
// delay.
func retryDelay(n int, a Attempt, now time.Time, jitter float64) time.Duration {
	asked := a.RetryAfter
	if a.Status == http.StatusTooManyRequests && !a.RateLimit.Reset.IsZero() {
		asked = max(asked, a.RateLimit.Reset.Sub(cmp.Or(a.Date, now)))
	}
	if asked > 0 {
		// The jitter is needed because other refused clients wait for the same moment.
		return min(min(asked, maxWait)+time.Duration(jitter*float64(backoffBase)), maxWait)
	}
	doublings := min(n-1, 5) // More would exceed the cap, too, and overflow.
	return time.Duration(jitter * float64(min(backoffBase<<doublings, backoffCap)))
}
