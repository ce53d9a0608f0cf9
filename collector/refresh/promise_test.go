package refresh_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/refresh"
	"waitpoint_exporter/test/size"
)

// under runs check in a world with 2,000 tokens, 250 of them WAITING.
func under(t *testing.T, opts refresh.Options, check func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, simulator.EnvironmentOptions{}, opts, func(e *simulator.Environment) {
			e.Populate(simulator.Population{Seed: 1, Tokens: 2000, Waiting: 250})
		})
		defer w.stop()
		time.Sleep(30 * time.Second)
		check(t, w)
	})
}

// TestPartialListing checks that a listing that fails after its first page removes
// nothing: no later snapshot has fewer tokens.
func TestPartialListing(t *testing.T) {
	t.Parallel()
	under(t, refresh.Options{Interval: 10 * time.Second}, func(t *testing.T, w *world) {
		time.Sleep(time.Minute) // Past the lag, within which missing tokens stay.
		behind := func(r *http.Request) bool {
			return r.URL.Query().Get("filter[status]") == "WAITING" && r.URL.Query().Has("page[after]")
		}
		w.service.Inject(simulator.Fault{Kind: simulator.FaultStatus, Status: 500, Match: behind, Times: 3})
		failed := false
		for range 60 {
			time.Sleep(time.Second)
			failed = failed || !w.subject.State().Up
			if d := w.diff(time.Now()); d != "" {
				t.Fatal(d)
			}
			if n := w.subject.Snapshot().Unresolved; n > 0 {
				t.Fatalf("%d tokens are taken for gone", n)
			}
		}
		if !failed {
			t.Error("nothing failed")
		}
	})
}

// TestDeleted checks that a token that the service has deleted is removed at once, not
// only by the walk through the whole history.
func TestDeleted(t *testing.T) {
	t.Parallel()
	under(t, refresh.Options{VerifyInterval: 24 * time.Hour}, func(t *testing.T, w *world) {
		tokens := w.truth.Tokens()
		w.truth.Delete(tokens[slices.IndexFunc(tokens, func(t simulator.Token) bool { return t.Status == "WAITING" })].ID)
		time.Sleep(3 * time.Minute)
		if n := w.subject.Snapshot().Unresolved; n > 0 {
			t.Errorf("%d tokens are still looked for", n)
		}
		if d := w.diff(time.Now()); d != "" {
			t.Error(d)
		}
	})
}

// TestLate checks that a token that a replica shows late is found behind more than a
// page of newer ones, even if it finished before WAITING was listed again.
func TestLate(t *testing.T) {
	t.Parallel()
	under(t, refresh.Options{VerifyInterval: 24 * time.Hour}, func(t *testing.T, w *world) {
		finished := func(created time.Time) {
			w.truth.Finish(w.truth.Add(simulator.Token{CreatedAt: created, VisibleAt: time.Now()})[0], "COMPLETED")
		}
		time.Sleep(29 * time.Second) // Just before a refresh.
		top := time.Now()
		for i := range 150 {
			finished(top.Add(-time.Duration(i) * 10 * time.Millisecond))
		}
		time.Sleep(5 * time.Second)
		finished(top.Add(-20 * time.Second))
		finished(time.Now())
		time.Sleep(time.Minute)
		if d := w.diff(time.Now()); d != "" {
			t.Error(d)
		}
	})
}

// TestInterval checks that refreshes begin an interval apart however long they
// take.
func TestInterval(t *testing.T) {
	t.Parallel()
	under(t, refresh.Options{}, func(t *testing.T, w *world) {
		var begun atomic.Int64
		w.service.Inject(simulator.Fault{Kind: simulator.FaultSlow, Delay: 10 * time.Second, Match: func(r *http.Request) bool {
			if r.URL.Query().Get("filter[status]") != "WAITING" {
				return false
			}
			if !r.URL.Query().Has("page[after]") {
				begun.Add(1)
			}
			return true
		}})
		time.Sleep(10 * time.Minute)
		if n := begun.Load(); n != 10 {
			t.Errorf("%d refreshes began in ten minutes", n)
		}
	})
}

