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

	hidden map[*prometheus.Desc]bool
}

func newGoRuntime() goRuntime {
	c := goRuntime{
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(
			collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile("^/gc/heap/allocs:bytes$")},
		)),
		map[*prometheus.Desc]bool{},
	}
	for d := range described(c.Collector) {
		if strings.Contains(d.String(), `fqName: "go_memstats_alloc_bytes_total"`) {
			c.hidden[d] = true
		}
	}
	return c
}

// Describe implements prometheus.Collector.
func (c goRuntime) Describe(ch chan<- *prometheus.Desc) {
	for d := range described(c.Collector) {
		if !c.hidden[d] {
			ch <- d
		}
	}
}

// Collect implements prometheus.Collector.
func (c goRuntime) Collect(ch chan<- prometheus.Metric) {
	all := make(chan prometheus.Metric)
	go func() {
		defer close(all)
		c.Collector.Collect(all)
	}()
	for m := range all {
		if !c.hidden[m.Desc()] {
			ch <- m
		}
	}
}

func described(c prometheus.Collector) <-chan *prometheus.Desc {
	all := make(chan *prometheus.Desc)
	go func() {
		defer close(all)
		c.Describe(all)
	}()
	return all
}
