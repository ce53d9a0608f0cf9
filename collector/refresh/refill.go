package refresh

import "time"

const (
	// fillTime is how long the service's default bucket takes to fill up: 750,
	// refilled by 250 every 10 s. Other buckets are taken to do the same until
	// answers tell.
	fillTime = 30 * time.Second
	// sightings is how many refills are remembered.
	sightings = 8
)

// A refill is what answers have told of how a bucket is refilled: by how much at
// a time, and how often. The service says neither. The step is the least time
// between two resets; the amount is the most by which what remains has risen over
// one step, since others draw meanwhile. It is not safe for concurrent use.
type refill struct {
	step   time.Duration // 0 before any answer.
	longer int           // Answers in a row whose reset was further away than a step.
	seen   [sightings]int
	n      int // How many have been seen.

	last struct {
		remaining int
		reset, at time.Time
	}
}

// see takes in an answer that came now and told all. Ahead is how far away its
// reset is.
func (f *refill) see(limit, remaining int, reset, now time.Time, ahead time.Duration) {
	last := f.last
	if reset.Before(last.reset) && now.Sub(last.at) < f.step {
		return // It comes late.
	}
	f.last.remaining, f.last.reset, f.last.at = remaining, reset, now
	if f.step == 0 {
		f.step = defaultStep
	}
	if ahead <= f.step+time.Second { // A Date has whole seconds.
		f.longer = 0
	} else if f.longer++; f.longer >= lasting {
		f.step, f.longer, f.n = max(longestWait, ahead.Round(time.Second)), 0, 0
	}
	apart := reset.Sub(last.reset)
	if last.reset.IsZero() || apart <= 0 {
		return
	}
	if apart >= time.Second && apart >= ahead && apart < f.step-time.Second {
		f.step, f.n = apart, 0
	}
	if apart > f.step*3/2 {
		return // Over several steps what others draw is too much of it.
	}
	rise := remaining - last.remaining + 1 // The request itself has drawn one.
	full := limit-last.remaining < f.amount(limit)
	if rise > limit || rise <= f.amount(limit) && (full || now.Sub(last.at) > f.step*3/2) {
		return // There was no room for more, or others have drawn a lot meanwhile.
	}
	f.seen[f.n%sightings] = rise
	f.n++
}

// amount returns what a step brings a bucket of that size.
func (f *refill) amount(limit int) int {
	most := 0
	for _, rise := range f.seen[:min(f.n, sightings)] {
		most = max(most, rise)
	}
	if f.n >= 3 {
		return max(most, 1)
	}
	return max(most, int(float64(limit)*min(1, float64(f.step)/float64(fillTime))), 1)
}

// rate returns how many requests a second a bucket of that size regains, 0 if
// nothing is known.
func (f *refill) rate(limit int) float64 {
	if f.step == 0 || limit == 0 {
		return 0
	}
	return float64(f.amount(limit)) / f.step.Seconds()
}
