package refresh

import (
	"context"
	"fmt"
	"math"
	"slices"
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

// RateLimit is what is known of one rate limit of the service, and what is done
// with it. Environments whose requests draw on the same bucket share one. It is
// safe for concurrent use.
type RateLimit struct {
	now  func() time.Time
	pace *rate.Limiter

	mu       sync.Mutex
	bucket   bucket
	ledger   ledger
	inflight int
	changed  chan struct{} // Closed and replaced when an answer comes.
}

// NewRateLimit returns one of which nothing is known yet.
func NewRateLimit(now func() time.Time) *RateLimit {
	return &RateLimit{now: now, pace: rate.NewLimiter(blindRate, blindBurst), changed: make(chan struct{})}
}

// LimiterOptions say how much of a rate limit an environment may use.
type LimiterOptions struct {
	// Reserve is the share of the bucket, from 0 up to but not including 1, that
	// the environment's requests always leave to others.
	Reserve float64
	// Share is the share of what the bucket is refilled by that may be used in the
	// long run, by all environments together that draw on it; if they differ the
	// largest counts. Zero: no bound but the reserve.
	Share float64
	// Interval is the time for which an unused share can be saved up.
	Interval time.Duration
}

// Limiter holds back one environment's requests, so that a share of the rate
// limit, which production's own calls draw on too, is always left, and so that
// refreshes use no more than their share of it in the long run. It goes by what
// answers say: the bucket's size, what remains, and when it is next refilled.
// Below the reserve one request a refill goes out, to see what there is. It is
// safe for concurrent use.
type Limiter struct {
	limit   *RateLimit
	reserve float64
	account *account // Nil without a share.
}

// Limiter returns a Limiter that draws on r. Close it once it is no longer used:
// its part of the share goes to the others then.
func (r *RateLimit) Limiter(opts LimiterOptions) *Limiter {
	l := &Limiter{limit: r, reserve: opts.Reserve}
	if opts.Share == 0 {
		return l
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gain()
	l.account = &account{share: opts.Share, interval: opts.Interval}
	r.ledger.accounts = append(r.ledger.accounts, l.account)
	return l
}

// NewLimiter returns a Limiter with a rate limit of its own and no share.
func NewLimiter(reserve float64, now func() time.Time) *Limiter {
	return NewRateLimit(now).Limiter(LimiterOptions{Reserve: reserve})
}

// Close gives up the Limiter's part of the share. Requests under way may still
// end.
func (l *Limiter) Close() {
	r := l.limit
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.ledger.accounts, l.account); i >= 0 {
		r.gain()
		r.ledger.accounts = slices.Delete(r.ledger.accounts, i, i+1)
	}
}

type beyondShare struct{}

// BeyondShare marks the requests made with the returned context as those of a
// first listing: they keep to the reserve alone and spend no credit.
func BeyondShare(ctx context.Context) context.Context {
	return context.WithValue(ctx, beyondShare{}, true)
}

// Credit returns how many requests the environment may make at once before it has
// to wait for its share of what is refilled. It is infinite as long as the rate of
// the refill is unknown, and without a share. The reserve may bid to wait earlier.
func (l *Limiter) Credit() float64 {
	r := l.limit
	r.mu.Lock()
	defer r.mu.Unlock()
	if rate := r.gain(); rate == 0 || l.account == nil {
		return math.Inf(1)
	}
	return l.account.credit + r.ledger.pot
}

// gain brings the ledger up to date and returns the rate of the refill, 0 if it is
// unknown; r.mu is held.
func (r *RateLimit) gain() float64 {
	rate := 0.
	if r.bucket.known {
		rate = r.bucket.refill.rate(r.bucket.limit)
	}
	r.ledger.gain(rate, r.now())
	return rate
}

// Wait blocks until a request may be sent. It returns an error if ctx ends, or
// at once if ctx would end before a request may go.
func (l *Limiter) Wait(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		turn := l.admit(ctx.Value(beyondShare{}) != nil)
		switch {
		case turn.ok && turn.paced:
			if err := l.limit.pace.Wait(ctx); err != nil {
				l.limit.release()
				return fmt.Errorf("wait for the request rate: %w", err)
			}
			return nil
		case turn.ok:
			return nil
		}
		if err := turn.wait(ctx, l.limit.now()); err != nil {
			return err
		}
	}
}

// A turn is what became of asking for one.
type turn struct {
	ok bool
	// paced is set for a request that may go no faster than the blind rate.
	paced bool
	// If refused, why, and when to ask again: zero for once an answer has come.
	why     string
	until   time.Time
	changed <-chan struct{}
}

func (l *Limiter) admit(beyond bool) turn {
	r := l.limit
	r.mu.Lock()
	defer r.mu.Unlock()
	t := turn{changed: r.changed}
	switch {
	case !r.bucket.known:
		// The first answer tells the limit; until then one request is enough.
		t.ok = r.inflight == 0 || r.bucket.blind()
		t.paced = t.ok
	case r.bucket.spare(l.reserve, r.inflight) > 0:
		t.ok = true
	case r.inflight > 0:
		// What is under way will tell.
	case r.now().Before(r.bucket.reset):
		t.why, t.until = "the rate limit is down to its reserve", r.bucket.reset
	default:
		t.ok = true
	}
	if rate := r.gain(); t.ok && rate > 0 && l.account != nil && !beyond {
		var wait time.Duration
		if t.ok, wait = r.ledger.spend(l.account, rate); !t.ok {
			t.why, t.until = "the share of the rate limit is used up", r.now().Add(wait)
		}
	}
	if t.ok {
		r.inflight++
	}
	return t
}

// wait returns when to ask again, or an error if ctx ends before.
func (t turn) wait(ctx context.Context, now time.Time) error {
	var timeout <-chan time.Time
	if !t.until.IsZero() {
		wait := t.until.Sub(now)
		if deadline, ok := ctx.Deadline(); ok && now.Add(wait).After(deadline) {
			return fmt.Errorf("%s, next request in %s", t.why, wait.Round(time.Second))
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
func (r *RateLimit) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inflight--
	r.wake()
}

func (r *RateLimit) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// Done takes in what became of a request that Wait let through.
func (l *Limiter) Done(a client.Attempt) {
	r := l.limit
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gain() // At the rate that held until now.
	r.inflight--
	r.bucket.take(a, r.now())
	r.wake()
}
