package refresh

import (
	"context"
	"fmt"
	"sync"
	"time"

	"waitpoint_exporter/client"

	"golang.org/x/time/rate"
)

// As long as nothing tells what remains, requests keep to a rate well below what
// the service's default limit refills (25 a second).
const (
	blindRate  = rate.Limit(10)
	blindBurst = 20
)

// Limiter holds back requests so that a share of the environment's rate limit,
// which production's own calls draw on too, is always left. It goes by what
// answers say: the bucket's size, what remains, and when it is next refilled.
// Below the reserve one request a refill goes out, to see what there is. It is
// safe for concurrent use.
type Limiter struct {
	reserve float64
	now     func() time.Time
	pace    *rate.Limiter

	mu       sync.Mutex
	bucket   bucket
	inflight int
	changed  chan struct{} // Closed and replaced when an answer comes.
}

// NewLimiter returns a Limiter that leaves the share reserve, from 0 up to but
// not including 1, of the limit to others.
func NewLimiter(reserve float64, now func() time.Time) *Limiter {
	return &Limiter{
		reserve: reserve, now: now, pace: rate.NewLimiter(blindRate, blindBurst),
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
		turn := l.admit()
		switch {
		case turn.ok && turn.paced:
			if err := l.pace.Wait(ctx); err != nil {
				l.release()
				return fmt.Errorf("wait for the request rate: %w", err)
			}
			return nil
		case turn.ok:
			return nil
		}
		if err := turn.wait(ctx, l.now()); err != nil {
			return err
		}
	}
}

// A turn is what became of asking for one.
type turn struct {
	ok bool
	// paced is set for a request that may go no faster than the blind rate.
	paced bool
	// If refused, when to ask again: zero for once an answer has come.
	until   time.Time
	changed <-chan struct{}
}

func (l *Limiter) admit() turn {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := turn{changed: l.changed}
	switch {
	case !l.bucket.known:
		// The first answer tells the limit; until then one request is enough.
		t.ok = l.inflight == 0 || l.bucket.blind()
		t.paced = t.ok
	case l.bucket.spare(l.reserve, l.inflight) > 0:
		t.ok = true
	case l.inflight > 0:
		// What is under way will tell.
	case l.now().Before(l.bucket.reset):
		t.until = l.bucket.reset
	default:
		t.ok = true
	}
	if t.ok {
		l.inflight++
	}
	return t
}

// wait returns when to ask again, or an error if ctx ends before.
func (t turn) wait(ctx context.Context, now time.Time) error {
	var timeout <-chan time.Time
	if !t.until.IsZero() {
		wait := t.until.Sub(now)
		if deadline, ok := ctx.Deadline(); ok && now.Add(wait).After(deadline) {
			return fmt.Errorf("the rate limit's share is used up, next refill in %s", wait.Round(time.Second))
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.changed:
	case <-timeout:
	}
	return nil
}

// release gives back a turn that was not used.
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

// Done takes in what became of a request that Wait let through.
func (l *Limiter) Done(a client.Attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inflight--
	l.bucket.take(a, l.now())
	l.wake()
}
