package web_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

func cutSnapshot(loaded bool) *index.Snapshot {
	x := index.New(index.Options{})
	x.Observe([]client.Token{{ID: "a", Status: client.StatusWaiting, CreatedAt: noon}}, noon)
	x.Complete()
	if loaded {
		x.StartFlow(noon)
		x.Loaded()
	}
	return x.Cut(noon, noon)
}

func serve(t *testing.T, method, path string, environments ...web.Environment) *httptest.ResponseRecorder {
	t.Helper()
	handler := web.New(web.Options{
		Environments: func() []web.Environment { return environments }, MetricsPath: "/metrics",
		Metrics: http.NotFoundHandler(), Version: "v1 <b>",
		Now: func() time.Time { return noon.Add(15 * time.Minute) },
	})
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody))
	return w
}

func TestReady(t *testing.T) {
	dev, prod := web.Environment{
		Name:   "dev",
		Source: source{},
	}, web.Environment{
		Name:    "prod",
		Project: "shop",
		Source:  source{snapshot: cutSnapshot(false)},
	}
	for name, tc := range map[string]struct {
		environments []web.Environment
		code         int
		body         string
	}{
		"all are known": {[]web.Environment{prod}, 200, "waitpoint_exporter is ready.\n"},
		"one is not":    {[]web.Environment{dev, prod}, 503, "WAITING tokens are not known yet: dev\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if w := serve(t, http.MethodGet, "/-/ready", tc.environments...); w.Code != tc.code ||
				w.Body.String() != tc.body {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, tc.code, tc.body)
			}
		})
	}
}

