package ratelimit

import (
	"cmp"
	"slices"
	"time"

	"waitpoint_exporter/client"
)

const (
	// fillTime is how long the service's default bucket takes to fill up: 750 requests,
	// 250 every 10 s. Other buckets are assumed to do the same until answers show
	// otherwise.
	fillTime = 30 * time.Second
	// maxStep is the longest step of the limits that the service documents.
	maxStep = time.Minute
	// samples is how many refills are remembered, minSamples how many are needed to
	// accept a rate below the one that fillTime implies.
	samples    = 8
	minSamples = 3
)

// A refill measures how fast a limit is refilled. If n more requests remain after a
// reset than before an earlier one, at least n were refilled between the two resets. It
// was more if others sent requests, or if the bucket was full. So the highest rate
// counts, and low ones only where neither is likely.
type refill struct {
	size  int
	step  time.Duration // The shortest time between two resets; zero if unknown.
	rates [samples]float64
	n     int // How many rates have been measured.

	// From the answers before the next reset: the lowest remaining, and when the last
	// answer came.
	reset  time.Time
	lowest int
	at     time.Time
}

// observe handles a full report. Share is the part of the refill that may be used.
func (f *refill) observe(r client.RateLimit, share float64, now time.Time) {
	if r.Limit != f.size {
		*f = refill{size: r.Limit}
	}
	apart, silence := r.Reset.Sub(f.reset), now.Sub(f.at)
	rise := r.Remaining - f.lowest + 1 // The request itself has drawn one.
	known := !f.reset.IsZero()
	switch {
	case known && apart < 0 && silence < f.step:
		return // A late answer.
	case known && apart.Abs() < time.Second:
		f.lowest, f.at = min(f.lowest, r.Remaining), now
		return
	}
	f.reset, f.lowest, f.at = r.Reset, r.Remaining, now
	if !known || apart < 0 {
		return
	}
	if f.step == 0 || apart < f.step {
		f.step = apart
	}
	measured, current := float64(rise)/apart.Seconds(), f.rate(r.Limit)
	// While we send as many requests as the share allows, others have little time for
	// requests that no report shows.
	busy := silence.Seconds()*share*current <= 2
	full := r.Limit-r.Remaining-1 < max(rise/2, r.Limit/8)
	if measured > current || busy && !full && rise > 0 {
		f.rates[f.n%samples] = measured
		f.n++
	}
}

// rate returns how many requests a second are refilled, for a bucket of that size.
func (f *refill) rate(size int) float64 {
	highest := slices.Max(f.rates[:])
	if f.n >= minSamples {
		return highest
	}
	step := cmp.Or(f.step, maxStep)
	return max(highest, float64(size)/max(step, fillTime).Seconds()) // A step cannot more than fill the bucket.
}
