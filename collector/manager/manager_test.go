package manager_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"waitpoint_exporter/client"
	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/config"
	"waitpoint_exporter/collector/manager"
	"waitpoint_exporter/test/size"
)

// TestMain collects garbage less often, as each test allocates many environments, and
// checks that no goroutine is left behind.
func TestMain(m *testing.M) {
	debug.SetGCPercent(size.Of(400, 100)) // The full sizes need much memory.
	goleak.VerifyTestMain(m)
}

// world is a service with environments a, b, c and so on, and a Manager.
type world struct {
	t       *testing.T
	service *simulator.Simulator
	truth   map[string]*simulator.Environment
	manager *manager.Manager
	path    string
}

func key(name string) string { return "tr_prod_0123456789" + name }

func newWorld(t *testing.T, names ...string) *world {
	t.Helper()
	w := newWorldAt(t, time.Now, simulator.Options{})
	for i, name := range names {
		e := w.service.Environment(simulator.EnvironmentOptions{Key: key(name)})
		e.Populate(simulator.Population{Seed: uint64(i), Tokens: 1000 + i, Waiting: 10 + i})
		w.truth[name] = e
	}
	return w
}

// newWorldAt is newWorld without environments, and with a clock for the exporter.
func newWorldAt(t *testing.T, now func() time.Time, opts simulator.Options) *world {
	t.Helper()
	opts.Seed, opts.Latency = 1, 20*time.Millisecond
	w := &world{
		t: t, service: simulator.New(opts),
		truth: map[string]*simulator.Environment{}, path: filepath.Join(t.TempDir(), "config.yml"),
	}
	w.manager = manager.New(t.Context(), manager.Options{
		Registry: prometheus.NewRegistry(), Logger: log.NewNopLogger(),
		Transport: plain{simulator.Transport(w.service)}, Now: now,
	})
	t.Cleanup(w.manager.Stop)
	return w
}

// plain requests uncompressed answers, which cost less.
type plain struct{ http.RoundTripper }

func (p plain) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Accept-Encoding", "identity")
	return p.RoundTripper.RoundTrip(r)
}

// fewTags returns tags so few that none is folded.
func fewTags(rng *rand.Rand) []string {
	return [][]string{nil, {"x"}, {"y"}, {"x", "z"}}[rng.IntN(4)]
}

// apply applies a configuration of environments with these names. A name may be
// followed by | and more lines of configuration.
func (w *world) apply(names ...string) {
	w.t.Helper()
	var text strings.Builder
	text.WriteString("environments:\n")
	for _, name := range names {
		name, more, _ := strings.Cut(name, "|")
		fmt.Fprintf(&text, "  - {name: %s, api_url: \"http://api.test\", secret_key: %s%s}\n", name, key(name), more)
	}
	apply(w.t, w.manager, w.path, text.String())
}

// apply applies a configuration to the manager.
func apply(t *testing.T, m *manager.Manager, path, text string) {
	t.Helper()
	if err := m.Apply(configured(t, path, text)); err != nil {
		t.Fatal(err)
	}
}

// configured writes a configuration to a file and returns its environments.
func configured(t testing.TB, path, text string) []config.Environment {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	environments, err := config.ReadFile(path, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	return environments
}

// samples returns all of an environment's gauges and counters, by name and labels.
func samples(t *testing.T, g prometheus.Gatherer, environment string) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return samplesOf(families, environment)
}

func samplesOf(families []*dto.MetricFamily, environment string) map[string]float64 {
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if name, ok := sampleName(f, m, environment); ok {
				out[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return out
}

// sampleName returns the name and labels of an environment's metric, false if it is
// another environment's.
func sampleName(f *dto.MetricFamily, m *dto.Metric, environment string) (string, bool) {
	name, mine := []string{f.GetName()}, false
	for _, l := range m.GetLabel() {
		if l.GetName() == "environment" {
			mine = l.GetValue() == environment
		} else {
			name = append(name, l.GetValue())
		}
	}
	return strings.TrimPrefix(strings.Join(name, " "), "triggerdev_"), mine
}

// TestIndependence checks that an environment whose key was revoked does not affect the
// others.
func TestIndependence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "c")
		w.apply("a", "revoked", "c")
		time.Sleep(10 * time.Minute)
		for name, want := range map[string]map[string]float64{
			"a": {
				"waitpoint_up": 1, "waitpoint_tokens WAITING": 10, "waitpoint_history_loaded": 1,
				"waitpoint_refresh_errors_total auth": 0,
			},
			"c": {
				"waitpoint_up": 1, "waitpoint_tokens WAITING": 11, "waitpoint_history_loaded": 1,
				"waitpoint_refresh_errors_total auth": 0,
			},
			"revoked": {"waitpoint_up": 0, "waitpoint_history_loaded": 0, "waitpoint_refresh_errors_total auth": 10},
		} {
			got := samples(t, w.manager, name)
			for sample, v := range want {
				if g, ok := got[sample]; !ok || g != v {
					t.Errorf("%s: %s is %v (%t), want %v", name, sample, g, ok, v)
				}
			}
		}
		if _, ok := samples(t, w.manager, "revoked")["waitpoint_tokens WAITING"]; ok {
			t.Error("an environment that never answered has a count")
		}
	})
}

