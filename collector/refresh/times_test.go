package refresh_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/refresh"
)

// extremes returns times that a service may send and no clock has ever shown.
func extremes(now time.Time) []time.Time {
	return []time.Time{
		time.Date(1, 1, 1, 0, 0, 0, int(time.Millisecond), time.UTC),
		time.Date(1, 7, 1, 0, 0, 0, 0, time.UTC),
		time.Date(1583, 1, 1, 0, 0, 0, 0, time.UTC),
		time.UnixMilli(-1), time.UnixMilli(0), time.UnixMilli(1),
		now.Add(-time.Hour), now.Add(time.Hour), now.Add(400 * 24 * time.Hour),
		time.Date(2300, 1, 1, 0, 0, 0, 0, time.FixedZone("", 14*3600)),
		time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
	}
}

// TestExtremeTimes checks that tokens from the years 1 to 9999 are counted like any
// others, are found again when they finish, and cost at most a page each.
func TestExtremeTimes(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]refresh.Options{
		"all of history":     {},
		"a window":           {Period: 24 * time.Hour},
		"all in a window":    {Period: 24 * time.Hour, WaitingWithinPeriod: true},
		"the longest window": {Period: 290 * 365 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testExtremeTimes(t, opts) })
		})
	}
}

func testExtremeTimes(t *testing.T, opts refresh.Options) {
	now := time.Now()
	var tokens []simulator.Token
	for i, created := range extremes(now) {
		for j, other := range append(extremes(now), time.Time{}) {
			tag := []string{fmt.Sprint(i, j)}
			tokens = append(tokens,
				simulator.Token{Status: "WAITING", CreatedAt: created, TimeoutAt: other, VisibleAt: now, Tags: tag},
				simulator.Token{Status: "TIMED_OUT", CreatedAt: created, TimeoutAt: other, CompletedAt: other, VisibleAt: now, FinishedAt: now, Tags: tag})
		}
	}
	w := start(t, simulator.EnvironmentOptions{}, opts, func(e *simulator.Environment) {
		e.Populate(simulator.Population{Seed: 1, Tokens: 1000, Waiting: 50})
		e.Add(tokens...)
	})
	defer w.stop()
	check := func(when string, pages int) {
		t.Helper()
		before := w.truth.Count()
		time.Sleep(3 * time.Minute)
		if d := w.diff(time.Now()); d != "" || !w.subject.State().Up || w.subject.Snapshot().Unresolved > 0 {
			t.Fatalf("%s: %s %s", when, w.subject.State().Err, d)
		}
		n := w.truth.Count() - before
		t.Logf("%s: %d requests", when, n)
		if n > pages {
			t.Errorf("%s: %d requests", when, n)
		}
	}
	check("loaded", 120)
	check("nothing has changed", 20)
	waiting := 0
	for _, token := range w.truth.Tokens() {
		if token.Status == "WAITING" {
			w.truth.Finish(token.ID, "COMPLETED")
			waiting++
		}
	}
	check("all have finished", waiting+40)
	for i := range tokens {
		tokens[i].ID, tokens[i].VisibleAt = "", time.Now()
	}
	w.truth.Add(tokens...)
	time.Sleep(20 * time.Minute) // The walk finds tokens that finished as they were created, far down in the list.
	check("as many are new", waiting+40)
}

// TestFarHistory checks that loading a history from any time costs only its pages.
func TestFarHistory(t *testing.T) {
	t.Parallel()
	for _, begin := range []time.Time{
		time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC), time.Date(1, 1, 3, 0, 0, 0, 0, time.UTC), time.Date(1500, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1800, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(1969, 12, 31, 23, 0, 0, 0, time.UTC), time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		for name, step := range map[string]time.Duration{"dense": time.Second, "sparse": 24 * time.Hour / 10} {
			t.Run(fmt.Sprint(begin.Format(time.DateOnly), " ", name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := start(t, simulator.EnvironmentOptions{}, refresh.Options{}, func(e *simulator.Environment) {
						for i := range 3000 {
							at := begin.Add(time.Duration(i) * step)
							e.Add(simulator.Token{
								ID: fmt.Sprintf("waitpoint_c%08d", i), Status: "COMPLETED", CreatedAt: at, CompletedAt: at,
								VisibleAt: time.Now(), FinishedAt: time.Now(),
							})
						}
					})
					defer w.stop()
					time.Sleep(59 * time.Second)
					if d := w.diff(time.Now()); d != "" {
						t.Fatalf("%s %s", w.subject.State().Err, d)
					}
					if n := w.truth.Count(); n > 70 {
						t.Errorf("%d requests for 30 pages", n)
					}
				})
			})
		}
	}
}

// TestDaylightSaving checks that a day is 24 hours where the clocks change, in
// spring and in autumn.
func TestDaylightSaving(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	local := time.Local
	defer func() { time.Local = local }()
	time.Local = berlin
	for _, change := range []time.Time{time.Date(2000, 3, 26, 1, 0, 0, 0, time.UTC), time.Date(2000, 10, 29, 1, 0, 0, 0, time.UTC)} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(change.Add(-2 * time.Hour)))
			_, winter := time.Now().Zone()
			w := start(t, simulator.EnvironmentOptions{}, refresh.Options{Interval: 5 * time.Minute, Period: 24 * time.Hour}, func(e *simulator.Environment) {
				e.Populate(simulator.Population{Seed: 1, Tokens: 3000, Waiting: 300, Span: 3 * 24 * time.Hour})
			})
			defer w.stop()
			before := 0
			for i := range 10 {
				time.Sleep(30 * time.Minute)
				if d := w.diff(time.Now()); d != "" {
					t.Fatalf("%s: %s", time.Now(), d)
				}
				if i > 0 && w.truth.Count()-before > 150 {
					t.Errorf("%s: %d requests in half an hour", time.Now(), w.truth.Count()-before)
				}
				before = w.truth.Count()
			}
			if _, summer := time.Now().Zone(); summer == winter {
				t.Error("the clocks have not changed")
			}
		})
	}
}
