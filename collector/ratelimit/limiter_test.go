package ratelimit_test

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/ratelimit"
)

// newLimiter returns a Limiter with its own Limit and no share.
func newLimiter(reserve float64) *ratelimit.Limiter {
	return ratelimit.New(time.Now).Limiter(ratelimit.Options{Reserve: reserve})
}

type limit = client.RateLimit

// ok is an answer with these headers.
func ok(r limit) client.Attempt { return client.Attempt{Status: 200, RateLimit: r} }

// slow is ok, a second after the request.
func slow(r limit) client.Attempt {
	return client.Attempt{Status: 200, RateLimit: r, Duration: time.Second}
}

// report is an answer that reports the whole state of the default limit.
func report(remaining int, reset time.Time) client.Attempt {
	return ok(limit{Limit: 750, Remaining: remaining, Reset: reset})
}

// datedReport is a report with a Date.
func datedReport(remaining int, date, reset time.Time) client.Attempt {
	a := report(remaining, reset)
	a.Date = date
	return a
}

// wantAdmitted fails the test unless n of ten requests are admitted at once.
func wantAdmitted(t *testing.T, l *ratelimit.Limiter, n int, when string) {
	t.Helper()
	if got := admitted(t, l, 10); got != n {
		t.Fatalf("%s: %d requests admitted, want %d", when, got, n)
	}
}

// TestReserve checks how many requests are admitted, and how many they always leave.
func TestReserve(t *testing.T) {
	for name, tc := range map[string]struct {
		garble   float64
		reserve  float64
		within   time.Duration
		from, to int // Requests.
		leaves   int
		left     int // At the start.
	}{
		"half is left":              {0, .5, 9 * time.Second, 375, 375, 375, 750},
		"a refill is used":          {0, .5, 19 * time.Second, 625, 625, 375, 750},
		"nothing is reserved":       {0, 0, 9 * time.Second, 750, 750, 0, 750},
		"nearly all is":             {0, .9, 9 * time.Second, 75, 75, 675, 750},
		"no headers, a modest rate": {1, .5, 10 * time.Second, 60, 125, 600, 750},
		// Others have used up the rest: one probe a step.
		"below the reserve": {0, .5, 9 * time.Second, 1, 1, 99, 100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(750, 250, 10*time.Second, 0)
				s.left, s.lowest, s.next = tc.left, tc.left, time.Now().Add(10*time.Second)
				l := newLimiter(tc.reserve)
				made := 0
				for end := time.Now().Add(tc.within); ; made++ {
					if err := l.Wait(t.Context()); err != nil {
						t.Fatal(err)
					}
					if time.Now().After(end) {
						break
					}
					a, _ := s.serve(0)
					if tc.garble > 0 {
						a.RateLimit = limit{}
					}
					l.Done(a)
				}
				if made < tc.from || made > tc.to || s.lowest < tc.leaves {
					t.Errorf("%d requests in %s left %d, want %d to %d that leave %d",
						made, tc.within, s.lowest, tc.from, tc.to, tc.leaves)
				}
			})
		})
	}
}

// TestGivesUp checks that no request waits for a refill that comes too late for it.
func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(.5)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := l.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		l.Done(report(10, time.Now().Add(9*time.Second)))
		began := time.Now()
		if err := l.Wait(ctx); err == nil || time.Since(began) > 0 {
			t.Errorf("%v after %s, want an error at once", err, time.Since(began))
		}
	})
}

