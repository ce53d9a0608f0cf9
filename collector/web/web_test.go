package web_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
	"waitpoint_exporter/collector/refresh"
	"waitpoint_exporter/collector/web"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

type source struct {
	snapshot *index.Snapshot
	state    refresh.State
}

func (s source) Snapshot() *index.Snapshot { return s.snapshot }
func (s source) State() refresh.State      { return s.state }

func picture(loaded bool) *index.Snapshot {
	x := index.New(index.Options{})
	l := x.Begin(index.ScopeWaiting, noon, time.Time{})
	l.Add([]client.Token{{ID: "a", Status: client.StatusWaiting, CreatedAt: noon}}, noon)
	l.Close()
	if loaded {
		x.Loaded(noon)
	}
	return x.Cut(noon, noon)
}

func serve(t *testing.T, method, path string, environments ...web.Environment) *httptest.ResponseRecorder {
	t.Helper()
	handler := web.New(web.Options{
		Environments: func() []web.Environment { return environments }, MetricsPath: "/metrics", Metrics: http.NotFoundHandler(), Version: "v1 <b>",
		Now: func() time.Time { return noon.Add(15 * time.Minute) },
	})
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody))
	return w
}

func TestReady(t *testing.T) {
	dev, prod := web.Environment{Name: "dev", Source: source{}}, web.Environment{Name: "prod", Project: "shop", Source: source{snapshot: picture(false)}}
	for name, tc := range map[string]struct {
		environments []web.Environment
		code         int
		body         string
	}{
		"all are known": {[]web.Environment{prod}, 200, "waitpoint_exporter is ready.\n"},
		"one is not":    {[]web.Environment{dev, prod}, 503, "WAITING tokens are not known yet: dev\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if w := serve(t, http.MethodGet, "/-/ready", tc.environments...); w.Code != tc.code || w.Body.String() != tc.body {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, tc.code, tc.body)
			}
		})
	}
}

func TestLanding(t *testing.T) {
	for name, tc := range map[string]struct {
		source source
		want   []string
	}{
		"starting":           {source{}, []string{">starting<"}},
		"loading":            {source{picture(false), refresh.State{Up: true, Listed: 12345, Oldest: noon, Usage: refresh.Usage{Requests: 42, Limit: 750, Remaining: 700}}}, []string{">up<", ">42<", ">700 of 750<", "loading, 12345 tokens so far, back to 2026-11-23T12:00:00Z"}},
		"failing":            {source{picture(true), refresh.State{Err: "<script>alert(1)</script>"}}, []string{">failing<", "&lt;script&gt;", "loaded, 1 tokens", "15m0s, too old to be shown"}},
		"version is escaped": {source{}, []string{"v1 &lt;b&gt;"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, http.MethodGet, "/", web.Environment{Name: "prod", Project: "shop", Source: tc.source, MaxStaleness: 10 * time.Minute})
			for _, want := range append(tc.want, "shop/prod", `href="./metrics"`) {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("the page lacks %q", want)
				}
			}
			if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
				t.Errorf("Content-Security-Policy %q", csp)
			}
		})
	}
}

func TestOthers(t *testing.T) {
	for path, want := range map[string]int{"/-/healthy": 200, "/nope": 404, "/-/reload": 405} {
		if w := serve(t, http.MethodGet, path); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
	if w := serve(t, http.MethodPost, "/-/healthy"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestReload(t *testing.T) {
	for name, tc := range map[string]struct {
		reload func() error
		code   int
		body   string
	}{
		"not enabled": {nil, 403, "Reloading is not enabled: start with --web.enable-lifecycle, or send SIGHUP.\n"},
		"good":        {func() error { return nil }, 200, "The configuration is loaded.\n"},
		"bad":         {func() error { return errors.New("x.yml:3: name: missing") }, 500, "The configuration is not loaded: x.yml:3: name: missing\n"},
	} {
		t.Run(name, func(t *testing.T) {
			handler := web.New(web.Options{MetricsPath: "/metrics", Metrics: http.NotFoundHandler(), Reload: tc.reload})
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/-/reload", http.NoBody))
			if w.Code != tc.code || w.Body.String() != tc.body {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, tc.code, tc.body)
			}
		})
	}
}

// TestRunbook holds that an alert's link leads to its section.
func TestRunbook(t *testing.T) {
	h := web.New(web.Options{MetricsPath: "/metrics", Metrics: http.NotFoundHandler(), Runbook: []byte("# Runbook\n\n## WaitpointTokensStuck\n\nLook <script>alert(1)</script> `up`.\n")})
	w := get(t, h, "runbook")
	page := w.Body.String()
	if w.Code != 200 || !strings.Contains(page, `<h2 id="waitpointtokensstuck">WaitpointTokensStuck</h2>`) || !strings.Contains(page, "<code>up</code>") || strings.Contains(page, "<script") {
		t.Errorf("%d %s", w.Code, page)
	}
}
