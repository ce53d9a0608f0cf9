package refresh

import (
	"math"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// countable adds to native histograms the bucket without which a server that
// scrapes both kinds takes in no classic count and sum.
type countable struct{ *prometheus.HistogramVec }

// Collect implements prometheus.Collector.
func (c countable) Collect(ch chan<- prometheus.Metric) {
	all := make(chan prometheus.Metric)
	go func() {
		defer close(all)
		c.HistogramVec.Collect(all)
	}()
	for m := range all {
		ch <- countableMetric{m}
	}
}

type countableMetric struct{ prometheus.Metric }

// Write implements prometheus.Metric.
func (m countableMetric) Write(out *dto.Metric) error {
	if err := m.Metric.Write(out); err != nil {
		return err
	}
	h := out.GetHistogram()
	h.Bucket = []*dto.Bucket{{UpperBound: new(math.Inf(1)), CumulativeCount: new(h.GetSampleCount())}}
	return nil
}

// byTag records what has happened by tag up to a snapshot: the tokens that finished, and
// the labels that no token has any more. The series of a tag begin at zero, as soon as
// tokens are counted and the tag has series.
func (m *Metrics) byTag(s *index.Snapshot, finished []index.TagFinished, gone []string) {
	for _, tag := range gone {
		m.taggedWaits.DeletePartialMatch(prometheus.Labels{"tag": tag})
	}
	if s.Flowing {
		for _, t := range s.Tags {
			m.taggedWaits.WithLabelValues(t.Tag, string(client.StatusCompleted))
			m.taggedWaits.WithLabelValues(t.Tag, string(client.StatusTimedOut))
		}
	}
	for _, f := range finished {
		m.taggedWaits.WithLabelValues(f.Tag, string(f.Status)).Observe(f.Wait)
	}
}