// TestApply adds, changes and removes environments while they are scraped. Environments
// that stay make no extra request and lose no counter.
func TestApply(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b", "c", "d")
		w.apply("a", "b", "c")
		stop := make(chan struct{})
		pause := size.Of(4*time.Second, time.Second)
		var scraped atomic.Int64
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(pause):
				}
				if _, err := w.manager.Gather(); err != nil {
					t.Errorf("scrape: %v", err)
				}
				scraped.Add(1)
			}
		}()
		time.Sleep(5*time.Minute + 30*time.Second)
		// An interval without a reload, then one with four of them.
		cost := func(do func()) int {
			begin := w.truth["a"].Count()
			do()
			time.Sleep(time.Minute)
			return w.truth["a"].Count() - begin
		}
		plain := cost(func() {})
		before := samples(t, w.manager, "a")
		b, c := w.truth["b"].Count(), w.truth["c"].Count()
		reloaded := cost(func() {
			w.apply("a", "b", "c", "d")
			w.apply("a", "b|, tags: {limit: 5}", "c", "d")
			w.apply("a", "b|, tags: {limit: 5}", "d")
			w.apply("d", "b|, tags: {limit: 5}", "a")
		})
		if reloaded != plain {
			t.Errorf(
				"the unchanged environment made %d requests in an interval with reloads, %d in one without",
				reloaded,
				plain,
			)
		}
		for name, v := range samples(t, w.manager, "a") {
			if strings.Contains(name, "_total") && v < before[name] {
				t.Errorf("the unchanged environment's %s fell from %v to %v", name, before[name], v)
			}
		}
		if got := w.truth["b"].Count() - b; got < 11 {
			t.Errorf("the changed environment made %d requests, want its history loaded again", got)
		}
		if got := w.truth["c"].Count() - c; got != 0 {
			t.Errorf("the removed environment made %d requests", got)
		}
		if got := samples(t, w.manager, "c"); len(got) != 0 {
			t.Errorf("the removed environment has series: %v", got)
		}
		if got := samples(t, w.manager, "d")["waitpoint_tokens WAITING"]; got != 13 {
			t.Errorf("the added environment has %v tokens WAITING, want 13", got)
		}
		var order []string
		for _, e := range w.manager.Environments() {
			order = append(order, e.Name)
		}
		if !slices.Equal(order, []string{"d", "b", "a"}) {
			t.Errorf("environments %v", order)
		}
		close(stop)
		if n := scraped.Load(); n < int64(5*time.Minute/pause) {
			t.Errorf("%d scrapes: the reloads were not under load", n)
		}
	})
}

// TestSpread checks that environments do not all start at once.
func TestSpread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b", "c", "d", "e")
		w.apply("a", "b", "c", "d", "e")
		time.Sleep(2 * time.Second)
		var first []time.Time
		seen := map[*simulator.Environment]bool{}
		for _, r := range w.service.Requests() {
			if !seen[r.Environment] {
				seen[r.Environment] = true
				first = append(first, r.At)
			}
		}
		if len(first) != 5 {
			t.Fatalf("%d environments have called within two seconds, want 5", len(first))
		}
		for i := 1; i < len(first); i++ {
			if d := first[i].Sub(first[i-1]); d < 100*time.Millisecond {
				t.Errorf("environment %d calls %s after the one before it", i, d)
			}
		}
	})
}

// TestManyReloads checks that many reloads leave no goroutine behind; TestMain and
// synctest do the check.
func TestManyReloads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		for i := range size.Of(100, 1000) {
			w.apply("a", fmt.Sprintf("b|, tags: {limit: %d}", i+1))
			time.Sleep(time.Duration(i%7) * 50 * time.Millisecond)
		}
		time.Sleep(5 * time.Minute)
		for _, name := range []string{"a", "b"} {
			if got := samples(t, w.manager, name); got["waitpoint_up"] != 1 || got["waitpoint_history_loaded"] != 1 {
				t.Errorf("%s after the reloads: %v", name, got)
			}
		}
	})
}

