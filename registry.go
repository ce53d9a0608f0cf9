package main

import (
	"regexp"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// newRegistry returns a registry with the metrics that every exporter has, and the base
// URL for links in alerts.
func newRegistry(externalURL string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	promauto.With(registry).NewGauge(prometheus.GaugeOpts{
		Name: "waitpoint_exporter_web_info", Help: "Constant 1; external_url is where users reach the exporter's " +
			"pages.",
		ConstLabels: prometheus.Labels{"external_url": externalURL},
	}).Set(1)
	registry.MustRegister(
		newGoRuntime(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector(program),
	)
	return registry
}

// goRuntime collects the usual go_* metrics except the counter
// go_memstats_alloc_bytes_total. In OpenMetrics its family would have the name of the
// gauge go_memstats_alloc_bytes, and strict parsers refuse a scrape with both.
// go_gc_heap_allocs_bytes_total replaces it.
type goRuntime struct {
	prometheus.Collector

	hidden *prometheus.Desc
}

func newGoRuntime() goRuntime {
	c := goRuntime{Collector: collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(
		collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile("^/gc/heap/allocs:bytes$")},
	))}
	for d := range all(c.Collector.Describe) {
		if strings.Contains(d.String(), `fqName: "go_memstats_alloc_bytes_total"`) {
			c.hidden = d
		}
	}
	return c
}

// Describe implements prometheus.Collector.
func (c goRuntime) Describe(ch chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(c, ch)
}

// Collect implements prometheus.Collector.
func (c goRuntime) Collect(ch chan<- prometheus.Metric) {
	for m := range all(c.Collector.Collect) {
		if m.Desc() != c.hidden {
			ch <- m
		}
	}
}

// all returns what send sends.
func all[T any](send func(chan<- T)) <-chan T {
	sent := make(chan T)
	go func() {
		defer close(sent)
		send(sent)
	}()
	return sent
}
