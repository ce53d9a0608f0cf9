package refresh

import (
	"math"
	"strconv"
	"sync"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	dto "github.com/prometheus/client_model/go"
)

// Metrics are what one environment's refreshes do, as opposed to what they
// found, which package collector reads from the Snapshot.
type Metrics struct {
	up            prometheus.Gauge
	lastRefresh   *prometheus.GaugeVec
	duration      prometheus.Histogram
	errors        *prometheus.CounterVec
	waits         *prometheus.HistogramVec
	taggedWaits   *prometheus.HistogramVec
	requests      *prometheus.CounterVec
	requestTime   prometheus.Histogram
	limit, remain *prometheus.GaugeVec
	lateArrivals  prometheus.Counter
	broken        *prometheus.GaugeVec
	fresh         func() bool // Whether the snapshot is new enough to be shown; nil means yes.

	known map[string]bool // Assumptions that do not hold.

	mu    sync.Mutex // For usage.
	usage Usage
}

// Usage is what the last answer said of the rate limit; Limit is 0 as long as none did.
type Usage struct{ Limit, Remaining int }

// Usage returns the latest use.
func (m *Metrics) Usage() Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.usage
}

// NewMetrics registers an environment's metrics, with the labels that name it.
func NewMetrics(reg prometheus.Registerer, labels prometheus.Labels) *Metrics {
	f := promauto.With(reg)
	gauge := func(name, help string, by ...string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{ConstLabels: labels, Name: name, Help: help}, by)
	}
	counter := func(name, help string, by ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{ConstLabels: labels, Name: name, Help: help}, by)
	}
	// Histograms have native buckets, and classic ones beside them.
	histogram := func(name, help string, buckets ...float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{
			ConstLabels: labels, Name: name, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  160,
			NativeHistogramMinResetDuration: time.Hour,
		}
	}
	m := &Metrics{
		up: gauge("triggerdev_waitpoint_up",
			"Whether the last background refresh succeeded (1) or failed (0).").WithLabelValues(),
		// A vector without labels is absent until it is first set.
		lastRefresh: gauge("triggerdev_waitpoint_last_refresh_timestamp_seconds",
			"End of the last successful background refresh, in Unix seconds."),
		duration: f.NewHistogram(histogram("triggerdev_waitpoint_refresh_duration_seconds",
			"How long background refreshes take.",
			.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300)),
		errors: counter("triggerdev_waitpoint_refresh_errors_total",
			"Background refreshes that failed, by reason.", "reason"),
		waits: prometheus.NewHistogramVec(histogram("triggerdev_waitpoint_wait_duration_seconds",
			"How long tokens waited (completedAt - createdAt) that background refreshes saw finish.",
			1, 5, 15, 60, 300, 900, 3600, 4*3600, 12*3600, 24*3600,
			3*24*3600, 7*24*3600, 14*24*3600, 30*24*3600,
		), []string{"status"}),
		// Of the classic buckets it has +Inf alone, see countable: for a hundred tags the
		// others would be thousands of series.
		taggedWaits: prometheus.NewHistogramVec(histogram("triggerdev_waitpoint_tagged_wait_duration_seconds",
			"How long tokens waited (completedAt - createdAt) that background refreshes saw finish,"+
				" by tag; only the native histogram has buckets."), []string{"tag", "status"}),
		requests: counter("triggerdev_api_requests_total",
			"Requests to the Trigger.dev API by HTTP status code, or error if there was no answer.", "code"),
		requestTime: f.NewHistogram(histogram("triggerdev_api_request_duration_seconds",
			"How long requests to the Trigger.dev API take.",
			.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30)),
		limit: gauge("triggerdev_api_rate_limit",
			"Size of the environment's rate limit bucket, from the last answer."),
		remain: gauge("triggerdev_api_rate_limit_remaining",
			"Requests left in the environment's rate limit bucket, from the last answer."),
		lateArrivals: counter("triggerdev_waitpoint_late_arrivals_total",
			"Tokens that another request found although the top of the list had not shown them.").WithLabelValues(),
		broken: gauge("triggerdev_waitpoint_assumption_broken",
			"Whether the service broke something that background refreshes assume (1); they then do without it.",
			"assumption"),
		known: map[string]bool{},
	}
	reg.MustRegister(tokenSeries{m.waits, m}, tokenSeries{countable{m.taggedWaits}, m})
	for _, a := range []string{"id_order", "newest_on_top", "creation_order", "replica_lag", "page_size"} {
		m.broken.WithLabelValues(a)
	}
	for _, reason := range client.Reasons() {
		m.errors.WithLabelValues(string(reason))
	}
	return m
}

// tokenSeries are absent while the snapshot is too old to be shown, as those of package
// collector are.
type tokenSeries struct {
	prometheus.Collector

	metrics *Metrics
}

// Collect implements prometheus.Collector.
func (s tokenSeries) Collect(ch chan<- prometheus.Metric) {
	if s.metrics.fresh == nil || s.metrics.fresh() {
		s.Collector.Collect(ch)
	}
}

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

// Attempt counts a request; it is safe for concurrent use.
func (m *Metrics) Attempt(a client.Attempt) {
	code := "error"
	if a.Status != 0 {
		code = strconv.Itoa(a.Status)
	}
	m.requests.WithLabelValues(code).Inc()
	m.requestTime.Observe(a.Duration.Seconds())
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.RateLimit.Known() {
		m.usage.Limit, m.usage.Remaining = a.RateLimit.Limit, a.RateLimit.Remaining
		m.limit.WithLabelValues().Set(float64(a.RateLimit.Limit))
		m.remain.WithLabelValues().Set(float64(a.RateLimit.Remaining))
	}
}

// broke notes that an assumption does not hold, and reports whether that is new.
func (m *Metrics) broke(assumption string) bool {
	was := m.known[assumption]
	m.known[assumption] = true
	m.broken.WithLabelValues(assumption).Set(1)
	return !was
}

// holds notes that an assumption holds again.
func (m *Metrics) holds(assumption string) {
	delete(m.known, assumption)
	m.broken.WithLabelValues(assumption).Set(0)
}

// flowing makes the histograms of the usual statuses present.
func (m *Metrics) flowing() {
	m.waits.WithLabelValues(string(client.StatusCompleted))
	m.waits.WithLabelValues(string(client.StatusTimedOut))
}

func (m *Metrics) finished(list []index.Finished) {
	// OpenMetrics allows so many characters with the label's name; client_golang panics
	// past that.
	const idLabel, maxExemplar = "token_id", 128
	for _, f := range list {
		if !f.HasWait {
			continue
		}
		var exemplar prometheus.Labels // None if the id is too long.
		if len(f.ID)+len(idLabel) <= maxExemplar {
			exemplar = prometheus.Labels{idLabel: f.ID}
		}
		h := m.waits.WithLabelValues(string(f.Status))
		h.(prometheus.ExemplarObserver).ObserveWithExemplar(f.Wait, exemplar)
	}
}

func (m *Metrics) ended(at time.Time, took time.Duration, err error) {
	m.duration.Observe(took.Seconds())
	if err != nil {
		m.up.Set(0)
		m.errors.WithLabelValues(string(client.ReasonOf(err))).Inc()
		return
	}
	m.up.Set(1)
	m.lastRefresh.WithLabelValues().Set(float64(at.UnixMilli()) / 1000)
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
