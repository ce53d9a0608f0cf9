package web_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
	"waitpoint_exporter/collector/refresh"
	"waitpoint_exporter/collector/web"
)

// filled is a picture of tokens that wait, cut at noon.
func filled(tokens []client.Token, opts index.Options) *index.Snapshot {
	opts.Horizon = time.Hour
	x := index.New(opts)
	l := x.Begin(index.ScopeWaiting, noon, time.Time{})
	l.Add(tokens, noon)
	l.Close()
	x.Loaded(noon)
	return x.Cut(noon, noon)
}

// population has tokens with and without timeouts and tags, some due at the
// same millisecond.
func population(seed uint64, n int) []client.Token {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]client.Token, n)
	for i := range out {
		t := client.Token{
			ID: fmt.Sprintf("waitpoint_%d_%06d", seed, i), Status: client.StatusWaiting,
			CreatedAt: noon.Add(-time.Duration(rng.IntN(3*86400)) * time.Second),
		}
		if rng.IntN(4) > 0 {
			t.TimeoutAt = noon.Add(time.Duration(rng.IntN(7200)-1800) * time.Second)
		}
		for range rng.IntN(3) {
			t.Tags = append(t.Tags, []string{"team:a", "team:b", "user:1", "user:2", "debug", "rare"}[rng.IntN(6)])
		}
		out[i] = t
	}
	return out
}

// now is some time after the picture was cut.
var now = noon.Add(90 * time.Second)

func handler(environments ...web.Environment) http.Handler {
	return web.New(web.Options{
		Environments: func() []web.Environment { return environments }, MetricsPath: "/metrics", Metrics: http.NotFoundHandler(),
		Now: func() time.Time { return now },
	})
}

// answer is what /tokens says as JSON.
type answer struct {
	Total  int
	Tokens []struct {
		Environment, Project, ID    string
		Tags                        []string
		CreatedAt                   time.Time
		TimeoutAt                   *time.Time
		AgeSeconds, TimeLeftSeconds *float64
	}
	Next         string
	Environments []struct {
		Environment, Project string
		AsOf                 *time.Time
		Known, Stale         bool
	}
	Error string
}

func ask(t *testing.T, h http.Handler, query, accept string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/"+strings.TrimPrefix(query, "/"), http.NoBody)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func askJSON(t *testing.T, h http.Handler, query string) answer {
	t.Helper()
	w := ask(t, h, query, "application/json")
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("%s: %v: %s", query, err, w.Body)
	}
	return a
}

