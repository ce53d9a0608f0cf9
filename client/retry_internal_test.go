package client

import (
	"errors"
	"math"
	"net/http"
	"testing"
	"time"
)

// TestRetryDelay checks the wait between attempts: the time that the answer requests,
// otherwise twice as long each time, up to a bound.
func TestRetryDelay(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	refused := func(reset, date time.Time) Attempt {
		return Attempt{Status: http.StatusTooManyRequests, Date: date, RateLimit: RateLimit{Limit: 750, Reset: reset}}
	}
	for name, tc := range map[string]struct {
		n       int
		attempt Attempt
		jitter  float64
		want    time.Duration
	}{
		"first":                    {1, Attempt{}, 1, 500 * time.Millisecond},
		"second":                   {2, Attempt{}, 1, time.Second},
		"fourth":                   {4, Attempt{}, 1, 4 * time.Second},
		"sixth, at the bound":      {6, Attempt{}, 1, 10 * time.Second},
		"hundredth":                {100, Attempt{}, 1, 10 * time.Second},
		"half the jitter":          {3, Attempt{}, .5, time.Second},
		"Retry-After":              {1, Attempt{RetryAfter: 7 * time.Second}, 0, 7 * time.Second},
		"Retry-After, spread":      {1, Attempt{RetryAfter: 7 * time.Second}, 1, 7*time.Second + 500*time.Millisecond},
		"Retry-After of a day":     {1, Attempt{RetryAfter: 24 * time.Hour}, 0, time.Minute},
		"Retry-After of 292 years": {1, Attempt{RetryAfter: math.MaxInt64}, 1, time.Minute},
		"429 until the reset":      {1, refused(now.Add(4*time.Second), time.Time{}), 0, 4 * time.Second},
		"429, the service's clock ahead": {
			1, refused(now.Add(time.Hour+4*time.Second), now.Add(time.Hour)), 0,
			4 * time.Second,
		},
		"429 until the year 9999": {
			1, refused(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Time{}), 1,
			time.Minute,
		},
		"429, the reset is past": {2, refused(now.Add(-time.Second), time.Time{}), 1, time.Second},
		"503 does not wait for a reset": {1, Attempt{
			Status:    503,
			RateLimit: RateLimit{Limit: 750, Reset: now.Add(time.Minute)},
		}, 1, 500 * time.Millisecond},
	} {
		if got := retryDelay(tc.n, tc.attempt, now, tc.jitter); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

// TestWalkIsBounded checks that an endless walk ends with ErrEndless.
func TestWalkIsBounded(t *testing.T) {
	c, err := New(Options{APIURL: "http://api.test", Key: func() (string, error) { return "tr_dev_0123456789", nil }})
	if err != nil {
		t.Fatal(err)
	}
	p := c.Pager(ListOptions{})
	p.pages = maxPages
	if _, err := p.Next(t.Context()); !errors.Is(err, ErrEndless) || ReasonOf(err) != ReasonInvalidResponse {
		t.Error(err)
	}
}