// TestRotatedKey checks that a replaced key file is used at the next refresh, without a
// reload.
func TestRotatedKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "old", "new")
		path := filepath.Join(t.TempDir(), "key")
		put := func(content string) {
			if err := os.WriteFile(path+".tmp", []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".tmp", path); err != nil {
				t.Fatal(err)
			}
		}
		put(key("old"))
		text := "environments: [{name: prod, api_url: \"http://api.test\", secret_key_file: " + path + "}]\n"
		apply(t, w.manager, w.path, text)
		time.Sleep(90 * time.Second)
		old := w.truth["old"].Count()
		if old == 0 || w.truth["new"].Count() != 0 {
			t.Fatalf("before: %d requests with the old key, %d with the new one", old, w.truth["new"].Count())
		}
		put(key("new") + "\n")
		time.Sleep(time.Minute)
		if got := w.truth["old"].Count(); got != old || w.truth["new"].Count() == 0 {
			t.Errorf("after: %d more requests with the old key, %d with the new one", got-old, w.truth["new"].Count())
		}
		time.Sleep(2 * time.Minute) // The outcomes of tokens that only the old key shows have been looked up.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := samples(t, w.manager, "prod"); got["waitpoint_up"] != 0 ||
			got["waitpoint_refresh_errors_total auth"] != 1 {
			t.Errorf("without a key file: %v", got)
		}
	})
}

// TestProxyAndCA lists tokens through a proxy, from a service whose certificate is from
// a private authority.
func TestProxyAndCA(t *testing.T) {
	service := simulator.New(simulator.Options{Seed: 1})
	service.Environment(simulator.EnvironmentOptions{Key: key("a")}).
		Populate(simulator.Population{Seed: 1, Tokens: 100, Waiting: 7})
	api := httptest.NewUnstartedServer(service)
	api.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	api.StartTLS()
	defer api.Close()
	var tunnels atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Header.Get("X-Team") != "shop" {
			http.Error(rw, "only CONNECT", http.StatusForbidden)
			return
		}
		tunnels.Add(1)
		tunnel(t, rw, api.Listener.Addr().String()) //nolint:contextcheck // It is the test's context.
	}))
	defer proxy.Close()
	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		settings string
		reason   client.Reason // Empty if it works.
	}{
		"both": {"tls_config: {ca_file: ca.pem}, proxy_url: \"" + proxy.URL +
			"\", proxy_connect_header: {X-Team: [shop]}", ""},
		"without the CA": {
			"proxy_url: \"" + proxy.URL + "\", proxy_connect_header: {X-Team: [shop]}",
			client.ReasonNetwork,
		},
		"refused by proxy": {"tls_config: {ca_file: ca.pem}, proxy_url: \"" + proxy.URL + "\"", client.ReasonNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".yml")
			// Only the proxy knows this name; the certificate is valid for it.
			text := fmt.Sprintf(
				"environments: [{name: prod, api_url: \"https://example.com\", secret_key: %s, refresh: "+
					"{interval: 1s}, %s}]\n",
				key("a"),
				tc.settings,
			)
			environments := configured(t, path, text)
			begin := tunnels.Load()
			m := manager.New(
				t.Context(),
				manager.Options{Registry: prometheus.NewRegistry(), Logger: log.NewNopLogger()},
			)
			if err := m.Apply(environments); err != nil {
				t.Fatal(err)
			}
			defer m.Stop()
			for state := m.Environments()[0].Source.State(); !state.Up &&
				state.Err == ""; state = m.Environments()[0].Source.State() {
				time.Sleep(10 * time.Millisecond)
			}
			state, got := m.Environments()[0].Source.State(), samples(t, m, "prod")
			if state.Reason != tc.reason {
				t.Errorf("reason %q, want %q: %s", state.Reason, tc.reason, state.Err)
			}
			if tc.reason == "" && (got["waitpoint_tokens WAITING"] != 7 || tunnels.Load() == begin) {
				t.Errorf(
					"%v tokens WAITING through %d tunnels, want 7",
					got["waitpoint_tokens WAITING"],
					tunnels.Load()-begin,
				)
			}
		})
	}
}

// tunnel connects the client with the address until one of them closes.
func tunnel(t *testing.T, w http.ResponseWriter, address string) {
	up, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	w.WriteHeader(http.StatusOK)
	down, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	go func() {
		_, _ = io.Copy(up, buffered)
		_ = up.Close()
	}()
	_, _ = io.Copy(down, up)
	_ = down.Close()
}