// TestTokensFilters compares every filter with a recount of the tokens, through
// all pages, and with what the metrics count at the same moment.
func TestTokensFilters(t *testing.T) {
	rules := index.TagRules{
		Exclude: regexp.MustCompile("^debug$"), Limit: 1,
		Rewrite: []index.Rewrite{{Match: regexp.MustCompile("^user:.*$"), Replacement: "user:*"}},
	}
	all := map[string][]client.Token{"prod": population(1, 700), "dev": population(2, 300)}
	prod := filled(all["prod"], index.Options{Tags: rules})
	h := handler(
		web.Environment{Name: "prod", Project: "shop", Source: source{snapshot: prod}, MaxStaleness: time.Hour},
		web.Environment{Name: "dev", Source: source{snapshot: filled(all["dev"], index.Options{Tags: rules})}, MaxStaleness: time.Minute},
	)
	has := func(tag string) func(string, client.Token) bool {
		return func(_ string, t client.Token) bool { return slices.Contains(t.Tags, tag) }
	}
	kept := ""
	for _, g := range prod.Tags {
		if g.Tag != "" && g.Tag != index.OtherTag {
			kept = g.Tag
		}
	}
	cases := map[string]func(environment string, t client.Token) bool{
		"":                 func(string, client.Token) bool { return true },
		"environment=prod": func(e string, _ client.Token) bool { return e == "prod" },
		"project=shop":     func(e string, _ client.Token) bool { return e == "prod" },
		"project=":         func(e string, _ client.Token) bool { return e == "dev" },
		"tag=team:a":       has("team:a"),
		"tag=debug":        has("debug"),
		"tag=user:1":       has("user:1"),
		"tag=user:*": func(_ string, t client.Token) bool {
			return slices.Contains(t.Tags, "user:1") || slices.Contains(t.Tags, "user:2")
		},
		"tag=":     func(_ string, t client.Token) bool { return len(t.Tags) == 0 },
		"tag=nope": func(string, client.Token) bool { return false },
		"stuck=1h": func(_ string, t client.Token) bool { return t.CreatedAt.Before(now.Add(-time.Hour)) },
		"stuck=1d": func(_ string, t client.Token) bool { return t.CreatedAt.Before(now.Add(-24 * time.Hour)) },
		"near_timeout=5m": func(_ string, t client.Token) bool {
			return !t.TimeoutAt.Before(now) && !t.TimeoutAt.After(now.Add(5*time.Minute))
		},
		"overdue": func(_ string, t client.Token) bool { return !t.TimeoutAt.IsZero() && t.TimeoutAt.Before(now) },
		"overdue=true&stuck=1d": func(_ string, t client.Token) bool {
			return !t.TimeoutAt.IsZero() && t.TimeoutAt.Before(now) && t.CreatedAt.Before(now.Add(-24*time.Hour))
		},
		"overdue=false":                   func(string, client.Token) bool { return true },
		"no_timeout=1":                    func(_ string, t client.Token) bool { return t.TimeoutAt.IsZero() },
		"no_timeout=1&overdue=1":          func(string, client.Token) bool { return false },
		"form=1&tag=&environment=&stuck=": func(string, client.Token) bool { return true },
		"environment=prod&tag=__other__": func(e string, t client.Token) bool {
			labels, _ := rules.Map(t.Tags)
			return e == "prod" && slices.ContainsFunc(labels, func(l string) bool { return l != kept && l != "" })
		},
	}
	for query, fits := range cases {
		var want []string
		for e, tokens := range all {
			for _, token := range tokens {
				if fits(e, token) {
					want = append(want, fmt.Sprint(token.CreatedAt.Unix(), token.ID))
				}
			}
		}
		slices.Sort(want)
		var got []string
		next, pages := "tokens?"+query, 0
		for ; next != "" && pages < 50; pages++ {
			a := askJSON(t, h, next)
			if a.Total != len(want) {
				t.Errorf("%q: total %d, want %d", query, a.Total, len(want))
			}
			for _, token := range a.Tokens {
				got = append(got, fmt.Sprint(token.CreatedAt.Unix(), token.ID))
			}
			if a.Next != "" && len(a.Tokens) != web.PageSize {
				t.Errorf("%q: a page of %d that is not the last", query, len(a.Tokens))
			}
			next = a.Next
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %d tokens on %d pages, want these %d, oldest first", query, len(got), pages, len(want))
		}
	}
	groups := map[string]*index.Group{"": prod.Total}
	for _, g := range prod.Tags {
		groups["&tag="+url.QueryEscape(g.Tag)] = g.Group
	}
	for tag, g := range groups {
		for query, want := range map[string]int{
			"": g.Count(0, now), "&stuck=1h": g.Stuck(time.Hour, now), "&near_timeout=5m": g.NearTimeout(5*time.Minute, now),
			"&overdue": g.Overdue(now), "&no_timeout": g.WithoutTimeout(now),
		} {
			if a := askJSON(t, h, "tokens?environment=prod"+tag+query); a.Total != want {
				t.Errorf("%s: %d tokens behind a metric of %d", tag+query, a.Total, want)
			}
		}
	}
	if len(groups) != 4 {
		t.Errorf("%d groups, want all tokens, none, %s and the others", len(groups), kept)
	}
	if a := askJSON(t, h, "tokens"); a.Environments[0].Stale || !a.Environments[1].Stale || !a.Environments[1].Known {
		t.Errorf("environments %+v, want the second one stale", a.Environments)
	}
}

// TestTokensWindow holds that the page lets go of what the window lets go of.
func TestTokensWindow(t *testing.T) {
	tokens := append(population(3, 500), client.Token{ID: "waitpoint_edge", Status: client.StatusWaiting, CreatedAt: noon.Add(time.Minute - 24*time.Hour)})
	s := filled(tokens, index.Options{Period: 24 * time.Hour, WaitingWithinPeriod: true})
	h := handler(web.Environment{Name: "prod", Source: source{snapshot: s}})
	if a := askJSON(t, h, "tokens"); a.Total != s.Total.Count(0, now) || a.Total == s.Total.Count(0, noon) {
		t.Errorf("%d tokens, the metrics count %d, and %d before", a.Total, s.Total.Count(0, now), s.Total.Count(0, noon))
	}
}

