// Package ratelimit limits the exporter's use of the API. Production's calls count
// towards the same rate limit. So a reserve of it is always left to them, and in the
// long run refreshes use no more than a share of the refill.
//
// The service counts requests in a bucket, which it refills in steps. The headers of an
// answer report the bucket's size, what remains in it, and when the next step is. Where
// they are ambiguous, the worst case is assumed (bucket.go): a request is only admitted
// if the bucket certainly contains more than the reserve. Otherwise one probe a step
// finds out what remains. No header has the rate of the refill; it is measured
// (refill.go).
package ratelimit

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"waitpoint_exporter/client"

	"golang.org/x/time/rate"
)

const (
	// The rate while no answer reports what remains. The service's default limit
	// refills 25 requests a second.
	blindRate  = rate.Limit(10)
	blindBurst = 20
	// minCredit is how many requests can be saved up however small the share is. A
	// refresh of an idle environment needs no more.
	minCredit = 4
)

// Limit is one rate limit of the service. Environments whose requests count towards
// the same limit share a Limit. It is safe for concurrent use.
type Limit struct {
	now    func() time.Time
	credit *rate.Limiter // The unused part of the share.

	mu       sync.Mutex
	bucket   bucket
	refill   refill
	inFlight int
	answered chan struct{} // Closed and replaced when a request is done.
}

// New returns a Limit about which nothing is known yet.
func New(now func() time.Time) *Limit {
	return &Limit{now: now, credit: rate.NewLimiter(blindRate, blindBurst), answered: make(chan struct{})}
}

// Options say how much of a Limit an environment may use.
type Options struct {
	// Reserve is the fraction of the bucket that is always left to others: at least 0,
	// less than 1.
	Reserve float64
	// Share is the fraction of the refill that all environments of a Limit together may
	// use in the long run. If their shares differ, the result is in between. Zero means
	// no bound but the reserve.
	Share float64
	// Interval is the time over which an unused share can be saved up.
	Interval time.Duration
}

// Limiter limits one environment's requests; it is a client.Limiter. Credit is given to
// the requests of all environments of the Limit in the order in which they ask for it;
// those that wait for the bucket are admitted in any order. It is safe for concurrent
// use.
type Limiter struct {
	limit *Limit
	opts  Options
}

// Limiter returns a Limiter for one environment.
func (l *Limit) Limiter(opts Options) *Limiter { return &Limiter{limit: l, opts: opts} }

type beyondShare struct{}

// BeyondShare returns a context for the requests of a first listing: they leave the
// reserve, but do not count towards the share.
func BeyondShare(ctx context.Context) context.Context {
	return context.WithValue(ctx, beyondShare{}, true)
}

// Wait blocks until a request is admitted. It returns an error if ctx ends first,
// immediately if ctx's deadline is too early.
func (l *Limiter) Wait(ctx context.Context) error {
	w := waiter{Limiter: l, beyondShare: ctx.Value(beyondShare{}) != nil}
	err := ctx.Err()
	for err == nil {
		r := w.admit()
		if r == nil {
			return nil
		}
		err = r.wait(ctx, l.limit.now())
	}
	if w.turn != nil {
		w.turn.CancelAt(l.limit.now())
	}
	return err
}

// A waiter is a request that has not been admitted yet.
type waiter struct {
	*Limiter

	beyondShare bool
	turn        *rate.Reservation // Its place in the queue for credit.
}

// A refusal says why a request is not admitted, and when to try again. A zero time
// means after the next answer.
type refusal struct {
	reason   string
	until    time.Time
	answered <-chan struct{}
}

// admit counts the request as in flight, or returns why it has to wait.
func (w *waiter) admit() *refusal {
	l := w.limit
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if ok, until := l.bucket.admit(w.opts.Reserve, l.inFlight, now); !ok {
		return &refusal{"the rate limit is down to its reserve", until, l.answered}
	}
	if w.turn == nil && !(l.bucket.known && (w.beyondShare || w.opts.Share == 0)) {
		w.updateCredit(now)
		w.turn = l.credit.ReserveN(now, 1)
	}
	if w.turn != nil {
		if wait := w.turn.DelayFrom(now); wait > 0 {
			return &refusal{"the share of the rate limit is used up", now.Add(wait), l.answered}
		}
	}
	l.inFlight++
	return nil
}

// updateCredit sets how fast credit is gained, and how much can be saved up; the
// Limit's lock is held.
func (l *Limiter) updateCredit(now time.Time) {
	perSecond, burst := blindRate, blindBurst
	if l.limit.bucket.known {
		perSecond = rate.Limit(l.opts.Share * l.limit.refill.rate(l.limit.bucket.size()))
		burst = int(min(max(float64(perSecond)*l.opts.Interval.Seconds(), minCredit), math.MaxInt32))
	}
	l.limit.credit.SetLimitAt(now, perSecond)
	l.limit.credit.SetBurstAt(now, burst)
}

// wait blocks until it is time to try again. It returns an error if ctx ends first.
func (r *refusal) wait(ctx context.Context, now time.Time) error {
	var timeout <-chan time.Time
	if !r.until.IsZero() {
		wait := r.until.Sub(now)
		if deadline, ok := ctx.Deadline(); ok && wait > time.Until(deadline) {
			return fmt.Errorf("%s, next request in %s", r.reason, wait.Round(time.Second))
		}
		timeout = time.After(wait)
	}
	select {
	case <-ctx.Done():
	case <-r.answered:
	case <-timeout:
	}
	return ctx.Err()
}

// Done handles the outcome of a request that Wait admitted.
func (l *Limiter) Done(a client.Attempt) {
	limit := l.limit
	limit.mu.Lock()
	defer limit.mu.Unlock()
	now := limit.now()
	limit.inFlight--
	reported := limit.bucket.observe(a, now)
	if r := a.RateLimit; reported && r.Known() && !r.Reset.IsZero() && r.Limit == limit.bucket.size() {
		limit.refill.observe(r, l.opts.Share, now)
	}
	if l.opts.Share > 0 {
		l.updateCredit(now)
	}
	close(limit.answered)
	limit.answered = make(chan struct{})
}
