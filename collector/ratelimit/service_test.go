package ratelimit_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/ratelimit"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service simulates the service's rate limit, production's calls, and a gateway that
// rewrites single headers. It records the exporter's effect on the bucket.
type service struct {
	clock   func() time.Time // The service's.
	latency time.Duration    // Of the request, and again of the answer. With an rng, the maximum.
	garble  float64          // The fraction of headers that are rewritten.
	headers []string         // The names of those headers.
	gateway func(*limit)     // What a gateway does to all answers, if set.
	floor   int              // The reserve.
	rng     *rand.Rand

	mu                 sync.Mutex
	size, left, refill int
	every              time.Duration
	next               time.Time
	lowest             int
	production         int // Requests of others that were served.
	reported           int // How many of them the exporter knows of.
	served, refused    int
	probed             time.Time       // The last probe: a request below the reserve as far as the exporter could know.
	probes             []time.Duration // The times between them.
}

// newService returns a service without a gateway, whose clock is ahead of ours.
func newService(size, refill int, every, ahead time.Duration) *service {
	clock := func() time.Time { return time.Now().Add(ahead) }
	s := &service{clock: clock, size: size, left: size, lowest: size, refill: refill, every: every}
	s.next = s.clock().Add(every / 3)
	return s
}

func (s *service) refillUntilNow() {
	for now := s.clock(); !now.Before(s.next); s.next = s.next.Add(s.every) {
		s.left = min(s.size, s.left+s.refill)
	}
}

// produce makes production's calls, at a rate a second, until ctx ends.
func (s *service) produce(ctx context.Context, rate float64) {
	for owed := 0.; rate > 0 && ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		s.mu.Lock()
		s.refillUntilNow()
		owed += rate / 10
		got := min(int(owed), s.left)
		owed -= float64(int(owed))
		s.left -= got
		s.production += got
		s.mu.Unlock()
	}
}

// request makes one request once the limiter admits it.
func (s *service) request(ctx context.Context, l *ratelimit.Limiter) error {
	if err := l.Wait(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	known := s.reported
	s.mu.Unlock()
	sent := time.Now()
	s.travel()
	a, production := s.serve(known)
	s.travel()
	a.Duration = time.Since(sent)
	l.Done(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reported = max(s.reported, production)
	return nil
}

// list makes one request after another until ctx ends.
func (s *service) list(ctx context.Context, l *ratelimit.Limiter) {
	for ctx.Err() == nil {
		if s.request(ctx, l) != nil {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func (s *service) travel() {
	d := s.latency
	if s.rng != nil && d > 0 {
		s.mu.Lock()
		d = time.Duration(1 + s.rng.Int64N(int64(d)))
		s.mu.Unlock()
	}
	time.Sleep(d)
}

// serve answers a request. Known is the number of production's requests that were
// reported when it was sent, reports the number that this answer reports.
func (s *service) serve(known int) (a client.Attempt, reports int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refillUntilNow()
	s.served++
	a.Status = 200
	if s.left > 0 {
		s.left--
	} else {
		s.refused++
		a.Status = 429
	}
	s.lowest = min(s.lowest, s.left)
	if s.left+s.production-known < s.floor {
		now := time.Now()
		if !s.probed.IsZero() {
			s.probes = append(s.probes, now.Sub(s.probed))
		}
		s.probed = now
	}
	a.Date = s.clock().UTC().Truncate(time.Second)
	a.RateLimit = client.RateLimit{Limit: s.size, Remaining: s.left, Reset: s.next}
	whole := true
	for _, name := range s.headers {
		if s.rng.Float64() < s.garble {
			whole = whole && name == "Date"
			s.garbleHeader(&a, name)
		}
	}
	if s.gateway != nil {
		s.gateway(&a.RateLimit)
	}
	r := &a.RateLimit
	if r.Limit > 0 && r.Remaining > r.Limit {
		r.Limit, r.Remaining = 0, -1 // As the client reads it.
	}
	if whole {
		reports = s.production
	}
	return a, reports
}

// garbleHeader removes a header from what the client reads, or puts a time in it.
func (s *service) garbleHeader(a *client.Attempt, name string) {
	delta := int(s.next.Sub(s.clock()) / time.Second)
	odd := []int{-1, -1, -1, -1, delta, int(s.next.Unix())}[s.rng.IntN(6)]
	switch name {
	case "Date":
		a.Date = time.Time{}
	case "Limit":
		a.RateLimit.Limit = max(odd, 0)
	case "Remaining":
		a.RateLimit.Remaining = odd
	case "Reset":
		a.RateLimit.Reset = time.Time{}
	}
}

// admitted starts n goroutines that call Wait, and returns how many are admitted at
// once.
func admitted(t *testing.T, l *ratelimit.Limiter, n int) int {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var got atomic.Int64
	for range n {
		go func() {
			if l.Wait(ctx) == nil {
				got.Add(1)
			}
		}()
	}
	synctest.Wait()
	defer func() { cancel(); synctest.Wait() }()
	return int(got.Load())
}
