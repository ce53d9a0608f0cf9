package refresh

import (
	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"

	"github.com/prometheus/client_golang/prometheus"
)

// byTag takes in what has happened by tag up to a snapshot: the tokens that
// finished, and the labels that no token has any more. The series of a tag are
// there, at zero, as soon as the tag is.
func (m *Metrics) byTag(s *index.Snapshot, finished []index.TagFinished, gone []string) {
	for _, tag := range gone {
		m.taggedWaits.DeletePartialMatch(prometheus.Labels{"tag": tag})
	}
	if s.Loaded {
		for _, t := range s.Tags {
			m.taggedWaits.WithLabelValues(t.Tag, string(client.StatusCompleted))
			m.taggedWaits.WithLabelValues(t.Tag, string(client.StatusTimedOut))
		}
	}
	for _, f := range finished {
		m.taggedWaits.WithLabelValues(f.Tag, string(f.Status)).Observe(f.Wait)
	}
}
