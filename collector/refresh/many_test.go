package refresh_test

import (
	"flag"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/ratelimit"
	"waitpoint_exporter/collector/refresh"
	"waitpoint_exporter/test/size"
)

// TestManyWaiting checks that a listing of WAITING that takes longer than an interval
// starves no other task, within the share of the default limit.
func TestManyWaiting(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		waiting    int
		latency    time.Duration
		production int // Requests a second.
		most       time.Duration
	}{
		"60,000 at 100 ms":          {60_000, 80 * time.Millisecond, 0, 3 * time.Minute},
		"30,000 at 200 ms":          {30_000, 180 * time.Millisecond, 0, 3 * time.Minute},
		"100,000 beside production": {100_000, 0, 10, 4 * time.Minute}, // 1,000 pages and 60 look-ups a minute, at 375 a minute.
		"5,000 beside production":   {5_000, 80 * time.Millisecond, 10, 2 * time.Minute},
	} {
		if !size.Full() && tc.waiting > 5_000 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				limiter := ratelimit.New(time.Now).Limiter(ratelimit.Options{Reserve: .5, Share: .25, Interval: time.Minute})
				w := startWith(t, limiter, simulator.EnvironmentOptions{}, refresh.Options{VerifyInterval: 24 * time.Hour},
					func(next http.RoundTripper) http.RoundTripper { return next },
					func(e *simulator.Environment) {
						e.Populate(simulator.Population{Seed: 1, Tokens: 2 * tc.waiting, Waiting: tc.waiting})
					})
				defer w.stop()
				w.service.Inject(simulator.Fault{Kind: simulator.FaultSlow, Delay: tc.latency})
				rng := rand.New(rand.NewPCG(1, 1))
				waits := slices.DeleteFunc(w.truth.Tokens(), func(t simulator.Token) bool { return t.Status != "WAITING" })
				var (
					begun            = time.Now()
					loaded, oldest   time.Duration
					refused, pending int
				)
				for i := range size.Of(1200, 2400) {
					refused += w.truth.Take(tc.production)
					j := rng.IntN(len(waits))
					w.truth.Finish(waits[j].ID, "COMPLETED")
					waits[j].ID = w.truth.Add(simulator.Token{CreatedAt: time.Now(), Tags: []string{"new"}})[0]
					time.Sleep(time.Second)
					s := w.subject.Snapshot()
					if s == nil {
						continue
					}
					if s.Loaded && loaded == 0 {
						loaded = time.Since(begun)
					}
					if i > 900 {
						oldest = max(oldest, time.Since(s.At))
					}
					pending = max(pending, s.Unresolved)
				}
				t.Logf("loaded after %s, oldest look %s, %d unresolved at most, %d requests", loaded, oldest, pending, w.truth.Count())
				if loaded == 0 || loaded > 15*time.Minute || oldest > tc.most || pending >= 100 || !w.subject.State().Up {
					t.Errorf("want loaded within 15 minutes, a look of at most %s, under 100 unresolved: %s", tc.most, w.subject.State().Err)
				}
				if n := w.truth.Refused(); refused > 0 || n > 0 {
					t.Errorf("production was refused %d times, the exporter %d times", refused, n)
				}
			})
		})
	}
}

var steady = flag.Int("steady", size.Of(2_000, 20_000), "WAITING tokens in TestSteadyUse")

// leastRemaining records the lowest remaining of the rate limit that answers report.
type leastRemaining struct {
	http.RoundTripper

	least atomic.Int64
}

func (l *leastRemaining) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	remaining, err := strconv.ParseInt(resp.Header.Get("X-Ratelimit-Remaining"), 10, 64)
	for least := l.least.Load(); remaining < least && !l.least.CompareAndSwap(least, remaining); {
		least = l.least.Load()
	}
	return resp, err
}

