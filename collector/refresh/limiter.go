package refresh

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"waitpoint_exporter/client"

	"golang.org/x/time/rate"
)

// Without rate limit headers there is nothing to go by, so requests keep to a
// rate well below what the service's default limit refills (25 a second).
const (
	blindRate  = rate.Limit(10)
	blindBurst = 20
	// How long an answer that names no reset is taken to hold: the service's
	// default refill step.
	blindRefill = 10 * time.Second
	// A reset further away than this is a mistake or a clock far off.
	longestRefill = time.Minute
	// A Retry-After past this is one too: the time would hold even if the
	// service thought better of it.
	longestPause = time.Hour
)

// Limiter holds back requests so that a share of the environment's rate limit,
// which production's own calls draw on too, is always left. It knows only what
// answers say: the bucket's size, what remains, and when it is next refilled.
// Past a refill that it has not seen yet it lets a single request through, to
// find out. It is safe for concurrent use.
type Limiter struct {
	reserve float64
	now     func() time.Time
	blind   *rate.Limiter

	mu        sync.Mutex
	answered  bool // At least one answer has come.
	known     bool // The last answer had headers.
	limit     int
	remaining int
	serverRst time.Time // The reset as the service gave it.
	reset     time.Time // The same on our clock.
	inflight  int
	changed   chan struct{} // Closed and replaced when an answer comes.
}

// NewLimiter returns a Limiter that leaves the share reserve, from 0 up to but
// not including 1, of the limit to others.
func NewLimiter(reserve float64, now func() time.Time) *Limiter {
	return &Limiter{
		reserve: reserve, now: now, blind: rate.NewLimiter(blindRate, blindBurst),
		changed: make(chan struct{}),
	}
}

// Wait blocks until a request may be sent. It returns an error if ctx ends, or
// at once if ctx would end before the next refill.
func (l *Limiter) Wait(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		l.mu.Lock()
		ok, blind, until, changed := l.admit()
		l.mu.Unlock()
		if ok {
			if blind {
				if err := l.blind.Wait(ctx); err != nil {
					l.release()
					return fmt.Errorf("wait for the request rate: %w", err)
				}
			}
			return nil
		}
		var timeout <-chan time.Time
		if !until.IsZero() {
			wait := until.Sub(l.now())
			if deadline, ok := ctx.Deadline(); ok && l.now().Add(wait).After(deadline) {
				return fmt.Errorf("the rate limit's share is used up, next refill in %s", wait.Round(time.Second))
			}
			timer := time.NewTimer(wait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timeout:
		}
	}
}

// admit decides under the lock. If it refuses, until is when to ask again,
// zero for when an answer has come.
func (l *Limiter) admit() (ok, blind bool, until time.Time, changed chan struct{}) {
	switch {
	case !l.answered:
		// The first answer tells the limit; until then one request is enough.
		ok = l.inflight == 0
	case !l.known:
		ok, blind = true, true
	case l.remaining-l.inflight-1 >= l.floor():
		ok = true
	case l.inflight > 0:
		// What is under way will tell.
	case !l.now().Before(l.reset):
		ok = true
	default:
		until = l.reset
	}
	if ok {
		l.inflight++
	}
	return ok, blind, until, l.changed
}

func (l *Limiter) floor() int { return int(math.Ceil(l.reserve * float64(l.limit))) }

func (l *Limiter) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inflight--
	l.wake()
}

func (l *Limiter) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Done takes in the answer to a request that Wait let through.
func (l *Limiter) Done(a client.Attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inflight--
	defer l.wake()
	if a.Status == 0 {
		// No answer: what was known holds. A first request that failed must not
		// hold back the others for ever.
		return
	}
	l.answered = true
	r := a.RateLimit
	if !r.Known() {
		// Only an answer of the service itself says that it has no headers: a
		// proxy's error page says nothing.
		if a.Status < 300 {
			l.known = false
		} else if a.Status == 429 {
			l.known, l.remaining = true, 0
			l.reset = l.now().Add(pause(a))
		}
		return
	}
	now := l.now()
	switch {
	case l.known && r.Reset.Equal(l.serverRst):
		// Answers of one refill step may come out of order.
		l.remaining = min(l.remaining, r.Remaining)
	case l.known && !r.Reset.IsZero() && r.Reset.Before(l.serverRst) && l.serverRst.Sub(r.Reset) < longestRefill && now.Before(l.reset):
		return // Past the reset such an answer is not late: the service's clock was set back.
	default:
		l.remaining = r.Remaining
	}
	l.known, l.limit, l.serverRst = true, r.Limit, r.Reset
	wait := blindRefill
	if !r.Reset.IsZero() {
		served := now
		if off := a.Date.Sub(now); !a.Date.IsZero() && off.Abs() > 2*time.Second {
			served = a.Date // The clocks differ; Date is the service's.
		}
		wait = min(max(r.Reset.Sub(served), 0), longestRefill)
	}
	if a.Status == 429 {
		l.remaining = min(l.remaining, 0)
		wait = max(wait, pause(a))
	}
	l.reset = now.Add(wait)
}

// pause is how long an answer that refused asks to wait.
func pause(a client.Attempt) time.Duration {
	return min(max(a.RetryAfter, time.Second), longestPause)
}
