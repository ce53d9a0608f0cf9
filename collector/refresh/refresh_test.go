package refresh_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"reflect"
	"runtime/debug"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector"
	"waitpoint_exporter/collector/index"
	"waitpoint_exporter/collector/ratelimit"
	"waitpoint_exporter/collector/refresh"
	"waitpoint_exporter/test/recount"
	"waitpoint_exporter/test/size"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

// TestMain collects garbage less often, as each history allocates a service and an
// exporter, and checks that no goroutine is left behind.
func TestMain(m *testing.M) {
	debug.SetGCPercent(size.Of(800, 100)) // The full sizes need much memory.
	goleak.VerifyTestMain(m)
}

const key = "tr_dev_0123456789"

// plain requests uncompressed answers, which halves the cost of the thousands of
// histories.
type plain struct{ http.RoundTripper }

func (p plain) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Accept-Encoding", "identity")
	return p.RoundTripper.RoundTrip(r)
}

// world is an environment that is refreshed from a simulated service.
type world struct {
	service *simulator.Simulator
	truth   *simulator.Environment
	subject *refresh.Environment
	opts    refresh.Options
	metrics *prometheus.Registry
	cancel  context.CancelFunc
	done    chan struct{}
}

func start(t *testing.T, service simulator.EnvironmentOptions, opts refresh.Options, fill func(*simulator.Environment)) *world {
	t.Helper()
	return startOver(t, service, opts, func(t http.RoundTripper) http.RoundTripper { return t }, fill)
}

// startOver is start with something between the service and the client.
func startOver(t *testing.T, service simulator.EnvironmentOptions, opts refresh.Options, between func(http.RoundTripper) http.RoundTripper, fill func(*simulator.Environment)) *world {
	t.Helper()
	return startWith(t, reserveHalf(), service, opts, between, fill)
}

// reserveHalf is a limiter that always leaves half of the rate limit to others.
func reserveHalf() client.Limiter {
	return ratelimit.New(time.Now).Limiter(ratelimit.Options{Reserve: .5})
}

