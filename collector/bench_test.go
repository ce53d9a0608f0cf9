package collector_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector"
	"waitpoint_exporter/collector/index"
)

// BenchmarkScrape measures a scrape of 20,000 WAITING tokens under 100 tags, in parts,
// to show the cost of encoding.
func BenchmarkScrape(b *testing.B) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	x := index.New(
		index.Options{
			Tags:         index.TagRules{Limit: 100},
			Lag:          time.Second,
			Horizon:      maxStaleness,
			ExpectedWait: []index.ExpectedWait{{Wait: time.Hour}},
		},
	)
	tokens := make([]client.Token, 20_000)
	for i := range tokens {
		tokens[i] = client.Token{
			ID: fmt.Sprintf(
				"waitpoint_%020d",
				i,
			), Status: client.StatusWaiting, Tags: []string{fmt.Sprintf("team:%d", i%100)},
			CreatedAt: now.Add(-time.Duration(i) * time.Second), TimeoutAt: now.Add(time.Duration(i) * time.Second),
		}
	}
	x.Observe(tokens, now)
	x.Complete()
	x.StartFlow(now)
	x.Loaded()
	c := collector.New(source{x.Cut(now, now)}, collector.Options{
		Environment: "prod", NearTimeout: near, StuckAfter: stuck, MaxStaleness: maxStaleness,
		Now: func() time.Time { return now },
	})
	b.Run("collect", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ch := make(chan prometheus.Metric, 10_000)
			c.Collect(ch)
		}
	})
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			families, err := registry.Gather()
			if err != nil {
				b.Fatal(err)
			}
			for _, f := range families {
				if _, err := expfmt.MetricFamilyToText(io.Discard, f); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
