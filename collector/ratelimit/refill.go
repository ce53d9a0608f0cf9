package ratelimit

import (
	"slices"
	"time"

	"waitpoint_exporter/client"
)

const (
	// The service's default bucket takes 30 s to fill up: 750, refilled by 250 every
	// 10 s. Others are taken to do the same until answers tell.
	fillTime = 30 * time.Second
	// sightings is how many refills are remembered, fewSightings how many it takes to
	// believe that the limit is refilled more slowly than is thought.
	sightings    = 8
	fewSightings = 3
)

// A refill is what answers have told of how fast a limit is refilled. No answer tells
// it, but when what remains has risen by so many between two resets, it was refilled
// by as many at least: by more if others drew on it meanwhile, or if the bucket was
// full. So the highest rate seen counts, and low ones only where neither is likely.
// It is not safe for concurrent use.
type refill struct {
	size int
	step time.Duration // The least time between two resets; 0 if none was seen.
	seen [sightings]float64
	n    int // How many have been seen.

	// The last answers, all before one reset: the least that remained, and when the
	// last of them came.
	reset  time.Time
	lowest int
	at     time.Time
}

// observe takes in an answer that tells everything. The environment may use that
// share of the refill.
func (f *refill) observe(r client.RateLimit, share float64, now time.Time) {
	if r.Limit != f.size {
		*f = refill{size: r.Limit}
	}
	over, gap := r.Reset.Sub(f.reset), now.Sub(f.at)
	switch {
	case over < 0 && gap < f.step:
		return // It comes late.
	case over.Abs() < time.Second:
		f.lowest, f.at = min(f.lowest, r.Remaining), now
		return
	}
	rise := r.Remaining - f.lowest + 1 // The request itself has drawn one.
	first := f.reset.IsZero() || over < 0
	f.reset, f.lowest, f.at = r.Reset, r.Remaining, now
	if first {
		return
	}
	if f.step == 0 || over < f.step {
		f.step = over
	}
	seen, thought := float64(rise)/over.Seconds(), f.rate(r.Limit)
	// As long as requests follow each other as fast as the share allows, there is
	// little time for others to draw.
	busy := gap.Seconds()*share*thought <= 2
	full := r.Limit-r.Remaining-1 < max(rise/2, r.Limit/8)
	if seen > thought || busy && !full && rise > 0 {
		f.seen[f.n%sightings] = seen
		f.n++
	}
}

// rate returns how many requests a second a bucket of that size regains.
func (f *refill) rate(size int) float64 {
	most := slices.Max(f.seen[:])
	if f.n >= fewSightings {
		return most
	}
	// A step refills no more than the whole bucket.
	step := f.step
	if step == 0 {
		step = longestWait
	}
	return max(most, float64(size)/max(step, fillTime).Seconds())
}
