package server_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"waitpoint_exporter/collector/server"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
)

// parse returns the flags, or their error.
func parse(t *testing.T, args ...string) (*server.Flags, error) {
	t.Helper()
	app := kingpin.New("test", "").Terminate(nil)
	flags := server.AddFlags(app)
	if _, err := app.Parse(args); err != nil {
		return nil, err
	}
	return flags, flags.Check("/tokens")
}

// TestBadFlags checks the exact message of each flag that is refused.
func TestBadFlags(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	const path = " must be a path such as /metrics that no other endpoint has"
	const key = "has a key in it: want none, everybody can see this URL"
	const port = ": want a number from 0 to 65535 or the name of a service"
	for arg, want := range map[string]string{
		"--web.telemetry-path=metrics":       `--web.telemetry-path: "metrics"` + path,
		"--web.telemetry-path=//metrics":     `--web.telemetry-path: "//metrics"` + path,
		"--web.telemetry-path=/a/../metrics": `--web.telemetry-path: "/a/../metrics"` + path,
		"--web.telemetry-path=/metrics?x":    `--web.telemetry-path: "/metrics?x"` + path,
		"--web.telemetry-path=/metrics#x":    `--web.telemetry-path: "/metrics#x"` + path,
		"--web.telemetry-path=/{x}":          `--web.telemetry-path: "/{x}"` + path,
		"--web.telemetry-path=/tokens":       `--web.telemetry-path: "/tokens"` + path,
		"--web.config.file=" + missing: "--web.config.file: open " + missing +
			": no such file or directory",
		"--web.listen-address=": `--web.listen-address: "" is not HOST:PORT: want an address ` +
			`such as :10210 or 127.0.0.1:10210`,
		"--web.listen-address=:":          `--web.listen-address: ":" has no port: want :10210`,
		"--web.listen-address=localhost:": `--web.listen-address: "localhost:" has no port: want localhost:10210`,
		"--web.listen-address=localhost":  `--web.listen-address: "localhost" has no port: want localhost:10210`,
		"--web.listen-address=10210":      `--web.listen-address: "10210" has no colon: want :10210`,
		"--web.listen-address=::1:10210": `--web.listen-address: "::1:10210" has an IPv6 address ` +
			`without brackets: want [::1]:10210`,
		"--web.listen-address=::1:9100": `--web.listen-address: "::1:9100" has an IPv6 address ` +
			`without brackets: want [::1]:9100`,
		"--web.listen-address=fe80::1%eth0:80": `--web.listen-address: "fe80::1%eth0:80" has an IPv6 ` +
			`address without brackets: want [fe80::1%eth0]:80`,
		"--web.listen-address=::1":    `--web.listen-address: "::1" has no port: want [::1]:10210`,
		"--web.listen-address=[::1]:": `--web.listen-address: "[::1]:" has no port: want [::1]:10210`,
		"--web.listen-address=http://localhost:80": `--web.listen-address: "http://localhost:80" is not ` +
			`HOST:PORT: want an address such as :10210 or 127.0.0.1:10210`,
		"--web.listen-address=127.0.0.1:99999": `--web.listen-address: "127.0.0.1:99999" has the port "99999"` + port,
		"--web.listen-address=:65536":          `--web.listen-address: ":65536" has the port "65536"` + port,
		"--web.listen-address=:-1":             `--web.listen-address: ":-1" has the port "-1"` + port,
		"--web.listen-address=:no-such":        `--web.listen-address: ":no-such" has the port "no-such"` + port,
		"--web.listen-address=unix:///x.sock": `--web.listen-address: "unix:///x.sock" has the port ` +
			`"///x.sock"` + port,
		"--web.listen-address=vsock://:": `--web.listen-address: "vsock://:" is not vsock://:PORT: want an ` +
			`address such as vsock://:10210`,
		"--web.listen-address=vsock://:http": `--web.listen-address: "vsock://:http" is not vsock://:PORT: want an ` +
			`address such as vsock://:10210`,
		"--web.external-url=waitpoints.example.com": "--web.external-url: not a URL: want http:// or https:// " +
			"with a host",
		"--web.external-url=http://": "--web.external-url: not a URL: want http:// or https:// " +
			"with a host",
		`--web.external-url="http://x/"`: "--web.external-url: not a URL: want http:// or https:// " +
			"with a host",
		"--web.external-url=https://user:hunter2@x/": "--web.external-url: has user information: want none",
		"--web.external-url=https://x/?a=b":          "--web.external-url: has a query or a fragment: want none",
		"--web.route-prefix=/{x}":                    `--web.route-prefix: "/{x}" must be a path such as /waitpoints`,
		"--web.route-prefix=/a//b":                   `--web.route-prefix: "/a//b" must be a path such as /waitpoints`,
		"--web.external-url=https://x/ä":             `--web.external-url: "/ä" must be a path such as /waitpoints`,
		"--web.external-url=http://x/a//b":           `--web.external-url: "/a//b" must be a path such as /waitpoints`,
		"--web.external-url=http://tr_prod_x":        "--web.external-url: " + key,
		"--web.external-url=http://pk_dev_x:80/":     "--web.external-url: " + key,
		"--web.external-url=http://x/a/tr_pat_x":     "--web.external-url: " + key,
		"--web.listen-address=tr_prod_x:10210":       `--web.listen-address: "tr_prod_x:10210" is a key: want HOST:PORT`,
	} {
		_, err := parse(t, arg)
		if err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", arg, err, want)
		}
	}
}

