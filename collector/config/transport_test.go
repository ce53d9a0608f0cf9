package config_test

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/config"
	"waitpoint_exporter/collector/config/access"
)

// transport returns the transport of an environment with these settings.
func transport(t *testing.T, settings string) http.RoundTripper {
	t.Helper()
	got, err := config.ReadFile(write(t, "config.yml",
		"environments:\n  - name: prod\n    secret_key: tr_prod_0123456789\n"+settings), getenv)
	if err != nil {
		t.Fatal(err)
	}
	rt, err := access.Transport(t.Context(), got[0].HTTP)
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

// TestTransportDefaults checks that no option of the transport changes another's
// default: connections and headers always have the same bounds.
func TestTransportDefaults(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://proxy.test:3128")
	t.Setenv("NO_PROXY", "")
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://api.test/", http.NoBody)
	const proxied, direct, other = "http://proxy.test:3128", "", "http://other.test:8080"
	for _, c := range [][2]string{
		{"", proxied},
		{"    tls_config: {insecure_skip_verify: true}\n", proxied},
		{"    enable_http2: false\n", proxied},
		{"    proxy_connect_header: {X-Team: [a]}\n", proxied},
		{"    proxy_url: \"\"\n", proxied},
		{"    proxy_url:\n", proxied},
		{"    proxy_from_environment: false\n", direct},
		{"    proxy_url: http://other.test:8080\n", other},
		{"    proxy_url: http://other.test:8080\n    tls_config: {min_version: TLS13}\n", other},
		{"    proxy_url: http://other.test:8080\n    proxy_from_environment: false\n", other},
		{"    proxy_url: http://other.test:8080\n    no_proxy: api.test\n", direct},
		{"defaults: {proxy_url: \"http://other.test:8080\"}\n", other},
		{"    proxy_from_environment: true\ndefaults: {proxy_url: \"http://x.test\", no_proxy: a}\n", proxied},
		{"    proxy_url: http://other.test:8080\ndefaults: {proxy_from_environment: true}\n", other},
		{"    proxy_from_environment: false\ndefaults: {tls_config: {insecure_skip_verify: true}}\n", direct},
	} {
		settings, want := c[0], c[1]
		rt, ok := transport(t, settings).(*http.Transport)
		if !ok {
			t.Errorf("%q: no *http.Transport", settings)
			continue
		}
		got := ""
		if rt.Proxy != nil {
			if u, err := rt.Proxy(request); err != nil {
				t.Error(err)
			} else if u != nil {
				got = u.String()
			}
		}
		if got != want {
			t.Errorf("%q: proxy %q, want %q", settings, got, want)
		}
		if rt.MaxResponseHeaderBytes != 64<<10 || rt.IdleConnTimeout != 55*time.Second ||
			rt.TLSHandshakeTimeout != 10*time.Second || rt.MaxIdleConns != 16 ||
			rt.ForceAttemptHTTP2 != !strings.Contains(settings, "enable_http2") {
			t.Errorf("%q: %+v", settings, rt)
		}
	}
}

// TestTransport checks that TLS settings and headers reach the server, and that a
// header's file is read for each request.
func TestTransport(t *testing.T) {
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto+" "+strings.Join(r.Header["X-Team"], ","))
	}))
	api.EnableHTTP2 = true
	api.StartTLS()
	defer api.Close()
	folder := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})))
	put("header", "from-file\n")
	ask := func(settings string) string {
		t.Helper()
		put("config.yml", "environments:\n  - name: prod\n    secret_key: tr_prod_0123456789\n"+settings)
		got, err := config.ReadFile(filepath.Join(folder, "config.yml"), getenv)
		if err != nil {
			t.Fatal(err)
		}
		rt, err := access.Transport(t.Context(), got[0].HTTP)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: rt}
		defer client.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			return err.Error()
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	const headers = "    http_headers:\n      x-team: {values: [a, b], secrets: [c], files: [header]}\n"
	const ca = "    tls_config: {ca_file: ca.pem}\n"
	if got := ask(""); !strings.Contains(got, "certificate") {
		t.Errorf("without the authority: %s", got)
	}
	if got := ask(ca + headers); got != "HTTP/2.0 a,b,c,from-file" {
		t.Errorf("with HTTP/2: %s", got)
	}
	if got := ask(ca + "    enable_http2: false\n"); got != "HTTP/1.1 " {
		t.Errorf("without HTTP/2: %s", got)
	}
	got := ask("    tls_config: {insecure_skip_verify: true, max_version: TLS12}\n" +
		"defaults: {http_headers: {X-Team: {values: [d]}}}\n")
	if got != "HTTP/2.0 d" {
		t.Errorf("with defaults: %s", got)
	}
	api.TLS.MinVersion = tls.VersionTLS13
	got = ask("    tls_config: {insecure_skip_verify: true, max_version: TLS12}\n")
	if !strings.Contains(got, "protocol version") {
		t.Errorf("with a version that the server does not have: %s", got)
	}
}