// TestLanding checks the landing page's texts about an environment.
func TestLanding(t *testing.T) {
	token := func(created, timeout time.Duration) client.Token {
		return client.Token{
			ID:        fmt.Sprint(created),
			Status:    client.StatusWaiting,
			CreatedAt: noon.Add(created),
			TimeoutAt: noon.Add(timeout),
		}
	}
	busy := index.New(index.Options{ExpectedWait: []index.ExpectedWait{{Wait: time.Hour}}})
	busy.Observe(
		[]client.Token{
			token(-200*time.Hour, -time.Hour),
			token(-2*time.Hour, time.Hour),
			token(-time.Minute, time.Hour),
		},
		noon,
	)
	busy.Complete()
	busy.StartFlow(noon)
	busy.Loaded()
	for name, tc := range map[string]struct {
		source source
		want   []string
		lacks  []string
	}{
		"starting": {
			source{},
			[]string{"State: starting", "WAITING: –", "History: not yet", "Rate limit: –"},
			[]string{"Late"},
		},
		"loading": {
			source{cutSnapshot(false), refresh.State{
				Up: true, Listed: 12345, Oldest: noon,
				Usage: refresh.Usage{Limit: 750, Remaining: 700},
			}},
			[]string{"State: loading history", "History: loading, 12,345 tokens so far, back to 2026-11-23 " +
				"12:00:00", "Rate limit: 6 % used of 750", "Snapshot: 5 m 0 s old"},
			nil,
		},
		"up to date": {
			source{busy.Cut(noon, noon), refresh.State{Up: true}},
			[]string{
				"State: up to date", "WAITING: 3", "Late: 2", "Stuck: 1 7d", "Overdue: 1", "Oldest: 8 d 8 h",
				"History: 3 tokens",
			},
			[]string{"not in metrics"},
		},
		"failing": {
			source{cutSnapshot(true), refresh.State{Err: "401 <script>alert(1)</script>", Reason: client.ReasonAuth}},
			[]string{
				"State: refresh failed", "auth: 401 <script>alert(1)</script>", "Check the secret key",
				"WAITING: 1",
			},
			nil,
		},
		"failing, with advice of its own": {
			source{cutSnapshot(true), refresh.State{Err: "403; a firewall refused", Reason: client.ReasonAuth, Advised: true}},
			[]string{"auth: 403; a firewall refused"},
			[]string{"Check the secret key"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			env := web.Environment{
				Name:         "prod",
				Project:      "shop",
				Source:       tc.source,
				MaxStaleness: 10 * time.Minute,
				Stuck:        "7d",
			}
			h := handler(noon.Add(5*time.Minute), env)
			doc := check(t, get(t, h, "/"))
			var said strings.Builder
			for _, td := range doc.find("td", "", "") {
				fmt.Fprintf(&said, "%s: %s\n", td.attr("data-name"), strings.Join(strings.Fields(td.text()), " "))
			}
			for _, want := range tc.want {
				if !strings.Contains(said.String(), want) {
					t.Errorf("the page lacks %q: %s", want, &said)
				}
			}
			for _, lacks := range tc.lacks {
				if strings.Contains(said.String(), lacks) {
					t.Errorf("the page has %q: %s", lacks, &said)
				}
			}
			// Each number links to a list of as many tokens.
			for _, td := range doc.find("td", "class", "number") {
				for _, a := range td.find("a", "", "") {
					if got := getJSON(t, h, "/"+a.attr("href")+"&format=json").Total; strconv.Itoa(got) != a.text() {
						t.Errorf("%s: %d tokens behind %s", td.attr("data-name"), got, a.text())
					}
				}
			}
			if len(doc.find("main", "", "")) != 1 || len(doc.find("a", "href", "./metrics")) != 1 {
				t.Error("the page has no main part, or no link to the metrics")
			}
		})
	}
	w := serve(
		t,
		http.MethodGet,
		"/",
		web.Environment{
			Name:         "prod",
			Source:       source{cutSnapshot(true), refresh.State{}},
			MaxStaleness: 10 * time.Minute,
		},
	)
	for _, want := range []string{"version v1 &lt;b&gt;", "out of date", "15 m 0 s old, not in metrics"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, demo := range []bool{true, false} {
		h := web.New(
			web.Options{
				Environments: func() []web.Environment { return nil },
				MetricsPath:  "/metrics",
				Metrics:      http.NotFoundHandler(),
				Demo:         demo,
			},
		)
		for _, path := range []string{"/", "/tokens", "/tokens?stuck=soon", "/nope"} {
			if got := strings.Contains(get(t, h, path).Body.String(), "This is a demo"); got != demo {
				t.Errorf("demo %v: %s says so: %v", demo, path, got)
			}
		}
	}
}

// TestLandingLinks checks that each number links to as many tokens, whatever environments
// there are beside.
func TestLandingLinks(t *testing.T) {
	waiting := func(n int) source {
		tokens := population(uint64(n), n)
		return source{snapshot: list(index.Options{ExpectedWait: expectedWait}, tokens...)}
	}
	for name, environments := range map[string][]web.Environment{
		"one":            {{Name: "prod", Source: waiting(3)}},
		"with a project": {{Name: "prod", Project: "shop", Source: waiting(3)}},
		"both": {
			{Name: "prod", Source: waiting(411)},
			{Name: "prod", Project: "shop", Source: waiting(97)},
			{Name: "shop/prod", Source: waiting(31)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range environments {
				environments[i].Stuck = "1h"
			}
			h := handler(time.Time{}, environments...)
			links := 0
			for _, a := range check(t, get(t, h, "/")).find("main", "", "")[0].find("a", "", "") {
				if href := a.attr("href"); strings.HasPrefix(href, "tokens?") {
					links++
					if got := getJSON(t, h, href+"&format=json").Total; strconv.Itoa(got) != a.text() {
						t.Errorf("%d tokens behind %s, %s", got, a.text(), href)
					}
					// The list names the filter only where there are projects.
					_, project, _ := strings.Cut(href, "project=")
					named := strings.Contains(check(t, get(t, h, href)).text(), "no project")
					if want := name == "both" && (project == "" || project[0] == '&'); named != want {
						t.Errorf("%s: the list says that there is no project: %t", href, named)
					}
				}
			}
			if links != 4*len(environments) {
				t.Errorf("%d links", links)
			}
		})
	}
}

// TestNotFound checks that each link on the page for unknown paths leads to an existing
// page.
func TestNotFound(t *testing.T) {
	for _, path := range []string{"/nope", "/tokens/", "/runbook/", "/runbook/a/b", "/tokens%2Fx/"} {
		w := serve(t, http.MethodGet, path)
		if w.Code != http.StatusNotFound {
			t.Fatalf("%s: %d", path, w.Code)
		}
		at, err := url.Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		var leads []string
		doc := check(t, w)
		for _, a := range append(doc.find("main", "", "")[0].find("a", "", ""), doc.find("link", "", "")...) {
			to, err := at.Parse(a.attr("href"))
			if err != nil {
				t.Fatal(err)
			}
			leads = append(leads, to.Path)
		}
		if d := cmp.Diff([]string{"/", "/tokens", "/runbook", "/favicon.svg"}, leads); d != "" {
			t.Errorf("%s (-want +got):\n%s", path, d)
		}
	}
	for _, path := range []string{"/favicon.svg", "/favicon.ico"} {
		if w := serve(t, http.MethodGet, path); w.Code != http.StatusOK ||
			w.Header().Get("Content-Type") != "image/svg+xml" {
			t.Errorf("%s: %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
	}
}

func TestOtherPages(t *testing.T) {
	for path, want := range map[string]int{"/-/healthy": 200, "/nope": 404, "/-/reload": 405} {
		if w := serve(t, http.MethodGet, path); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
	if w := serve(t, http.MethodPost, "/-/healthy"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

// TestMetricsPath checks that the metrics have their path alone, also at the root.
func TestMetricsPath(t *testing.T) {
	for metrics, want := range map[string]map[string]int{
		"/metrics": {"/metrics": 418, "/": 200, "/tokens": 200, "/nope": 404, "/metrics/nope": 404},
		"/":        {"/": 418, "/tokens": 200, "/nope": 404, "/metrics": 404},
	} {
		h := web.New(web.Options{
			Environments: func() []web.Environment { return nil }, MetricsPath: metrics,
			Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }),
		})
		for path, code := range want {
			if w := get(t, h, path); w.Code != code {
				t.Errorf("metrics at %s: %s is %d, want %d", metrics, path, w.Code, code)
			}
		}
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
		"bad": {
			func() error { return errors.New("x.yml:3: name: missing") }, 500,
			"The configuration is not loaded: x.yml:3: name: missing\n",
		},
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

// TestRunbook checks that an alert's link leads to its section.
func TestRunbook(t *testing.T) {
	h := web.New(
		web.Options{
			MetricsPath: "/metrics",
			Metrics:     http.NotFoundHandler(),
			Runbook:     []byte("# Runbook\n\n## WaitpointTokensStuck\n\nLook <script>alert(1)</script> `up`.\n"),
		},
	)
	w := get(t, h, "runbook")
	page := w.Body.String()
	if w.Code != 200 || !strings.Contains(page, `<h2 id="waitpointtokensstuck">WaitpointTokensStuck</h2>`) ||
		!strings.Contains(page, "<code>up</code>") ||
		strings.Contains(page, "<script") {
		t.Errorf("%d %s", w.Code, page)
	}
}
