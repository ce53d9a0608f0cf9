package simulator

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// bucket is the rate limit of the environments with one root key, and their
// additional keys.
type bucket struct {
	limit    Limit
	silent   bool
	left     int
	refilled time.Time
	keys     map[string]Key
}

// refill brings the bucket up to date. The caller holds s.mu.
func (b *bucket) refill(now time.Time) {
	if steps := int(now.Sub(b.refilled) / b.limit.Every); steps > 0 {
		b.left = min(b.limit.Size, b.left+steps*b.limit.Refill)
		b.refilled = b.refilled.Add(time.Duration(steps) * b.limit.Every)
	}
}

// take takes one request from the bucket and returns the headers to send.
func (b *bucket) take(now time.Time) (http.Header, bool) {
	if b.silent {
		return nil, true
	}
	if b.limit.Size < 0 {
		return rateHeaders(0, 0, 0), true
	}
	b.refill(now)
	ok := b.left > 0
	if ok {
		b.left--
	}
	return rateHeaders(b.limit.Size, b.left, b.refilled.Add(b.limit.Every).UnixMilli()), ok
}

func rateHeaders(limit, remaining int, reset int64) http.Header {
	return http.Header{
		"X-Ratelimit-Limit":     {strconv.Itoa(limit)},
		"X-Ratelimit-Remaining": {strconv.Itoa(remaining)},
		"X-Ratelimit-Reset":     {strconv.FormatInt(reset, 10)},
	}
}

func (b *bucket) tooMany(headers http.Header, now time.Time) answer {
	reset := b.refilled.Add(b.limit.Every)
	wait := strconv.FormatFloat(float64(reset.Sub(now).Milliseconds())/1000, 'f', -1, 64)
	a := problem(http.StatusTooManyRequests, "Rate Limit Exceeded",
		fmt.Sprintf("Rate limit exceeded 0/%d requests remaining. Retry in %s seconds.", b.limit.Size, wait),
		fmt.Sprintf("  \"reset\": %d,\n  \"limit\": %d,\n  \"remaining\": -1,\n  \"secondsUntilReset\": %s,\n",
			reset.UnixMilli(), b.limit.Size, wait))
	maps.Copy(a.header, headers)
	return a
}

// Count returns the number of requests to the environment, including those that the
// rate limit refused.
func (e *Environment) Count() int {
	e.sim.mu.Lock()
	defer e.sim.mu.Unlock()
	return e.count
}

// Refused returns how many requests the rate limit refused.
func (e *Environment) Refused() int {
	e.sim.mu.Lock()
	defer e.sim.mu.Unlock()
	return e.refused
}

// Take takes n requests of other clients from the bucket and returns how many of them
// were refused.
func (e *Environment) Take(n int) int {
	e.sim.mu.Lock()
	defer e.sim.mu.Unlock()
	e.bucket.refill(e.sim.now())
	got := min(n, e.bucket.left)
	e.bucket.left -= got
	return n - got
}
