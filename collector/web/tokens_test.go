package web_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/net/html"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector"
	"waitpoint_exporter/collector/index"
	"waitpoint_exporter/collector/web"
)

var update = flag.Bool("update", false, "write the golden files")

// list returns a snapshot of WAITING tokens, completely listed at noon.
func list(opts index.Options, tokens ...client.Token) *index.Snapshot {
	x := index.New(opts)
	x.Observe(tokens, noon)
	x.Complete()
	return x.Cut(noon, noon)
}

// handler serves the environments as of now; a minute after noon if that is zero.
func handler(now time.Time, environments ...web.Environment) http.Handler {
	if now.IsZero() {
		now = noon.Add(time.Minute)
	}
	environments = slices.Clone(environments)
	for i := range environments {
		environments[i].MaxStaleness = 10 * time.Minute
	}
	return web.New(web.Options{
		Environments: func() []web.Environment { return environments }, MetricsPath: "/metrics",
		Metrics: http.NotFoundHandler(),
		Now:     func() time.Time { return now },
	})
}

func get(t *testing.T, h http.Handler, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	var err error
	if r.URL, err = url.ParseRequestURI("/" + strings.TrimPrefix(target, "/")); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// answer is the JSON as a client reads it.
type answer struct {
	Complete     bool
	Environments []struct {
		Environment, Project string
		AsOf                 *time.Time
		Known, Stale         bool
	}
	Total, Offset  int
	Tokens         []struct{ Environment, Project, ID string }
	Next, Previous string
}

func (a answer) ids() []string {
	out := []string{}
	for _, token := range a.Tokens {
		out = append(out, token.Environment+" "+token.ID)
	}
	return out
}

func getJSON(t *testing.T, h http.Handler, target string) answer {
	t.Helper()
	w := get(t, h, target, "Accept", "application/json")
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s %v", target, w.Code, w.Body, err)
	}
	return a
}

// walk follows the links from a page to the last one and returns all ids.
func walk(t *testing.T, h http.Handler, target string) []string {
	t.Helper()
	ids := []string{}
	for target != "" {
		a := getJSON(t, h, target)
		if a.Offset != len(ids) {
			t.Errorf("%s: offset %d after %d tokens", target, a.Offset, len(ids))
		}
		ids = append(ids, a.ids()...)
		if len(a.Tokens) > 100 || (a.Next != "" && len(a.Tokens) != 100) || (a.Next == "" && len(ids) != a.Total) {
			t.Fatalf("%s: a page of %d, %d of %d in all, next %q", target, len(a.Tokens), len(ids), a.Total, a.Next)
		}
		target = a.Next
	}
	return ids
}

// population returns n random WAITING tokens. Many have the same createdAt, and many
// are exactly on a threshold.
func population(seed uint64, n int) []client.Token {
	random := rand.New(rand.NewPCG(seed, 2))
	tags := []string{"team:payments", "team:growth", "user:1", "user:2", "", "internal", "a,b", "ü & <b>"}
	tokens := make([]client.Token, n)
	for i := range tokens {
		created := noon.Add(-time.Duration(random.IntN(3*60)) * time.Minute)
		tokens[i] = client.Token{ID: fmt.Sprintf("waitpoint_%d", i), Status: client.StatusWaiting, CreatedAt: created}
		for range random.IntN(3) {
			tokens[i].Tags = append(tokens[i].Tags, tags[random.IntN(len(tags))])
		}
		if random.IntN(3) > 0 {
			tokens[i].TimeoutAt = created.Add(time.Duration(random.IntN(5*60)) * time.Minute)
		}
	}
	return tokens
}

// expectedWait has rules that overlap.
var expectedWait = []index.ExpectedWait{
	{
		Match: regexp.MustCompile(`^(?:user:1)$`),
		Wait:  time.Hour,
	}, {Match: regexp.MustCompile(`^(?:team:payments|user:.)$`), Wait: 10 * time.Minute},
}