// TestGoodFlags checks the external URL and the route prefix that result, as in
// Prometheus.
func TestGoodFlags(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args             string
		external, prefix string
	}{
		{"", "http://" + host + ":10210", "/"},
		{"--web.listen-address=127.0.0.1:0 --web.listen-address=[::1]:80", "http://" + host + ":0", "/"},
		{"--web.listen-address=127.0.0.1:http", "http://" + host + ":80", "/"},
		{"--web.listen-address=:65535", "http://" + host + ":65535", "/"},
		{"--web.listen-address=vsock://:80", "http://" + host + ":10210", "/"},
		{"--web.route-prefix=/a/b", "http://" + host + ":10210/a/b", "/a/b"},
		{"--web.external-url=https://x.example.com", "https://x.example.com", "/"},
		{"--web.external-url=https://x.example.com/", "https://x.example.com", "/"},
		{"--web.external-url=https://x.example.com/waitpoints/", "https://x.example.com/waitpoints", "/waitpoints"},
		{
			"--web.external-url=https://x.example.com/waitpoints --web.route-prefix=/",
			"https://x.example.com/waitpoints", "/",
		},
		{"--web.external-url=https://x.example.com --web.route-prefix=a/b/", "https://x.example.com", "/a/b"},
		{"--web.external-url=https://tr_shop.example.com/pk_team", "https://tr_shop.example.com/pk_team", "/pk_team"},
		{"--web.listen-address= --web.systemd-socket", "http://" + host + ":10210", "/"},
	} {
		flags, err := parse(t, strings.Fields(tc.args)...)
		if err != nil {
			t.Errorf("%s: %v", tc.args, err)
			continue
		}
		if got := flags.ExternalURL.String(); got != tc.external || flags.RoutePrefix != tc.prefix {
			t.Errorf("%s: %s, %s; want %s, %s", tc.args, got, flags.RoutePrefix, tc.external, tc.prefix)
		}
	}
}

// TestRoute checks which paths are served with a prefix: all pages below it, and the
// paths for machines also at the root.
func TestRoute(t *testing.T) {
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("page " + r.URL.Path))
	})
	for _, tc := range []struct{ prefix, metrics, path, want string }{
		{"", "/metrics", "/", "200 page /"},
		{"", "/metrics", "/a/", "200 page /a/"},
		{"/a", "/metrics", "/a/", "200 page /"},
		{"/a", "/metrics", "/a/tokens", "200 page /tokens"},
		{"/a", "/metrics", "/a/-/healthy", "200 page /-/healthy"},
		{"/a", "/metrics", "/-/healthy", "200 page /-/healthy"},
		{"/a", "/metrics", "/metrics", "200 page /metrics"},
		{"/a", "/metrics", "/tokens", "404"},
		{"/a", "/metrics", "/ab", "404"},
		{"/a", "/metrics", "/a", "307 /a/"},
		{"/a", "/metrics", "/", "302 /a/"},
		{"/a", "/", "/", "200 page /"},
		{"/a", "/", "/a/", "200 page /"},
		{"/a", "/", "/tokens", "404"},
	} {
		flags, err := parse(t, "--web.route-prefix="+tc.prefix)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		flags.Route(pages, tc.metrics, "/-/healthy").
			ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, tc.path,
				http.NoBody))
		got := strings.Join(strings.Fields(w.Result().Status)[:1], "")
		switch w.Code {
		case http.StatusOK:
			got += " " + w.Body.String()
		case http.StatusNotFound:
		default:
			got += " " + w.Header().Get("Location")
		}
		if got != tc.want {
			t.Errorf("prefix %q, %s: %s, want %s", tc.prefix, tc.path, got, tc.want)
		}
	}
}

// TestLateWebConfig checks that an error of a web configuration that broke after it was
// checked names its flag.
func TestLateWebConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	flags, err := parse(t, "--web.listen-address=127.0.0.1:0", "--web.config.file="+path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("nope: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err = flags.Run(t.Context(), http.NotFoundHandler(), log.NewNopLogger(), slog.New(slog.DiscardHandler))
	if err == nil || !strings.HasPrefix(err.Error(), "--web.config.file: ") {
		t.Error(err)
	}
}
