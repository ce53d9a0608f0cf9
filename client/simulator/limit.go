package simulator

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// refill brings the bucket up to date; s.mu is held.
func (e *Environment) refill(now time.Time) {
	limit := e.opts.Limit
	if steps := int(now.Sub(e.refilled) / limit.Every); steps > 0 {
		e.left = min(limit.Size, e.left+steps*limit.Refill)
		e.refilled = e.refilled.Add(time.Duration(steps) * limit.Every)
	}
}

// take draws one request from the bucket and returns the headers to send.
func (e *Environment) take(now time.Time) (http.Header, bool) {
	e.count++
	if e.opts.NoRateHeaders {
		return nil, true
	}
	if e.opts.Limit.Size < 0 {
		return rateHeaders(0, 0, 0), true
	}
	e.refill(now)
	ok := e.left > 0
	if ok {
		e.left--
	}
	return rateHeaders(e.opts.Limit.Size, e.left, e.refilled.Add(e.opts.Limit.Every).UnixMilli()), ok
}

func rateHeaders(limit, remaining int, reset int64) http.Header {
	return http.Header{
		"X-Ratelimit-Limit":     {strconv.Itoa(limit)},
		"X-Ratelimit-Remaining": {strconv.Itoa(remaining)},
		"X-Ratelimit-Reset":     {strconv.FormatInt(reset, 10)},
	}
}

func (e *Environment) tooMany(headers http.Header, now time.Time) answer {
	reset := e.refilled.Add(e.opts.Limit.Every)
	wait := strconv.FormatFloat(float64(reset.Sub(now).Milliseconds())/1000, 'f', -1, 64)
	a := problem(http.StatusTooManyRequests, "Rate Limit Exceeded",
		fmt.Sprintf("Rate limit exceeded 0/%d requests remaining. Retry in %s seconds.", e.opts.Limit.Size, wait),
		fmt.Sprintf("  \"reset\": %d,\n  \"limit\": %d,\n  \"remaining\": -1,\n  \"secondsUntilReset\": %s,\n", reset.UnixMilli(), e.opts.Limit.Size, wait))
	a.environment = e
	maps.Copy(a.header, headers)
	return a
}

// Count returns the requests made of the environment since the start, refused
// ones included; Refused returns those.
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

// Take draws n calls of others from the bucket and returns how many of them
// were refused.
func (e *Environment) Take(n int) int {
	e.sim.mu.Lock()
	defer e.sim.mu.Unlock()
	e.refill(e.sim.now())
	got := min(n, e.left)
	e.left -= got
	return n - got
}