// TestProxyVariables checks that a proxy's variable that net/http would ignore is refused
// by its name, without its value.
func TestProxyVariables(t *testing.T) {
	const wanted = ": want the URL of a proxy alone, http://host:port"
	for name, tc := range map[string]struct{ variable, value, settings, want string }{
		"an end of line":     {"HTTPS_PROXY", "http://u:hunter2@proxy.test:3128\n", "", "has white space or an end of line around it"},
		"a space":            {"HTTP_PROXY", " http://proxy.test:3128", "", "has white space or an end of line around it"},
		"quotes":             {"https_proxy", `"http://u:hunter2@proxy.test:3128"`, "", "has quotes around it"},
		"a single quote":     {"http_proxy", `'http://u:hunter2@proxy.test:3128`, "", "has quotes around it"},
		"no port":            {"HTTPS_PROXY", "http://u:hunter2@proxy.test:port", "", "is no URL"},
		"a good one":         {"HTTPS_PROXY", "http://u:hunter2@proxy.test:3128", "", ""},
		"without a scheme":   {"HTTPS_PROXY", "proxy.test:3128", "", ""},
		"one that is unused": {"HTTPS_PROXY", "\n", ", proxy_from_environment: false", ""},
		"another proxy":      {"HTTPS_PROXY", "\n", ", proxy_url: \"http://proxy.test:3128\"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
				t.Setenv(variable, "")
			}
			t.Setenv(tc.variable, tc.value)
			_, err := config.ReadFile(write(t, "config.yml",
				"environments: [{name: prod, secret_key: tr_prod_0123456789"+tc.settings+"}]\n"), getenv)
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want != "" && (err == nil || err.Error() != "$"+tc.variable+" "+tc.want+wanted):
				t.Errorf("%v, want one with %q", err, tc.want)
			}
		})
	}
}

// TestFileErrors checks that the error of a request names the file of a header or of
// certificates that cannot be read any more, and says what to check.
func TestFileErrors(t *testing.T) {
	api := httptest.NewTLSServer(http.NotFoundHandler())
	defer api.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw}))
	for name, tc := range map[string]struct {
		change func(header, ca string) error
		want   string
	}{
		"no header":      {func(header, _ string) error { return os.Remove(header) }, "open HEADER: no such file or directory"},
		"no CA":          {func(_, ca string) error { return os.Remove(ca) }, "open CA: no such file or directory"},
		"no certificate": {func(_, ca string) error { return os.WriteFile(ca, nil, 0o600) }, "read CA: has no certificate"},
		"a folder": {
			func(header, _ string) error { return errors.Join(os.Remove(header), os.Mkdir(header, 0o700)) },
			"read HEADER: is a directory",
		},
	} {
		t.Run(name, func(t *testing.T) {
			header, authority := write(t, "header", "me"), write(t, "ca.pem", ca)
			c, err := client.New(client.Options{
				APIURL: api.URL, Key: func() (string, error) { return "tr_prod_0123456789", nil }, MaxAttempts: 1,
				Transport: transport(t, "    tls_config: {ca_file: "+authority+"}\n    http_headers: {x: {files: ["+header+"]}}\n"),
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseIdleConnections()
			list := func() error {
				_, err := c.Pager(client.ListOptions{}).Next(t.Context())
				return err
			}
			if err := list(); err == nil || !strings.Contains(err.Error(), "404") {
				t.Fatal(err)
			}
			if err := tc.change(header, authority); err != nil {
				t.Fatal(err)
			}
			want := "list tokens: GET /api/v1/waitpoints/tokens: " +
				strings.NewReplacer("HEADER", header, "CA", authority).Replace(tc.want) +
				"; check this file with a header or certificate for requests"
			if err := list(); err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}