// TestComesBack checks that no answer stops requests for ever.
func TestComesBack(t *testing.T) {
	for name, answer := range map[string]client.Attempt{
		"Retry-After":                {Status: 429, RetryAfter: math.MaxInt64},
		"Retry-After beside headers": {Status: 429, RetryAfter: math.MaxInt64, RateLimit: limit{Limit: 750}},
		"a reset far away":           {Status: 200, RateLimit: limit{Limit: 750, Reset: time.UnixMilli(math.MaxInt64)}},
		"a reset of long ago":        {Status: 429, RateLimit: limit{Limit: 750, Reset: time.UnixMilli(math.MinInt64)}},
		"a limit of one":             {Status: 200, RateLimit: limit{Limit: 1, Remaining: 1}},
		"a limit without end":        {Status: 200, RateLimit: limit{Limit: math.MaxInt, Remaining: math.MaxInt}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(.5)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
				defer cancel()
				began := time.Now()
				for range 2 {
					if err := l.Wait(ctx); err != nil {
						t.Fatal(err)
					}
					answer.Date = time.Now()
					l.Done(answer)
				}
				if waited := time.Since(began); answer.RetryAfter > 0 && waited != time.Hour {
					t.Errorf("a pause of %s, want an hour", waited)
				}
			})
		})
	}
}

// TestSlowClock checks that after an answer showing that the service's clock has not
// reached the reset, no request is sent before it certainly has.
func TestSlowClock(t *testing.T) {
	for name, dateKnown := range map[string]bool{"with a Date": true, "without a Date": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const ahead = 2 * time.Second // How far our clock is ahead of the service's.
				l := newLimiter(.5)
				reset := time.Now().Add(10*time.Second - ahead)
				wantAdmitted(t, l, 1, "before any answer")
				l.Done(report(375, reset)) // It has no Date, so only our clock is known.
				time.Sleep(8 * time.Second)
				wantAdmitted(t, l, 1, "past the reset")
				answer := report(374, reset)
				if dateKnown {
					answer.Date = time.Now().Add(-ahead)
				}
				l.Done(answer)
				time.Sleep(ahead - time.Millisecond)
				wantAdmitted(t, l, 0, "before the refill")
				time.Sleep(10 * time.Second)
				wantAdmitted(t, l, 1, "past the refill")
			})
		})
	}
}

// TestHeaders checks how many requests are admitted after a full first answer and a
// second one with an incomplete report.
func TestHeaders(t *testing.T) {
	full := limit{Limit: 750, Remaining: 400}
	for name, tc := range map[string]struct {
		first  limit
		answer client.Attempt
		want   int
	}{
		"no headers, once":    {full, client.Attempt{Status: 200}, 24},
		"no answer":           {full, client.Attempt{}, 24},
		"a gateway's error":   {full, client.Attempt{Status: 502}, 24},
		"only the reset":      {full, ok(limit{Remaining: -1, Reset: time.Unix(946684810, 0)}), 24},
		"no limit":            {full, ok(limit{Remaining: 390}), 15},
		"a lower limit, once": {full, ok(limit{Limit: 500, Remaining: 390}), 15},
		"a higher limit":      {full, ok(limit{Limit: 770, Remaining: 390}), 5},
		"a time for a limit":  {full, ok(limit{Limit: 946684810, Remaining: 390}), 15},
		// Its reserve would be more than ever remains.
		"a limit of many times what remains": {limit{}, ok(limit{Limit: 750_000, Remaining: 749}), 374},
		"the largest limit":                  {limit{}, ok(limit{Limit: 100_000_000, Remaining: 749}), 374},
		"a large limit, mostly used up":      {limit{}, ok(limit{Limit: 15_000, Remaining: 750}), 0},
		"a large limit that was full": {
			limit{Limit: 150_000, Remaining: 100_000}, ok(limit{Limit: 150_000, Remaining: 749}), 0,
		},
		// The request without a report may have drawn after the other's report was
		// made.
		"an answer meanwhile was silent": {limit{}, slow(full), 24},
		"a time for what remains":        {full, ok(limit{Remaining: 946684810}), 24},
		"never a limit":                  {limit{Remaining: 401}, ok(limit{Remaining: 400}), 25},
		"never a limit, and a lot":       {limit{Remaining: 1000}, ok(limit{Remaining: 999}), 499},
		"nothing yet":                    {limit{}, client.Attempt{Status: 200}, 1},
		"nothing but errors so far":      {limit{}, client.Attempt{Status: 502}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(.5)
				for _, answer := range []client.Attempt{{Status: 200, RateLimit: tc.first}, tc.answer} {
					admitted(t, l, 1)
					l.Done(answer)
				}
				if n := admitted(t, l, 1000); n != tc.want {
					t.Errorf("%d requests at once, want %d", n, tc.want)
				}
			})
		})
	}
}

