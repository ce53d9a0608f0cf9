package refresh_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/refresh"
)

// bucket answers requests as the service's limiter does.
type bucket struct {
	size, left, refill int
	next               time.Time
	headers            bool
	lowest             int
}

func (b *bucket) take() client.Attempt {
	for !time.Now().Before(b.next) {
		b.left = min(b.size, b.left+b.refill)
		b.next = b.next.Add(10 * time.Second)
	}
	a := client.Attempt{Status: 200, Date: time.Now()}
	if b.left > 0 {
		b.left--
	} else {
		a.Status = 429
	}
	b.lowest = min(b.lowest, b.left)
	if b.headers {
		a.RateLimit = client.RateLimit{Limit: b.size, Remaining: b.left, Reset: b.next}
	}
	return a
}

// TestLimiter holds how fast requests go, and how much they always leave.
func TestLimiter(t *testing.T) {
	for name, tc := range map[string]struct {
		headers   bool
		reserve   float64
		within    time.Duration
		from, to  int // Requests.
		leaves    int
		startWith int
	}{
		"half is left":              {true, .5, 9 * time.Second, 375, 375, 375, 750},
		"a refill is used":          {true, .5, 19 * time.Second, 625, 625, 375, 750},
		"nothing is reserved":       {true, 0, 9 * time.Second, 750, 750, 0, 750},
		"nearly all is":             {true, .9, 9 * time.Second, 75, 75, 675, 750},
		"no headers, a modest rate": {false, .5, 10 * time.Second, 60, 125, 600, 750},
		// Others have used it up: one request a refill finds out.
		"below the reserve": {true, .5, 9 * time.Second, 1, 1, 99, 100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &bucket{size: 750, left: tc.startWith, refill: 250, next: time.Now().Add(10 * time.Second), headers: tc.headers, lowest: tc.startWith}
				l := refresh.NewLimiter(tc.reserve, time.Now)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				made, end := 0, time.Now().Add(tc.within)
				for {
					if err := l.Wait(ctx); err != nil {
						t.Fatal(err)
					}
					if time.Now().After(end) {
						break
					}
					made++
					l.Done(b.take())
				}
				if made < tc.from || made > tc.to {
					t.Errorf("%d requests in %s, want %d to %d", made, tc.within, tc.from, tc.to)
				}
				if b.lowest < tc.leaves {
					t.Errorf("left %d in the bucket, want at least %d", b.lowest, tc.leaves)
				}
			})
		})
	}
}

// TestLimiterGivesUp holds that nobody waits for a refill that comes too late.
func TestLimiterGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := refresh.NewLimiter(.5, time.Now)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := l.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		l.Done(client.Attempt{Status: 200, RateLimit: client.RateLimit{Limit: 750, Remaining: 10, Reset: time.Now().Add(9 * time.Second)}})
		began := time.Now()
		if err := l.Wait(ctx); err == nil {
			t.Error("waited for a refill after the deadline")
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("gave up only after %s", waited)
		}
	})
}

// TestLimiterComesBack holds that no answer keeps requests back for good.
func TestLimiterComesBack(t *testing.T) {
	for name, refusal := range map[string]client.Attempt{
		"Retry-After":                {Status: 429, RetryAfter: math.MaxInt64},
		"Retry-After beside headers": {Status: 429, RetryAfter: math.MaxInt64, RateLimit: client.RateLimit{Limit: 750}},
		"a reset far away":           {Status: 200, RateLimit: client.RateLimit{Limit: 750, Reset: time.UnixMilli(math.MaxInt64)}},
		"a reset of long ago":        {Status: 429, RateLimit: client.RateLimit{Limit: 750, Reset: time.UnixMilli(math.MinInt64)}},
		"a limit of one":             {Status: 200, RateLimit: client.RateLimit{Limit: 1, Remaining: 1}},
		"a limit without end":        {Status: 200, RateLimit: client.RateLimit{Limit: math.MaxInt, Remaining: math.MaxInt}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := refresh.NewLimiter(.5, time.Now)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
				defer cancel()
				for range 2 {
					if err := l.Wait(ctx); err != nil {
						t.Fatal(err)
					}
					refusal.Date = time.Now()
					l.Done(refusal)
				}
			})
		})
	}
}

