package ratelimit

import (
	"cmp"
	"math"
	"slices"
	"time"

	"waitpoint_exporter/client"
)

const (
	// The service's default limit, used until an answer reports another.
	defaultSize = 750
	defaultStep = 10 * time.Second
	// maxSize is larger than any bucket. A gateway that rewrites the headers may put a
	// time there.
	maxSize = 100_000_000
	// maxWait bounds the wait for a reset. If the reset really is later, one probe a
	// minute does no harm.
	maxWait = time.Minute
	// maxPause bounds the wait that a Retry-After header can request.
	maxPause = time.Hour
	// maxDuration is longer than a request takes.
	maxDuration = time.Minute
	// A few answers in a row without a report may be from a gateway. This many, over
	// this long, show that the service itself has changed.
	lastingAnswers = 10
	lastingTime    = 5 * time.Minute
	// maxRatio is how many times the most that ever remained a size may be. A larger one
	// is a gateway's: its reserve would be more than ever remains.
	maxRatio = 20
	// maxDoubts is how many reports in a row may contradict the ones before them. So
	// many are a gateway's, whose value does not fall with what is requested.
	maxDoubts = 3
)

// A bucket is a lower bound of the requests that remain in the service's bucket. It
// rises only with an answer that shows a refill. It assumes the worst case: an answer's
// report does not include the requests in flight, nor those that were done since the
// answer's own request was sent. The size is the largest of the last reports. The
// service's clock is assumed to be as slow as its Date headers allow, so a probe for a
// refill is never early.
type bucket struct {
	known     bool // Whether remaining is known.
	remaining int
	done      []outcome // The requests of the last maxDuration.
	// The number of answers since the last one with a report, and when the first of
	// them came.
	silent      int
	silentSince time.Time
	// The number of reports in a row that contradicted the ones before them, when the
	// first of them came, and the number in a row since then that did not.
	doubts      int
	doubtsSince time.Time
	falls       int

	sizes         [lastingAnswers]int // The last sizes that were reported.
	sizeReports   int
	mostRemaining int // The size is at least this, if none is reported.

	// offset is the service's clock minus ours, from the last Date header. A Date has
	// whole seconds, so the true difference is up to a second more.
	offset  time.Duration
	reset   time.Time // The next refill, by the service's clock. Zero if unknown.
	probeAt time.Time // When a probe may be sent to find out what remains, by our clock.
	pause   time.Time // No request is admitted before.
}

// An outcome is when a request was done, what its answer reported, and whether that
// counts.
type outcome struct {
	at       time.Time
	report   client.RateLimit // Remaining is -1 if there was none.
	reported bool
}

// size returns the size of the bucket.
func (b *bucket) size() int {
	return cmp.Or(b.reportedSize(), max(defaultSize, b.mostRemaining))
}

// reportedSize returns the size that answers report, 0 if they report none.
func (b *bucket) reportedSize() int {
	if size := slices.Max(b.sizes[:]); size <= maxRatio*b.mostRemaining {
		return size
	}
	return 0
}

// admit reports whether a request may be sent while others are in flight. If not, it
// returns when to try again; zero for after the next answer.
func (b *bucket) admit(reserve float64, inFlight int, now time.Time) (ok bool, until time.Time) {
	switch {
	case now.Before(b.pause):
		return false, b.pause
	case b.known && b.remaining-inFlight > int(math.Ceil(reserve*float64(b.size()))):
		return true, time.Time{}
	case inFlight > 0:
		return false, time.Time{}
	case b.known && now.Before(b.probeAt):
		return false, b.probeAt
	}
	return true, time.Time{} // The probe.
}

