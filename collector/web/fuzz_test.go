package web_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"waitpoint_exporter/collector/index"
	"waitpoint_exporter/collector/web"
)

// FuzzTokens checks that any request for /tokens is answered, or refused with the name
// of a parameter, alike as page and as JSON, and that the page has the same elements
// whatever their content.
func FuzzTokens(f *testing.F) {
	for _, seed := range []string{
		"", "environment=prod", "project=", "project=shop&environment=prod", "tag=team%3Apayments", "tag=",
		"tag=__other__", "tag=%FF",
		"stuck=1h", "stuck=0s", "stuck=-1h", "stuck=300y", "near_timeout=5m&overdue", "overdue=1&no_timeout=true",
		"overdue=maybe", "no_timeout=0",
		"stuck=1h&stuck=1h", "unknown=1", "form", "form=&tag=", "form&tag=//evil.example", "format=json",
		"format=xml", "after=x", "before=x", "after=1&before=2",
		"tag=<script>alert(1)</script>", `tag="><b onclick=x>`, "%zz", "a;b", "environment=%00", "=&&=",
		"tag=a%26b%3D%2B+%23",
	} {
		f.Add(seed)
	}
	h := handler(
		time.Time{},
		web.Environment{
			Name:    "prod",
			Project: "shop",
			Source:  source{snapshot: list(index.Options{}, population(1, 250)...)},
		},
		web.Environment{Name: "staging", Source: source{}},
	)
	ask := func(t testing.TB, query, accept string) *httptest.ResponseRecorder {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/tokens", http.NoBody)
		r.URL.RawQuery = query
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	var first answer
	if err := json.Unmarshal(ask(f, "", "application/json").Body.Bytes(), &first); err != nil || first.Next == "" {
		f.Fatal("no link to a second page", err)
	}
	_, second, _ := strings.Cut(first.Next, "?")
	f.Add(second)
	f.Fuzz(func(t *testing.T, query string) {
		asked, malformed := url.ParseQuery(query)
		w := ask(t, query, "application/json")
		page := ask(t, query, "text/html")
		if asked.Get("format") == "" && page.Code != w.Code {
			t.Errorf("%q: %d as JSON, %d as a page", query, w.Code, page.Code)
		}
		for _, w := range []*httptest.ResponseRecorder{w, page} {
			if w.Code == http.StatusSeeOther { // The form leads to a link without empty fields.
				if to := w.Header().Get("Location"); to != "tokens" && !strings.HasPrefix(to, "tokens?") ||
					!asked.Has("form") {
					t.Errorf("%q: leads to %q", query, to)
				}
				continue
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%q: %v", query, w.Header())
			}
			if strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
				check(t, w)
				continue
			}
			var a struct {
				answer
				Error, Parameter string
			}
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || !utf8.Valid(w.Body.Bytes()) {
				t.Fatalf("%q: %v: %s", query, err, w.Body)
			}
			switch w.Code {
			case http.StatusOK:
				if malformed != nil || a.Total < len(a.Tokens) || len(a.Tokens) > 100 {
					t.Errorf("%q: %v, %d of %d", query, malformed, len(a.Tokens), a.Total)
				}
				if slices.Contains([]string{a.Next, a.Previous}, "tokens?"+query) {
					t.Errorf("%q: a link leads to itself", query)
				}
			case http.StatusBadRequest:
				given := false
				for name := range asked {
					given = given || inJSON(t, name) == a.Parameter
				}
				if a.Error == "" || malformed == nil && !given {
					t.Errorf("%q: %s", query, w.Body)
				}
			default:
				t.Errorf("%q: %d %s", query, w.Code, w.Body)
			}
		}
	})
}

// inJSON returns a text after encoding and decoding it as JSON, which makes it UTF-8.
func inJSON(t *testing.T, text string) (out string) {
	t.Helper()
	b, err := json.Marshal(text)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}