// TestTokensFilters compares what each filter lists, over all pages, with a
// recount of random populations.
func TestTokensFilters(t *testing.T) {
	now := noon.Add(time.Minute)
	type holds func(web.Environment, client.Token) bool
	var (
		every holds = func(web.Environment, client.Token) bool { return true }
		tag         = func(tag string) holds {
			return func(_ web.Environment, c client.Token) bool { return slices.Contains(c.Tags, tag) }
		}
		stuck = func(d time.Duration) holds {
			return func(_ web.Environment, c client.Token) bool { return c.CreatedAt.Before(now.Add(-d)) }
		}
		near = func(d time.Duration) holds {
			return func(_ web.Environment, c client.Token) bool {
				return !c.TimeoutAt.Before(now) && !c.TimeoutAt.After(now.Add(d))
			}
		}
		late holds = func(_ web.Environment, c client.Token) bool {
			if slices.Contains(c.Tags, "user:1") {
				return c.CreatedAt.Before(now.Add(-time.Hour))
			}
			return (slices.Contains(c.Tags, "team:payments") || slices.Contains(c.Tags, "user:2")) &&
				c.CreatedAt.Before(now.Add(-10*time.Minute))
		}
		overdue holds = func(_ web.Environment, c client.Token) bool {
			return !c.TimeoutAt.IsZero() &&
				c.TimeoutAt.Before(now)
		}
		lifelong holds = func(_ web.Environment, c client.Token) bool { return c.TimeoutAt.IsZero() }
		prod     holds = func(e web.Environment, _ client.Token) bool { return e.Name == "prod" }
		shop     holds = func(e web.Environment, _ client.Token) bool { return e.Project == "shop" }
	)
	and := func(all ...holds) holds {
		return func(e web.Environment, c client.Token) bool {
			return !slices.ContainsFunc(all, func(h holds) bool { return !h(e, c) })
		}
	}
	for query, want := range map[string]holds{
		"":                       every,
		"environment=prod":       prod,
		"project=shop":           shop,
		"project=":               func(e web.Environment, _ client.Token) bool { return e.Project == "" },
		"tag=team:payments":      tag("team:payments"),
		"tag=a%2Cb":              tag("a,b"),
		"tag=%C3%BC+%26+%3Cb%3E": tag("ü & <b>"),
		"tag=": func(_ web.Environment, c client.Token) bool {
			return len(c.Tags) == 0 ||
				slices.Contains(c.Tags, "")
		},
		"stuck=1h":                 stuck(time.Hour),
		"stuck=0s":                 stuck(0),
		"stuck=1h30m":              stuck(90 * time.Minute),
		"stuck=1y":                 stuck(365 * 24 * time.Hour),
		"near_timeout=5m":          near(5 * time.Minute),
		"near_timeout=1d":          near(24 * time.Hour),
		"overdue":                  overdue,
		"overdue=1":                overdue,
		"overdue=true":             overdue,
		"overdue=0":                every,
		"no_timeout":               lifelong,
		"no_timeout=false":         every,
		"late":                     late,
		"late=1&overdue":           and(late, overdue),
		"late=0":                   every,
		"overdue&no_timeout":       and(overdue, lifelong),
		"stuck=1h&near_timeout=1h": and(stuck(time.Hour), near(time.Hour)),
		"tag=user:1&overdue":       and(tag("user:1"), overdue),
		"project=shop&environment=prod&tag=user:2&stuck=30m&no_timeout=1": and(shop, prod, tag("user:2"),
			stuck(30*time.Minute), lifelong),
	} {
		t.Run(query, func(t *testing.T) {
			for seed := range uint64(4) {
				truth := map[string][]client.Token{}
				environments := []web.Environment{
					{Name: "prod"},
					{Name: "prod", Project: "shop"},
					{Name: "dev", Project: "shop"},
				}
				type placed struct {
					e web.Environment
					c client.Token
				}
				var expected []placed
				for i, e := range environments {
					tokens := population(3*seed+uint64(i), 250)
					truth[e.Project+"/"+e.Name] = tokens
					environments[i].Source = source{
						snapshot: list(index.Options{ExpectedWait: expectedWait}, tokens...),
					}
					for _, c := range tokens {
						if want(e, c) {
							expected = append(expected, placed{e, c})
						}
					}
				}
				slices.SortStableFunc(expected, func(a, b placed) int { return a.c.CreatedAt.Compare(b.c.CreatedAt) })
				got := walk(t, handler(now, environments...), "/tokens?"+query)
				if len(got) != len(expected) {
					t.Fatalf("seed %d: %d tokens, want %d", seed, len(got), len(expected))
				}
				count := map[string]int{}
				for i, id := range got {
					count[id]++
					_, bare, _ := strings.Cut(id, " ")
					if at := createdAt(truth, bare, expected[i].c.CreatedAt); !at {
						t.Fatalf(
							"seed %d: token %d is %s, want one created at %s",
							seed,
							i,
							id,
							expected[i].c.CreatedAt,
						)
					}
				}
				for _, p := range expected {
					count[p.e.Name+" "+p.c.ID]--
				}
				for id, n := range count {
					if n != 0 {
						t.Errorf("seed %d: %s is listed %d times too often", seed, id, n)
					}
				}
			}
		})
	}
}

// createdAt reports whether a token of this id was created at this time.
func createdAt(truth map[string][]client.Token, id string, at time.Time) bool {
	for _, tokens := range truth {
		if slices.ContainsFunc(tokens, func(c client.Token) bool { return c.ID == id && c.CreatedAt.Equal(at) }) {
			return true
		}
	}
	return false
}

