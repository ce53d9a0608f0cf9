package web_test

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
	"waitpoint_exporter/collector/web"
)

// TestTokensSort checks the order by timeout, over all pages, forwards and backwards.
func TestTokensSort(t *testing.T) {
	type placed struct {
		environment string
		client.Token
	}
	for _, query := range []string{"", "&overdue", "&stuck=1h", "&late=1", "&tag=user:1", "&environment=dev"} {
		var environments []web.Environment
		var all []placed
		for i, name := range []string{"prod", "dev"} {
			tokens := population(uint64(i), 731)
			environments = append(
				environments,
				web.Environment{
					Name:   name,
					Source: source{snapshot: list(index.Options{ExpectedWait: expectedWait}, tokens...)},
				},
			)
			for _, token := range tokens {
				all = append(all, placed{name, token})
			}
		}
		h := handler(time.Time{}, environments...)
		listed := walk(t, h, "/tokens?"+strings.TrimPrefix(query, "&"))
		all = slices.DeleteFunc(all, func(p placed) bool { return !slices.Contains(listed, p.environment+" "+p.ID) })
		slices.SortFunc(all, func(a, b placed) int {
			if a.TimeoutAt.IsZero() != b.TimeoutAt.IsZero() {
				return map[bool]int{true: 1, false: -1}[a.TimeoutAt.IsZero()]
			}
			if c := a.TimeoutAt.Compare(b.TimeoutAt); c != 0 {
				return c
			}
			return strings.Compare(a.ID+" "+a.environment, b.ID+" "+b.environment)
		})
		var want []string
		for _, p := range all {
			want = append(want, p.environment+" "+p.ID)
		}
		if d := cmp.Diff(want, walk(t, h, "/tokens?sort=timeout"+query)); d != "" {
			t.Errorf("%q (-want +got):\n%s", query, d)
		}
		last := getJSON(t, h, "/tokens?sort=timeout"+query)
		for last.Next != "" {
			last = getJSON(t, h, last.Next)
		}
		back := last.ids()
		for last.Previous != "" {
			last = getJSON(t, h, last.Previous)
			back = append(last.ids(), back...)
		}
		if d := cmp.Diff(want, back); d != "" {
			t.Errorf("%q, back (-want +got):\n%s", query, d)
		}
	}
}

// TestTokensByID checks which token is found by an id, and the text if there is none.
func TestTokensByID(t *testing.T) {
	h := handler(
		time.Time{},
		web.Environment{Name: "prod", Source: source{snapshot: list(index.Options{}, population(1, 250)...)}},
	)
	if a := getJSON(t, h, "/tokens?id=+waitpoint_217%0A"); a.Total != 1 || a.Tokens[0].ID != "waitpoint_217" {
		t.Errorf("%+v", a)
	}
	for query, want := range map[string]string{
		"id=waitpoint_1": "1 token.",
		"id=waitpoint_nope": "No token with this id is waiting. It has finished, is not counted, or never " +
			"existed.",
		"id=waitpoint_1&tag=nah": "No token with this id is waiting.",
	} {
		if page := strings.Join(strings.Fields(check(t, get(t, h, "/tokens?"+query)).text()), " "); !strings.Contains(
			page,
			want,
		) {
			t.Errorf("%s: the page lacks %q: %s", query, want, page)
		}
	}
}

// TestTokensReload checks that the page reloads itself at the given interval, and that
// its links keep the interval.
func TestTokensReload(t *testing.T) {
	h := handler(
		time.Time{},
		web.Environment{Name: "prod", Source: source{snapshot: list(index.Options{}, population(1, 250)...)}},
	)
	for query, want := range map[string]string{"": "", "refresh=30": "30", "refresh=5&stuck=1m": "5"} {
		doc := check(t, get(t, h, "/tokens?"+query))
		got := ""
		var gotSb94 strings.Builder
		for _, meta := range doc.find("meta", "http-equiv", "refresh") {
			gotSb94.WriteString(meta.attr("content"))
		}
		got += gotSb94.String()
		if got != want {
			t.Errorf("%s: the page asks again after %q seconds, want %q", query, got, want)
		}
		if next := doc.find("a", "rel", "next")[0].attr("href"); strings.Contains(next, "refresh=") != (want != "") {
			t.Errorf("%s: the next page is %s", query, next)
		}
	}
	for _, bad := range []string{"refresh=4", "refresh=0", "refresh=-1", "refresh=1h", "refresh=86401", "refresh="} {
		if w := get(t, h, "/tokens?"+bad); w.Code != http.StatusBadRequest ||
			strings.Contains(w.Body.String(), "http-equiv") {
			t.Errorf("%s: %d", bad, w.Code)
		}
	}
}

