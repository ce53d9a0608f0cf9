package client_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/client/simulator"
)

// TestErrorsBlameTheRightParty checks that an error blames the key only if the service refused it, and
// otherwise the proxy or gateway in between.
func TestErrorsBlameTheRightParty(t *testing.T) {
	type header map[string]string
	const (
		page     = "<!DOCTYPE html><title>s3cr3t</title>"
		html     = "text/html; charset=utf-8"
		between  = "a firewall, proxy or gateway in front of the API refused the request"
		login    = "a proxy or gateway in front of the API wants a login of its own"
		proxy    = "the proxy wants a login; give the proxy's user and password in proxy_url or HTTPS_PROXY"
		own      = "application/json; charset=utf-8"
		problem  = "application/problem+json; charset=utf-8"
		tokens   = "/api/v1/waitpoints/tokens"
		noPreset = "the key's preset does not let it list tokens"
		badKey   = "the tr_prod_… key is wrong, expired or revoked"
		htmlPage = "the answer is an HTML page, not the service's own; "
		instead  = "a firewall, proxy or gateway in front of the API answered in its place"
		// Whatever the page's name.
		redirected = "redirect to another page, not followed: a proxy or gateway in front of the API wants a login"
	)
	for _, tc := range []struct {
		name   string
		status int
		header header
		body   string
		reason client.Reason
		want   string
	}{
		{
			"restricted key", 403,
			header{"Content-Type": own},
			`{"error":"Unauthorized","code":"unauthorized","param":"access_token","type":"authorization"}`, "auth", noPreset,
		},
		{
			"suspended account", 403,
			header{"Content-Type": own},
			`{"error":"Account suspended"}`, "auth",
			"403 Forbidden: Account suspended; " + noPreset,
		},
		{
			"firewall's challenge", 403,
			header{"Content-Type": html},
			page, "auth",
			"403 Forbidden: the answer is an HTML page, not the service's own; " + between,
		},
		{"firewall without a page", 403, nil, "", "auth", "the answer is not the service's own; " + between},
		{"gateway's JSON", 403, header{"Content-Type": "application/json"}, `{"message":"Forbidden"}`, "auth", between},
		{
			"wrong key", 401,
			header{"Content-Type": own},
			`{"error":"Invalid API key"}`, "auth",
			"401 Unauthorized: Invalid API key; " + badKey,
		},
		{
			"no key arrived", 401,
			header{"Content-Type": problem},
			`{"title":"Unauthorized","status":401,"detail":"x","error":"No authorization header provided"}`, "auth",
			"No authorization header provided; the key did not arrive: a proxy or gateway in front of the API removes the " +
				"Authorization header",
		},
		{
			"a newer service's words", 401,
			header{"Content-Type": own, "X-Ratelimit-Reset": strconv.FormatInt(time.Now().UnixMilli()+1000, 10)},
			`{"error":"Key of another project"}`, "auth", "Key of another project; " + badKey,
		},
		{
			"gateway's words about a token", 401,
			header{"Content-Type": own},
			`{"error":"invalid_token"}`, "auth",
			"invalid_token: the answer is not the service's own; " + between,
		},
		{
			"gateway's limit", 401,
			header{"Content-Type": own, "X-Ratelimit-Reset": "10"},
			`{"error":"Unauthorized"}`, "auth", between,
		},
		{
			"basic auth in front, in JSON", 401,
			header{"WWW-Authenticate": `Basic realm="s3cr3t"`, "Content-Type": own},
			`{"error":"Invalid API key"}`, "auth", login,
		},
		{"proxy, in JSON", 407, header{"Content-Type": own}, `{"error":"Unauthorized"}`, "auth", proxy},
		{"gateway's policy", 403, header{"Content-Type": own}, `{"error":"access_denied"}`, "auth", between},
		{"gateway's scope", 403, header{"Content-Type": own}, `{"error":"Unauthorized"}`, "auth", between},
		{"gateway's bad request", 400, header{"Content-Type": own}, `{"error":"bad host"}`, "bad_request", between},
		{
			"the service's bad request", 400,
			header{"Content-Type": own},
			`{"error":"Query Error","details":[]}`, "bad_request", "400 Bad Request: Query Error",
		},
		{
			"basic auth in front", 401,
			header{"WWW-Authenticate": `Basic realm="s3cr3t"`, "Content-Type": html},
			page, "auth",
			login,
		},
		{"bearer auth in front", 401, header{"WWW-Authenticate": "Bearer"}, "", "auth", login},
		{"gateway refuses", 401, header{"Content-Type": "text/plain"}, "no s3cr3t", "auth", between},
		{"proxy", 407, header{"Proxy-Authenticate": "Basic", "Content-Type": html}, page, "auth", proxy},
		{"sign-in page", 302, header{"Location": "/login?next=s3cr3t"}, "", "invalid_response", redirected},
		{
			"sign-in page elsewhere", 302,
			header{"Location": "https://sso.test/oauth2/authorize?x=s3cr3t"},
			"",
			"invalid_response", redirected,
		},
		{"sign-in page in camel case", 303, header{"Location": "https://accounts.test/SignIn"}, "", "invalid_response", redirected},
		{"sign-in page of another framework", 302, header{"Location": "/users/sign_in"}, "", "invalid_response", redirected},
		{"another page", 302, header{"Location": "/blog/authors"}, "", "invalid_response", redirected},
		{"captive portal", 302, header{"Location": "http://portal.test/welcome"}, "", "invalid_response", redirected},
		{
			"bad request to a gateway", 400,
			header{"Content-Type": html},
			page, "bad_request",
			"400 Bad Request: the answer is an HTML page, not the service's own; " + between,
		},
		{"old engine", 500, header{"Content-Type": own}, `{"error":"Internal Server Error"}`, "server", "old engine"},
		{"gateway breaks down", 500, header{"Content-Type": html}, page, "server", htmlPage + instead},
		{"gateway without the service", 502, header{"Content-Type": html}, page, "server", htmlPage + instead},
		{"gateway in JSON", 503, header{"Content-Type": own}, `{"error":"no upstream"}`, "server", instead},
		{"load balancer without words", 504, nil, "", "server", "the answer is not the service's own; " + instead},
		{"network's login", 511, header{"Content-Type": html}, page, "server", "the network between here and the API wants a login"},
		{"a status of the gateway's own", 530, header{"Content-Type": html}, page, "server", htmlPage + instead},
		{"gateway's limit on requests", 429, header{"Content-Type": html}, page, "rate_limited", htmlPage + between},
		{
			"a page with a byte order mark", 200,
			header{"Content-Type": "text/plain"},
			"\ufeff" + page, "invalid_response",
			"the answer is an HTML page, not JSON",
		},
		{"another API's list", 200, header{"Content-Type": own}, `{"data":[]}`, "invalid_response", "the answer has no pagination"},
		{
			"a page for a list", 200,
			header{"Content-Type": html},
			"\n" + page, "invalid_response",
			"the answer is an HTML page, not JSON",
		},
		{
			"a page that says it is JSON", 200,
			header{"Content-Type": own},
			page, "invalid_response",
			"the answer is an HTML page, not JSON",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClient(t, client.Options{MaxAttempts: 1, Transport: served(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != tokens {
					t.Errorf("asked for %s", r.URL.Path)
				}
				for name, value := range tc.header {
					w.Header().Set(name, value)
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})})
			_, err := collect(t, c, client.ListOptions{})
			wantReason(t, err, tc.reason)
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%q, want one with %q", err, tc.want)
			}
			for _, blame := range []string{noPreset, badKey, "old engine"} {
				if strings.Contains(err.Error(), blame) && !strings.Contains(tc.want, blame) {
					t.Errorf("%q blames the key", err)
				}
			}
		})
	}
}