// TestTokensAgree checks that for each sample of the metrics the page lists the same
// number of tokens when filtered by its labels, at a time when some have left the
// window since the cut.
func TestTokensAgree(t *testing.T) {
	now := noon.Add(7*time.Minute + time.Nanosecond)
	src := source{snapshot: list(index.Options{
		Period: 2 * time.Hour, WaitingWithinPeriod: true, Horizon: time.Hour, ExpectedWait: expectedWait,
		Tags: index.TagRules{
			Exclude: regexp.MustCompile(`^(?:internal)$`),
			Rewrite: []index.Rewrite{{Match: regexp.MustCompile(`^(?:user:.*)$`), Replacement: "user:*"}},
			Limit:   2,
		},
	}, population(1, 2000)...)}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector.New(src, collector.Options{
		Environment: "prod", NearTimeout: []collector.Threshold{{Label: "5m", Value: 5 * time.Minute}, {
			Label: "1h",
			Value: time.Hour,
		}},
		StuckAfter:   []collector.Threshold{{Label: "1h", Value: time.Hour}, {Label: "90m", Value: 90 * time.Minute}},
		MaxStaleness: 10 * time.Minute, Now: func() time.Time { return now },
	}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	h := handler(now, web.Environment{Name: "prod", Source: src})
	parameters := map[string]string{
		"environment": "environment",
		"tag":         "tag",
		"after":       "stuck",
		"within":      "near_timeout",
	}
	flags := map[string]string{
		"triggerdev_waitpoint_tokens_overdue":         "overdue",
		"triggerdev_waitpoint_tokens_without_timeout": "no_timeout", "triggerdev_waitpoint_tokens_late": "late",
		"triggerdev_waitpoint_tagged_tokens_overdue": "overdue", "triggerdev_waitpoint_tagged_tokens_late": "late",
	}
	checked := map[string]int{}
	for _, f := range families {
		name := f.GetName()
		if flags[name] == "" && !regexp.MustCompile(`tokens(_stuck|_near_timeout)?$`).MatchString(name) {
			continue
		}
		for _, m := range f.GetMetric() {
			query := url.Values{}
			for _, l := range m.GetLabel() {
				if p := parameters[l.GetName()]; p != "" {
					query.Set(p, l.GetValue())
				}
			}
			if p := flags[name]; p != "" {
				query.Set(p, "")
			}
			checked[name]++
			if got := getJSON(t, h, "/tokens?"+query.Encode()); got.Total != int(value(m)) {
				t.Errorf("%s: %d tokens behind %s %v", query.Encode(), got.Total, name, m)
			}
		}
	}
	want := map[string]int{
		"triggerdev_waitpoint_tokens": 1, "triggerdev_waitpoint_tagged_tokens": 4,
		"triggerdev_waitpoint_tokens_stuck": 2, "triggerdev_waitpoint_tagged_tokens_stuck": 8,
		"triggerdev_waitpoint_tokens_near_timeout": 2, "triggerdev_waitpoint_tagged_tokens_near_timeout": 8,
		"triggerdev_waitpoint_tokens_overdue": 1, "triggerdev_waitpoint_tokens_without_timeout": 1,
		"triggerdev_waitpoint_tokens_late":           1,
		"triggerdev_waitpoint_tagged_tokens_overdue": 4, "triggerdev_waitpoint_tagged_tokens_late": 4,
	}
	if d := cmp.Diff(want, checked); d != "" {
		t.Errorf("samples compared (-want +got):\n%s", d)
	}
}

func value(m *dto.Metric) float64 { return m.GetGauge().GetValue() }

// TestTokensPaging checks that the pages show each token once, forwards and backwards,
// and that tokens that are created or finish meanwhile neither repeat nor hide others.
func TestTokensPaging(t *testing.T) {
	tokens := population(1, 730)
	dev := web.Environment{Name: "dev", Source: source{snapshot: list(index.Options{}, population(2, 411)...)}}
	all := func(tokens []client.Token) http.Handler {
		return handler(
			time.Time{},
			web.Environment{Name: "prod", Source: source{snapshot: list(index.Options{}, tokens...)}},
			dev,
		)
	}
	h := all(tokens)
	forth := walk(t, h, "/tokens")
	if distinct := slices.Compact(slices.Sorted(slices.Values(forth))); len(distinct) != 1141 {
		t.Errorf("%d tokens, want 1141", len(distinct))
	}

	var back []string
	last := getJSON(t, h, "/tokens")
	for last.Next != "" {
		last = getJSON(t, h, last.Next)
	}
	for {
		back = append(last.ids(), back...)
		if last.Offset != len(forth)-len(back) {
			t.Errorf("offset %d with %d of %d tokens behind", last.Offset, len(back), len(forth))
		}
		if last.Previous == "" {
			break
		}
		last = getJSON(t, h, last.Previous)
	}
	if d := cmp.Diff(forth, back); d != "" {
		t.Errorf("forth and back (-forth +back):\n%s", d)
	}

	// Any place is valid, not only the end of a page.
	h = handler(time.Time{}, web.Environment{Name: "prod", Source: source{snapshot: list(index.Options{}, tokens...)}})
	forth = walk(t, h, "/tokens")
	created := map[string]int64{}
	for _, c := range tokens {
		created["prod "+c.ID] = c.CreatedAt.UnixMilli()
	}
	for n := 100; n < len(forth); n += 35 {
		before := fmt.Sprintf("%d,%s,,prod", created[forth[n]], strings.TrimPrefix(forth[n], "prod "))
		a := getJSON(t, h, "/tokens?before="+url.QueryEscape(before))
		if d := cmp.Diff(forth[n-100:n], a.ids()); d != "" || a.Offset != n-100 {
			t.Errorf("ahead of token %d: offset %d (-want +got):\n%s", n, a.Offset, d)
		}
	}
	h = all(tokens)
	forth = walk(t, h, "/tokens")

	// Half of the first page finishes, including its last token; another token is
	// created.
	first := getJSON(t, h, "/tokens")
	later := slices.DeleteFunc(slices.Clone(tokens), func(c client.Token) bool {
		return slices.Contains(first.ids()[50:], "prod "+c.ID)
	})
	if len(later) == len(tokens) {
		t.Fatal("no token has finished")
	}
	h = all(append(later, client.Token{ID: "new", Status: client.StatusWaiting, CreatedAt: noon}))
	second := getJSON(t, h, first.Next)
	if d := cmp.Diff(forth[100:200], second.ids()); d != "" {
		t.Errorf("the second page has moved (-want +got):\n%s", d)
	}
	// The tokens left before it do not fill a page, so the first page is shown.
	if a := getJSON(t, h, second.Previous); a.Offset != 0 || len(a.Tokens) != 100 || a.Previous != "" {
		t.Errorf("ahead of the second page: offset %d, %d tokens, previous %q", a.Offset, len(a.Tokens), a.Previous)
	}
	if a := getJSON(t, handler(time.Time{}, dev), "/tokens?after=99999999999999,x,,prod"); a.Total != 411 ||
		a.Offset != 411 ||
		len(a.Tokens) != 0 ||
		a.Next != "" {
		t.Errorf("behind the end: %+v", a)
	}
}

func TestTokensBadQuery(t *testing.T) {
	h := handler(
		time.Time{},
		web.Environment{Name: "dev", Source: source{}},
		web.Environment{Name: "prod", Project: "shop", Source: source{}},
		web.Environment{Name: "dev", Project: "news", Source: source{}},
	)
	for query, want := range map[string]struct {
		code              int
		parameter, reason string
	}{
		"stuck=":                       {400, "stuck", `"" is not a duration such as 30s, 5m, 1h or 1d`},
		"stuck=1":                      {400, "stuck", `"1" is not a duration`},
		"stuck=-1h":                    {400, "stuck", `"-1h" is not a duration`},
		"stuck=1h&stuck=1d":            {400, "stuck", "given 2 times; may be given once"},
		"near_timeout=%3Cb%3E":         {400, "near_timeout", `"<b>" is not a duration`},
		"near_timeout=300y":            {400, "near_timeout", `"300y" must be at most 292y`},
		"overdue=yes":                  {400, "overdue", `"yes" is none of 1, true, 0 and false`},
		"no_timeout=2":                 {400, "no_timeout", `"2" is none of`},
		"environment=staging":          {400, "environment", `there is no "staging"; there are: "dev", "prod"`},
		"environment=shop/prod":        {400, "environment", `there is no "shop/prod"; there are: "dev", "prod"`},
		"environment=":                 {400, "environment", `there is no ""; there are: "dev", "prod"`},
		"project=blog":                 {400, "project", `there is no "blog"; there are: "", "news", "shop"`},
		"project=blog&environment=dev": {400, "project", `there is no "blog"; there are: "", "news", "shop"`},
		"project=shop&environment=dev": {400, "project", `"shop" has no environment "dev"; there are: "prod"`},
		"older_than=1h": {
			400, "older_than",
			"there is no such parameter; the parameters are environment, project, tag,",
		},
		"Stuck=1h":                           {400, "Stuck", "there is no such parameter"},
		"format=xml":                         {400, "format", `"xml" is none of html, json and csv`},
		"after=1,a,b":                        {400, "after", `"1,a,b" is not from a link of this page`},
		"after=x,a,b,c":                      {400, "after", "is not from a link"},
		"before=1,%25zz,b,c":                 {400, "before", "is not from a link"},
		"after=1,a,b,c&before=1,a,b,c":       {400, "before", "not together with after"},
		"untagged=1":                         {400, "untagged", "tag= selects the tokens without tags"},
		"form=1&untagged=1&tag=a":            {400, "untagged", `cannot have the tag "a"`},
		"tag=%zz":                            {400, "", `the query cannot be parsed: invalid URL escape "%zz"`},
		"tag=a;b":                            {400, "", "the query cannot be parsed: invalid semicolon"},
		"tag=" + strings.Repeat("a", 16<<10): {414, "", "the query has 16388 bytes; at most 16384 are allowed"},
	} {
		t.Run(query[:min(len(query), 40)], func(t *testing.T) {
			w := get(t, h, "/tokens?"+query, "Accept", "application/json")
			var got struct{ Error, Parameter string }
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatalf("%s: %v", w.Body, err)
			}
			if w.Code != want.code || got.Parameter != want.parameter || !strings.Contains(got.Error, want.reason) ||
				!strings.Contains(got.Error, want.parameter) {
				t.Errorf("%d %+v, want %+v", w.Code, got, want)
			}
			w = get(t, h, "/tokens?"+query)
			doc := parse(t, w)
			if alert := doc.find("p", "role", "alert"); w.Code != want.code || len(alert) != 1 ||
				!strings.Contains(alert[0].text(), want.reason) {
				t.Errorf("the page: %d %s", w.Code, w.Body)
			}
		})
	}
}