// scrambled gives tokens ids that are unrelated to the order of the list.
func scrambled(salt int) func(tokens []map[string]any) {
	return func(tokens []map[string]any) {
		for _, token := range tokens {
			sum := sha256.Sum256(fmt.Append(nil, salt, token["id"]))
			token["id"] = "waitpoint_" + hex.EncodeToString(sum[:12])
		}
	}
}

// TestOtherOrder checks that only the cost depends on the order of the list. It tries
// several orders, since a fault would not show in all of them.
func TestOtherOrder(t *testing.T) {
	t.Parallel()
	for salt := range size.Of(3, 8) {
		synctest.Test(t, func(t *testing.T) {
			w := startOver(t, simulator.EnvironmentOptions{}, refresh.Options{VerifyInterval: 24 * time.Hour},
				func(next http.RoundTripper) http.RoundTripper { return rewriter{next, tokensOf(scrambled(salt))} },
				func(e *simulator.Environment) {
					e.Populate(simulator.Population{Seed: 1, Tokens: 2500, Waiting: 125})
				})
			defer w.stop()
			for range 2 {
				time.Sleep(2 * time.Minute)
				if d := w.diff(time.Now()); d != "" {
					t.Fatal(d)
				}
				for i, token := range w.truth.Tokens() {
					if token.Status == "WAITING" && i%3 == 0 {
						w.truth.Finish(token.ID, "TIMED_OUT")
					}
				}
			}
		})
	}
}

// TestLoadedWhole checks that the history counts as loaded only when all of it is, even
// if that takes many intervals and there is a single walker.
func TestLoadedWhole(t *testing.T) {
	t.Parallel()
	for _, concurrency := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, simulator.EnvironmentOptions{}, refresh.Options{Concurrency: concurrency, Interval: 20 * time.Second}, func(e *simulator.Environment) {
				e.Populate(simulator.Population{Seed: 1, Tokens: 15_000, Waiting: 50})
			})
			defer w.stop()
			w.service.Inject(simulator.Fault{Kind: simulator.FaultSlow, Delay: time.Second})
			intervals := 0
			for w.subject.Snapshot() == nil || !w.subject.Snapshot().Loaded {
				time.Sleep(time.Second)
				if intervals++; intervals > 3600 {
					t.Fatal("the history is not loaded after an hour")
				}
			}
			if d := w.diff(time.Now()); d != "" || intervals < 30 {
				t.Errorf("after %d s: %s", intervals, d)
			}
		})
	}
}

// series returns the number of series of each metric.
func (w *world) series(t *testing.T) map[string]int {
	t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, f := range families {
		n[strings.TrimPrefix(f.GetName(), "triggerdev_waitpoint_")] = len(f.GetMetric())
	}
	return n
}

// TestWaitsBeginAtZero checks that the histograms of waits have their series, at zero, as
// soon as tokens are counted: they wait neither for the history nor for a token to finish.
func TestWaitsBeginAtZero(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startOver(t, simulator.EnvironmentOptions{}, refresh.Options{Concurrency: 1}, func(next http.RoundTripper) http.RoundTripper {
			return slowly{next}
		}, func(e *simulator.Environment) {
			e.Populate(simulator.Population{Seed: 1, Tokens: 20_000, Waiting: 150})
		})
		defer w.stop()
		time.Sleep(2 * time.Minute)
		s, n := w.subject.Snapshot(), w.series(t)
		if s == nil || !s.Flowing || s.Loaded || len(s.Tags) < 3 {
			t.Fatalf("snapshot %+v; want tags, counters, and no history yet", s)
		}
		if n["wait_duration_seconds"] != 2 || n["tagged_wait_duration_seconds"] != 2*len(s.Tags) {
			t.Errorf("%d and %d series of waits, want 2 and %d", n["wait_duration_seconds"], n["tagged_wait_duration_seconds"], 2*len(s.Tags))
		}
	})
}