// TestSteadyUse checks that an environment whose listing of WAITING takes more than
// its share of the limit uses that share, and no more, over an hour after its load.
// The load and the hour leave the reserve. A smaller size has a smaller limit.
func TestSteadyUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const share = .25
		n := *steady
		limit := simulator.Limit{Size: 750 * n / 100_000, Refill: 250 * n / 100_000, Every: 10 * time.Second}
		remaining := new(leastRemaining)
		remaining.least.Store(int64(limit.Size))
		limiter := ratelimit.New(time.Now).Limiter(ratelimit.Options{Reserve: .5, Share: share, Interval: time.Minute})
		w := startWith(t, limiter, simulator.EnvironmentOptions{Limit: limit}, refresh.Options{VerifyInterval: 24 * time.Hour},
			func(next http.RoundTripper) http.RoundTripper {
				remaining.RoundTripper = next
				return remaining
			},
			func(e *simulator.Environment) {
				e.Populate(simulator.Population{Seed: 1, Tokens: n * 11 / 10, Waiting: n})
			})
		defer w.stop()
		w.service.Inject(simulator.Fault{Kind: simulator.FaultSlow, Delay: 80 * time.Millisecond})
		for range 900 {
			if s := w.subject.Snapshot(); s != nil && s.Loaded {
				break
			}
			time.Sleep(time.Second)
		}
		if s := w.subject.Snapshot(); s == nil || !s.Loaded {
			t.Fatal("not loaded within 15 minutes")
		}
		before := w.truth.Count()
		time.Sleep(time.Hour)
		used, most := w.truth.Count()-before, share*float64(limit.Refill)*3600/limit.Every.Seconds()
		least := remaining.least.Load()
		t.Logf("%d WAITING: %d requests in an hour, %.3f of the share; at least %d of %d remained",
			n, used, float64(used)/most, least, limit.Size)
		if float64(used) > 1.05*most || float64(used) < .8*most {
			t.Errorf("%d requests in an hour, want about %g", used, most)
		}
		if reserve := int64(limit.Size+1) / 2; least < reserve || !w.subject.State().Up {
			t.Errorf("at least %d remained of a reserve of %d; %s", least, reserve, w.subject.State().Err)
		}
	})
}

// TestGrown checks that the WAITING tokens stay fresh enough to be shown when, since
// the history was loaded, they have become so many that a listing takes many intervals:
// 3,000 pages within the staleness limit of ten minutes, beside look-ups, with the
// default share of the default limit.
func TestGrown(t *testing.T) {
	most, growth := size.Of(4_000, 300_000), time.Duration(size.Of(10, 120))*time.Minute
	synctest.Test(t, func(t *testing.T) {
		limiter := ratelimit.New(time.Now).Limiter(ratelimit.Options{Reserve: .5, Share: .25, Interval: time.Minute})
		w := startWith(t, limiter, simulator.EnvironmentOptions{}, refresh.Options{VerifyInterval: 24 * time.Hour},
			func(next http.RoundTripper) http.RoundTripper { return next },
			func(e *simulator.Environment) { e.Populate(simulator.Population{Seed: 1, Tokens: 5000, Waiting: 1000}) })
		defer w.stop()
		w.service.Inject(simulator.Fault{Kind: simulator.FaultSlow, Delay: 80 * time.Millisecond})
		time.Sleep(2 * time.Minute)
		var (
			rng        = rand.New(rand.NewPCG(1, 1))
			begun      = time.Now()
			waits      []string
			finishedAt = map[string]time.Time{}
			added      int
			oldest     time.Duration
			unresolved int
		)
		for time.Since(begun) < growth+time.Duration(size.Of(10, 40))*time.Minute {
			for ; added < min(most, int(float64(most)*time.Since(begun).Seconds()/growth.Seconds())); added++ {
				waits = append(waits, w.truth.Add(simulator.Token{CreatedAt: time.Now(), Tags: []string{"new"}})[0])
			}
			if len(waits) > 100 {
				j := rng.IntN(len(waits))
				w.truth.Finish(waits[j], "COMPLETED")
				finishedAt[waits[j]] = time.Now()
				waits[j] = waits[len(waits)-1]
				waits = waits[:len(waits)-1]
			}
			time.Sleep(time.Second)
			synctest.Wait()
			s := w.subject.Snapshot()
			oldest, unresolved = max(oldest, time.Since(s.At)), max(unresolved, s.Unresolved)
			if time.Since(s.At) > w.opts.MaxStaleness {
				t.Fatalf("%d WAITING, the oldest look is %s old", len(waits), time.Since(s.At))
			}
		}
		t.Logf("%d WAITING, oldest look %s, at most %d unresolved, %d requests", len(waits), oldest, unresolved, w.truth.Count())
		for _, token := range w.subject.Snapshot().Tokens {
			if at, ok := finishedAt[token.ID]; ok && time.Since(at) > 2*oldest+time.Minute {
				t.Errorf("%s finished %s ago, and is shown as WAITING", token.ID, time.Since(at))
			}
		}
		if n := w.truth.Refused(); n > 0 || unresolved > 200 {
			t.Errorf("%d requests were refused, %d tokens unresolved", n, unresolved)
		}
	})
}
