// The rate limit that answers report, and the interface of a limiter. The client
// itself does not limit requests.

package client

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// RateLimit is the state of the environment's rate limit as an answer's headers
// report it. All keys and all API traffic of an environment share one bucket,
// production's own triggers included. A header that is absent or implausible leaves
// only its own field unknown, since gateways rewrite single headers. In the zero
// value nothing is known.
type RateLimit struct {
	// Limit is the size of the bucket, in requests; 0 if unknown.
	Limit int
	// Remaining is how many of them are left; -1 if unknown.
	Remaining int
	// Reset is the time of the next refill by the service's clock: compare it with
	// Page.Date or Attempt.Date. Zero if unknown.
	Reset time.Time
}

// Known reports whether both Limit and Remaining are known.
func (r RateLimit) Known() bool { return r.Limit > 0 && r.Remaining >= 0 }

// Limiter decides when a request may be sent. It must be safe for concurrent use if
// the client is used concurrently.
type Limiter interface {
	// Wait returns nil once a request may be sent, or an error if none may be sent
	// before ctx ends. It should return as soon as ctx is done.
	Wait(ctx context.Context) error
	// Done is called exactly once for every Wait that returned nil, with the outcome
	// of the request.
	Done(a Attempt)
}

// Attempt is the outcome of sending a request once.
type Attempt struct {
	// Status is the HTTP status, 0 if there was no answer.
	Status int
	// Err is nil if the answer was a complete, readable page. Otherwise it wraps an *Error.
	Err error
	// Duration is the time from sending the request to reading the last byte.
	Duration time.Duration
	// RateLimit is the state that the answer's headers report.
	RateLimit RateLimit
	// Date is the answer's Date header, in whole seconds. Zero if none.
	Date time.Time
	// RetryAfter is the wait that a Retry-After header requests. Zero if there is none:
	// the service sends none, but a proxy may.
	RetryAfter time.Duration
}

// furthestReset is the maximum distance between a plausible reset and the answer's
// time. A reset further away is in another unit.
const furthestReset = time.Hour

// readRateLimit reads each header independently. The answer was sent at the given time.
func readRateLimit(h http.Header, sent time.Time) RateLimit {
	r := RateLimit{Limit: max(readCount(h, "X-Ratelimit-Limit"), 0), Remaining: readCount(h, "X-Ratelimit-Remaining")}
	if r.Limit > 0 && r.Remaining > r.Limit {
		r.Limit, r.Remaining = 0, -1 // One of them is wrong, but it is unknown which.
	}
	if ms, err := strconv.ParseInt(single(h, "X-Ratelimit-Reset"), 10, 64); err == nil {
		if reset := time.UnixMilli(ms).UTC(); reset.Sub(sent).Abs() <= furthestReset {
			r.Reset = reset
		}
	}
	if r.Limit == 0 && r.Remaining <= 0 && r.Reset.IsZero() {
		// The service sends all three as 0 when its limiter is bypassed.
		return RateLimit{}
	}
	return r
}

// readCount returns a header's number, -1 unless there is one from 0.
func readCount(h http.Header, name string) int {
	n, err := strconv.Atoi(single(h, name))
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// single returns a header's value, none if there are several: a gateway has added its
// own, and it is unknown which.
func single(h http.Header, name string) string {
	if values := slices.Compact(slices.Clone(h[name])); len(values) == 1 {
		return values[0]
	}
	return ""
}

// readRetryAfter reads both forms of the header: seconds, and an HTTP date. The answer was
// sent at the given time.
func readRetryAfter(h http.Header, sent time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return time.Duration(max(seconds, 0)) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(at.Sub(sent), 0)
}