// TestTokensForm checks that the form's query, with its empty fields, redirects to the
// plain link.
func TestTokensForm(t *testing.T) {
	h := handler(time.Time{}, web.Environment{Name: "prod", Source: source{}})
	for query, want := range map[string]string{
		"form=1&project=&environment=&tag=&stuck=&near_timeout=":             "tokens",
		"form=1&environment=prod&tag=a%26b&stuck=1h&near_timeout=&overdue=1": "tokens?environment=prod&overdue=1&stuck=1h&tag=a%26b",
		"form=1&tag=&untagged=1&stuck=":                                      "tokens?tag=",
	} {
		w := get(t, h, "/tokens?"+query)
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != want {
			t.Errorf("%s: %d to %q, want %q", query, w.Code, w.Header().Get("Location"), want)
		}
		get(t, h, want)
	}
	// Checked boxes stay checked on an error in any other parameter.
	for query, want := range map[string][]string{
		"form=1&a=1&overdue=1&no_timeout=1&untagged=1": {"overdue", "no_timeout", "untagged"},
		"near_timeout=soon&no_timeout=true":            {"no_timeout"},
		"stuck=soon&tag=":                              {"untagged"},
		"form=1&stuck=soon&tag=":                       nil,
		"stuck=soon&overdue=false":                     nil,
	} {
		w := get(t, h, "/tokens?"+query)
		var got []string
		for _, input := range check(t, w).find("input", "checked", "") {
			got = append(got, input.attr("name"))
		}
		if w.Code != http.StatusBadRequest || !slices.Equal(got, want) {
			t.Errorf("%s: %d with %q checked, want %q", query, w.Code, got, want)
		}
	}
}

// TestTokensFormKeeps submits the form of pages as it is, which must lead to the same
// tokens.
func TestTokensFormKeeps(t *testing.T) {
	h := handler(time.Time{}, web.Environment{Name: "prod", Source: source{}},
		web.Environment{Name: "prod", Project: "shop", Source: source{}},
		web.Environment{Name: " a  b", Project: "=shop", Source: source{}})
	for _, query := range []string{
		"", "project=", "project=shop", "project=%3Dshop", "environment=prod", "environment=prod&project=",
		"environment=prod&project=shop", "environment=+a++b&project=%3Dshop", "project=&stuck=1h", "project=&tag=",
		"late=1&near_timeout=5m&no_timeout=1&overdue=1&project=&refresh=30&sort=timeout&tag=a%26b", "id=w&project=",
	} {
		sent := fields(check(t, get(t, h, "/tokens?"+query)))
		w := get(t, h, "/tokens?"+sent.Encode())
		got := strings.TrimPrefix(strings.TrimPrefix(w.Header().Get("Location"), "tokens"), "?")
		if w.Code != http.StatusSeeOther || got != query {
			t.Errorf("%q: %d to %q", query, w.Code, got)
		}
		// A page with an error has the same form.
		w = get(t, h, "/tokens?"+sent.Encode()+"&before=1")
		if got := fields(check(t, w)); w.Code != http.StatusBadRequest || got.Encode() != sent.Encode() {
			t.Errorf("%q, with an error: %d, %q, want %q", query, w.Code, got.Encode(), sent.Encode())
		}
	}
}

// fields returns what a browser sends when the page's form is submitted.
func fields(doc node) url.Values {
	values := url.Values{}
	for _, input := range doc.find("input", "", "") {
		_, checked := input.lookup("checked")
		if input.attr("type") != "checkbox" || checked {
			values.Add(input.attr("name"), input.attr("value"))
		}
	}
	for _, choice := range doc.find("select", "", "") {
		options := choice.find("option", "", "")
		i := max(0, slices.IndexFunc(options, func(o node) bool {
			_, selected := o.lookup("selected")
			return selected
		}))
		value, ok := options[i].lookup("value")
		if !ok {
			value = strings.Join(strings.Fields(options[i].text()), " ")
		}
		values.Add(choice.attr("name"), value)
	}
	return values
}