// TestProxyThatRefuses checks that the error blames a proxy that wants a login,
// whether it gets a plain request or a CONNECT.
func TestProxyThatRefuses(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Proxy-Authenticate", `Basic realm="s3cr3t"`)
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer proxy.Close()
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, api := range []string{"http://api.test", "https://api.test"} {
		transport := &http.Transport{Proxy: http.ProxyURL(address), DialContext: new(net.Dialer).DialContext}
		c := newClient(t, client.Options{APIURL: api, Transport: transport, MaxAttempts: 1})
		_, err := collect(t, c, client.ListOptions{})
		wantReason(t, err, client.ReasonAuth)
		if !strings.Contains(err.Error(), "the proxy wants a login") {
			t.Errorf("%s: %v", api, err)
		}
		transport.CloseIdleConnections()
	}
}

// TestKeyStates checks the error for a key of each preset and state.
func TestKeyStates(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	service := simulator.New(simulator.Options{Now: func() time.Time { return now }})
	service.Environment(simulator.EnvironmentOptions{Key: "tr_prod_root"}).AddKeys(
		simulator.Key{Value: "tr_prod_sk_full"}, simulator.Key{Value: "tr_prod_sk_observer", Preset: "Observer"},
		simulator.Key{Value: "tr_prod_sk_expired", ExpiresAt: now}, simulator.Key{Value: "tr_prod_sk_revoked", Revoked: true},
	)
	service.Environment(simulator.EnvironmentOptions{Key: "tr_preview_root", Branch: "b1"})
	const refused = "401 Unauthorized: Invalid API key; the tr_prod_… key is wrong, expired or revoked, " +
		"or of another server than the API URL's"
	for _, tc := range []struct{ key, branch, want string }{
		{"tr_prod_root", "", ""},
		{"tr_prod_sk_full", "", ""},
		{"tr_prod_sk_observer", "", "403 Forbidden: Unauthorized; the key's preset does not let it list tokens: " +
			"make a key with the preset \"No restrictions\"; or else the account is suspended or the exporter's address " +
			"blocked"},
		{"tr_prod_sk_expired", "", refused},
		{"tr_prod_sk_revoked", "", refused},
		{"tr_prod_sk_mistyped", "", refused},
		{"tr_other_0", "", "401 Unauthorized: Invalid API key; the key, whose prefix is none of the known ones, is wrong, " +
			"expired or revoked, or of another server than the API URL's"},
		{"tr_preview_root", "b1", ""},
		{"tr_preview_root", "", "401 Unauthorized: x-trigger-branch header required for preview env; " +
			"a preview key needs a branch: --trigger.preview-branch is missing"},
		{"tr_preview_root", "b2", "401 Unauthorized: No matching branch env; " +
			"check --trigger.preview-branch: the service knows no such branch"},
	} {
		c := newClient(t, client.Options{
			Key: func() (string, error) { return tc.key, nil }, PreviewBranch: tc.branch,
			Transport: simulator.Transport(service),
		})
		_, err := collect(t, c, client.ListOptions{})
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.key, err)
		case tc.want != "":
			wantReason(t, err, client.ReasonAuth)
			if got := asError(t, err).Error(); got != "GET /api/v1/waitpoints/tokens: "+tc.want {
				t.Errorf("%s, branch %q:\n got %s\nwant %s", tc.key, tc.branch, got, tc.want)
			}
		}
	}
}
