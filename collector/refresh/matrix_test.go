package refresh_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector"
	"waitpoint_exporter/collector/refresh"
	"waitpoint_exporter/test/size"
)

// A fault is a fault of an answer, and the reason that refreshes report for it, "" if
// they succeed nevertheless.
type fault struct {
	name string
	simulator.Fault

	reason client.Reason
	// Once is set if the request is not repeated, so that a single fault fails a
	// refresh.
	once bool
}

func faults() []fault {
	status := func(code int, body string, header http.Header) simulator.Fault {
		return simulator.Fault{Kind: simulator.FaultStatus, Status: code, Body: body, Header: header}
	}
	page := func(body string) simulator.Fault { return simulator.Fault{Kind: simulator.FaultBody, Body: body} }
	kind := func(k simulator.FaultKind) simulator.Fault { return simulator.Fault{Kind: k} }
	return []fault{
		{"401", status(401, `{"error":"Invalid API key"}`, nil), client.ReasonAuth, true},
		{"403", status(403, "", nil), client.ReasonAuth, true},
		{"404", status(404, "", nil), client.ReasonBadRequest, true},
		{"422", status(422, "", nil), client.ReasonBadRequest, true},
		{"429", status(429, "", nil), client.ReasonRateLimited, false},
		{"429 with Retry-After", status(429, "", http.Header{"Retry-After": {"5"}}), client.ReasonRateLimited, false},
		{"500", status(500, `{"error":"Something went wrong"}`, nil), client.ReasonServer, false},
		{"502 with HTML", status(502, "<html>", nil), client.ReasonServer, false},
		{"503 with Retry-After", status(503, "", http.Header{"Retry-After": {"20"}}), client.ReasonServer, false},
		{"200 with HTML", kind(simulator.FaultHTML), client.ReasonInvalidResponse, true},
		{"200 with null", page(`null`), client.ReasonInvalidResponse, true},
		{"200 without data", page(`{"pagination":{}}`), client.ReasonInvalidResponse, true},
		{"200 with an unreadable time", page(`{"data":[{"id":"a","status":"WAITING","tags":[],"createdAt":"noon"}],"pagination":{}}`), client.ReasonInvalidResponse, true},
		{"an empty page with a cursor", page(`{"data":[],"pagination":{"next":"x"}}`), client.ReasonInvalidResponse, true},
		{"dropped", kind(simulator.FaultDrop), client.ReasonNetwork, false},
		{"cut", kind(simulator.FaultCut), client.ReasonNetwork, false},
		{"hanging", kind(simulator.FaultHang), client.ReasonTimeout, false},
		{"dripping", kind(simulator.FaultDrip), client.ReasonTimeout, false},
		{"endless", kind(simulator.FaultEndless), client.ReasonInvalidResponse, true},
		{"redirect to elsewhere", simulator.Fault{Kind: simulator.FaultRedirect, Header: http.Header{"Location": {"http://elsewhere.test/"}}}, client.ReasonInvalidResponse, true},
		{"redirect to itself", simulator.Fault{Kind: simulator.FaultRedirect, Header: http.Header{"Location": {"#here"}}}, client.ReasonInvalidResponse, true},
		{"redirect that drops the query", simulator.Fault{Kind: simulator.FaultRedirect, Header: http.Header{"Location": {"/api/v1/waitpoints/tokens"}}}, client.ReasonInvalidResponse, true},
		{"slow", simulator.Fault{Kind: simulator.FaultSlow, Delay: 5 * time.Second}, "", false},
		{"each token twice", kind(simulator.FaultDouble), "", false},
		{"nulls and unknown fields", kind(simulator.FaultNulls), "", false},
	}
}

// A phase is a kind of request that a fault can hit.
type phase struct {
	name string
	// Hits reports whether a request belongs to the phase.
	hits func(*http.Request) bool
	opts refresh.Options
	// Early is set if the fault exists from the start.
	early bool
	// Whole is set if all requests fail from the first one on.
	whole bool
	// Most is the bound on requests in an outage, as a multiple of those of an
	// environment that has loaded its history; 2 if not given.
	most float64
	// Tokens is the size of the history, finished how many tokens finish when the fault
	// begins.
	tokens, finished int
}

