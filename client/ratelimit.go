// What answers say about the environment's rate limit, and who decides when the
// next request may go. The client itself holds nothing back.

package client

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// RateLimit is what an answer's headers say of the environment's rate limit. One
// bucket is shared by all keys of an environment and all its API traffic,
// production's own triggers included. A header that is absent or makes no sense
// leaves its field unknown and the others as they are: gateways rewrite single
// headers. The zero value says nothing.
type RateLimit struct {
	// Limit is the size of the bucket, in requests; 0 if unknown.
	Limit int
	// Remaining is what is left of it; -1 if unknown.
	Remaining int
	// Reset is when the bucket is next refilled by a step, by the service's
	// clock: compare it with Page.Date or Attempt.Date. Zero if unknown.
	Reset time.Time
}

// Known reports whether both the size of the bucket and what is left of it are.
func (r RateLimit) Known() bool { return r.Limit > 0 && r.Remaining >= 0 }

// Limiter decides when a request may go. It must be safe for concurrent use if
// the client is used concurrently.
type Limiter interface {
	// Wait returns nil once a request may go, or an error if none may before
	// ctx ends. It should return as soon as ctx is done.
	Wait(ctx context.Context) error
	// Done is called exactly once for every Wait that returned nil, with what
	// became of the request.
	Done(a Attempt)
}

// Attempt tells what became of one request. A retried call is several attempts.
type Attempt struct {
	// Status is the HTTP status, 0 if none came.
	Status int
	// Err is nil if a page came, whole and readable; else it wraps an *Error.
	Err error
	// Duration is from the sending to the last byte that was read.
	Duration time.Duration
	// RateLimit is from the answer's headers.
	RateLimit RateLimit
	// Date is the answer's Date header, which has whole seconds. Zero if none.
	Date time.Time
	// RetryAfter is how long a Retry-After header asks to wait. Zero if none. The
	// service sends none; a proxy in front may.
	RetryAfter time.Duration
}

// furthestReset is how far a reset may be from the answer's time. One further
// away is in another unit, or is no time of day at all.
const furthestReset = time.Hour

// readRateLimit reads each header by itself. Date is the answer's own, and now
// stands in where it has none.
func readRateLimit(h http.Header, date, now time.Time) RateLimit {
	r := RateLimit{Remaining: -1}
	if limit, err := strconv.Atoi(h.Get("X-Ratelimit-Limit")); err == nil && limit > 0 {
		r.Limit = limit
	}
	if remaining, err := strconv.Atoi(h.Get("X-Ratelimit-Remaining")); err == nil {
		r.Remaining = max(remaining, 0)
	}
	if r.Limit > 0 && r.Remaining > r.Limit {
		r.Limit, r.Remaining = 0, -1 // One of them is wrong, and nothing tells which.
	}
	if !date.IsZero() {
		now = date
	}
	if ms, err := strconv.ParseInt(h.Get("X-Ratelimit-Reset"), 10, 64); err == nil {
		if reset := time.UnixMilli(ms).UTC(); reset.Sub(now).Abs() <= furthestReset {
			r.Reset = reset
		}
	}
	if r.Limit == 0 && r.Remaining <= 0 && r.Reset.IsZero() {
		// The service sends all three as 0 when its limiter is bypassed.
		return RateLimit{}
	}
	return r
}

func readDate(h http.Header) time.Time {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return date.UTC()
}

// readRetryAfter takes both forms of the header, seconds and an HTTP date. The
// date is compared with the answer's own, or with now if it has none.
func readRetryAfter(h http.Header, date, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return time.Duration(max(seconds, 0)) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if !date.IsZero() {
		now = date
	}
	return max(at.Sub(now), 0)
}
