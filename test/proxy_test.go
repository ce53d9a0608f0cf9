package test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"waitpoint_exporter/test/size"
)

// TestBehindProxy crawls the pages through a reverse proxy that strips a prefix and
// through one that does not. No link may be broken or lead out of the prefix, and the
// metrics contain the external URL. The paths for machines also work without the prefix.
func TestBehindProxy(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		strips bool
		args   []string
	}{
		"that strips the prefix":         {true, []string{"--web.route-prefix=/"}},
		"that does not":                  {false, nil},
		"that does not, with the prefix": {false, []string{"--web.route-prefix=/ops/waitpoints/"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := &httputil.ReverseProxy{}
			var handler http.Handler = proxy
			if tc.strips {
				handler = http.StripPrefix("/ops/waitpoints", proxy)
			}
			front := httptest.NewServer(handler)
			defer front.Close()
			external := front.URL + "/ops/waitpoints"
			_, api := newEnvironment(t)
			p := startProcess(t, []string{"TRIGGER_SECRET_KEY=" + goodKey}, append(tc.args,
				"--trigger.api-url="+api.URL, "--web.external-url="+external+"/", "--tokens.expected-wait=4h")...)
			proxy.Rewrite = func(r *httputil.ProxyRequest) {
				r.SetURL(&url.URL{Scheme: "http", Host: p.address})
			}
			client := newClient(t)
			p.await(t, client, `triggerdev_waitpoint_history_loaded{environment="prod"} 1`,
				fmt.Sprintf(`waitpoint_exporter_web_info{external_url=%q} 1`, external))
			for _, path := range []string{"/-/healthy", "/-/ready", "/metrics"} {
				if code, _, err := p.get(t.Context(), client, path); code != http.StatusOK {
					t.Errorf("%s: %d: %v", path, code, err)
				}
			}
			seen := crawl(t, external)
			for _, path := range []string{"", "tokens", "runbook", "metrics", "-/healthy", "-/ready", "favicon.svg"} {
				if !seen[external+"/"+path] {
					t.Errorf("/%s was not met among %d pages", path, len(seen))
				}
			}
			if code, _, _ := fetch(t, external+"/tokens/"); code != http.StatusNotFound {
				t.Errorf("/tokens/: %d", code)
			}
		})
	}
}

// crawl follows the links and forms of all pages, up to a bound, and returns the
// addresses found, without their queries.
func crawl(t *testing.T, external string) map[string]bool {
	t.Helper()
	seen, queue := map[string]bool{}, []string{external + "/"}
	asked := map[string]bool{queue[0]: true}
	for n := 0; len(queue) > 0 && n < size.Of(20, 60); n++ {
		link := queue[0]
		queue = queue[1:]
		code, at, doc := fetch(t, link)
		if code != http.StatusOK || !strings.HasPrefix(at.String(), external+"/") {
			t.Errorf("%s leads to %s: %d", link, at, code)
			continue
		}
		at.RawQuery = ""
		seen[at.String()] = true
		if doc == nil {
			continue
		}
		for node := range doc.Descendants() {
			for _, a := range node.Attr {
				if !slices.Contains([]string{"href", "action"}, a.Key) {
					continue
				}
				to, err := url.Parse(link)
				if err == nil {
					to, err = to.Parse(a.Val)
				}
				if err != nil {
					t.Fatal(err)
				}
				// The runbook's links to other sites are not followed.
				if to.Fragment = ""; !asked[to.String()] && to.Host == at.Host {
					asked[to.String()] = true
					queue = append(queue, to.String())
				}
			}
		}
	}
	return seen
}

// fetch returns the code, the address after redirects and, for a page, its HTML tree.
func fetch(t *testing.T, link string) (int, *url.URL, *html.Node) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") {
		return answer.StatusCode, answer.Request.URL, nil
	}
	doc, err := html.Parse(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Request.URL, doc
}