// TestLastingChange checks that a change counts once many answers agree on it. Without
// reports requests are sent one at a time.
func TestLastingChange(t *testing.T) {
	for name, tc := range map[string]struct {
		answer limit
		n      int
		want   int // At once.
	}{
		"a lower limit":       {limit{Limit: 500, Remaining: 400}, 12, 150},
		"not lasting yet":     {limit{}, 20, 0},
		"no headers":          {limit{}, 30, 1},
		"all of them garbled": {limit{Remaining: -1}, 30, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(.5)
				admitted(t, l, 1)
				l.Done(ok(limit{Limit: 750, Remaining: 376}))
				for range tc.n {
					time.Sleep(11 * time.Second)
					admitted(t, l, 1)
					l.Done(ok(tc.answer))
				}
				if n := admitted(t, l, 1000); n != tc.want {
					t.Errorf("%d requests at once, want %d", n, tc.want)
				}
			})
		})
	}
}

// TestGateways checks that no value that a gateway puts into a header in place of the
// service's takes from the reserve or stops the exporter, and that the service's own
// reports count again once the gateway is gone.
func TestGateways(t *testing.T) {
	const noSize, noReset, span = -1, -2, 2 * time.Minute
	for name, tc := range map[string]struct {
		limit      int // What the gateway sends; 0 for the service's.
		remaining  []int
		reset      time.Duration // From now on.
		production float64       // Requests a second.
		from       int           // Requests.
	}{
		"the remaining of a full bucket": {remaining: []int{749}, from: 1000},
		"beside production":              {remaining: []int{749}, production: 10, from: 1000},
		"a remaining without a limit":    {limit: noSize, remaining: []int{749}, from: 1000},
		"a remaining without a reset":    {remaining: []int{749}, reset: noReset, from: 1000},
		"a reset that moves on":          {remaining: []int{749}, reset: time.Minute, from: 1000},
		"another limit":                  {limit: 10, remaining: []int{9}, from: 1000},
		"another limit without a reset":  {limit: 10, remaining: []int{9}, reset: noReset, from: 1000},
		"a remaining that rises":         {remaining: []int{400, 500, 600, 700}, from: 1000},
		"every second answer":            {remaining: []int{749, 0}, from: 1000},
		"a limit in other units":         {limit: 750_000, from: 2000},
		"a limit without end":            {limit: 100_000_000, from: 2000},
		"the service alone":              {from: 2000},
		"the service beside production":  {production: 20, from: 500},
		"an empty bucket":                {production: 30, from: 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newService(750, 250, 10*time.Second, 0)
				s.latency, s.rng, s.floor = 40*time.Millisecond, rand.New(rand.NewPCG(1, 2)), 375
				answers := 0
				s.gateway = func(r *limit) {
					switch tc.limit {
					case 0:
					case noSize:
						r.Limit = 0
					default:
						r.Limit = tc.limit
					}
					if n := len(tc.remaining); n > 0 && tc.remaining[answers%n] > 0 {
						r.Remaining = tc.remaining[answers%n]
					}
					answers++
					if tc.reset == noReset {
						r.Reset = time.Time{}
					} else if tc.reset > 0 {
						r.Reset = s.clock().Add(tc.reset)
					}
				}
				limit := ratelimit.New(time.Now)
				run := func() {
					ctx, cancel := context.WithTimeout(t.Context(), span)
					defer cancel()
					var group sync.WaitGroup
					for range 4 {
						group.Go(func() { s.list(ctx, limit.Limiter(ratelimit.Options{Reserve: .5})) })
					}
					group.Go(func() { s.produce(ctx, tc.production) })
					group.Wait()
				}
				run()
				if s.served < tc.from {
					t.Errorf("%d requests in %s, want %d", s.served, span, tc.from)
				}
				// Production may need the reserve, and nobody can know of it without reports.
				if tc.production < 15 && s.lowest < s.floor || tc.production < 30 && s.refused > 0 {
					t.Errorf("%d left, %d refused", s.lowest, s.refused)
				}
				s.gateway, s.served = nil, 0
				run()
				if tc.production == 0 && s.served < 2000 {
					t.Errorf("%d requests in %s without the gateway, want 2000", s.served, span)
				}
			})
		})
	}
}

