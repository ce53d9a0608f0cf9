package ratelimit

import (
	"math"
	"slices"
	"time"

	"waitpoint_exporter/client"
)

const (
	// defaultSize and defaultStep are those of the service's default limit. They
	// stand in for what no answer has told.
	defaultSize = 750
	defaultStep = 10 * time.Second
	// largestSize is more than any bucket holds. A gateway that rewrites headers
	// may put a time there.
	largestSize = 100_000_000
	// longestWait bounds the wait for a reset. One further away is wrong, or it is
	// worth a request to see whether it still holds.
	longestWait = time.Minute
	// longestPause bounds what a Retry-After can ask for.
	longestPause = time.Hour
	// lasting is how many answers in a row have to agree before a smaller size of the
	// bucket counts: a few of them may be a gateway's.
	lasting = 10
	// lastingSilence is how long answers have to keep silent, beside their number,
	// before what remains is no longer known.
	lastingSilence = 5 * time.Minute
)

// A bucket is the least that is sure to remain of the rate limit, by what answers
// have told. What remains rises only by an answer that comes from past a refill; a
// request whose answer does not tell has drawn one; one in flight may have drawn
// one; the size is the largest of those told lately; and a refill is past only when
// the service's clock, at its slowest, must have reached it. It is not safe for
// concurrent use.
type bucket struct {
	known     bool // What remains is known.
	remaining int
	silent    int       // Answers in a row that did not tell what remains.
	since     time.Time // When the first of them came.

	sizes [lasting]int // The sizes told lately.
	told  int          // How many sizes have been told.
	most  int          // The most that remained, if no size is told.

	// offset is the service's clock less ours, by the last answer with a Date. As a
	// Date has whole seconds, the service's clock is that far or further.
	offset time.Duration
	reset  time.Time // The next refill, as the service told it; zero if unknown.
	due    time.Time // The same on our clock, or when to see what there is.
}

// size returns the size of the bucket.
func (b *bucket) size() int {
	if b.told == 0 {
		return max(defaultSize, b.most)
	}
	return slices.Max(b.sizes[:])
}

// admit reports whether a request may go while others are in flight, or when to ask
// again: zero for once an answer has come.
func (b *bucket) admit(reserve float64, inFlight int, now time.Time) (ok bool, until time.Time) {
	switch {
	case b.known && b.remaining-inFlight > int(math.Ceil(reserve*float64(b.size()))):
		return true, time.Time{}
	case inFlight > 0:
		return false, time.Time{} // What is in flight will tell.
	case b.known && now.Before(b.due):
		return false, b.due
	}
	return true, time.Time{} // A single request finds out.
}

// observe takes in what became of a request.
func (b *bucket) observe(a client.Attempt, now time.Time) {
	if !a.Date.IsZero() {
		b.offset = a.Date.Sub(now)
	}
	r := a.RateLimit
	if r.Limit > 0 && r.Limit <= largestSize {
		b.sizes[b.told%lasting] = r.Limit
		b.told++
	}
	if r.Remaining < 0 || r == (client.RateLimit{}) {
		b.observeSilence(a, now)
	} else {
		b.observeRemaining(r, now)
	}
	if a.Status == 429 {
		b.known, b.remaining = true, min(b.remaining, 0)
		if pause := now.Add(min(max(a.RetryAfter, time.Second), longestPause)); pause.After(b.due) {
			b.due = pause
		}
	}
}

// observeSilence takes in a request whose answer, if any, did not tell what remains.
func (b *bucket) observeSilence(a client.Attempt, now time.Time) {
	b.remaining--
	if !now.Before(b.due) {
		b.due = now.Add(defaultStep)
	}
	if a.Status == 0 || a.Status >= 300 {
		return // Only an answer of the service itself could have told.
	}
	if b.silent++; b.silent == 1 {
		b.since = now
	}
	if b.silent >= lasting && now.Sub(b.since) >= lastingSilence {
		b.known = false
	}
}

// observeRemaining takes in what remains.
func (b *bucket) observeRemaining(r client.RateLimit, now time.Time) {
	b.most = max(b.most, r.Remaining)
	wait := r.Reset.Sub(now.Add(b.offset))
	if wait <= 0 {
		r.Reset = time.Time{} // As good as none.
	}
	// Those whose answers were silent may have been served after this one.
	remaining := r.Remaining - b.silent
	b.silent = 0
	refilled := !b.known || r.Reset.After(b.reset) ||
		!now.Before(b.due) && (r.Reset.IsZero() || !r.Reset.Equal(b.reset))
	if b.known && !refilled {
		remaining = min(remaining, b.remaining)
	}
	b.known, b.remaining = true, remaining
	switch {
	case !r.Reset.IsZero() && (refilled || r.Reset.Equal(b.reset)):
		b.reset, b.due = r.Reset, now.Add(min(wait, longestWait))
	case refilled:
		b.reset, b.due = time.Time{}, now.Add(defaultStep)
	}
}
