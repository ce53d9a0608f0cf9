// Package collector turns snapshots of waitpoint tokens into metrics.
//
// At each scrape a Collector reads the newest snapshot of one environment. It makes no
// request, takes no lock and walks no tokens. Values that are not known are absent:
// WAITING and everything derived from it until all WAITING tokens have been listed,
// finished statuses until the history is loaded, and all token series once the snapshot
// is older than Options.MaxStaleness.
package collector

import (
	"slices"
	"sync/atomic"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// A Source has the newest snapshot, nil if there is none yet. It must be safe for
// concurrent use.
type Source interface {
	Snapshot() *index.Snapshot
}

// Options select what is shown of a snapshot. A Collector keeps the slices: do
// not change them.
type Options struct {
	// Environment and Project are labels; an empty Project adds none.
	Environment, Project string
	// NearTimeout and StuckAfter are thresholds; each has its own series.
	NearTimeout, StuckAfter []Threshold
	// Period is the window, zero for all.
	Period time.Duration
	// MaxStaleness is the age beyond which a snapshot is not shown.
	MaxStaleness time.Duration
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
}

// Collector is a prometheus.Collector for one environment, safe for concurrent
// use.
type Collector struct {
	source Source
	descs  *descs
	opts   Options
	plan   atomic.Pointer[plan]
}

// A Threshold is a duration, and the label value of its series.
type Threshold struct {
	Label string
	Value time.Duration
}

// New returns a Collector of source's snapshots.
func New(source Source, opts Options) *Collector {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Collector{source: source, descs: newDescs(Labels(opts.Environment, opts.Project)), opts: opts}
}

// Labels returns the labels that every metric of an environment has.
func Labels(environment, project string) prometheus.Labels {
	labels := prometheus.Labels{"environment": environment}
	if project != "" {
		labels["project"] = project
	}
	return labels
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs.all {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	now := c.opts.Now()
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
	if !s.Waiting {
		return
	}
	gauge(c.descs.listed, seconds(s.At))
	if !s.Fresh(now, c.opts.MaxStaleness) {
		return
	}
	if s.Flowing {
		ch <- prometheus.MustNewConstMetric(c.descs.created, prometheus.CounterValue, float64(s.Created))
	}
	plan := c.plan.Load()
	if plan == nil || plan.snapshot != s {
		plan = c.newPlan(s)
		c.plan.Store(plan)
	}
	for i := range plan.series {
		if v, ok := plan.series[i].value(now); ok {
			ch <- sample{&plan.series[i], v}
		}
	}
	if t, ok := s.Total.NextTimeout(now); ok {
		gauge(c.descs.nextTimeout, seconds(t))
	}
}

// A plan has the series of one snapshot. Many scrapes use the same plan, so labels are
// built once per snapshot.
type plan struct {
	snapshot *index.Snapshot
	series   []series
}

type series struct {
	desc    *prometheus.Desc
	labels  []*dto.LabelPair
	counter bool
	value   func(now time.Time) (v float64, ok bool) // Not ok if absent now.
}

// A sample is a series at one scrape, as a prometheus.Metric.
type sample struct {
	*series

	at float64
}

// Desc implements prometheus.Metric.
func (s sample) Desc() *prometheus.Desc { return s.desc }

// Write implements prometheus.Metric.
func (s sample) Write(out *dto.Metric) error {
	out.Label = s.labels
	if s.counter {
		out.Counter = &dto.Counter{Value: &s.at}
	} else {
		out.Gauge = &dto.Gauge{Value: &s.at}
	}
	return nil
}

func (c *Collector) newPlan(s *index.Snapshot) *plan {
	p := &plan{snapshot: s}
	statuses := s.Statuses
	if !s.Loaded {
		statuses = statuses[:1] // Only WAITING is known.
	}
	d := c.descs
	c.addGroup(p, s, s.Total, statuses, d.total)
	p.add(d.withoutTimeout, s.Total.WithoutTimeout)
	for _, t := range s.Tags {
		c.addGroup(p, s, t.Group, statuses, d.tagged, t.Tag)
		if s.Flowing {
			p.addSeries(d.taggedCreated, true, func(time.Time) (float64, bool) { return float64(t.Created), true },
				[]string{t.Tag})
		}
	}
	if s.Ignored != nil {
		for i, status := range statuses {
			p.add(d.ignored, func(now time.Time) int { return s.Ignored.Count(i, now) }, string(status))
		}
	}
	return p
}

// addGroup adds the series of a group, with the tag if it has one.
func (c *Collector) addGroup(
	p *plan, s *index.Snapshot, g *index.Group, statuses []client.Status, d *groupDescs, tag ...string,
) {
	label := func(value string) []string { return append(slices.Clone(tag), value) }
	for i, status := range statuses {
		p.add(d.tokens, func(now time.Time) int { return g.Count(i, now) }, label(string(status))...)
	}
	for _, th := range c.opts.NearTimeout {
		p.add(d.near, func(now time.Time) int { return g.NearTimeout(th.Value, now) }, label(th.Label)...)
	}
	for _, th := range c.opts.StuckAfter {
		p.add(d.stuck, func(now time.Time) int { return g.Stuck(th.Value, now) }, label(th.Label)...)
	}
	p.add(d.overdue, g.Overdue, tag...)
	if s.Expects() {
		p.add(d.late, g.Late, tag...)
	}
	p.addSeries(d.oldest, false, func(now time.Time) (float64, bool) {
		t, ok := g.Oldest(now)
		return seconds(t), ok
	}, tag)
}

func (p *plan) add(desc *prometheus.Desc, count func(time.Time) int, labels ...string) {
	p.addSeries(desc, false, func(now time.Time) (float64, bool) { return float64(count(now)), true }, labels)
}

func (p *plan) addSeries(
	desc *prometheus.Desc, counter bool, value func(time.Time) (float64, bool), labels []string,
) {
	p.series = append(p.series, series{desc, prometheus.MakeLabelPairs(desc, labels), counter, value})
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