// startWith is startOver with another limiter.
func startWith(t *testing.T, limiter client.Limiter, service simulator.EnvironmentOptions, opts refresh.Options, between func(http.RoundTripper) http.RoundTripper, fill func(*simulator.Environment)) *world {
	t.Helper()
	w := &world{service: simulator.New(simulator.Options{Seed: 7, Latency: 20 * time.Millisecond}), metrics: prometheus.NewRegistry(), done: make(chan struct{})}
	service.Key = key
	w.truth = w.service.Environment(service)
	fill(w.truth)
	opts.Interval = cmpOr(opts.Interval, time.Minute)
	opts.MaxStaleness = cmpOr(opts.MaxStaleness, 10*time.Minute)
	opts.VerifyInterval = cmpOr(opts.VerifyInterval, 10*time.Minute)
	opts.Concurrency = cmpOr(opts.Concurrency, 4)
	opts.Logger = log.NewNopLogger()
	opts.Metrics = refresh.NewMetrics(w.metrics, nil)
	w.opts = opts
	api, err := client.New(client.Options{
		APIURL: "http://api.test", Key: func() (string, error) { return key, nil },
		Transport: between(plain{simulator.Transport(w.service)}), Limiter: limiter,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.subject = refresh.New(api, opts)
	ctx, cancel := context.WithCancel(t.Context())
	w.cancel = cancel
	go func() {
		defer close(w.done)
		if err := w.subject.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	}()
	return w
}

func cmpOr[T comparable](a, b T) T {
	var zero T
	if a == zero {
		return b
	}
	return a
}

func (w *world) stop() {
	w.cancel()
	<-w.done
}

var (
	thresholds = []time.Duration{time.Minute, 5 * time.Minute, time.Hour, 24 * time.Hour}
	statuses   = []string{"WAITING", "COMPLETED", "TIMED_OUT"}
)

// expected returns the counts of the service's tokens.
func expected(tokens []simulator.Token, opts refresh.Options, now time.Time) recount.Count {
	rules := recount.Rules{Options: index.Options{Period: opts.Period, WaitingWithinPeriod: opts.WaitingWithinPeriod, Tags: opts.Tags}}
	for _, d := range thresholds {
		rules.Near = append(rules.Near, collector.Threshold{Label: d.String(), Value: d})
	}
	rules.Stuck = rules.Near
	return recount.Of(tokens, rules, now)
}

// shown returns the counts of a snapshot.
func shown(s *index.Snapshot, now time.Time) recount.Count {
	group := func(g *index.Group) *recount.Group {
		out := recount.NewGroup()
		put := func(to map[string]int, label string, n int) {
			if n != 0 {
				to[label] = n
			}
		}
		for i, status := range s.Statuses {
			put(out.Statuses, string(status), g.Count(i, now))
		}
		for _, d := range thresholds {
			put(out.Near, d.String(), g.NearTimeout(d, now))
			put(out.Stuck, d.String(), g.Stuck(d, now))
		}
		out.WithoutTimeout, out.Overdue = g.WithoutTimeout(now), g.Overdue(now)
		out.Oldest, _ = g.Oldest(now)
		out.NextTimeout, _ = g.NextTimeout(now)
		return out
	}
	out := recount.Count{Total: group(s.Total), Tags: map[string]*recount.Group{}, Ignored: recount.NewGroup().Statuses}
	if s.Ignored != nil {
		out.Ignored = group(s.Ignored).Statuses
	}
	none := recount.NewGroup().Statuses
	for _, t := range s.Tags {
		if g := group(t.Group); !maps.Equal(g.Statuses, none) { // Otherwise the tag is removed at the next refresh.
			out.Tags[t.Tag] = g
		}
	}
	return out
}

func (w *world) diff(now time.Time) string {
	s := w.subject.Snapshot()
	if s == nil || !s.Loaded {
		return "the history is not loaded"
	}
	return differences(expected(w.truth.Tokens(), w.opts, now), shown(s, now))
}

// differences is cmp.Diff, faster where there is none.
func differences(want, got any) string {
	if reflect.DeepEqual(want, got) {
		return ""
	}
	return cmp.Diff(want, got)
}

// A load is the size of a history and the number of changes between two refreshes.
type load struct{ tokens, waiting, changes int }

// requests returns how many requests a refresh takes on average, over an hour.
func (l load) requests(t *testing.T) float64 {
	rng := rand.New(rand.NewPCG(1, 1))
	w := start(t, simulator.EnvironmentOptions{Limit: simulator.Limit{Size: 100_000_000}}, refresh.Options{VerifyInterval: 24 * time.Hour}, func(e *simulator.Environment) {
		e.Populate(simulator.Population{Seed: 1, Tokens: l.tokens, Waiting: l.waiting})
	})
	defer w.stop()
	time.Sleep(5 * time.Minute)
	before := w.truth.Count()
	// The history once, WAITING and the newest five times, and the seeks.
	if most := l.tokens/100 + l.tokens/10_000 + 6*(l.waiting/100+1) + 40; before > most {
		t.Errorf("%d requests to load the history, want at most %d", before, most)
	}
	waiting := slices.DeleteFunc(w.truth.Tokens(), func(t simulator.Token) bool { return t.Status != "WAITING" })
	const rounds = 60
	for range rounds {
		for range l.changes {
			i := rng.IntN(len(waiting))
			w.truth.Finish(waiting[i].ID, "COMPLETED")
			waiting[i].ID = w.truth.Add(simulator.Token{CreatedAt: time.Now(), Tags: []string{"new"}})[0]
		}
		time.Sleep(time.Minute)
	}
	per := float64(w.truth.Count()-before) / rounds
	// More than a page of tokens that are created and finish between two refreshes, so
	// that no listing of WAITING ever shows them, and the slow walk does not yet.
	for range 350 {
		w.truth.Finish(w.truth.Add(simulator.Token{CreatedAt: time.Now(), Tags: []string{"burst"}})[0], "COMPLETED")
	}
	time.Sleep(time.Minute)
	if d := w.diff(time.Now()); d != "" {
		t.Error(d)
	}
	return per
}

// TestRequests checks the cost of a refresh, including the slow walk: with ten tokens
// created and ten finished between refreshes, spread over the whole history, and
// without changes.
func TestRequests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		load
		most float64
	}{
		{load{size.Of(3_000, 100_000), 1000, 10}, 25},
		{load{size.Of(6_000, 1_000_000), 1000, 10}, 35},
		{load{size.Of(6_000, 100_000), 100, 0}, 3},
	} {
		t.Run(c.name(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				per := c.requests(t)
				t.Logf("%s: %.1f requests a refresh", c.name(), per)
				if per > c.most {
					t.Errorf("%.1f requests a refresh, want at most %g", per, c.most)
				}
			})
		})
	}
}

func (l load) name() string {
	return fmt.Sprintf("%d tokens, %d WAITING, %d created and %d finished", l.tokens, l.waiting, l.changes, l.changes)
}

// TestConsiderate checks that production, calling ten times a second under the
// default limit, is never refused while a history of 120,000 is loaded.
func TestConsiderate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, simulator.EnvironmentOptions{}, refresh.Options{}, func(e *simulator.Environment) {
			e.Populate(simulator.Population{Seed: 1, Tokens: size.Of(20_000, 120_000), Waiting: 300})
		})
		defer w.stop()
		refused := 0
		for range 1500 {
			refused += w.truth.Take(1)
			time.Sleep(100 * time.Millisecond)
		}
		if refused > 0 || w.truth.Refused() > 0 {
			t.Errorf("production was refused %d times, the exporter %d times", refused, w.truth.Refused())
		}
		if d := w.diff(time.Now()); d != "" {
			t.Errorf("after 150 s, with %d requests made: %s", w.truth.Count(), d)
		}
	})
}

