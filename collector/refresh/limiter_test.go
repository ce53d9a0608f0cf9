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
