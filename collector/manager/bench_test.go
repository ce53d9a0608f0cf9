package manager_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/manager"
)

// BenchmarkScrape scrapes fifty environments of 2,000 tokens, with ten tags each.
func BenchmarkScrape(b *testing.B) {
	service := simulator.New(simulator.Options{Seed: 1})
	var file strings.Builder
	file.WriteString("environments:\n")
	for i := range 50 {
		name := strconv.Itoa(i)
		service.Environment(simulator.EnvironmentOptions{Key: key(name)}).
			Populate(simulator.Population{Seed: uint64(i), Tokens: 2000, Waiting: 100})
		fmt.Fprintf(
			&file,
			"  - {name: prod, project: %q, secret_key: %s, api_url: http://api.test, tags: {limit: 10}}\n",
			name,
			key(name),
		)
	}
	path := filepath.Join(b.TempDir(), "config.yml")
	environments := configured(b, path, file.String())
	m := manager.New(
		b.Context(),
		manager.Options{
			Registry:  prometheus.NewRegistry(),
			Logger:    log.NewNopLogger(),
			Transport: simulator.Transport(service),
		},
	)
	if err := m.Apply(environments); err != nil {
		b.Fatal(err)
	}
	defer m.Stop()
	for _, e := range m.Environments() {
		for s := e.Source.Snapshot(); s == nil || !s.Loaded; s = e.Source.Snapshot() {
			time.Sleep(10 * time.Millisecond)
		}
	}
	b.Run("gather", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := m.Gather(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode", func(b *testing.B) {
		handler := promhttp.HandlerFor(m, promhttp.HandlerOpts{DisableCompression: true})
		b.ReportAllocs()
		for b.Loop() {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/metrics", http.NoBody))
			b.ReportMetric(float64(w.Body.Len()), "B/scrape")
		}
	})
}