// TestTokensBadQueries holds the messages, in both forms.
func TestTokensBadQueries(t *testing.T) {
	h := handler(web.Environment{Name: "prod", Project: "shop", Source: source{snapshot: filled(nil, index.Options{})}}, web.Environment{Name: "dev", Source: source{}})
	for query, want := range map[string]string{
		"stuck=soon":                   `parameter stuck: "soon" is not a duration such as 30s, 5m, 1h or 1d`,
		"near_timeout=":                `parameter near_timeout: "" is not a duration such as 30s, 5m, 1h or 1d`,
		"overdue=yes":                  `parameter overdue: "yes" is none of 1, true, 0 and false`,
		"no_timeout=2":                 `parameter no_timeout: "2" is none of 1, true, 0 and false`,
		"status=WAITING":               "parameter status: there is no such parameter; there are environment, project, tag, stuck, near_timeout, overdue, no_timeout, format and after",
		"tag=a&tag=b":                  "parameter tag: stands 2 times; once is what it can",
		"after=1":                      `parameter after: "1" is not from a link of this page`,
		"after=x,a,b,c":                `parameter after: "x,a,b,c" is not from a link of this page`,
		"environment=staging":          `parameter environment: "staging" is not known; known are ["dev" "prod"]`,
		"environment=dev&project=shop": `parameter project: "shop" has no such environment; projects are ["" "shop"]`,
		"tag=%zz":                      `the query cannot be read: invalid URL escape "%zz"`,
		"format=xml":                   `parameter format: "xml" is neither json nor html`,
	} {
		w := ask(t, h, "tokens?"+query, "application/json")
		var a answer
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != 400 || a.Error != want {
			t.Errorf("%s: %d %q, want 400 %q", query, w.Code, a.Error, want)
		}
		if w := ask(t, h, "tokens?"+query, "text/html"); w.Code != 400 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") || !strings.Contains(w.Body.String(), `role="alert"`) {
			t.Errorf("%s as HTML: %d", query, w.Code)
		}
	}
	if w := ask(t, h, "tokens?tag="+strings.Repeat("x", 20_000), ""); w.Code != http.StatusRequestURITooLong {
		t.Errorf("a long query: %d", w.Code)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/tokens", http.NoBody)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
	if w := ask(t, h, "tokens", "text/html"); !strings.Contains(w.Body.String(), "dev: the WAITING tokens are not known yet.") || !strings.Contains(w.Body.String(), "No token waits that fits.") {
		t.Errorf("the page does not say what is not known: %s", w.Body)
	}
}

// TestTokensPage holds that whatever a tag holds is shown and does nothing.
func TestTokensPage(t *testing.T) {
	tags := []string{"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "new\nline", "bad\xff\xfe", "", "日本語🙂", "{{.}}"}
	s := filled([]client.Token{
		{ID: "waitpoint_a", Status: client.StatusWaiting, Tags: tags, CreatedAt: now.Add(-26*time.Hour - 30*time.Minute), TimeoutAt: now.Add(-time.Minute)},
		{ID: "waitpoint_b", Status: client.StatusWaiting, CreatedAt: now.Add(-90 * time.Second)},
	}, index.Options{})
	state := refresh.State{Up: true}
	h := handler(web.Environment{Name: "prod", Source: source{s, state}, MaxStaleness: time.Hour})
	for _, query := range []string{"tokens", "tokens?tag=" + url.QueryEscape(tags[0]), "tokens?stuck=" + url.QueryEscape(tags[1]), "tokens?environment=" + url.QueryEscape(tags[0])} {
		w := ask(t, h, query, "text/html,*/*")
		page := w.Body.String()
		for _, live := range []string{"<script", "<img", "onerror=alert(1)>"} {
			if strings.Contains(page, live) {
				t.Errorf("%s: %q is live", query, live)
			}
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("Content-Security-Policy %q", csp)
		}
	}
	page := ask(t, h, "tokens", "text/html").Body.String()
	for _, want := range []string{
		"&lt;script&gt;alert(1)&lt;/script&gt;", "日本語🙂", "{{.}}", "(empty)", "1 d 2 h", "overdue by 1 m", "1 m 30 s", "no timeout", "2 tokens wait", "waitpoint_b",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if body := ask(t, h, "tokens?format=json", "text/html").Body.String(); !strings.Contains(body, `"id":"waitpoint_a"`) || strings.Contains(body, "url") {
		t.Errorf("JSON: %s", body)
	}
}

// BenchmarkTokens is the first page of 100,000 WAITING tokens, filtered.
func BenchmarkTokens(b *testing.B) {
	s := filled(population(1, 100_000), index.Options{Tags: index.TagRules{Limit: 100}})
	h := handler(web.Environment{Name: "prod", Source: source{snapshot: s}, MaxStaleness: time.Hour})
	for _, query := range []string{"", "?stuck=1d&tag=team:a", "?overdue&tag=rare", "?tag=__other__"} {
		for _, format := range []string{"text/html", "application/json"} {
			b.Run(format+query, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/tokens"+query, http.NoBody)
					r.Header.Set("Accept", format)
					w := httptest.NewRecorder()
					if h.ServeHTTP(w, r); w.Code != 200 {
						b.Fatal(w.Body)
					}
				}
			})
		}
	}
}