// TestStaleSeries checks that the histograms of waits go away with the snapshot, and come
// back with their counts.
func TestStaleSeries(t *testing.T) {
	t.Parallel()
	under(t, refresh.Options{}, func(t *testing.T, w *world) {
		w.truth.Finish(w.truth.Add(simulator.Token{CreatedAt: time.Now()})[0], "COMPLETED")
		time.Sleep(5 * time.Minute)
		if n := w.finishedCount(t); n != 1 {
			t.Fatalf("%d tokens have finished, want 1", n)
		}
		mend := w.service.Inject(simulator.Fault{Kind: simulator.FaultStatus, Status: 500})
		time.Sleep(9 * time.Minute)
		if n := w.series(t); n["wait_duration_seconds"] == 0 {
			t.Error("no series of waits before the snapshot is too old")
		}
		time.Sleep(5 * time.Minute)
		if n := w.series(t); n["wait_duration_seconds"]+n["tagged_wait_duration_seconds"] > 0 {
			t.Errorf("series of waits with a snapshot that is too old: %v", n)
		}
		mend()
		time.Sleep(5 * time.Minute)
		if n := w.finishedCount(t); n != 1 {
			t.Errorf("%d tokens have finished, want 1", n)
		}
	})
}

// TestProbeOfAnIdleEnvironment checks that probes cover an interval, however long no token
// has appeared.
func TestProbeOfAnIdleEnvironment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		probes := 0
		w := startOver(t, simulator.EnvironmentOptions{}, refresh.Options{VerifyInterval: 1000 * time.Hour}, func(next http.RoundTripper) http.RoundTripper {
			return between{next, next, func(r *http.Request) bool {
				q := r.URL.Query()
				from, err := time.Parse(time.RFC3339, q.Get("filter[createdAt][from]"))
				to, err2 := time.Parse(time.RFC3339, q.Get("filter[createdAt][to]"))
				if err != nil || err2 != nil {
					return false
				}
				if probes++; to.Sub(from) != time.Minute {
					t.Errorf("probe %d from %s to %s, want a minute", probes, from, to)
				}
				return false
			}}
		}, func(e *simulator.Environment) { e.Populate(simulator.Population{Seed: 1, Tokens: 50}) })
		defer w.stop()
		time.Sleep(5 * time.Minute)
		w.truth.Add(simulator.Token{CreatedAt: time.Now()})
		time.Sleep(10 * time.Hour)
		if probes < 3 {
			t.Errorf("%d probes", probes)
		}
	})
}

// dated adds to the Date of the first answers that match.
type dated struct {
	http.RoundTripper

	ahead   time.Duration
	answers int
	match   func(*http.Request) bool
}

func (d *dated) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := d.RoundTripper.RoundTrip(r)
	if err != nil || d.answers == 0 || !d.match(r) {
		return resp, err
	}
	d.answers--
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return nil, err
	}
	resp.Header.Set("Date", date.Add(d.ahead).Format(http.TimeFormat))
	return resp, nil
}

// TestFirstDate checks that tokens count as created from the start on, although the first
// answer came by way of a gateway whose clock is an hour ahead.
func TestFirstDate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startOver(t, simulator.EnvironmentOptions{}, refresh.Options{Concurrency: 1}, func(next http.RoundTripper) http.RoundTripper {
			return &dated{RoundTripper: next, ahead: time.Hour, answers: 1, match: func(r *http.Request) bool {
				return !r.URL.Query().Has("filter[status]")
			}}
		}, func(e *simulator.Environment) { e.Populate(simulator.Population{Seed: 1, Tokens: 250, Waiting: 120}) })
		defer w.stop()
		time.Sleep(3 * time.Minute)
		w.truth.Add(simulator.Token{CreatedAt: time.Now()})
		time.Sleep(3 * time.Minute)
		if s := w.subject.Snapshot(); s.Created != 1 {
			t.Errorf("%d tokens counted as created, want 1", s.Created)
		}
	})
}