// observe handles the outcome of a request. It reports whether the answer's report of
// what remains counts.
func (b *bucket) observe(a client.Attempt, now time.Time) bool {
	if !a.Date.IsZero() {
		b.offset = a.Date.Sub(now)
	}
	r := a.RateLimit
	if r.Limit > 0 && r.Limit <= maxSize {
		b.sizes[b.sizeReports%lastingAnswers] = r.Limit
		b.sizeReports++
	}
	if r == (client.RateLimit{}) || r.Remaining > cmp.Or(b.reportedSize(), maxSize) {
		r.Remaining = -1
	}
	sent := now.Add(-a.Duration)
	reported := r.Remaining >= 0 && !b.doubt(r, sent, now)
	if reported {
		b.observeReport(r, sent, now)
	} else {
		b.observeSilence(a.Status, sent, now)
	}
	for len(b.done) > 0 && now.Sub(b.done[0].at) > maxDuration {
		b.done = b.done[1:]
	}
	b.done = append(b.done, outcome{now, r, reported})
	if a.Status == 429 {
		b.known, b.remaining = true, min(b.remaining, 0)
		b.pause = now.Add(min(max(a.RetryAfter, time.Second), maxPause))
	}
	return reported
}

// doubt reports whether a report of what remains is a gateway's. Between two refills
// each request makes less remain, and those of others only make it fall more. So a
// report contradicts the last one that had come when its request was sent, unless it
// has less. After maxDoubts of them none counts until as many in a row have less.
func (b *bucket) doubt(r client.RateLimit, sent, now time.Time) bool {
	for _, before := range slices.Backward(b.done) {
		if !before.at.Before(sent) || before.report.Remaining < 0 {
			continue
		}
		apart := r.Reset.Sub(before.report.Reset).Abs()
		if r.Limit != before.report.Limit || apart >= time.Second || now.Sub(before.at) >= defaultStep {
			break // There may have been a refill.
		}
		if r.Remaining < before.report.Remaining {
			if b.falls++; b.doubts < maxDoubts || b.falls >= maxDoubts {
				b.doubts = 0
			}
			return b.doubts > 0
		}
		b.falls = 0
		if b.doubts == 0 || b.doubts < maxDoubts && r.Reset.IsZero() && now.Sub(b.doubtsSince) >= defaultStep {
			b.doubts, b.doubtsSince = 0, now
		}
		if b.doubts++; b.doubts >= maxDoubts {
			b.known = false
		}
		return true
	}
	return b.doubts >= maxDoubts
}

// observeSilence handles the outcome of a request that was sent at the given time and
// got no answer, or one without a report of what remains.
func (b *bucket) observeSilence(status int, sent, now time.Time) {
	b.remaining--
	if !sent.Before(b.probeAt) {
		b.probeAt = now.Add(defaultStep)
	}
	if status == 0 || status >= 300 {
		return // It may not be from the service itself, which would have sent a report.
	}
	if b.silent++; b.silent == 1 {
		b.silentSince = now
	}
	if b.silent >= lastingAnswers && now.Sub(b.silentSince) >= lastingTime {
		b.known = false
	}
}

// observeReport handles a report of what remains, from the answer to a request that was
// sent at the given time.
func (b *bucket) observeReport(r client.RateLimit, sent, now time.Time) {
	b.silent = 0
	b.mostRemaining = max(b.mostRemaining, r.Remaining)
	wait := r.Reset.Sub(now.Add(b.offset))
	if wait <= 0 {
		r.Reset = time.Time{}
	}
	refilled := !b.known || r.Reset.After(b.reset) || !sent.Before(b.probeAt)
	remaining := r.Remaining
	for _, done := range slices.Backward(b.done) {
		if !done.at.After(sent) {
			break
		}
		if refilled || !done.reported {
			remaining-- // It may have drawn after the report was made.
		}
	}
	if !refilled {
		remaining = min(remaining, b.remaining)
	}
	b.known, b.remaining = true, remaining
	switch {
	case !r.Reset.IsZero() && (refilled || r.Reset.Equal(b.reset)):
		b.reset, b.probeAt = r.Reset, now.Add(min(wait, maxWait))
	case refilled:
		b.reset, b.probeAt = time.Time{}, now.Add(defaultStep)
	}
}