// TestTokensDashboard checks that each token links to its own page in the dashboard,
// whatever its id, and that no link is guessed.
func TestTokensDashboard(t *testing.T) {
	const base = "https://cloud.trigger.dev/orgs/acme/projects/shop/env/prod"
	ids := []string{
		"waitpoint_cm3abc",
		"a/b",
		"..",
		"a?b#c",
		"100%",
		"<b>",
		"\"x\"",
		"é ü",
		"a\nb",
		"javascript:alert(1)",
	}
	var tokens []client.Token
	for _, id := range ids {
		tokens = append(tokens, client.Token{ID: id, Status: client.StatusWaiting, CreatedAt: noon})
	}
	src := source{snapshot: list(index.Options{}, tokens...)}
	h := handler(
		time.Time{},
		web.Environment{Name: "prod", Source: src, DashboardURL: base},
		web.Environment{Name: "dev", Source: src},
	)
	var got []string
	for _, code := range check(t, get(t, h, "/tokens?environment=prod")).find("code", "", "") {
		u, err := url.Parse(code.find("a", "", "")[0].attr("href"))
		if err != nil {
			t.Fatal(err)
		}
		id, ok := strings.CutPrefix(u.EscapedPath(), "/orgs/acme/projects/shop/env/prod/waitpoints/tokens/")
		if !ok || u.Host != "cloud.trigger.dev" || strings.Contains(id, "/") || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("a link leads to %s", u)
		}
		if id, err = url.PathUnescape(id); err != nil {
			t.Fatal(err)
		}
		got = append(got, id)
	}
	if d := cmp.Diff(slices.Sorted(slices.Values(ids)), got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, code := range check(t, get(t, h, "/tokens?environment=dev")).find("code", "", "") {
		if len(code.find("a", "", "")) > 0 {
			t.Errorf("%s has a link", code.text())
		}
	}
	var data struct {
		Tokens []struct{ Environment, DashboardURL string }
	}
	if err := json.Unmarshal(get(t, h, "/tokens?format=json&id=100%25").Body.Bytes(), &data); err != nil {
		t.Fatal(err)
	}
	for _, token := range data.Tokens {
		if want := map[string]string{"prod": base +
			"/waitpoints/tokens/100%25"}[token.Environment]; token.DashboardURL != want {
			t.Errorf("%s: %q, want %q", token.Environment, token.DashboardURL, want)
		}
	}
}

