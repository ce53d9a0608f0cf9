package refresh_test

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/refresh"
)

// fair is a service without faults.
func fair(size, refill int, every time.Duration) *gateway {
	g := &gateway{
		rng: rand.New(rand.NewPCG(1, 1)), size: size, left: size, refill: refill, every: every, clock: time.Now,
		latency: func() time.Duration { return 50 * time.Millisecond },
	}
	g.next = time.Now().Add(every / 3)
	return g
}

// TestShare holds that in the long run refreshes that would list without end use
// their share of what is refilled, and all of it.
func TestShare(t *testing.T) {
	const share, reserve = .25, .5
	for name, tc := range map[string]struct {
		size, refill int
		every        time.Duration
		production   float64 // Requests a second.
		from, to     float64 // Of the share.
	}{
		"the service's default":      {750, 250, 10 * time.Second, 0, .97, 1.04},
		"beside production":          {750, 250, 10 * time.Second, 10, .9, 1.04},
		"beside a lot of production": {750, 250, 10 * time.Second, 18, .7, 1.03},
		"refilled by the minute":     {1500, 1500, time.Minute, 0, .9, 1.04},
		"every second":               {100, 5, time.Second, 0, .55, 1.6}, // So little at a time shows late.
		"a slow refill":              {750, 50, 10 * time.Second, 0, .9, 1.15},
		"a quick refill":             {750, 750, 10 * time.Second, 0, .3, 1.03}, // Which shows as what the bucket has room for.
		"a small bucket":             {60, 20, 10 * time.Second, 0, .9, 1.1},
		"a tiny one":                 {10, 1, 10 * time.Second, 0, .7, 1.5},
	} {
		if testing.Short() && name != "the service's default" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const span = time.Hour
				ctx, cancel := context.WithTimeout(t.Context(), span)
				defer cancel()
				g := fair(tc.size, tc.refill, tc.every)
				limit := refresh.NewRateLimit(time.Now)
				var group sync.WaitGroup
				for range 4 {
					group.Go(func() {
						g.list(ctx, t, limit.Limiter(refresh.LimiterOptions{Reserve: reserve, Share: share, Interval: time.Minute}))
					})
				}
				group.Go(func() { g.producing(ctx, tc.production) })
				group.Wait()
				want := share * float64(tc.refill) * span.Seconds() / tc.every.Seconds()
				if got := float64(g.served) / want; got < tc.from || got > tc.to {
					t.Errorf("%d requests, %.2f of the share of %.0f; want %g to %g", g.served, got, want, tc.from, tc.to)
				}
			})
		})
	}
}

// TestShareOfMany holds that of environments that share a limit none can starve
// another, and that what one does not use the others get.
func TestShareOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const span, all = time.Hour, .25 * 25 * 3600
		ctx, cancel := context.WithTimeout(t.Context(), span)
		defer cancel()
		g := fair(750, 250, 10*time.Second)
		limit := refresh.NewRateLimit(time.Now)
		opts := refresh.LimiterOptions{Reserve: .5, Share: .25, Interval: time.Minute}
		counts := map[string]int{}
		ask := func(name string, pause time.Duration, l *refresh.Limiter) {
			for ; ctx.Err() == nil; time.Sleep(pause) {
				if l.Wait(ctx) != nil {
					continue
				}
				g.mu.Lock()
				counts[name]++
				g.refills()
				g.left--
				a := client.Attempt{Status: 200, Date: time.Now(), RateLimit: client.RateLimit{Limit: g.size, Remaining: g.left, Reset: g.next}}
				g.mu.Unlock()
				l.Done(a)
			}
		}
		var group sync.WaitGroup
		gone := limit.Limiter(opts)
		group.Go(func() { ask("greedy", time.Millisecond, limit.Limiter(opts)) })
		group.Go(func() { ask("greedy too", 2*time.Millisecond, limit.Limiter(opts)) })
		group.Go(func() { ask("quiet", time.Minute, limit.Limiter(opts)) })
		gone.Close()
		group.Wait()
		total := counts["greedy"] + counts["greedy too"] + counts["quiet"]
		if float64(total) < .95*all || float64(total) > 1.05*all {
			t.Errorf("%d requests, want %.0f", total, all)
		}
		if counts["quiet"] < 59 || float64(min(counts["greedy"], counts["greedy too"])) < .3*all {
			t.Errorf("shared out as %v", counts)
		}
	})
}

// TestCredit holds what may be spent at once, and what does not count.
func TestCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := refresh.NewRateLimit(time.Now)
		l := limit.Limiter(refresh.LimiterOptions{Share: .25, Interval: time.Minute})
		other := limit.Limiter(refresh.LimiterOptions{Share: .1, Interval: time.Minute})
		unbound := limit.Limiter(refresh.LimiterOptions{})
		reset := time.Now().Add(10 * time.Second)
		spend := func(ctx context.Context, l *refresh.Limiter, n int) {
			t.Helper()
			for range n {
				if err := l.Wait(ctx); err != nil {
					t.Fatal(err)
				}
				l.Done(client.Attempt{Status: 200, Date: time.Now(), RateLimit: client.RateLimit{Limit: 750, Remaining: 700, Reset: reset}})
			}
		}
		want := func(when string, l *refresh.Limiter, want float64) {
			t.Helper()
			if got := l.Credit(); math.Abs(got-want) > .01 {
				t.Errorf("%s: credit for %g requests, want %g", when, got, want)
			}
		}
		want("before any answer", l, math.Inf(1))
		spend(t.Context(), l, 1)
		// 250 every 10 s, a quarter of it, a minute: 375, for two.
		want("after the first answer", l, 187.5)
		spend(refresh.BeyondShare(t.Context()), l, 100)
		want("after a load", l, 187.5)
		spend(t.Context(), l, 100)
		want("after a refresh", l, 87.5)
		want("the other", other, 187.5)
		want("without a share", unbound, math.Inf(1))
		time.Sleep(10 * time.Second)
		reset = reset.Add(10 * time.Second)
		want("10 s later, with what the other had no room for", l, 87.5+62.5)
		want("the other, which may draw on it too", other, 187.5+31.25)
		other.Close()
		want("when the other has gone", l, 150)
		spend(t.Context(), l, 150)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := l.Wait(ctx); err == nil || time.Since(began) != 0 {
			t.Errorf("%v after %s, want an error at once", err, time.Since(began))
		}
		spend(t.Context(), l, 1)
		if waited := time.Since(began); waited < 159*time.Millisecond || waited > 162*time.Millisecond {
			t.Errorf("waited %s for a request at 6.25 a second", waited)
		}
	})
}
