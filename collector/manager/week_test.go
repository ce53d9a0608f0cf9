package manager_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/test/recount"
	"waitpoint_exporter/test/size"
)

var (
	days     = flag.Float64("days", size.Of(1./12, .5), "length of TestWeek in days")
	weekSeed = flag.Uint64("week-seed", 1, "seed of TestWeek")
)

const (
	window = 3 * time.Hour
	// The time after a failure or a reload until all numbers must be present and right.
	settled = 3 * time.Minute
)

// week is a run of the exporter against a service with faults.
type week struct {
	*world

	rng          *rand.Rand
	begun        time.Time
	environments map[string]*inhabitant
	remove       func() // Ends the fault that is active; nil if none is.
	until        time.Time
	calm         time.Time // When the last fault ended.
	struck       map[string]int
	reloads      int
	exact        int // How often all numbers were compared.
}

// inhabitant is what the test knows about an environment.
type inhabitant struct {
	rules             recount.Rules
	truth             *simulator.Environment
	settings          string
	changes           int  // How often its settings were changed.
	changed           bool // Since the last reload.
	running           bool
	since             time.Time          // When it was started.
	last              map[string]float64 // Its counters.
	created, finished int                // Since it was first loaded.
	flow              map[string]int     // The same by tag, by the names of their samples.
}

// TestWeek runs the exporter for -days simulated days. Tokens are created, finish and
// time out. The service fails in every way that the simulator knows, for seconds to
// minutes, and restarts. The configuration is reloaded every few hours. The test checks
// each minute that no counter has decreased, except in an environment whose settings
// changed, and that numbers are absent or right; that they are exact some minutes after
// a failure; and that in the end the process is no bigger than after the first hours.
func TestWeek(t *testing.T) {
	length := time.Duration(*days * float64(24*time.Hour))
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		w := newWeek(t)
		var first, last footprint
		for minute := range int(length / time.Minute) {
			w.minute(minute)
			if minute == 60 {
				first = w.footprint()
			}
			if minute%(24*60) == 60 {
				w.t.Logf("after %s: %s", time.Since(w.begun), w.footprint())
			}
		}
		w.endFault()
		time.Sleep(2 * settled)
		w.check()
		if w.exact == 0 {
			t.Error("the numbers were never compared")
		}
		last = w.footprint()
		t.Logf("first %s", first)
		t.Logf("last  %s", last)
		for name, e := range w.environments {
			t.Logf(
				"%s: %d tokens created, %d finished, %d requests, %d refused",
				name,
				e.created,
				e.finished,
				e.truth.Count(),
				e.truth.Refused(),
			)
			if n := e.truth.Refused(); n > 0 {
				t.Errorf("%s: %d requests were refused by the rate limit", name, n)
			}
		}
		t.Logf("all numbers compared %d times; %d reloads; faults: %v", w.exact, w.reloads, w.struck)
		last.compare(t, first)
	})
	t.Logf("%s took %s", length, time.Since(began).Round(time.Millisecond))
}

func newWeek(t *testing.T) *week {
	w := &week{
		world: newWorldAt(
			t,
			time.Now,
			simulator.Options{NoLog: true},
		), rng: rand.New(rand.NewPCG(*weekSeed, 0)), begun: time.Now(), struck: map[string]int{},
		environments: map[string]*inhabitant{"a": {rules: within(window, false)}, "b": {rules: within(window, true)}},
	}
	for name, e := range w.environments {
		e.flow = map[string]int{}
		e.truth = w.service.Environment(simulator.EnvironmentOptions{Key: key(name)})
		e.truth.Populate(
			simulator.Population{
				Seed:    *weekSeed,
				Tokens:  1200,
				Waiting: 100,
				Span:    window + 2*time.Hour,
				Tags:    fewTags,
			},
		)
		e.settings = fmt.Sprintf(
			"%s|, tokens: {period: 3h, waiting_within_period: %t}, tags: {limit: %%d}, refresh: {verify_interval: 1h}",
			name,
			e.rules.WaitingWithinPeriod,
		)
	}
	w.calm = time.Now()
	w.reload("a", "b")
	time.Sleep(30 * time.Second)
	return w
}

