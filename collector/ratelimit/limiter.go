// Package ratelimit holds back requests to the API, so that production, whose calls
// draw on the same rate limit, always finds a reserve of it, and so that refreshes
// use no more than their share of what the limit refills.
//
// The service counts requests in a bucket that is refilled in steps. Answers tell
// its size, what remains and when the next step is due. Everything that they leave
// open is taken at its worst (bucket.go): no request goes unless the bucket is known
// to hold more than the reserve, but for one request a step that finds out. How fast
// the limit is refilled no answer tells; it is measured (refill.go).
package ratelimit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"waitpoint_exporter/client"

	"golang.org/x/time/rate"
)

const (
	// While no answer tells what remains, requests keep to a rate well below what
	// the service's default limit refills (25 a second).
	blindRate  = rate.Limit(10)
	blindBurst = 20
	// leastCredit is how many requests can be saved up however small the share is:
	// a refresh of an idle environment takes no more.
	leastCredit = 4
)

// Limit is one rate limit of the service. Environments whose requests draw on the
// same one share it. It is safe for concurrent use.
type Limit struct {
	now    func() time.Time
	credit *rate.Limiter // What may be spent of the share.

	mu       sync.Mutex
	bucket   bucket
	refill   refill
	inFlight int
	answered chan struct{} // Closed and replaced when a request is done.
}

// New returns a Limit of which nothing is known yet.
func New(now func() time.Time) *Limit {
	return &Limit{now: now, credit: rate.NewLimiter(blindRate, blindBurst), answered: make(chan struct{})}
}

// Options say how much of a rate limit an environment may use.
type Options struct {
	// Reserve is the share of the bucket, from 0 up to but not including 1, that is
	// always left to others.
	Reserve float64
	// Share is the share of what the bucket is refilled by that may be used in the
	// long run, by all environments together that draw on it. Where theirs differ,
	// it is between them. Zero: no bound but the reserve.
	Share float64
	// Interval is the time for which an unused share is saved up.
	Interval time.Duration
}

// Limiter holds back one environment's requests. Environments that share a Limit
// get turns in the order in which they ask. It is safe for concurrent use, and the
// client.Limiter of a client.
type Limiter struct {
	limit *Limit
	opts  Options
}

// Limiter returns a Limiter that draws on l.
func (l *Limit) Limiter(opts Options) *Limiter { return &Limiter{limit: l, opts: opts} }

type beyondShare struct{}

// BeyondShare marks the requests made with the returned context as those of a first
// listing: they keep to the reserve, but do not count towards the share.
func BeyondShare(ctx context.Context) context.Context {
	return context.WithValue(ctx, beyondShare{}, true)
}

// Wait blocks until a request may be sent. It returns an error if ctx ends before,
// at once if that is known.
func (l *Limiter) Wait(ctx context.Context) error {
	w := waiter{Limiter: l, beyondShare: ctx.Value(beyondShare{}) != nil}
	for {
		err := ctx.Err()
		if err == nil {
			var r *refusal
			if r = w.admit(); r == nil {
				return nil
			}
			err = r.wait(ctx, l.limit.now())
		}
		if err != nil {
			if w.turn != nil {
				w.turn.CancelAt(l.limit.now())
			}
			return err
		}
	}
}

// A waiter is a request that has not been admitted yet.
type waiter struct {
	*Limiter

	beyondShare bool
	turn        *rate.Reservation // Its place in the queue for the share.
}

// A refusal says why a request may not go now, and when to ask again: zero for once
// an answer has come.
type refusal struct {
	reason   string
	until    time.Time
	answered <-chan struct{}
}

// admit counts the request as sent, or returns why it may not be.
func (w *waiter) admit() *refusal {
	l := w.limit
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if ok, until := l.bucket.admit(w.opts.Reserve, l.inFlight, now); !ok {
		return &refusal{"the rate limit is down to its reserve", until, l.answered}
	}
	if w.turn == nil {
		w.turn = w.queue(now)
	}
	if w.turn != nil {
		if wait := w.turn.DelayFrom(now); wait > 0 {
			return &refusal{"the share of the rate limit is used up", now.Add(wait), l.answered}
		}
	}
	l.inFlight++
	return nil
}

// queue returns a place in the queue for the share, nil if the request needs none.
func (w *waiter) queue(now time.Time) *rate.Reservation {
	if w.limit.bucket.known && (w.beyondShare || w.opts.Share == 0) {
		return nil
	}
	w.setCredit(now)
	return w.limit.credit.ReserveN(now, 1)
}

// setCredit sets how fast the share grows, and how much of it can be saved up.
func (l *Limiter) setCredit(now time.Time) {
	perSecond, burst := blindRate, blindBurst
	if l.limit.bucket.known {
		perSecond = rate.Limit(l.opts.Share * l.limit.refill.rate(l.limit.bucket.size()))
		burst = max(int(float64(perSecond)*l.opts.Interval.Seconds()), leastCredit)
	}
	l.limit.credit.SetLimitAt(now, perSecond)
	l.limit.credit.SetBurstAt(now, burst)
}

// wait waits until it is time to ask again. It returns an error if ctx ends before.
func (r *refusal) wait(ctx context.Context, now time.Time) error {
	var timeout <-chan time.Time
	if !r.until.IsZero() {
		wait := r.until.Sub(now)
		if deadline, ok := ctx.Deadline(); ok && r.until.After(deadline) {
			return fmt.Errorf("%s, next request in %s", r.reason, wait.Round(time.Second))
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.answered:
	case <-timeout:
	}
	return nil
}

// Done takes in what became of a request that Wait let through.
func (l *Limiter) Done(a client.Attempt) {
	limit := l.limit
	limit.mu.Lock()
	defer limit.mu.Unlock()
	now := limit.now()
	limit.inFlight--
	limit.bucket.observe(a, now)
	if r := a.RateLimit; r.Known() && !r.Reset.IsZero() && r.Limit == limit.bucket.size() {
		limit.refill.observe(r, l.opts.Share, now)
	}
	if l.opts.Share > 0 {
		l.setCredit(now)
	}
	close(limit.answered)
	limit.answered = make(chan struct{})
}
