package refresh_test

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/refresh"
)

// TestManyWaiting holds that a listing of WAITING that takes longer than an
// interval starves nothing else, within the share of the default limit.
func TestManyWaiting(t *testing.T) {
	for name, tc := range map[string]struct {
		waiting    int
		latency    time.Duration
		production int // Requests a second.
		most       time.Duration
	}{
		"60,000 at 100 ms":             {60_000, 80 * time.Millisecond, 0, 3 * time.Minute},
		"30,000 at 200 ms":             {30_000, 180 * time.Millisecond, 0, 3 * time.Minute},
		"100,000 beside production":    {100_000, 0, 10, 5 * time.Minute}, // A turn takes 1,000 of the 6.25 requests a second.
		"few, as a race detector sees": {5_000, 80 * time.Millisecond, 10, 2 * time.Minute},
	} {
		if testing.Short() && tc.waiting > 5_000 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				limiter := refresh.NewRateLimit(time.Now).Limiter(refresh.LimiterOptions{Reserve: .5, Share: .25, Interval: time.Minute})
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
				for i := range short(2400, 1200) {
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
