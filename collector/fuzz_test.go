package collector_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector"
	"waitpoint_exporter/collector/index"
)

// answers is a service with a single page.
type answers []byte

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(a))}, nil
}

// FuzzTag checks that any tag is passed unchanged from the service's answer to
// Prometheus, in each format. Invalid UTF-8 becomes U+FFFD, as in encoding/json.
func FuzzTag(f *testing.F) {
	for _, seed := range []string{
		"team:payments", "", `"`, `\`, "\n", "a\\nb", "{}", "a=\"b\",", "}\n# HELP x\n", "# EOF\n", "\xff\xfe",
		"\xed\xa0\x80", "é", "日本語", "\U0001F469",
		"\x00", "\u2028", "__other__", "<script>", strings.Repeat("x", 128), " ", "\t", "\r\n",
	} {
		f.Add([]byte(seed))
	}
	created := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, tag []byte) {
		if len(tag) > 128 {
			return // Longer than the service allows.
		}
		literal := []byte{'"'}
		for _, b := range tag {
			switch {
			case b == '"' || b == '\\':
				literal = append(literal, '\\', b)
			case b < ' ':
				literal = append(literal, `\u00`...)
				literal = append(literal, "0123456789abcdef"[b>>4], "0123456789abcdef"[b&15])
			default:
				literal = append(literal, b)
			}
		}
		literal = append(literal, '"')
		var want string
		if err := json.Unmarshal(literal, &want); err != nil {
			t.Fatal(err)
		}
		body := `{"data":[{"id":"waitpoint_1","status":"WAITING","createdAt":"2026-11-23T12:00:00.000Z","tags":[` +
			string(
				literal,
			) + `]}],"pagination":{}}`
		c, err := client.New(
			client.Options{
				APIURL:    "http://localhost",
				Key:       func() (string, error) { return "tr_prod_0123456789", nil },
				Transport: answers(body),
			},
		)
		if err != nil {
			t.Fatal(err)
		}
		page, err := c.Pager(client.ListOptions{}).Next(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		x := index.New(index.Options{})
		x.Observe(page.Tokens, created)
		x.Complete()
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(collector.New(source{x.Cut(created, created)}, collector.Options{
			Environment: want, MaxStaleness: maxStaleness, Now: func() time.Time { return created },
		}))
		for _, accept := range []string{
			"text/plain", "application/openmetrics-text; version=1.0.0",
			"text/plain; version=1.0.0; escaping=allow-utf-8",
		} {
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
			r.Header.Set("Accept", accept)
			promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(w, r)
			parser := expfmt.NewTextParser(model.UTF8Validation)
			families, err := parser.TextToMetricFamilies(w.Body)
			if err != nil || w.Code != http.StatusOK {
				t.Fatalf("%s: %q: %d: %v", accept, tag, w.Code, err)
			}
			metrics := families["triggerdev_waitpoint_tagged_tokens"].GetMetric()
			if len(metrics) != 1 {
				t.Fatalf("%s: %q: %d series", accept, tag, len(metrics))
			}
			for _, l := range metrics[0].GetLabel() {
				if name := l.GetName(); (name == "tag" || name == "environment") && l.GetValue() != want {
					t.Errorf("%s: %q comes as %s=%q, want %q", accept, tag, name, l.GetValue(), want)
				}
			}
		}
	})
}
