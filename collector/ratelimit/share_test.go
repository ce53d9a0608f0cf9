package ratelimit_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/collector/ratelimit"
)

// TestShare checks that an exporter that always has more to list uses its share of the
// refill, and no more.
func TestShare(t *testing.T) {
	const share, reserve = .25, .5
	for name, tc := range map[string]struct {
		size, refill int
		every        time.Duration
		production   float64 // Requests a second.
		span         time.Duration
		from, to     float64 // Of the share.
	}{
		"the service's default":      {750, 250, 10 * time.Second, 0, time.Hour, .97, 1.05},
		"beside production":          {750, 250, 10 * time.Second, 10, 20 * time.Minute, .9, 1.05},
		"beside a lot of production": {750, 250, 10 * time.Second, 18, 20 * time.Minute, .7, 1.05},
		"refilled by the minute":     {1500, 1500, time.Minute, 0, 20 * time.Minute, .9, 1.05},
		"every second":               {100, 5, time.Second, 0, time.Hour, .9, 1.05},
		"a slow refill":              {750, 50, 10 * time.Second, 0, 4 * time.Hour, .9, 1.05},
		// A full bucket hides the rest of the refill, which others may use.
		"a quick refill": {750, 750, 10 * time.Second, 0, 20 * time.Minute, .3, 1.05},
		"a small bucket": {60, 20, 10 * time.Second, 0, time.Hour, .9, 1.05},
		"a tiny one":     {10, 1, 10 * time.Second, 0, 24 * time.Hour, .9, 1.05},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tc.span)
				defer cancel()
				s := newService(tc.size, tc.refill, tc.every, 0)
				s.latency = 50 * time.Millisecond
				limit := ratelimit.New(time.Now)
				var group sync.WaitGroup
				for range 4 {
					group.Go(func() {
						s.list(ctx, limit.Limiter(ratelimit.Options{Reserve: reserve, Share: share, Interval: time.Minute}))
					})
				}
				group.Go(func() { s.produce(ctx, tc.production) })
				group.Wait()
				want := share * float64(tc.refill) * tc.span.Seconds() / tc.every.Seconds()
				got := float64(s.served) / want
				t.Logf("%d requests, %.3f of the share of %.0f", s.served, got, want)
				if got < tc.from || got > tc.to {
					t.Errorf("%d requests, %.2f of the share of %.0f; want %g to %g", s.served, got, want, tc.from, tc.to)
				}
			})
		})
	}
}

// TestShareAfterProduction checks that what production draws between an idle
// environment's requests does not count as a slow refill, once it has more to list.
func TestShareAfterProduction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(750, 250, 10*time.Second, 0)
		s.left, s.latency = 500, 50*time.Millisecond
		l := ratelimit.New(time.Now).Limiter(ratelimit.Options{Reserve: .5, Share: .25, Interval: time.Minute})
		idle, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() { s.produce(idle, 24.8) })
		for idle.Err() == nil {
			if err := s.request(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		group.Wait()
		before := s.served
		busy, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		s.list(busy, l)
		if used := float64(s.served-before) / 600; used < .95*6.25 || used > 1.2*6.25 {
			t.Errorf("%.2f requests a second, want 6.25 and what was saved up", used)
		}
	})
}

// TestShareOfMany checks that environments with the same limit do not starve each
// other, and that the others get what one does not use.
func TestShareOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const span, all = time.Hour, .25 * 25 * 3600
		ctx, cancel := context.WithTimeout(t.Context(), span)
		defer cancel()
		s := newService(750, 250, 10*time.Second, 0)
		limit := ratelimit.New(time.Now)
		var group sync.WaitGroup
		counts := make([]int, 3)
		for i, pause := range []time.Duration{time.Millisecond, 2 * time.Millisecond, time.Minute} {
			group.Go(func() {
				l := limit.Limiter(ratelimit.Options{Reserve: .5, Share: .25, Interval: time.Minute})
				for ; ctx.Err() == nil; time.Sleep(pause) {
					if s.request(ctx, l) == nil {
						counts[i]++
					}
				}
			})
		}
		group.Wait()
		if total := float64(counts[0] + counts[1] + counts[2]); total < .95*all || total > 1.05*all {
			t.Errorf("%g requests, want %g", total, all)
		}
		if counts[2] < 59 || float64(min(counts[0], counts[1])) < .3*all {
			t.Errorf("shared out as %v", counts)
		}
	})
}

// TestCredit checks how much of the share can be saved up, and which requests do not
// count towards it.
func TestCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := ratelimit.New(time.Now)
		l := limit.Limiter(ratelimit.Options{Share: .25, Interval: time.Minute})
		unbound := limit.Limiter(ratelimit.Options{})
		reset := time.Now().Add(10 * time.Second)
		spend := func(ctx context.Context, l *ratelimit.Limiter, n int) {
			t.Helper()
			for range n {
				if err := l.Wait(ctx); err != nil {
					t.Fatal(err)
				}
				l.Done(datedReport(700, time.Now(), reset))
			}
		}
		spend(t.Context(), l, 1)
		time.Sleep(10 * time.Second)
		reset = reset.Add(10 * time.Second)
		spend(t.Context(), l, 1) // Its answer shows the step: 25 a second, and the share is a quarter.
		time.Sleep(time.Hour)
		reset = reset.Add(time.Hour)
		began := time.Now()
		spend(ratelimit.BeyondShare(t.Context()), l, 500)
		spend(t.Context(), unbound, 500)
		spend(t.Context(), l, 375) // The credit of a minute.
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %s for what was saved up", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := l.Wait(ctx); err == nil || time.Since(began) != 0 {
			t.Errorf("%v after %s, want an error at once", err, time.Since(began))
		}
		spend(t.Context(), l, 1) // The request that gave up has taken no credit.
		if waited := time.Since(began).Round(time.Millisecond); waited != 160*time.Millisecond {
			t.Errorf("waited %s for a request at 6.25 a second", waited)
		}
		if n := admitted(t, l, 10); n != 0 {
			t.Errorf("%d requests beyond the share", n)
		}
	})
}