// reload applies a configuration with the environments. Those that were not running, or
// whose settings changed, start again.
func (w *week) reload(names ...string) {
	var lines []string
	for _, name := range names {
		lines = append(lines, fmt.Sprintf(w.environments[name].settings, 1000+w.environments[name].changes))
	}
	for name, e := range w.environments {
		running := slices.Contains(names, name)
		if running && (!e.running || e.changed) {
			e.since, e.last, e.changed = time.Now(), map[string]float64{}, false
		}
		e.running = running
	}
	w.apply(lines...)
	w.reloads++
}

// minute lets a minute pass.
func (w *week) minute(n int) {
	for _, name := range slices.Sorted(maps.Keys(w.environments)) {
		w.churn(w.environments[name])
	}
	switch {
	case w.remove != nil && time.Now().After(w.until):
		w.endFault()
	case w.remove == nil && w.rng.IntN(10) == 0:
		w.fault()
	}
	if n%120 == 90 {
		switch b := w.environments["b"]; w.rng.IntN(4) {
		case 0:
			w.reload("a", "b")
		case 1:
			w.reload("b", "a")
		case 2:
			b.changes, b.changed = b.changes+1, true
			w.reload("b", "a")
		case 3:
			w.reload("a")
			time.Sleep(time.Duration(w.rng.IntN(100)) * time.Second)
			w.reload("a", "b")
		}
	}
	time.Sleep(time.Minute)
	w.check()
}

// churn simulates a minute of an environment's tokens.
func (w *week) churn(e *inhabitant) {
	now := time.Now()
	for _, token := range e.truth.Tokens() {
		overdue := !token.TimeoutAt.IsZero() && token.TimeoutAt.Before(now)
		switch {
		case token.Status != "WAITING":
			if token.CompletedAt.Before(now.Add(-window - 2*time.Hour)) {
				e.truth.Delete(token.ID) // So that the service does not grow.
			}
		case overdue && w.rng.IntN(3) > 0:
			e.truth.Finish(token.ID, "TIMED_OUT")
			e.finish("TIMED_OUT", token.Tags)
		case w.rng.IntN(25) == 0:
			e.truth.Finish(token.ID, "COMPLETED")
			e.finish("COMPLETED", token.Tags)
		}
	}
	for range w.rng.IntN(9) {
		token := simulator.Token{CreatedAt: now, Tags: fewTags(w.rng)}
		if w.rng.IntN(2) == 0 {
			token.TimeoutAt = now.Add(time.Duration(w.rng.IntN(5400)) * time.Second)
		}
		id := e.truth.Add(token)[0]
		e.created++
		e.count("waitpoint_tagged_tokens_created_total", token.Tags)
		if w.rng.IntN(4) == 0 {
			e.truth.Finish(id, "COMPLETED")
			e.finish("COMPLETED", token.Tags)
		}
	}
}

// waiting returns how many tokens may be shown as WAITING if each was listed at some
// time since listed, in Unix seconds: at least those that have been WAITING all the
// time since, at most those that were WAITING at any time since.
func (e *inhabitant) waiting(listed float64) (least, most float64) {
	since := time.UnixMilli(int64(listed * 1000))
	for _, token := range e.truth.Tokens() {
		waits := token.Status == "WAITING"
		if waits && token.CreatedAt.Before(since) {
			least++
		}
		if waits || !token.CompletedAt.Before(since) {
			most++
		}
	}
	return least, most
}

func (e *inhabitant) finish(status string, tags []string) {
	e.finished++
	e.count("waitpoint_tagged_wait_duration_seconds "+status, tags)
}