// TestPause checks that an answer to an earlier request does not end the pause that a
// refusal requests.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(.5)
		wantAdmitted(t, l, 1, "before any answer")
		l.Done(report(400, time.Now().Add(10*time.Second)))
		wantAdmitted(t, l, 10, "400 of 750 left")
		l.Done(client.Attempt{Status: 429, RetryAfter: time.Minute})
		for range 9 {
			l.Done(report(399, time.Now().Add(10*time.Second)))
		}
		time.Sleep(time.Minute - time.Millisecond)
		wantAdmitted(t, l, 0, "before the end of the pause")
		time.Sleep(time.Millisecond)
		wantAdmitted(t, l, 1, "after the pause")
	})
}

// TestOutOfOrder checks that a late answer does not hide that later requests have drawn.
func TestOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(.5)
		reset := time.Now().Add(10 * time.Second)
		for _, remaining := range []int{400, 376, 399} {
			if n := admitted(t, l, 1); n != 1 {
				t.Fatalf("%d requests with %d left", n, remaining)
			}
			l.Done(report(remaining, reset))
		}
		wantAdmitted(t, l, 1, "376 of 750 left, half reserved")
	})
}

// TestLateAnswer checks that the answer to a request that was sent before a refill was
// due does not show the refill.
func TestLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(.5)
		wantAdmitted(t, l, 1, "before any answer")
		l.Done(report(400, time.Time{}))
		wantAdmitted(t, l, 10, "400 of 750 left")
		for range 9 {
			l.Done(report(376, time.Time{}))
		}
		time.Sleep(11 * time.Second)
		late := report(399, time.Time{})
		late.Duration = 11 * time.Second
		l.Done(late)
		wantAdmitted(t, l, 1, "after the late answer")
	})
}

// TestProbe checks that after a refill that no answer has shown yet, a single request
// finds out what remains.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(.5)
		wantAdmitted(t, l, 1, "before any answer")
		l.Done(report(100, time.Now().Add(10*time.Second)))
		wantAdmitted(t, l, 0, "100 of 750 left, half reserved")
		time.Sleep(11 * time.Second)
		wantAdmitted(t, l, 1, "past the refill")
		l.Done(client.Attempt{})
		wantAdmitted(t, l, 0, "after a request without an answer")
		time.Sleep(10 * time.Second)
		wantAdmitted(t, l, 1, "a refill later")
	})
}

// TestClocks checks that requests leave the reserve, and do not stop, when the service's
// clock is set.
func TestClocks(t *testing.T) {
	for name, ahead := range map[string]time.Duration{
		"50 s behind": -50 * time.Second, "1 h behind": -time.Hour, "10 years behind": -10 * 365 * 24 * time.Hour,
		"50 s ahead": 50 * time.Second, "1 h ahead": time.Hour, "290 years ahead": 290 * 365 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(.5)
				wantAdmitted(t, l, 1, "before any answer")
				l.Done(datedReport(100, time.Now(), time.Now().Add(10*time.Second)))
				for range 3 {
					wantAdmitted(t, l, 0, "before the refill")
					time.Sleep(10 * time.Second)
					wantAdmitted(t, l, 1, "past the refill")
					now := time.Now().Add(ahead)
					l.Done(datedReport(100, now, now.Add(10*time.Second)))
				}
			})
		})
	}
}
