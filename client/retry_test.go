package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client"
)

// TestRetries runs on a fake clock, so the client's waits take no real time.
func TestRetries(t *testing.T) {
	const fail = -1 // No answer at all.
	for _, tc := range []struct {
		reason   string
		status   int
		header   func(now time.Time) map[string]string
		attempts int // How many are sent; all fail.
		min, max time.Duration
		want     client.Reason
	}{
		{"a dropped connection", fail, nil, 3, 0, 1500 * time.Millisecond, "network"},
		{"408", 408, nil, 3, 0, 1500 * time.Millisecond, "timeout"},
		{"500", 500, nil, 3, 0, 1500 * time.Millisecond, "server"},
		{"503", 503, nil, 3, 0, 1500 * time.Millisecond, "server"},
		{"429 without a word", 429, nil, 3, 0, 1500 * time.Millisecond, "rate_limited"},
		{"429 with zeros, which mean nothing", 429, func(time.Time) map[string]string {
			return map[string]string{"X-Ratelimit-Limit": "0", "X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": "0"}
		}, 3, 0, 1500 * time.Millisecond, "rate_limited"},
		{"429 until the reset, by our clock", 429, func(now time.Time) map[string]string {
			return map[string]string{
				"X-Ratelimit-Limit": "5", "X-Ratelimit-Remaining": "-1",
				"X-Ratelimit-Reset": strconv.FormatInt(now.Add(4*time.Second).UnixMilli(), 10),
			}
		}, 3, 8 * time.Second, 9 * time.Second, "rate_limited"},
		{"429 until the reset, by the answer's clock", 429, func(now time.Time) map[string]string {
			return map[string]string{
				"X-Ratelimit-Limit": "5", "X-Ratelimit-Remaining": "0", "Date": now.Add(-time.Hour).UTC().Format(http.TimeFormat),
				"X-Ratelimit-Reset": strconv.FormatInt(now.Add(4*time.Second-time.Hour).UnixMilli(), 10),
			}
		}, 3, 8 * time.Second, 11 * time.Second, "rate_limited"},
		{"429 with a reset that is past", 429, func(now time.Time) map[string]string {
			return map[string]string{
				"X-Ratelimit-Limit": "5", "X-Ratelimit-Remaining": "0",
				"X-Ratelimit-Reset": strconv.FormatInt(now.Add(-time.Second).UnixMilli(), 10),
			}
		}, 3, 0, 1500 * time.Millisecond, "rate_limited"},
		{
			"429 with seconds", 429, func(time.Time) map[string]string { return map[string]string{"Retry-After": "7"} }, 3,
			14 * time.Second, 15 * time.Second, "rate_limited",
		},
		{
			"503 with seconds", 503, func(time.Time) map[string]string { return map[string]string{"Retry-After": "7"} }, 3,
			14 * time.Second, 15 * time.Second, "server",
		},
		{"429 with a date", 429, func(now time.Time) map[string]string {
			return map[string]string{"Retry-After": now.Add(7 * time.Second).UTC().Format(http.TimeFormat)}
		}, 3, 13 * time.Second, 15 * time.Second, "rate_limited"},
		{
			"429 with a day: bounded", 429,
			func(time.Time) map[string]string { return map[string]string{"Retry-After": "86400"} }, 3, 2 * time.Minute,
			2 * time.Minute, "rate_limited",
		},
		{"400 would be refused again", 400, nil, 1, 0, 0, "bad_request"},
		{"401 would be refused again", 401, nil, 1, 0, 0, "auth"},
		{"403 would be refused again", 403, nil, 1, 0, 0, "auth"},
		{"404 would be refused again", 404, nil, 1, 0, 0, "bad_request"},
		{"422 would be refused again", 422, nil, 1, 0, 0, "bad_request"},
		{"an invalid answer stays one", 200, nil, 1, 0, 0, "invalid_response"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limiter := &countingLimiter{}
				observed := 0
				c := newClient(t, client.Options{
					Limiter: limiter,
					Observe: func(client.Attempt) { observed++ },
					Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
						if tc.status == fail {
							return nil, syscall.ECONNRESET
						}
						return served(func(w http.ResponseWriter, _ *http.Request) {
							if tc.header != nil {
								for name, value := range tc.header(time.Now()) {
									w.Header().Set(name, value)
								}
							}
							w.WriteHeader(tc.status)
						})(r)
					}),
				})
				start := time.Now()
				_, err := c.Pager(client.ListOptions{}).Next(t.Context())
				wantReason(t, err, tc.want)
				e := asError(t, err)
				if took := time.Since(start); took < tc.min || took > tc.max {
					t.Errorf("took %s, want %s to %s", took, tc.min, tc.max)
				}
				if e.Attempts != tc.attempts || observed != tc.attempts ||
					int(limiter.waits.Load()) != tc.attempts || int(limiter.dones.Load()) != tc.attempts {
					t.Errorf("%d attempts, %d observed, limiter %d and %d, want %d", e.Attempts, observed,
						limiter.waits.Load(), limiter.dones.Load(), tc.attempts)
				}
			})
		})
	}
}

func TestRetrySucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c := newClient(t, client.Options{Transport: served(func(w http.ResponseWriter, _ *http.Request) {
			if n++; n < 3 {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			_, _ = io.WriteString(w, body("", "a"))
		})})
		ids, err := collect(t, c, client.ListOptions{})
		if err != nil || len(ids) != 1 {
			t.Errorf("%v, %v", ids, err)
		}
	})
}

func TestBackoffIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times []time.Time
		c := newClient(t, client.Options{
			MaxAttempts: 40,
			Transport: served(func(w http.ResponseWriter, _ *http.Request) {
				times = append(times, time.Now())
				w.WriteHeader(http.StatusInternalServerError)
			}),
		})
		_, err := collect(t, c, client.ListOptions{})
		wantReason(t, err, client.ReasonServer)
		distinct := map[time.Duration]bool{}
		for i := 1; i < len(times); i++ {
			wait := times[i].Sub(times[i-1])
			distinct[wait] = true
			if bound := min(500*time.Millisecond<<min(i-1, 10), 10*time.Second); wait > bound {
				t.Errorf("wait %d: %s, over %s", i, wait, bound)
			}
		}
		if len(times) != 40 || len(distinct) < 30 {
			t.Errorf("%d attempts, %d distinct waits: no jitter", len(times), len(distinct))
		}
	})
}

func TestRetryHeedsTheContext(t *testing.T) {
	limited := served(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "20")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	t.Run("no wait beyond the deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			start := time.Now()
			_, err := newClient(t, client.Options{Transport: limited}).Pager(client.ListOptions{}).Next(ctx)
			wantReason(t, err, client.ReasonRateLimited)
			if took := time.Since(start); took != 0 {
				t.Errorf("took %s", took)
			}
		})
	})
	t.Run("cancelled in a wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(5*time.Second, cancel)
			start := time.Now()
			_, err := newClient(t, client.Options{Transport: limited}).Pager(client.ListOptions{}).Next(ctx)
			wantReason(t, err, client.ReasonTimeout)
			if took := time.Since(start); took != 5*time.Second || !errors.Is(err, context.Canceled) {
				t.Errorf("took %s, %v", took, err)
			}
		})
	})
	hang := roundTripper(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	t.Run("deadline in a request", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			start := time.Now()
			_, err := newClient(t, client.Options{Transport: hang}).Pager(client.ListOptions{}).Next(ctx)
			wantReason(t, err, client.ReasonTimeout)
			if took := time.Since(start); took != 10*time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("took %s, %v", took, err)
			}
		})
	})
	t.Run("each request has its own timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			_, err := newClient(t, client.Options{Transport: hang}).Pager(client.ListOptions{}).Next(t.Context())
			wantReason(t, err, client.ReasonTimeout)
			if took := time.Since(start); took < 90*time.Second || took > 92*time.Second {
				t.Errorf("took %s, want three times 30s and two waits", took)
			}
		})
	})
}

func TestLimiterRefuses(t *testing.T) {
	limiter := &countingLimiter{err: errors.New("would exceed the context's deadline")}
	c := newClient(t, client.Options{
		Limiter: limiter,
		Observe: func(client.Attempt) { t.Error("an attempt was made") },
		Transport: served(func(http.ResponseWriter, *http.Request) {
			t.Error("a request was sent")
		}),
	})
	_, err := collect(t, c, client.ListOptions{})
	wantReason(t, err, client.ReasonRateLimited)
	if !errors.Is(err, limiter.err) || limiter.dones.Load() != 0 || limiter.waits.Load() != 1 {
		t.Errorf("%v, limiter %d and %d", err, limiter.waits.Load(), limiter.dones.Load())
	}
}

// waitingLimiter waits for the end of the context.
type waitingLimiter struct{ countingLimiter }

func (*waitingLimiter) Wait(ctx context.Context) error {
	<-ctx.Done()
	return errors.New("gave up")
}

func TestCancelledAtTheLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := newClient(t, client.Options{Limiter: &waitingLimiter{}}).Pager(client.ListOptions{}).Next(ctx)
		wantReason(t, err, client.ReasonTimeout)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
