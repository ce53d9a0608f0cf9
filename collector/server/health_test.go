package server_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"waitpoint_exporter/collector/server"
)

// TestAskHealth checks which answers mean that the program serves.
func TestAskHealth(t *testing.T) {
	for name, tc := range map[string]struct {
		code    int
		tls     bool
		clients tls.ClientAuthType
		args    string
		want    string // Part of the error.
	}{
		"healthy":          {code: 200},
		"wants a user":     {code: 401},
		"broken":           {code: 500, want: "500 Internal Server Error"},
		"not the exporter": {code: 404, want: "404 Not Found"},
		"TLS":              {code: 200, tls: true, args: "--web.config.file=web.yml"},
		"TLS, wants a certificate": {
			code: 200, tls: true, clients: tls.RequireAnyClientCert,
			args: "--web.config.file=web.yml",
		},
		"TLS, broken": {
			code: 503, tls: true, args: "--web.config.file=web.yml",
			want: "503 Service Unavailable",
		},
		"no TLS with a file": {code: 200, args: "--web.config.file=web.yml"},
		"systemd's socket":   {code: 200, args: "--web.systemd-socket", want: "--web.health-check: needs an address"},
		"a second address":   {code: 200, args: "--web.listen-address=127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			program := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/-/healthy" {
					t.Errorf("%s %s", r.Method, r.URL.Path)
				}
				w.WriteHeader(tc.code)
			}))
			if tc.tls {
				program.TLS = &tls.Config{ClientAuth: tc.clients}
				program.StartTLS()
			} else {
				program.Start()
			}
			defer program.Close()
			// The health check must not use a proxy.
			t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
			address := program.Listener.Addr().String()
			err := flags(t, "--web.listen-address="+address, tc.args).AskHealth(t.Context(), "/-/healthy")
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			program.Close()
			if err := flags(t, "--web.listen-address="+address, tc.args).AskHealth(t.Context(),
				"/-/healthy"); err == nil {
				t.Error("healthy, though nothing listens")
			}
		})
	}
	for _, host := range []string{"", "0.0.0.0", "[::]"} {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		err := flags(t, "--web.listen-address="+host+":10210").AskHealth(ended, "/-/healthy")
		if err == nil || !strings.HasPrefix(err.Error(), "get http://localhost:10210/-/healthy: ") {
			t.Errorf("%q: %v", host, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	err := flags(t, "--web.listen-address=localhost:http").AskHealth(ended, "/-/healthy")
	if err == nil || !strings.HasPrefix(err.Error(), "get http://localhost:80/-/healthy: ") {
		t.Errorf("the name of a port: %v", err)
	}
	if err := flags(t, "--web.listen-address=127.0.0.1:0").AskHealth(t.Context(), "/"); err == nil ||
		err.Error() != `--web.health-check: "127.0.0.1:0" cannot be asked: want HOST:PORT` {
		t.Errorf("port 0: %v", err)
	}
}

// flags returns the given flags, without Check.
func flags(t *testing.T, args ...string) *server.Flags {
	t.Helper()
	app := kingpin.New("test", "").Terminate(nil)
	f := server.AddFlags(app)
	if _, err := app.Parse(strings.Fields(strings.Join(args, " "))); err != nil {
		t.Fatal(err)
	}
	return f
}