func phases() []phase {
	waiting := func(r *http.Request) bool { return r.URL.Query().Get("filter[status]") == "WAITING" }
	behind := func(r *http.Request) bool { return r.URL.Query().Has("page[after]") }
	timed := func(r *http.Request) bool { return r.URL.Query().Has("filter[createdAt][to]") }
	never := refresh.Options{MaxStaleness: 4 * matrixInterval, VerifyInterval: 365 * 24 * time.Hour}
	return []phase{
		{name: "first listing of WAITING", hits: waiting, opts: never, early: true, most: 3, tokens: 400}, // The history is listed meanwhile.
		{name: "WAITING behind its first page", hits: func(r *http.Request) bool { return waiting(r) && behind(r) }, opts: never, tokens: 400},
		{name: "steady refresh", hits: func(r *http.Request) bool { return !waiting(r) && !behind(r) && !timed(r) }, opts: never, tokens: 400},
		{name: "load of the history", hits: func(r *http.Request) bool { return !waiting(r) && (behind(r) || timed(r)) }, opts: never, early: true, most: 3, tokens: 2000},
		{name: "all, while the history loads", hits: func(r *http.Request) bool { return !waiting(r) && behind(r) }, opts: never, early: true, whole: true, most: 2.5, tokens: 2000}, // The request that was under way comes on top.
		{name: "look-up of outcomes", hits: func(r *http.Request) bool { return !waiting(r) && (behind(r) || timed(r)) }, opts: never, tokens: 1000, finished: 3},
		{name: "verify walk", hits: func(r *http.Request) bool { return !waiting(r) && behind(r) }, opts: refresh.Options{MaxStaleness: 4 * matrixInterval, VerifyInterval: 10 * matrixInterval}, tokens: 2000},
	}
}

const matrixInterval = time.Minute

// How long a fault lasts: for one request, for a few refreshes, and for longer than a
// snapshot may be old.
var durations = []struct {
	name string
	time.Duration
}{{"once", matrixInterval}, {"for a while", 3 * matrixInterval}, {"for long", 6 * matrixInterval}}

// TestFaultMatrix puts every fault into every phase, once, for a while, and for so long
// that the snapshot becomes too old. It checks that numbers are always right or absent,
// that the reason is right, that an outage does not multiply requests, and that two
// intervals after its end everything is as before.
func TestFaultMatrix(t *testing.T) {
	var (
		mu    sync.Mutex
		worst float64
		cells int
	)
	t.Cleanup(func() {
		t.Logf("%d faults, %d phases, %d cells; requests in an outage at most %.2f of the usual", len(faults()), len(phases()), cells, worst)
	})
	for _, p := range phases() {
		for _, d := range durations {
			if !size.Full() && d.name != "for a while" {
				continue
			}
			// The number of requests of an environment that has loaded its history.
			var usual int64
			idle := p
			idle.early = false
			synctest.Test(t, func(t *testing.T) { usual = strike(t, idle, fault{}, d.Duration) })
			for _, f := range faults() {
				if !size.Full() && !slices.Contains([]string{"401", "500", "each token twice"}, f.name) {
					continue
				}
				if d.name == "once" {
					f.Times = 1
				}
				cells++
				t.Run(p.name+"/"+f.name+"/"+d.name, func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						sent := strike(t, p, f, d.Duration)
						if f.reason == "" || f.Times == 1 {
							return // There is no outage.
						}
						ratio := float64(sent) / float64(usual)
						// Each page that fails is requested three times.
						if ratio > cmpOr(p.most, 2) {
							t.Errorf("%d requests in an outage of %s, %d in as long a time without", sent, d.Duration, usual)
						}
						mu.Lock()
						defer mu.Unlock()
						worst = max(worst, ratio)
					})
				})
			}
		}
	}
}

