package ratelimit

import (
	"math"
	"slices"
	"time"

	"waitpoint_exporter/client"
)

const (
	// The service's default limit, for what no answer reports.
	defaultSize = 750
	defaultStep = 10 * time.Second
	// maxSize is larger than any bucket. Gateways that rewrite headers put times there.
	maxSize = 100_000_000
	// maxWait bounds the wait for a reset. If the service did mean a later one, a probe
	// a minute does no harm.
	maxWait = time.Minute
	// maxPause bounds the wait that a Retry-After header can ask for.
	maxPause = time.Hour
	// maxDuration is longer than a request takes.
	maxDuration = time.Minute
	// A few answers in a row may be a gateway's. So many, over so long, show that the
	// service itself has changed.
	lastingAnswers = 10
	lastingTime    = 5 * time.Minute
)

// A bucket is a lower bound of what remains in the service's bucket. What remains
// rises only with an answer that shows a refill. A request in flight, or without a
// report in its answer, has drawn one. The size is the largest of the last reports.
// The service's clock is as slow as its Date headers allow, so a probe for a refill
// is never early.
type bucket struct {
	known     bool // What remains is known.
	remaining int
	// Requests of late without a report of what remains, by when they were done.
	unreported []time.Time
	// The answers without a report since the last that had one, and the first of them.
	silent      int
	silentSince time.Time

	sizes         [lastingAnswers]int // The last sizes that were reported.
	sizeReports   int
	mostRemaining int // At least this is the size, if none is reported.

	// offset is the service's clock less ours, by the last Date header.
	offset  time.Duration
	reset   time.Time // The next refill, by the service's clock. Zero if unknown.
	probeAt time.Time // The same by our clock: a request then finds out what remains.
	pause   time.Time // No request is admitted before.
}

// size returns the size of the bucket.
func (b *bucket) size() int {
	if b.sizeReports == 0 {
		return max(defaultSize, b.mostRemaining)
	}
	return slices.Max(b.sizes[:])
}

// admit reports whether a request may be sent while others are in flight. If not, it
// returns when to ask again, which is zero for after the next answer.
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

// observe takes in the outcome of a request.
func (b *bucket) observe(a client.Attempt, now time.Time) {
	if !a.Date.IsZero() {
		b.offset = a.Date.Sub(now) // A Date has whole seconds; the fraction is lost.
	}
	r := a.RateLimit
	if r.Limit > 0 && r.Limit <= maxSize {
		b.sizes[b.sizeReports%lastingAnswers] = r.Limit
		b.sizeReports++
	}
	most := maxSize
	if b.sizeReports > 0 {
		most = b.size()
	}
	if r == (client.RateLimit{}) || r.Remaining < 0 || r.Remaining > most {
		b.observeSilence(a, now)
	} else {
		b.observeReport(r, now.Add(-a.Duration), now)
	}
	if a.Status == 429 {
		b.known, b.remaining = true, min(b.remaining, 0)
		b.pause = now.Add(min(max(a.RetryAfter, time.Second), maxPause))
	}
}

// observeSilence takes in a request without a report of what remains.
func (b *bucket) observeSilence(a client.Attempt, now time.Time) {
	b.remaining--
	b.unreported = append(b.unreported, now)
	b.unreported = slices.DeleteFunc(b.unreported, func(done time.Time) bool { return now.Sub(done) > maxDuration })
	if !now.Before(b.probeAt) {
		b.probeAt = now.Add(defaultStep)
	}
	if a.Status == 0 || a.Status >= 300 {
		return // Only an answer of the service itself would have had one.
	}
	if b.silent++; b.silent == 1 {
		b.silentSince = now
	}
	if b.silent >= lastingAnswers && now.Sub(b.silentSince) >= lastingTime {
		b.known = false
	}
}

// observeReport takes in a report of what remains, from the answer to a request that
// was sent at that time.
func (b *bucket) observeReport(r client.RateLimit, sent, now time.Time) {
	b.silent = 0
	b.mostRemaining = max(b.mostRemaining, r.Remaining)
	wait := r.Reset.Sub(now.Add(b.offset))
	if wait <= 0 {
		r.Reset = time.Time{}
	}
	remaining := r.Remaining
	for _, done := range b.unreported {
		if !done.Before(sent) {
			remaining-- // It may have drawn after the report was made.
		}
	}
	sameReset := r.Reset.Equal(b.reset) && !r.Reset.IsZero()
	refilled := !b.known || r.Reset.After(b.reset) || !sameReset && !now.Before(b.probeAt)
	if !refilled {
		remaining = min(remaining, b.remaining)
	}
	b.known, b.remaining = true, remaining
	switch {
	case sameReset, refilled && !r.Reset.IsZero():
		b.reset, b.probeAt = r.Reset, now.Add(min(wait, maxWait))
	case refilled:
		b.reset, b.probeAt = time.Time{}, now.Add(defaultStep)
	}
}
