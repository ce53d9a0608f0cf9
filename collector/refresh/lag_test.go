package refresh_test

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/refresh"
	"waitpoint_exporter/test/size"
)

// Lagging replicas, within the documented lag and beyond it.

// finishedCount returns the number of tokens in wait_duration_seconds.
func (w *world) finishedCount(t *testing.T) uint64 {
	t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var n uint64
	for _, f := range families {
		if f.GetName() == "triggerdev_waitpoint_wait_duration_seconds" {
			for _, m := range f.GetMetric() {
				n += m.GetHistogram().GetSampleCount()
			}
		}
	}
	return n
}

// TestPagesOfALaggingReplica checks that single pages from a replica that lags by five minutes
// neither remove tokens nor make any count twice.
func TestPagesOfALaggingReplica(t *testing.T) {
	t.Parallel()
	const behind = 5 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		replica := simulator.New(simulator.Options{Seed: 7, Latency: 20 * time.Millisecond})
		old := replica.Environment(simulator.EnvironmentOptions{Key: key})
		var lying atomic.Bool
		var n atomic.Int64
		w := startOver(t, simulator.EnvironmentOptions{}, refresh.Options{VerifyInterval: 20 * time.Minute}, func(next http.RoundTripper) http.RoundTripper {
			return between{next, plain{simulator.Transport(replica)}, func(r *http.Request) bool {
				return lying.Load() && !r.URL.Query().Has("filter[status]") && n.Add(1)%4 == 0
			}}
		}, func(e *simulator.Environment) {
			e.Populate(simulator.Population{Seed: 1, Tokens: 2000, Waiting: 250})
		})
		defer w.stop()
		for _, token := range w.truth.Tokens() {
			old.Add(token)
		}
		time.Sleep(90 * time.Second)
		f := &flow{w: w}
		rng := rand.New(rand.NewPCG(1, 1))
		var finished uint64
		for i := range size.Of(360, 6*720) { // Six hours.
			token := simulator.Token{CreatedAt: time.Now(), Tags: []string{"waits"}}
			token.ID = w.truth.Add(token)[0]
			waits := slices.DeleteFunc(w.truth.Tokens(), func(t simulator.Token) bool { return t.Status != "WAITING" })
			id := waits[rng.IntN(len(waits))].ID
			w.truth.Finish(id, "COMPLETED")
			f.created++
			finished++
			time.AfterFunc(behind, func() { old.Add(token); old.Finish(id, "COMPLETED") })
			lying.Store(i > 120)
			time.Sleep(5 * time.Second)
		}
		lying.Store(false)
		time.Sleep(time.Hour)
		f.check(t, "an hour later")
		if n := w.finishedCount(t); n != finished {
			t.Errorf("%d tokens in wait_duration_seconds, %d finished", n, finished)
		}
	})
}

// TestFinishedOutsideWindow checks that tokens that finish after they have left the
// window count once, even if replicas disagree for a while, new tokens appear among
// them, and some look-ups get an empty page.
func TestFinishedOutsideWindow(t *testing.T) {
	t.Parallel()
	const period = 20 * time.Minute
	for _, besides := range []string{"nothing", "new ids", "empty pages"} {
		t.Run(besides, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, simulator.EnvironmentOptions{Lag: 25 * time.Second}, refresh.Options{Interval: 10 * time.Second, Period: period, VerifyInterval: 24 * time.Hour}, func(e *simulator.Environment) {
					e.Populate(simulator.Population{Seed: 1, Tokens: 500, Waiting: 200, Span: 12 * time.Hour})
				})
				defer w.stop()
				time.Sleep(90 * time.Second)
				f := &flow{w: w}
				finished := w.finishedCount(t) // A replica may have shown one of the last as WAITING.
				rng := rand.New(rand.NewPCG(1, 1))
				n := size.Of(60, 2000)
				finish := func(most int) {
					for _, token := range w.truth.Tokens() {
						if token.Status == "WAITING" && token.CreatedAt.Before(time.Now().Add(-period)) && rng.IntN(most) == 0 {
							w.truth.Finish(token.ID, "COMPLETED")
							finished++
						}
					}
				}
				for range n / 10 {
					for i := range 10 {
						token := simulator.Token{CreatedAt: time.Now(), Tags: []string{"waits"}}
						if besides == "new ids" {
							token.ID = newShape(token.CreatedAt, i)
						}
						w.truth.Add(token)
						f.created++
					}
					if besides == "empty pages" {
						w.service.Inject(simulator.Fault{Kind: simulator.FaultBody, Body: `{"data":[],"pagination":{}}`, Match: looksUp, Times: 1})
					}
					finish(40)
					time.Sleep(20 * time.Second)
				}
				check := func(when string) {
					time.Sleep(5 * time.Minute)
					f.check(t, when)
					if n := w.finishedCount(t); n != finished {
						t.Errorf("%s: %d tokens in wait_duration_seconds, %d finished", when, n, finished)
					}
				}
				check("when some have finished")
				time.Sleep(period)
				finish(1)
				check("when all have finished")
				for _, r := range w.service.Requests() {
					q := r.Query
					if !q.Has("page[after]") && q.Has("filter[createdAt][from]") && !q.Has("filter[createdAt][to]") {
						t.Fatalf("the top of the list is requested with a filter: %s", q)
					}
				}
			})
		})
	}
}

// looksUp reports whether a request is a look-up by createdAt.
func looksUp(r *http.Request) bool {
	q := r.URL.Query()
	return q.Has("filter[createdAt][to]") && !q.Has("filter[createdAt][from]") && !q.Has("filter[status]")
}

// TestLookUps checks the cost of looking up the outcome of tokens that have left
// WAITING.
func TestLookUps(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		lag     time.Duration
		waiting int
		leave   func(w *world, id string)
		most    float64 // Requests for each token.
	}{
		"finished":           {0, 400, func(w *world, id string) { w.truth.Finish(id, "COMPLETED") }, 1},
		"finished under lag": {25 * time.Second, 400, func(w *world, id string) { w.truth.Finish(id, "COMPLETED") }, 1},
		"most wait":          {0, size.Of(1_800, 36_000), func(w *world, id string) { w.truth.Finish(id, "COMPLETED") }, .3},
		"vanished":           {0, 400, func(w *world, id string) { w.truth.Delete(id) }, size.Of(.7, 2)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, simulator.EnvironmentOptions{Lag: tc.lag}, refresh.Options{VerifyInterval: 24 * time.Hour}, func(e *simulator.Environment) {
					e.Populate(simulator.Population{Seed: 1, Tokens: size.Of(2_000, 40_000), Waiting: tc.waiting})
				})
				defer w.stop()
				time.Sleep(5 * time.Minute)
				idle := w.truth.Count()
				time.Sleep(10 * time.Minute)
				idle = w.truth.Count() - idle
				left := 0
				for i, token := range slices.DeleteFunc(w.truth.Tokens(), func(t simulator.Token) bool { return t.Status != "WAITING" }) {
					if i%(tc.waiting/100) == 1 { // Without the first the top would look as if from a replica behind.
						left++
						tc.leave(w, token.ID)
					}
				}
				before := w.truth.Count()
				time.Sleep(10 * time.Minute)
				n := w.truth.Count() - before - idle
				t.Logf("%d requests for %d tokens", n, left)
				if most := int(tc.most*float64(left)) + 10; n > most {
					t.Errorf("%d requests for %d tokens, want at most %d", n, left, most)
				}
				if d := w.diff(time.Now()); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

// gauge returns the value of the gauge with this label.
func (w *world) gauge(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetGauge().GetValue()
			}
		}
	}
	return -1
}