func (e *inhabitant) count(sample string, tags []string) {
	if len(tags) == 0 {
		tags = []string{""}
	}
	for _, tag := range tags {
		e.flow[sample+" "+tag]++
	}
}

// fault gives the service a random fault.
func (w *week) fault() {
	status := func(code int) simulator.Fault { return simulator.Fault{Kind: simulator.FaultStatus, Status: code} }
	faults := map[string]simulator.Fault{
		"401": status(401), "404": status(404), "500": status(500), "503": status(503),
		"429":      {Kind: simulator.FaultStatus, Status: 429, Header: http.Header{"Retry-After": {"20"}}},
		"slow":     {Kind: simulator.FaultSlow, Delay: 3 * time.Second},
		"too slow": {Kind: simulator.FaultSlow, Delay: time.Minute},
		"hang":     {Kind: simulator.FaultHang},
		"cut":      {Kind: simulator.FaultCut},
		"drop":     {Kind: simulator.FaultDrop},
		"html":     {Kind: simulator.FaultHTML},
		"body":     {Kind: simulator.FaultBody, Body: `{"pagination":{}}`},
		"endless":  {Kind: simulator.FaultEndless, Times: 3},
		"drip":     {Kind: simulator.FaultDrip},
		"repeat":   {Kind: simulator.FaultRepeatCursor},
		"redirect": {Kind: simulator.FaultRedirect, Header: http.Header{"Location": {"http://elsewhere.test/"}}},
		"double":   {Kind: simulator.FaultDouble},
		"nulls":    {Kind: simulator.FaultNulls},
		"restart":  {Kind: simulator.FaultDrop},
	}
	names := slices.Sorted(maps.Keys(faults))
	name := names[w.rng.IntN(len(names))]
	fault := faults[name]
	switch w.rng.IntN(4) {
	case 0:
		fault.Match = func(r *http.Request) bool { return r.URL.Query().Has("filter[status]") }
	case 1:
		fault.Match = func(r *http.Request) bool { return !r.URL.Query().Has("filter[status]") }
	case 2:
		fault.Match = func(r *http.Request) bool { return strings.HasSuffix(r.Header.Get("Authorization"), key("a")) }
	}
	w.struck[name]++
	w.remove = w.service.Inject(fault)
	length := time.Duration(1+w.rng.IntN(300)) * time.Second
	if w.rng.IntN(6) == 0 {
		length *= 4 // Longer than a snapshot may be shown.
	}
	if name == "restart" {
		w.remove()
		down := w.service.Inject(simulator.Fault{Kind: simulator.FaultDrop})
		starting := w.service.Inject(
			simulator.Fault{Kind: simulator.FaultStatus, Status: http.StatusBadGateway, Body: "<html>"},
		)
		time.AfterFunc(20*time.Second, down)
		w.remove, length = starting, 40*time.Second
	}
	w.until = time.Now().Add(length)
}

func (w *week) endFault() {
	if w.remove != nil {
		w.remove()
		w.remove, w.calm = nil, time.Now()
	}
}

// check compares the metrics with the service's tokens.
func (w *week) check() {
	w.t.Helper()
	synctest.Wait()
	families, err := w.manager.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for name, e := range w.environments {
		when := fmt.Sprintf("%s after %s", name, time.Since(w.begun))
		all, counters := samplesOf(families, name), countersOf(families, name)
		if !e.running {
			if len(all) > 0 {
				w.t.Fatalf("%s: a removed environment has samples", when)
			}
			continue
		}
		for sample, v := range e.last {
			if now, ok := counters[sample]; ok && now < v {
				w.t.Fatalf("%s: %s went from %v to %v", when, sample, v, now)
			}
		}
		maps.Copy(e.last, counters) // A counter that is absent now must not come back with a lower value.
		if w.remove == nil && time.Since(w.calm) >= settled && time.Since(e.since) >= settled {
			w.exactly(when, name == "a", e, all, counters)
			continue
		}
		if v, ok := all["waitpoint_tokens WAITING"]; ok && !e.rules.WaitingWithinPeriod {
			least, most := e.waiting(all["waitpoint_waiting_listed_timestamp_seconds"])
			if v < least || v > most {
				w.t.Fatalf("%s: %v WAITING, want %v to %v", when, v, least, most)
			}
		}
	}
}

