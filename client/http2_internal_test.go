package client

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHTTP2 checks that the client's own transport also bounds headers over HTTP/2.
func TestHTTP2(t *testing.T) {
	for name, tc := range map[string]struct {
		headers, length, hints, trailers int
		want                             Reason
	}{
		"few":      {headers: 10, length: 10, hints: 10, trailers: 10},
		"many":     {headers: 20_000, length: 10, want: ReasonInvalidResponse},
		"long":     {headers: 1, length: 1 << 20, want: ReasonInvalidResponse},
		"hints":    {headers: 10, length: 10, hints: 10_000, want: ReasonInvalidResponse},
		"trailers": {trailers: 5000, want: ReasonInvalidResponse},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for i := range tc.headers {
					w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", tc.length))
				}
				for range tc.hints {
					w.WriteHeader(http.StatusEarlyHints)
				}
				for i := range tc.trailers {
					w.Header().Set(fmt.Sprint(http.TrailerPrefix, "X-", i), "x")
				}
				_, _ = w.Write([]byte(`{"data":[],"pagination":{}}`))
			}))
			server.EnableHTTP2 = true
			server.StartTLS()
			defer server.Close()
			transport := NewTransport()
			transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
			transport.TLSClientConfig.RootCAs.AddCert(server.Certificate())
			defer transport.CloseIdleConnections()
			c, err := New(Options{
				APIURL: server.URL, Key: func() (string, error) { return "tr_dev_0123456789", nil },
				Transport: transport, MaxAttempts: 1,
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Pager(ListOptions{}).Next(t.Context())
			if ReasonOf(err) != tc.want {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}