func TestTokensFormats(t *testing.T) {
	h := handler(
		time.Time{},
		web.Environment{Name: "prod", Source: source{snapshot: list(index.Options{}, population(1, 3)...)}},
	)
	const page, data = "text/html; charset=utf-8", "application/json"
	for name, tc := range map[string]struct {
		query, accept, want string
	}{
		"a browser":                {"", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", page},
		"curl":                     {"", "*/*", page},
		"no header":                {"", "", page},
		"JSON":                     {"", "application/json", data},
		"any application":          {"", "application/*", data},
		"JSON rather than HTML":    {"", "text/html;q=0.5, application/json", data},
		"neither":                  {"", "image/png", page},
		"the parameter goes first": {"?format=json", "text/html", data},
		"either way":               {"?format=html", "application/json", page},
		"an error as JSON":         {"?format=json&nope", "", data},
		"an error as a page":       {"?nope", "text/html", page},
	} {
		t.Run(name, func(t *testing.T) {
			header := []string{"Accept", tc.accept}
			if tc.accept == "" {
				header = nil
			}
			w := get(t, h, "/tokens"+tc.query, header...)
			for name, want := range map[string]string{
				"Content-Type": tc.want, "Vary": "Accept",
				"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
	if a := getJSON(t, handler(time.Time{}, web.Environment{
		Name:   "prod",
		Source: source{snapshot: list(index.Options{}, population(1, 130)...)},
	}),
		"/tokens?format=json"); !strings.Contains(
		a.Next,
		"format=json",
	) {
		t.Errorf("next is %q, which leads from JSON to a page", a.Next)
	}
	for method, want := range map[string]int{http.MethodHead: 200, http.MethodPost: 405, http.MethodDelete: 405} {
		if w := serve(t, method, "/tokens"); w.Code != want {
			t.Errorf("%s: %d, want %d", method, w.Code, want)
		}
	}
}

// TestTokensJSON compares the JSON with testdata. With -update it writes it there.
func TestTokensJSON(t *testing.T) {
	token := client.Token{
		ID: "waitpoint_2", Status: client.StatusWaiting, Tags: []string{
			"team:payments",
			"<script>alert(1)</script>", "\xff",
		},
		CreatedAt: noon.Add(-90*time.Minute - 252*time.Millisecond), TimeoutAt: noon.Add(-time.Second),
	}
	lasting := client.Token{ID: "waitpoint_1", Status: client.StatusWaiting, CreatedAt: noon}
	h := handler(noon.Add(11*time.Minute),
		web.Environment{Name: "prod", Project: "shop", Source: source{snapshot: list(index.Options{}, token, lasting)}},
		web.Environment{Name: "dev", Source: source{}})
	w := get(t, h, "/tokens?format=json")
	got := strings.ReplaceAll(w.Body.String(), "},", "},\n")
	golden := filepath.Join("testdata", "tokens.json")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestTokensEscaping parses the page as a browser does: any tag is text, and its link
// leads to the tokens with the tag.
func TestTokensEscaping(t *testing.T) {
	tags := map[string]string{ // As shown.
		"<script>alert(1)</script>":      "<script>alert(1)</script>",
		`"><img src=x onerror=alert(1)>`: `"><img src=x onerror=alert(1)>`,
		"javascript:alert(1)":            "javascript:alert(1)",
		"{{.Error}}":                     "{{.Error}}",
		"a\nb":                           "a\nb",
		"bell\a, nul\x00, del\x7f":       "bell␇, nul␀, del\uFFFD",
		"not UTF-8: \xff\xfe":            "not UTF-8: \uFFFD\uFFFD",
		"'; & = ? # + % ":                "'; & = ? # + % ",
		"\u202Eright to left":            "\u202Eright to left",
		strings.Repeat("👩‍🚀", 128):       strings.Repeat("👩‍🚀", 128),
		"":                               "empty",
		"</style><style>*{display:none}": "</style><style>*{display:none}",
		"<!--":                           "<!--",
	}
	var tokens []client.Token
	for tag := range tags {
		tokens = append(
			tokens,
			client.Token{ID: "id of " + tag, Status: client.StatusWaiting, CreatedAt: noon, Tags: []string{tag}},
		)
	}
	const name = `<b onclick="x">&`
	h := handler(
		time.Time{},
		web.Environment{Name: name, Project: name, Source: source{snapshot: list(index.Options{}, tokens...)}},
	)
	doc := check(t, get(t, h, "/tokens"))
	links := map[string]string{}
	for _, a := range doc.find("a", "class", "tag") {
		links[a.text()] = a.attr("href")
	}
	if len(links) != len(tags) {
		t.Errorf("%d tags are shown, want %d", len(links), len(tags))
	}
	for tag, shown := range tags {
		link, ok := links[shown]
		if !ok {
			t.Errorf("%q is not shown as %q", tag, shown)
			continue
		}
		// Twice: with the filter, each link of the page contains the tag.
		for range 2 {
			w := get(t, h, link)
			doc := check(t, w)
			cells := doc.find("td", "class", "tags")
			if w.Code != http.StatusOK || len(cells) != 1 ||
				strings.TrimSpace(cells[0].text()) != strings.TrimSpace(shown) {
				t.Errorf("the link of %q shows %d tokens", tag, len(cells))
				break
			}
			link = doc.find("a", "class", "tag")[0].attr("href")
		}
	}
}

// TestTokensTerminal checks that the JSON has no effect in a terminal, and that its
// values are unchanged.
func TestTokensTerminal(t *testing.T) {
	const nasty = "\x1b[31m\x7f\u0080\u009b31m\u00ad\u200e\u202egnp\u2028\u2066\ufeff\ue000\U000e0041é👩‍🚀\U0010ffff"
	h := handler(time.Time{}, web.Environment{Name: "prod", Source: source{snapshot: list(index.Options{}, client.Token{
		ID: nasty, Status: client.StatusWaiting, CreatedAt: noon, Tags: []string{nasty},
	})}})
	for path, code := range map[string]int{
		"/tokens": 200, "/tokens?tag=" + url.QueryEscape(nasty): 200,
		"/tokens?environment=" + url.QueryEscape(nasty): 400, "/tokens?" + url.QueryEscape(nasty) + "=1": 400,
	} {
		w := get(t, h, path, "Accept", "application/json")
		var a struct {
			Tokens           []struct{ Tags []string }
			Error, Parameter string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != code {
			t.Fatalf("%s: %d: %v", path, w.Code, err)
		}
		if code == 200 && (len(a.Tokens) != 1 || a.Tokens[0].Tags[0] != nasty) || code == 400 && a.Error == "" {
			t.Errorf("%s: %+q", path, a)
		}
		for _, r := range strings.TrimSuffix(w.Body.String(), "\n") {
			if !unicode.IsPrint(r) {
				t.Errorf("%s: %q has %U in it", path, w.Body, r)
			}
		}
	}
}

// check checks the rules for all pages: what none may contain, and that the policy
// allows its style.
func check(t *testing.T, w *httptest.ResponseRecorder) node {
	t.Helper()
	doc := parse(t, w)
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if slices.Contains([]string{"script", "img", "iframe", "object", "embed", "base", "svg", "b"}, n.Data) {
			t.Errorf("the page has a <%s>", n.Data)
		}
		if n.Data == "link" &&
			(node{n}.attr("rel") != "icon" || !strings.HasSuffix(node{n}.attr("href"), "favicon.svg")) {
			t.Errorf("the page loads %s", node{n}.attr("href"))
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" ||
				a.Key != "value" && strings.HasPrefix(strings.ToLower(a.Val), "javascript:") {
				t.Errorf("the page has %s=%q", a.Key, a.Val)
			}
		}
	}
	styles := doc.find("style", "", "")
	if len(styles) != 1 {
		t.Fatalf("the page has %d styles", len(styles))
	}
	hash := sha256.Sum256([]byte(styles[0].FirstChild.Data))
	policy := w.Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none';", "style-src 'sha256-" +
		base64.StdEncoding.EncodeToString(hash[:]) + "';", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q lacks %q", policy, want)
		}
	}
	return doc
}

// TestTokensExtremeTimes checks ages and times left of any length, with tokens from the
// years 1 to 9999, oldest first, including those from the future.
func TestTokensExtremeTimes(t *testing.T) {
	first, last := time.Date(1, 1, 1, 0, 0, 0, 1e6, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
	token := func(id string, created, timeout time.Time) client.Token {
		return client.Token{ID: id, Status: client.StatusWaiting, CreatedAt: created, TimeoutAt: timeout}
	}
	h := handler(noon, web.Environment{Name: "prod", Source: source{snapshot: list(
		index.Options{},
		token(
			"future",
			noon.Add(time.Hour),
			noon.Add(2*time.Hour),
		),
		token("last", last, first),
		token("epoch", time.UnixMilli(0), last),
		token("first", first, last),
	)}})
	var got struct {
		Tokens []struct {
			ID                          string
			AgeSeconds, TimeLeftSeconds float64
		}
	}
	if err := json.Unmarshal(get(t, h, "/tokens?format=json").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	age, left := float64(noon.Unix()-first.Unix())-.001, float64(last.Unix()-noon.Unix())+.999
	want := []struct {
		id        string
		age, left float64
	}{{"first", age, left}, {"epoch", float64(noon.Unix()), left}, {"future", -3600, 7200}, {"last", -left, -age}}
	if len(got.Tokens) != len(want) {
		t.Fatalf("%d tokens, want %d", len(got.Tokens), len(want))
	}
	for i, w := range want {
		if g := got.Tokens[i]; g.ID != w.id || g.AgeSeconds != w.age || g.TimeLeftSeconds != w.left {
			t.Errorf("token %d: %+v, want %+v", i, g, w)
		}
	}
	page := get(t, h, "/tokens").Body.String()
	day := int64(24 * 3600)
	for _, text := range []string{
		fmt.Sprintf("%d d %d h", int64(age)/day, int64(age)%day/3600), fmt.Sprintf("%d d %d h", int64(left)/day,
			int64(left)%day/3600),
		"0001-01-01 00:00:00", "9999-12-31 23:59:59", "1970-01-01 00:00:00",
	} {
		if !strings.Contains(page, text) {
			t.Errorf("the page has no %q", text)
		}
	}
}

// TestTokensInUTC checks that the pages are the same in every time zone.
func TestTokensInUTC(t *testing.T) {
	east := time.FixedZone("east", 14*3600)
	tokens := []client.Token{
		{ID: "a", Status: client.StatusWaiting, CreatedAt: noon.Add(-time.Hour), TimeoutAt: noon.Add(time.Hour)},
	}
	for _, target := range []string{"/", "/tokens", "/tokens?format=json"} {
		var pages [2]string
		for i, zone := range []*time.Location{time.UTC, east} {
			s := list(index.Options{}, tokens...)
			s.At = s.At.In(zone)
			pages[i] = get(
				t,
				handler(noon.Add(time.Hour).In(zone), web.Environment{Name: "prod", Source: source{snapshot: s}}),
				target,
			).Body.String()
		}
		if d := cmp.Diff(pages[0], pages[1]); d != "" {
			t.Errorf("%s (-UTC +east): %s", target, d)
		}
	}
}

// TestTokensSetBack checks that a snapshot is not shown as recent when the clock was
// set back to a time for which its window has already dropped tokens.
func TestTokensSetBack(t *testing.T) {
	for period, stale := range map[time.Duration]bool{0: false, 24 * time.Hour: true} {
		h := handler(
			noon.Add(-time.Hour),
			web.Environment{Name: "prod", Source: source{snapshot: list(index.Options{Period: period}, client.Token{
				ID: "a", Status: client.StatusWaiting, CreatedAt: noon,
			})}},
		)
		if a := getJSON(t, h, "/tokens"); a.Complete == stale || a.Environments[0].Stale != stale {
			t.Errorf("period %s: %+v", period, a)
		}
		if page := get(t, h, "/").Body.String(); strings.Contains(page, "out of date") != stale {
			t.Errorf("period %s: %s", period, page)
		}
	}
}

// TestPagesStyle checks that the policy of the landing page allows its style.
func TestPagesStyle(t *testing.T) {
	h := handler(time.Time{}, web.Environment{Name: "prod", Source: source{}})
	if links := check(t, get(t, h, "/")).find("a", "href", "tokens"); len(links) != 1 {
		t.Error("the landing page does not link to the tokens")
	}
}

// TestTokensPage checks the page's texts about the list.
func TestTokensPage(t *testing.T) {
	at := func(created, timeout time.Duration) client.Token {
		token := client.Token{ID: "w", Status: client.StatusWaiting, CreatedAt: noon.Add(created)}
		if timeout != 0 {
			token.TimeoutAt = noon.Add(timeout)
		}
		return token
	}
	one := func(c client.Token) source { return source{snapshot: list(index.Options{}, c)} }
	many := source{snapshot: list(index.Options{}, population(1, 250)...)}
	for name, tc := range map[string]struct {
		source source
		now    time.Duration
		query  string
		want   []string
		lacks  []string
	}{
		"a token without timeout": {one(at(-3*time.Hour-12*time.Minute, 0)), 0, "", []string{
			"1 token.",
			"2026-11-23 08:48:00", "3 h 12 m", "no timeout", "Snapshot from 0 s ago",
		}, []string{
			"Next", "Previous",
			"overdue by",
		}},
		"time is left": {
			one(at(-49*time.Hour, 65*time.Second)), 0, "",
			[]string{"2 d 1 h", "1 m 5 s"},
			[]string{"overdue by", "no timeout"},
		},
		"overdue": {one(at(-time.Minute, -7*time.Second)), 0, "", []string{"overdue by 7 s"}, nil},
		"due this instant": {
			one(at(-time.Minute, time.Second)), time.Second, "",
			[]string{"0 s"},
			[]string{"overdue by"},
		},
		"a clock apart": {one(at(time.Minute, 0)), 0, "", []string{"0 s"}, []string{"-"}},
		"nothing waits": {
			source{snapshot: list(index.Options{})},
			0, "",
			[]string{"No token is waiting."},
			[]string{"matches", "Next"},
		},
		"nothing matches": {
			many, 0, "?stuck=1d",
			[]string{"No waiting token matches.", "older than 1d"},
			[]string{"Next"},
		},
		"first page": {
			many, 0, "",
			[]string{"1–100 of 250 tokens, oldest first", "Next"},
			[]string{"Previous", "First page"},
		},
		"behind the end": {many, 0, "?after=99999999999999,,,", []string{
			"Nothing comes after this place",
			"First page",
		}, []string{"No waiting token", "Next"}},
		"not known yet": {
			source{},
			0, "",
			[]string{"The WAITING tokens of shop/prod are not known yet"},
			[]string{"No token is waiting", "matches"},
		},
		"not listed whole": {
			source{snapshot: index.New(index.Options{}).Cut(noon, noon)},
			0, "",
			[]string{"The WAITING tokens of shop/prod are not known yet"},
			[]string{"No token is waiting"},
		},
		"stale": {
			one(at(0, 0)), 10*time.Minute + time.Second, "",
			[]string{
				"The snapshot of shop/prod is 10 m 1 s old, from 2026-11-23 12:00:00 UTC: too old for the metrics",
				"1 token.",
			},
			nil,
		},
		"just not stale": {
			one(at(0, 0)), 10 * time.Minute, "",
			[]string{"Snapshot from 10 m 0 s ago"},
			[]string{"too old"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := handler(noon.Add(tc.now), web.Environment{Name: "prod", Project: "shop", Source: tc.source})
			main := check(t, get(t, h, "/tokens"+tc.query)).find("main", "", "")[0]
			text := regexp.MustCompile(`\s+`).ReplaceAllString(main.text(), " ")
			for _, want := range tc.want {
				if !strings.Contains(text, want) {
					t.Errorf("the page lacks %q: %s", want, text)
				}
			}
			for _, lacks := range tc.lacks {
				for _, n := range append(main.find("td", "", ""), append(main.find("p", "", ""), main.find("nav",
					"", "")...)...) {
					if text := regexp.MustCompile(`2026-\d\d-\d\d`).ReplaceAllString(n.text(), ""); strings.Contains(
						text,
						lacks,
					) {
						t.Errorf("the page has %q: %s", lacks, text)
					}
				}
			}
		})
	}
	a := getJSON(
		t,
		handler(
			noon.Add(time.Hour),
			web.Environment{Name: "prod", Source: many},
			web.Environment{Name: "dev", Source: source{}},
		),
		"/tokens",
	)
	if prod, dev := a.Environments[0], a.Environments[1]; a.Complete || !prod.Known || !prod.Stale ||
		!prod.AsOf.Equal(noon) ||
		dev.Known ||
		dev.Stale ||
		dev.AsOf != nil {
		t.Errorf("%+v", a.Environments)
	}
	for after, want := range map[time.Duration]bool{10 * time.Minute: true, 11 * time.Minute: false} {
		if a := getJSON(t, handler(noon.Add(after), web.Environment{Name: "prod", Source: many}),
			"/tokens"); a.Complete != want {
			t.Errorf("complete after %s: %t", after, a.Complete)
		}
	}
}

// TestTokensLinks checks that the page's links keep its filters.
func TestTokensLinks(t *testing.T) {
	h := handler(
		time.Time{},
		web.Environment{Name: "prod", Source: source{snapshot: list(index.Options{}, population(1, 900)...)}},
	)
	const query = "environment=prod&stuck=1m&tag=team%3Apayments"
	doc := check(t, get(t, h, "/tokens?"+query))
	next := doc.find("a", "rel", "next")[0].attr("href")
	second := check(t, get(t, h, next))
	for what, link := range map[string]string{
		"next": next, "previous": second.find("a", "rel", "prev")[0].attr("href"),
		"first": second.find("nav", "aria-label", "Pages")[0].find("a", "", "")[0].attr("href"),
	} {
		if !strings.Contains(
			strings.Join(slices.Sorted(strings.SplitSeq(link, "&")), "&"),
			"stuck=1m&tag=team%3Apayments",
		) ||
			!strings.Contains(link, "environment=prod") {
			t.Errorf("%s: %s", what, link)
		}
	}
	without := map[string]string{}
	for _, li := range second.find("li", "", "") {
		without[strings.TrimSpace(li.find("bdi", "", "")[0].text())] = li.find("a", "", "")[0].attr("href")
	}
	if d := cmp.Diff(map[string]string{
		"environment prod":  "tokens?stuck=1m&tag=team%3Apayments",
		"tag team:payments": "tokens?environment=prod&stuck=1m",
		"older than 1m":     "tokens?environment=prod&tag=team%3Apayments",
	}, without); d != "" {
		t.Errorf("filters to remove (-want +got):\n%s", d)
	}
	// The link to the JSON leads to the same page.
	links := second.find("a", "", "")
	i := slices.IndexFunc(links, func(a node) bool { return a.text() == "As JSON" })
	if got, want := getJSON(t, h, links[i].attr("href")).Tokens[0].ID, second.find("code", "",
		"")[0].text(); got != want {
		t.Errorf("as JSON, the page begins with %q, want %q", got, want)
	}
	// The form shows the query.
	if got := doc.find("input", "name", "tag")[0].attr("value"); got != "team:payments" {
		t.Errorf("the form's tag is %q", got)
	}
	if got := doc.find("option", "selected", ""); len(got) != 1 || got[0].text() != "prod" {
		t.Errorf("%d environments are selected", len(got))
	}
	for _, input := range doc.find("input", "", "") {
		if input.attr("type") != "hidden" && input.Parent.Data != "label" {
			t.Errorf("the field %s has no label", input.attr("name"))
		}
	}
}

// slowSource blocks callers of Snapshot.
type slowSource struct {
	source

	asked, release chan struct{}
}

func (s slowSource) Snapshot() *index.Snapshot {
	s.asked <- struct{}{}
	<-s.release
	return s.source.Snapshot()
}

// TestTokensBusy checks the limit of concurrent lists, and that a page beyond it goes on
// reloading itself.
func TestTokensBusy(t *testing.T) {
	const atOnce = 8
	slow := slowSource{source{snapshot: list(index.Options{})}, make(chan struct{}), make(chan struct{})}
	h := handler(time.Time{}, web.Environment{Name: "prod", Source: slow})
	codes := make(chan int)
	for range atOnce {
		go func() { codes <- get(t, h, "/tokens").Code }()
	}
	for range atOnce {
		<-slow.asked
	}
	busy := make(chan *httptest.ResponseRecorder, 1)
	var w *httptest.ResponseRecorder
	go func() { busy <- get(t, h, "/tokens?format=json") }()
	select {
	case w = <-busy:
	case <-slow.asked:
		t.Fatal("one more is let in")
	}
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" ||
		!strings.Contains(w.Body.String(), `{"error":"too many`) {
		t.Errorf("one more: %d %s", w.Code, w.Body)
	}
	for query, want := range map[string]string{"refresh=30": `http-equiv="refresh" content="30"`, "": "<h1>"} {
		if w = get(t, h, "/tokens?"+query); w.Code != http.StatusServiceUnavailable ||
			!strings.Contains(w.Body.String(), want) || strings.Contains(w.Body.String(), "http-equiv") != (query != "") {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	close(slow.release)
	for range atOnce {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("%d", code)
		}
	}
	go func() { <-slow.asked }()
	if w := get(t, h, "/tokens"); w.Code != http.StatusOK {
		t.Errorf("afterwards: %d", w.Code)
	}
}

// stuckClient reads nothing until it is released.
type stuckClient struct {
	*httptest.ResponseRecorder

	began, release chan struct{}
}

func (w stuckClient) Write(p []byte) (int, error) {
	w.began <- struct{}{}
	<-w.release
	return len(p), nil
}

// TestTokensSlowFiles checks that few clients that read a CSV file slowly, which keeps the
// list of all tokens, are sent one, and that they delay nobody who wants a page.
func TestTokensSlowFiles(t *testing.T) {
	const atOnce = 8
	tokens := population(1, 1000)
	h := handler(time.Time{}, web.Environment{Name: "prod", Source: source{snapshot: list(index.Options{}, tokens...)}})
	began, release := make(chan struct{}), make(chan struct{})
	var sending sync.WaitGroup
	for range atOnce {
		sending.Go(func() {
			h.ServeHTTP(stuckClient{httptest.NewRecorder(), began, release},
				httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/tokens?format=csv", http.NoBody))
		})
	}
	for range atOnce {
		<-began
	}
	for query, want := range map[string]int{"?format=csv": 503, "": 200, "?format=json": 200} {
		if got := get(t, h, "/tokens"+query); got.Code != want || (got.Header().Get("Retry-After") == "1") != (want == 503) {
			t.Errorf("%q: %d, want %d", query, got.Code, want)
		}
	}
	go func() {
		for range began { // Of what follows.
		}
	}()
	close(release)
	sending.Wait()
	close(began)
	if got := get(t, h, "/tokens?format=csv"); got.Code != http.StatusOK {
		t.Errorf("afterwards: %d", got.Code)
	}
}

// BenchmarkTokens makes first pages of 100,000 WAITING tokens.
func BenchmarkTokens(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 1))
	tokens := make([]client.Token, 100_000)
	for i := range tokens {
		created := noon.Add(-time.Duration(random.Int64N(int64(30 * 24 * time.Hour)))).Truncate(time.Millisecond)
		tokens[i] = client.Token{
			ID: fmt.Sprintf("waitpoint_%025d", i), Status: client.StatusWaiting, CreatedAt: created,
			Tags: []string{
				"team:" + strconv.Itoa(random.IntN(20)),
				"user:" + strconv.Itoa(random.IntN(50_000)),
				"region:eu",
			},
		}
		if i%10 > 0 {
			tokens[i].TimeoutAt = created.Add(time.Duration(random.Int64N(int64(60 * 24 * time.Hour))))
		}
	}
	src := source{
		snapshot: list(
			index.Options{
				Tags:         index.TagRules{Limit: 100},
				ExpectedWait: []index.ExpectedWait{{Wait: 10 * 24 * time.Hour}},
			},
			tokens...),
	}
	h := handler(time.Time{}, web.Environment{Name: "prod", Source: src})
	for _, query := range []string{
		"", "stuck=1d", "tag=team:7", "tag=team:7&stuck=1d", "tag=user:7", "tag=__other__", "tag=",
		"near_timeout=1h", "overdue", "tag=team:7&overdue&stuck=1h&environment=prod",
		"late", "tag=team:7&late", "id=waitpoint_0000000000000000000099999", "sort=timeout",
		"sort=timeout&stuck=1d", "sort=timeout&late",
		"sort=timeout&before=9223372036854775807,x,,prod", "before=9223372036854775807,x,,prod",
	} {
		for _, format := range []string{"html", "json"} {
			b.Run(format+"/"+query, func(b *testing.B) {
				b.ReportAllocs()
				r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/tokens?"+query, http.NoBody)
				if format == "json" {
					r.Header.Set("Accept", "application/json")
				}
				for b.Loop() {
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					if w.Code != http.StatusOK {
						b.Fatal(w.Code)
					}
				}
			})
		}
	}
}

// A node is a part of a parsed page.
type node struct{ *html.Node }

func parse(t *testing.T, w *httptest.ResponseRecorder) node {
	t.Helper()
	if got := w.Header().Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Fatalf("Content-Type %q: %s", got, w.Body)
	}
	doc, err := html.Parse(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return node{doc}
}

// find returns the elements of this name, or those with this attribute.
func (n node) find(name, attr, value string) (out []node) {
	for d := range n.Descendants() {
		if d.Type != html.ElementNode || d.Data != name {
			continue
		}
		if attr == "" || slices.Contains(d.Attr, html.Attribute{Key: attr, Val: value}) {
			out = append(out, node{d})
		}
	}
	return out
}

func (n node) attr(name string) string {
	value, _ := n.lookup(name)
	return value
}

func (n node) lookup(name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func (n node) text() string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}