// exactly compares all numbers, and for an environment whose settings never changed
// also the tokens created and finished since the beginning.
func (w *week) exactly(when string, whole bool, e *inhabitant, all, counters map[string]float64) {
	w.exact++
	if d := cmp.Diff(expected(e.truth.Tokens(), e.rules, time.Now()), numbers(all)); d != "" {
		w.t.Fatalf("%s (-service +exporter): %s", when, d)
	}
	if all["waitpoint_up"] != 1 || all["waitpoint_history_loaded"] != 1 || all["waitpoint_tokens_unresolved"] != 0 {
		w.t.Fatalf("%s: %v", when, all)
	}
	if !whole {
		return
	}
	finished := counters["waitpoint_wait_duration_seconds COMPLETED"] +
		counters["waitpoint_wait_duration_seconds TIMED_OUT"]
	if all["waitpoint_tokens_created_total"] != float64(e.created) || finished != float64(e.finished) ||
		all["waitpoint_verify_corrections_total"] != 0 {
		w.t.Fatalf(
			"%s: %v created of %d, %v finished of %d, %v corrections",
			when,
			all["waitpoint_tokens_created_total"],
			e.created,
			finished,
			e.finished,
			all["waitpoint_verify_corrections_total"],
		)
	}
	for sample, want := range e.flow {
		if counters[sample] != float64(want) {
			w.t.Fatalf("%s: %s is %v, want %d", when, sample, counters[sample], want)
		}
	}
}

// countersOf returns an environment's counters, and the counts of each histogram and
// each of its buckets.
func countersOf(families []*dto.MetricFamily, environment string) map[string]float64 {
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name, ok := sampleName(f, m, environment)
			if !ok {
				continue
			}
			if m.Counter != nil {
				out[name] = m.GetCounter().GetValue()
			}
			if m.Histogram != nil {
				out[name] = float64(m.GetHistogram().GetSampleCount())
				for _, b := range m.GetHistogram().GetBucket() {
					out[fmt.Sprint(name, " ", b.GetUpperBound())] = float64(b.GetCumulativeCount())
				}
			}
		}
	}
	return out
}

// footprint is the process's use of resources.
type footprint struct{ goroutines, heap, files, series int }

func (w *week) footprint() footprint {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // The second empties the pools.
	runtime.ReadMemStats(&m)
	files, _ := os.ReadDir("/proc/self/fd") // Empty where there is no such folder.
	families, _ := w.manager.Gather()
	series := 0
	for _, f := range families {
		series += len(f.GetMetric())
	}
	goroutines := runtime.NumGoroutine()
	for range 5 { // Requests may be under way.
		time.Sleep(time.Second)
		synctest.Wait()
		goroutines = min(goroutines, runtime.NumGoroutine())
	}
	return footprint{goroutines, int(m.HeapAlloc), len(files), series}
}

func (f footprint) String() string {
	return fmt.Sprintf(
		"%d goroutines, %.1f MiB of heap, %d files, %d series",
		f.goroutines,
		float64(f.heap)/(1<<20),
		f.files,
		f.series,
	)
}

func (f footprint) compare(t *testing.T, first footprint) {
	t.Helper()
	// The client keeps the buffers of four answers, with less than half a MiB each.
	if f.goroutines > first.goroutines+2 || f.heap > first.heap+1<<19+4<<19 || f.files > first.files ||
		f.series > first.series+20 {
		t.Errorf("the process has grown: first %s, last %s", first, f)
	}
}