// TestFaults checks that each failure keeps the last snapshot and has the right reason,
// and that refreshes recover when it ends.
func TestFaults(t *testing.T) {
	t.Parallel()
	page := func(body string) simulator.Fault { return simulator.Fault{Kind: simulator.FaultBody, Body: body} }
	status := func(code int, body string) simulator.Fault {
		return simulator.Fault{Kind: simulator.FaultStatus, Status: code, Body: body}
	}
	waiting := func(r *http.Request) bool { return r.URL.Query().Get("filter[status]") == "WAITING" }
	for name, tc := range map[string]struct {
		fault simulator.Fault
		want  client.Reason
	}{
		"401":              {status(401, `{"error":"Invalid API key"}`), client.ReasonAuth},
		"403":              {status(403, ""), client.ReasonAuth},
		"404":              {status(404, ""), client.ReasonBadRequest},
		"422":              {status(422, ""), client.ReasonBadRequest},
		"429":              {status(429, ""), client.ReasonRateLimited},
		"500":              {status(500, ""), client.ReasonServer},
		"502 with HTML":    {status(502, "<html>"), client.ReasonServer},
		"200 with HTML":    {simulator.Fault{Kind: simulator.FaultHTML}, client.ReasonInvalidResponse},
		"null":             {page(`null`), client.ReasonInvalidResponse},
		"no data":          {page(`{"pagination":{}}`), client.ReasonInvalidResponse},
		"unreadable time":  {page(`{"data":[{"id":"a","status":"WAITING","tags":[],"createdAt":"noon"}],"pagination":{}}`), client.ReasonInvalidResponse},
		"leap second":      {page(`{"data":[{"id":"a","status":"WAITING","tags":[],"createdAt":"2016-12-31T23:59:60.000Z"}],"pagination":{}}`), client.ReasonInvalidResponse},
		"hour 24":          {page(`{"data":[{"id":"a","status":"WAITING","tags":[],"createdAt":"2016-12-31T24:00:00.000Z"}],"pagination":{}}`), client.ReasonInvalidResponse},
		"year 10000":       {page(`{"data":[{"id":"a","status":"WAITING","tags":[],"createdAt":"2016-12-31T00:00:00.000Z","timeoutAt":"+010000-01-01T00:00:00.000Z"}],"pagination":{}}`), client.ReasonInvalidResponse},
		"repeating cursor": {simulator.Fault{Kind: simulator.FaultRepeatCursor}, client.ReasonInvalidResponse},
		"dropped":          {simulator.Fault{Kind: simulator.FaultDrop}, client.ReasonNetwork},
		"cut":              {simulator.Fault{Kind: simulator.FaultCut}, client.ReasonNetwork},
		"hanging":          {simulator.Fault{Kind: simulator.FaultHang}, client.ReasonTimeout},
		"dripping":         {simulator.Fault{Kind: simulator.FaultDrip}, client.ReasonTimeout},
		"endless":          {simulator.Fault{Kind: simulator.FaultEndless}, client.ReasonInvalidResponse},
		"redirect":         {simulator.Fault{Kind: simulator.FaultRedirect, Header: http.Header{"Location": {"http://elsewhere.test/"}}}, client.ReasonInvalidResponse},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, simulator.EnvironmentOptions{}, refresh.Options{}, func(e *simulator.Environment) {
					e.Populate(simulator.Population{Seed: 1, Tokens: 2000, Waiting: 250})
				})
				defer w.stop()
				time.Sleep(30 * time.Second)
				held := w.subject.Snapshot()
				tc.fault.Match = waiting
				remove, failing := w.service.Inject(tc.fault), time.Now()
				time.Sleep(3 * time.Minute)
				s := w.subject.State()
				if s.Up || s.Reason != tc.want {
					t.Errorf("up %t, reason %q, want %q (%s)", s.Up, s.Reason, tc.want, s.Err)
				}
				families, err := w.metrics.Gather()
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range families {
					last := f.GetMetric()[0].GetGauge().GetValue()
					if f.GetName() == "triggerdev_waitpoint_last_refresh_timestamp_seconds" && last > float64(failing.Unix()) {
						t.Errorf("the last refresh that succeeded was %v, after it began to fail at %d", last, failing.Unix())
					}
				}
				if got := w.subject.Snapshot(); got != held && !cmp.Equal(shown(got, time.Now()), shown(held, time.Now())) {
					t.Error("the snapshot changed")
				}
				remove()
				time.Sleep(2*time.Minute + 30*time.Second)
				if s := w.subject.State(); !s.Up {
					t.Errorf("did not recover: %s", s.Err)
				}
				if d := w.diff(time.Now()); d != "" {
					t.Error(d)
				}
			})
		})
	}
}