// strike puts a fault into a phase for d, and returns how many requests were made
// meanwhile.
func strike(t *testing.T, p phase, f fault, d time.Duration) int64 {
	var sent, hit atomic.Int64
	f.Match = func(r *http.Request) bool {
		if !p.hits(r) && (!p.whole || hit.Load() == 0) {
			return false
		}
		hit.Add(1)
		return true
	}
	w := startOver(t, simulator.EnvironmentOptions{}, p.opts,
		func(next http.RoundTripper) http.RoundTripper { return counted{next, &sent} },
		func(e *simulator.Environment) {
			e.Populate(simulator.Population{Seed: 1, Tokens: p.tokens, Waiting: 150})
		})
	defer w.stop()
	w.metrics.MustRegister(collector.New(w.subject, collector.Options{Environment: "prod", MaxStaleness: w.opts.MaxStaleness}))
	if !p.early {
		// The middle of the time between two refreshes.
		time.Sleep(matrixInterval + matrixInterval/2)
		if diff := w.diff(time.Now()); diff != "" {
			t.Fatal(diff)
		}
	}
	remove := func() {}
	if f.name != "" {
		remove = w.service.Inject(f.Fault)
	}
	settled := expected(w.truth.Tokens(), w.opts, time.Now()).Total.Statuses
	oldest := w.truth.Tokens()
	slices.SortFunc(oldest, func(a, b simulator.Token) int { return a.CreatedAt.Compare(b.CreatedAt) })
	left := p.finished
	for _, token := range oldest {
		if left > 0 && token.Status == "WAITING" {
			w.truth.Finish(token.ID, "COMPLETED")
			left--
		}
	}

	began, before, failed := time.Now(), sent.Load(), false
	for time.Since(began) < d {
		time.Sleep(d / 12)
		truthful(t, w, settled)
		s := w.subject.State()
		if s.Reason != "" {
			failed = true
			if s.Reason != f.reason {
				t.Fatalf("the reason is %q, want %q: %s", s.Reason, f.reason, s.Err)
			}
		}
	}
	during := sent.Load() - before
	if f.name == "" {
		return during
	}
	if hit.Load() == 0 {
		t.Error("the fault hit nothing")
	}
	if want := f.reason != "" && (f.Times == 0 || f.once); failed != want {
		t.Errorf("a refresh failed: %t, want %t", failed, want)
	}

	remove()
	time.Sleep(2 * matrixInterval)
	if s := w.subject.State(); !s.Up {
		t.Errorf("has not recovered: %s", s.Err)
	}
	if diff := w.diff(time.Now()); diff != "" {
		t.Errorf("two intervals after the end: %s", diff)
	} else if n := w.subject.Snapshot().Unresolved; n > 0 {
		t.Errorf("%d outcomes are still to be looked up", n)
	}
	return during
}

// counted counts the requests that are sent.
type counted struct {
	http.RoundTripper
	sent *atomic.Int64
}

func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.sent.Add(1)
	return c.RoundTripper.RoundTrip(r)
}

// truthful checks that a scrape's numbers are absent, or match the service's tokens as
// they are or as they were before the last change. Tokens whose outcome is still looked
// up have no status and count as unresolved.
func truthful(t *testing.T, w *world, settled map[string]int) {
	t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	shown, unresolved := map[string]int{}, 0
	for _, family := range families {
		for _, m := range family.GetMetric() {
			switch family.GetName() {
			case "triggerdev_waitpoint_tokens":
				for _, l := range m.GetLabel() {
					if l.GetName() == "status" {
						shown[l.GetValue()] = int(m.GetGauge().GetValue())
					}
				}
			case "triggerdev_waitpoint_tokens_overdue":
				shown["overdue"] = int(m.GetGauge().GetValue())
			case "triggerdev_waitpoint_tokens_unresolved":
				unresolved = int(m.GetGauge().GetValue())
			}
		}
	}
	s := w.subject.Snapshot()
	if old := s == nil || time.Since(s.At) > w.opts.MaxStaleness; old != (len(shown) == 0) {
		t.Fatalf("a snapshot that is too old: %t, shows %v", old, shown)
	}
	now := expected(w.truth.Tokens(), w.opts, time.Now()).Total.Statuses
	finished := func(c map[string]int) int { return c["COMPLETED"] + c["TIMED_OUT"] }
	right := func(c map[string]int) error {
		if waiting, ok := shown["WAITING"]; ok && waiting != c["WAITING"] {
			return fmt.Errorf("WAITING %d, want %d", waiting, c["WAITING"])
		}
		if _, ok := shown["COMPLETED"]; ok && finished(shown)+unresolved != finished(c) {
			return fmt.Errorf("%d finished and %d unresolved, want %d", finished(shown), unresolved, finished(c))
		}
		return nil
	}
	if err := right(now); err != nil && right(settled) != nil {
		t.Fatalf("shown are %v: %v", shown, err)
	}
}