// TestLimiterNotYet holds that an answer past the reset that still shows it sends
// no further request before the service's clock has come to it.
func TestLimiterNotYet(t *testing.T) {
	for name, dated := range map[string]bool{"with a Date": true, "without a Date": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const ahead = 2 * time.Second // Our clock, of the service's.
				l := refresh.NewLimiter(.5, time.Now)
				reset := time.Now().Add(10*time.Second - ahead)
				answer := client.Attempt{Status: 200, RateLimit: client.RateLimit{Limit: 750, Remaining: 375, Reset: reset}}
				waiters(t, l, 1)
				l.Done(answer) // Our clock is all there is to go by.
				time.Sleep(8 * time.Second)
				if n := waiters(t, l, 10); n != 1 {
					t.Fatalf("%d turns past the reset, want 1", n)
				}
				if dated {
					answer.Date = time.Now().Add(-ahead)
				}
				answer.RateLimit.Remaining--
				l.Done(answer)
				time.Sleep(ahead - time.Millisecond)
				if n := waiters(t, l, 10); n != 0 {
					t.Errorf("%d turns before the refill, want none", n)
				}
				time.Sleep(10 * time.Second)
				if n := waiters(t, l, 10); n != 1 {
					t.Errorf("%d turns past the refill, want 1", n)
				}
			})
		})
	}
}

// TestLimiterHeaders holds how many requests may go at once after a first answer
// and one that does not tell all.
func TestLimiterHeaders(t *testing.T) {
	full := client.RateLimit{Limit: 750, Remaining: 400}
	for name, tc := range map[string]struct {
		first  client.RateLimit
		answer client.Attempt
		want   int64 // Turns at once after it.
	}{
		"no headers, once":          {full, client.Attempt{Status: 200}, 24},
		"no answer":                 {full, client.Attempt{}, 24},
		"a gateway's error":         {full, client.Attempt{Status: 502}, 24},
		"only the reset":            {full, client.Attempt{Status: 200, RateLimit: client.RateLimit{Remaining: -1, Reset: time.Unix(946684810, 0)}}, 24},
		"no limit":                  {full, client.Attempt{Status: 200, RateLimit: client.RateLimit{Remaining: 390}}, 15},
		"a lower limit, once":       {full, client.Attempt{Status: 200, RateLimit: client.RateLimit{Limit: 500, Remaining: 390}}, 15},
		"a higher limit":            {full, client.Attempt{Status: 200, RateLimit: client.RateLimit{Limit: 770, Remaining: 390}}, 5},
		"never a limit":             {client.RateLimit{Remaining: 401}, client.Attempt{Status: 200, RateLimit: client.RateLimit{Remaining: 400}}, 25},
		"never a limit, and a lot":  {client.RateLimit{Remaining: 1000}, client.Attempt{Status: 200, RateLimit: client.RateLimit{Remaining: 999}}, 499},
		"nothing yet":               {client.RateLimit{}, client.Attempt{Status: 200}, 1},
		"nothing but errors so far": {client.RateLimit{}, client.Attempt{Status: 502}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := refresh.NewLimiter(.5, time.Now)
				waiters(t, l, 1)
				l.Done(client.Attempt{Status: 200, RateLimit: tc.first})
				waiters(t, l, 1)
				l.Done(tc.answer)
				if n := waiters(t, l, 1000); n != tc.want {
					t.Errorf("%d turns, want %d", n, tc.want)
				}
			})
		})
	}
}

// TestLimiterLastingChange holds that what answers go on to say counts in the end.
func TestLimiterLastingChange(t *testing.T) {
	for name, tc := range map[string]struct {
		answer client.RateLimit
		want   int64
	}{
		"a lower limit":       {client.RateLimit{Limit: 500, Remaining: 400}, 150},
		"no headers":          {client.RateLimit{}, 19},
		"all of them garbled": {client.RateLimit{Remaining: -1}, 19},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := refresh.NewLimiter(.5, time.Now)
				waiters(t, l, 1)
				l.Done(client.Attempt{Status: 200, RateLimit: client.RateLimit{Limit: 750, Remaining: 700}})
				for range 12 {
					time.Sleep(11 * time.Second)
					if n := waiters(t, l, 1); n != 1 {
						t.Fatalf("%d turns, want 1", n)
					}
					l.Done(client.Attempt{Status: 200, RateLimit: tc.answer})
				}
				if n := waiters(t, l, 1000); n != tc.want {
					t.Errorf("%d turns, want %d", n, tc.want)
				}
			})
		})
	}
}
