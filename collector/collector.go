// Package collector turns pictures of waitpoint tokens into metrics.
//
// A Collector reads the newest immutable snapshot of one environment at each
// scrape. It makes no request, takes no lock and walks no tokens. What is not
// known is absent: WAITING and what derives from it before it was listed whole,
// finished statuses before the history is loaded, everything about tokens once
// the picture is older than the staleness allowed.
package collector

import (
	"slices"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
)

// Source gives the newest picture, nil if there is none yet. It must be safe
// for concurrent use.
type Source interface {
	Snapshot() *index.Snapshot
}

// Options say what to show of a picture. A Collector keeps no reference to the
// slices.
type Options struct {
	// Environment and Project are labels; the latter is left out if empty.
	Environment, Project string
	// NearTimeout and StuckAfter are the thresholds with a series each.
	NearTimeout, StuckAfter []time.Duration
	// Period is the window, zero for all.
	Period time.Duration
	// MaxStaleness is the age past which a picture is not shown.
	MaxStaleness time.Duration
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
}

// Collector is a prometheus.Collector for one environment, safe for concurrent
// use.
type Collector struct {
	source      Source
	descs       *descs
	near, stuck []threshold
	opts        Options
	now         func() time.Time
}

type threshold struct {
	label string
	value time.Duration
}

// New returns a Collector of what source shows.
func New(source Source, opts Options) *Collector {
	c := &Collector{
		source: source, descs: newDescs(Labels(opts.Environment, opts.Project)), opts: opts, now: opts.Now,
		near: thresholds(opts.NearTimeout), stuck: thresholds(opts.StuckAfter),
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c
}

// Labels are those that name an environment on each of its metrics.
func Labels(environment, project string) prometheus.Labels {
	labels := prometheus.Labels{"environment": environment}
	if project != "" {
		labels["project"] = project
	}
	return labels
}

func thresholds(values []time.Duration) []threshold {
	values = slices.Clone(values)
	slices.Sort(values)
	var out []threshold
	for _, v := range slices.Compact(values) {
		out = append(out, threshold{model.Duration(v).String(), v})
	}
	return out
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs.all() {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	now := c.now()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s := c.source.Snapshot()
	if s == nil {
		s = &index.Snapshot{}
	}
	gauge(c.descs.period, c.opts.Period.Seconds())
	gauge(c.descs.loaded, boolean(s.Loaded))
	gauge(c.descs.unresolved, float64(s.Unresolved))
	gauge(c.descs.folded, float64(s.Folded))
	ch <- prometheus.MustNewConstMetric(c.descs.corrections, prometheus.CounterValue, float64(s.Corrections))
	if !s.Waiting || now.Sub(s.At) > c.opts.MaxStaleness {
		return
	}
	statuses := s.Statuses
	if !s.Loaded {
		statuses = statuses[:1] // WAITING alone is known.
	} else {
		ch <- prometheus.MustNewConstMetric(c.descs.created, prometheus.CounterValue, float64(s.Created))
	}
	c.collectTotal(gauge, s, statuses, now)
	for _, t := range s.Tags {
		for i, status := range statuses {
			gauge(c.descs.tagged, float64(t.Count(i, now)), t.Tag, string(status))
		}
		for _, th := range c.near {
			gauge(c.descs.taggedNearTimeout, float64(t.NearTimeout(th.value, now)), t.Tag, th.label)
		}
		for _, th := range c.stuck {
			gauge(c.descs.taggedStuck, float64(t.Stuck(th.value, now)), t.Tag, th.label)
		}
	}
}

func (c *Collector) collectTotal(gauge func(*prometheus.Desc, float64, ...string), s *index.Snapshot, statuses []client.Status, now time.Time) {
	for i, status := range statuses {
		gauge(c.descs.tokens, float64(s.Total.Count(i, now)), string(status))
	}
	for _, th := range c.near {
		gauge(c.descs.nearTimeout, float64(s.Total.NearTimeout(th.value, now)), th.label)
	}
	for _, th := range c.stuck {
		gauge(c.descs.stuck, float64(s.Total.Stuck(th.value, now)), th.label)
	}
	gauge(c.descs.overdue, float64(s.Total.Overdue(now)))
	gauge(c.descs.withoutTimeout, float64(s.Total.WithoutTimeout(now)))
	if t, ok := s.Total.Oldest(now); ok {
		gauge(c.descs.oldest, seconds(t))
	}
	if t, ok := s.Total.NextTimeout(now); ok {
		gauge(c.descs.nextTimeout, seconds(t))
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
