package manager_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"waitpoint_exporter/client/simulator"
)

// TestCardinality checks the README's formula for the number of an environment's
// series, with various settings.
func TestCardinality(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	const formula = "100 + N + K + T × (12 + N + K + L)"
	if !strings.Contains(string(readme), formula) {
		t.Errorf("the README lacks %q", formula)
	}
	for name, tc := range map[string]struct {
		settings          string
		near, stuck, late int
		tags              int // With series, including __other__; each token has one tag.
	}{
		"defaults":      {", tags: {limit: 100}", 2, 3, 0, 101},
		"expected wait": {", tags: {limit: 100}, tokens: {expected_wait: [4h]}", 2, 3, 1, 101},
		"more thresholds": {", tags: {limit: 10}, tokens: {near_timeout: [1m, 5m, 1h], stuck_after: [1h], " +
			"expected_wait: [4h], ignore_tag: chat}", 3, 1, 1, 11},
		"tags left out": {`, tags: {exclude: ".*"}`, 2, 3, 0, 0},
		"few tags":      {`, tags: {include: "team:.*"}, tokens: {require_tag: "team:.*"}`, 2, 3, 0, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorldAt(t, time.Now, simulator.Options{})
				w.service.Environment(simulator.EnvironmentOptions{Key: key("a")}).
					Populate(simulator.Population{Seed: 1, Tokens: 5000, Waiting: 500})
				w.apply("a|" + tc.settings)
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				families, err := w.manager.Gather()
				if err != nil {
					t.Fatal(err)
				}
				total, tagged, tags := 0, 0, map[string]bool{}
				for _, f := range families {
					for _, m := range f.GetMetric() {
						n := seriesOf(m)
						total += n
						for _, l := range m.GetLabel() {
							if l.GetName() == "tag" {
								tagged += n
								tags[l.GetValue()] = true
							}
						}
					}
				}
				if len(tags) != tc.tags {
					t.Errorf("%d tags have series, want %d: %q", len(tags), tc.tags, fmt.Sprint(tags))
				}
				// The oldest token's series is absent without WAITING tokens: a few
				// tags may lack it.
				perTag := 12 + tc.near + tc.stuck + tc.late
				if want := len(tags) * perTag; tagged > want || tagged < want-len(tags) {
					t.Errorf("%d series by tag, the formula says %d", tagged, want)
				}
				if most := 100 + tc.near + tc.stuck + len(tags)*perTag; total > most || total < most-30-len(tags) {
					t.Errorf("%d series, the formula says at most %d", total, most)
				}
			})
		})
	}
}

// seriesOf returns how many series a metric is in the text format.
func seriesOf(m *dto.Metric) int {
	if m.Histogram == nil {
		return 1
	}
	n := len(m.Histogram.Bucket) + 2
	if b := m.Histogram.Bucket; len(b) == 0 || !strings.Contains(fmt.Sprint(b[len(b)-1].GetUpperBound()), "Inf") {
		n++
	}
	return n
}