// TestTokensColumns checks the columns.
func TestTokensColumns(t *testing.T) {
	old := client.Token{
		ID:        "a",
		Status:    client.StatusWaiting,
		CreatedAt: noon.Add(-3 * time.Hour),
		Tags:      []string{"user:1"},
	}
	free := client.Token{ID: "b", Status: client.StatusWaiting, CreatedAt: noon}
	plain := web.Environment{Name: "dev", Source: source{snapshot: list(index.Options{}, old, free)}}
	ruled := web.Environment{
		Name:   "prod",
		Source: source{snapshot: list(index.Options{ExpectedWait: expectedWait}, old, free)},
	}
	for name, tc := range map[string]struct {
		environments []web.Environment
		query        string
		want         []string
	}{
		"one": {[]web.Environment{plain}, "", []string{
			"Token", "Tags", "Created (UTC)", "Age",
			"Timeout (UTC)", "Time left",
		}},
		"rules": {[]web.Environment{ruled}, "", []string{
			"Token", "Tags", "Created (UTC)", "Age",
			"Expected within", "Timeout (UTC)", "Time left",
		}},
		"several": {[]web.Environment{plain, ruled}, "", []string{
			"Environment", "Token", "Tags",
			"Created (UTC)", "Age", "Expected within", "Timeout (UTC)", "Time left",
		}},
		"one of several": {[]web.Environment{plain, ruled}, "?environment=dev", []string{
			"Token", "Tags",
			"Created (UTC)", "Age", "Timeout (UTC)", "Time left",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			doc := check(t, get(t, handler(time.Time{}, tc.environments...), "/tokens"+tc.query))
			var got []string
			for _, th := range doc.find("th", "", "") {
				got = append(got, th.text())
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			for _, row := range doc.find("tbody", "", "")[0].find("tr", "", "") {
				if n := len(row.find("td", "", "")); n != len(tc.want) {
					t.Errorf("a row has %d cells, want %d", n, len(tc.want))
				}
			}
		})
	}
	var cells []string
	for _, td := range check(t, get(t, handler(time.Time{}, ruled), "/tokens")).find("td", "class", "time expected") {
		cells = append(cells, td.text())
	}
	if d := cmp.Diff([]string{"1h, late by 2 h 1 m", "any time"}, cells); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestTokensCSV checks that a CSV has all tokens, follows RFC 4180, and has no cell
// that a spreadsheet would run.
func TestTokensCSV(t *testing.T) {
	nasty := []string{
		"=1+1",
		"+1",
		"-1",
		"@SUM(A1)",
		"\t=1",
		"\r\n=1",
		"\uff1d1",
		`"quoted", and more`,
		"team:payments",
		"\u202e",
	}
	tokens := population(1, 730)
	for i, tag := range nasty {
		tokens[i].Tags, tokens[i].ID = []string{tag, ""}, tag
	}
	prod := web.Environment{
		Name:         "=prod",
		Project:      "@shop",
		DashboardURL: "https://trigger.test/env/prod",
		Source:       source{snapshot: list(index.Options{ExpectedWait: expectedWait}, tokens...)},
	}
	h := handler(time.Time{}, prod)
	for _, query := range []string{
		"format=csv", "format=csv&stuck=1h&sort=timeout",
		"format=csv&refresh=30&tag=team:payments",
	} {
		w := get(t, h, "/tokens?"+query)
		if got := w.Header().Get("Content-Type"); got != "text/csv; charset=utf-8; header=present" ||
			!strings.HasPrefix(w.Header().Get("Content-Disposition"), "attachment") {
			t.Errorf("%s: Content-Type %q", query, got)
		}
		if body := w.Body.String(); strings.Count(body, "\n") != strings.Count(body, "\r\n") {
			t.Errorf("%s: a line does not end with CRLF", query)
		}
		rows, err := csv.NewReader(w.Body).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{
			"environment", "project", "id", "tags", "created_at", "timeout_at", "late_at",
			"listed_at", "dashboard_url",
		}, rows[0]); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
		for _, row := range rows {
			for _, cell := range row {
				if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r\n") || strings.HasPrefix(cell, "\uff1d") {
					t.Errorf("%s: a cell is %q", query, cell)
				}
			}
		}
		listed := walk(
			t,
			h,
			"/tokens?"+strings.Replace(strings.Replace(query, "format=csv", "", 1), "refresh=30&", "", 1),
		)
		if len(rows)-1 != len(listed) {
			t.Fatalf("%s: %d rows, want %d", query, len(rows)-1, len(listed))
		}
		byID := map[string]client.Token{}
		for _, token := range tokens {
			byID[token.ID] = token
		}
		for i, row := range rows[1:] {
			id := strings.TrimPrefix(listed[i], "=prod ")
			if got := strings.TrimPrefix(row[2], "'"); got != id && slices.Contains(tokenIDs(tokens), got) {
				t.Fatalf("%s: row %d is %s, want %s", query, i, got, id)
			}
			token := byID[id]
			var tags []string
			if err := json.Unmarshal([]byte(row[3]), &tags); err != nil || !slices.Equal(tags, token.Tags) {
				t.Errorf("%s: tags %s, want %q: %v", query, row[3], token.Tags, err)
			}
			want := []string{token.CreatedAt.Format("2006-01-02T15:04:05.000Z"), "", "", "2026-11-23T12:00:00.000Z"}
			if !token.TimeoutAt.IsZero() {
				want[1] = token.TimeoutAt.Format("2006-01-02T15:04:05.000Z")
			}
			switch {
			case slices.Contains(token.Tags, "user:1"):
				want[2] = token.CreatedAt.Add(time.Hour).Format("2006-01-02T15:04:05.000Z")
			case slices.Contains(token.Tags, "team:payments") || slices.Contains(token.Tags, "user:2"):
				want[2] = token.CreatedAt.Add(10 * time.Minute).Format("2006-01-02T15:04:05.000Z")
			}
			if d := cmp.Diff(want, row[4:8]); d != "" {
				t.Errorf("%s: %s (-want +got):\n%s", query, id, d)
			}
		}
	}
	for query, want := range map[string]int{
		"format=csv&after=1,a,,prod": 400, "format=csv&before=1,a,,prod": 400,
		"format=csv&stuck=soon": 400,
	} {
		if w := get(t, h, "/tokens?"+query); w.Code != want ||
			!strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %d %s", query, w.Code, w.Header().Get("Content-Type"))
		}
	}
	for _, query := range []string{"after=1,a,,prod", "before=1,a,,prod"} {
		if w := get(t, h, "/tokens?"+query, "Accept", "text/csv"); w.Code != http.StatusBadRequest {
			t.Errorf("%s for a client that accepts CSV: %d", query, w.Code)
		}
	}
	// A CSV with only part of the tokens is refused.
	w := get(
		t,
		handler(time.Time{}, prod, web.Environment{Name: "dev", Source: source{}}),
		"/tokens",
		"Accept",
		"text/csv",
	)
	if w.Code != http.StatusServiceUnavailable || w.Body.String() != "the WAITING tokens are not known yet: dev\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func tokenIDs(tokens []client.Token) []string {
	var out []string
	for _, token := range tokens {
		out = append(out, token.ID)
	}
	return out
}
