package refresh

import (
	"math"
	"time"

	"waitpoint_exporter/client"
)

const (
	// defaultBucket is the size of the service's default bucket. It stands in for
	// a size that no answer has told.
	defaultBucket = 750
	// defaultStep is the time between two refills of the default bucket. It
	// stands in for a reset that an answer does not tell.
	defaultStep = 10 * time.Second
	// longestWait bounds the wait for a reset: one further away is wrong, or it
	// is worth a request to see whether it still holds.
	longestWait = time.Minute
	// furthestReset is past what any reset of a service may be.
	furthestReset = time.Hour
	// longestPause bounds what a Retry-After can ask for.
	longestPause = time.Hour
	// lasting is how many answers in a row have to agree before a new size of the
	// bucket counts, or before what remains is no longer known: a few of them may
	// be a gateway's.
	lasting = 10
)

// A bucket is what answers have told of the environment's rate limit. Every
// reading errs towards too few requests: of two answers to one refill step the
// lower counts, a request whose answer says nothing has drawn one, and a refill
// is past only when the service's clock, at its slowest, must have reached it.
// It is not safe for concurrent use.
type bucket struct {
	known     bool // What remains is known.
	remaining int

	silent int       // Answers in a row that did not tell what remains.
	since  time.Time // When the first of them came.

	limit  int // 0 if unknown.
	other  int // What the last answers say instead; 0 if they agree.
	others int // How many of them.
	most   int // The highest remaining, which stands in for an unknown limit.

	// offset is the service's clock less ours, by the last answer with a Date.
	// Since a Date has whole seconds, the service's clock is that far or further.
	offset time.Duration
	told   time.Time // The reset as the service gave it.
	reset  time.Time // The same on our clock.

	refill refill
}

// spare returns how many requests may go at once with so many in flight.
func (b *bucket) spare(reserve float64, inflight int) int {
	size := max(b.limit, b.other)
	if b.limit == 0 {
		size = max(defaultBucket, b.most)
	}
	return b.remaining - inflight - int(math.Ceil(reserve*float64(size)))
}

// blind reports whether the service does not tell what remains.
func (b *bucket) blind() bool { return !b.known && b.silent >= lasting }

// take takes in what became of a request.
func (b *bucket) take(a client.Attempt, now time.Time) {
	if !a.Date.IsZero() {
		b.offset = a.Date.Sub(now)
	}
	r := a.RateLimit
	if r.Limit > 0 {
		b.size(r.Limit)
	}
	if r.Remaining < 0 || r == (client.RateLimit{}) {
		b.untold(a, now)
	} else {
		b.tell(r, now)
	}
	if a.Status == 429 {
		b.known, b.remaining = true, min(b.remaining, 0)
		b.reset = later(b.reset, now.Add(min(max(a.RetryAfter, time.Second), longestPause)))
	}
}

// size takes in the bucket's size. Until a new one counts, the larger of both does.
func (b *bucket) size(limit int) {
	switch {
	case b.limit == 0 || limit == b.limit:
		b.limit, b.other, b.others = limit, 0, 0
	case limit != b.other:
		b.other, b.others = limit, 1
	default:
		if b.others++; b.others >= lasting {
			b.limit, b.other, b.others = limit, 0, 0
		}
	}
}

// untold takes in a request whose answer, if any, did not tell what remains.
func (b *bucket) untold(a client.Attempt, now time.Time) {
	if b.known {
		b.remaining--
	}
	if !now.Before(b.reset) {
		b.reset = now.Add(defaultStep) // It went to see what there is, and came back with nothing.
	}
	if a.Status == 0 || a.Status >= 300 {
		return // Only an answer of the service itself could have told.
	}
	if b.silent++; b.silent == 1 {
		b.since = now
	}
	if b.silent >= lasting && now.Sub(b.since) >= longestWait {
		b.known = false
	}
}

// tell takes in what remains.
func (b *bucket) tell(r client.RateLimit, now time.Time) {
	b.silent = 0
	b.most = max(b.most, r.Remaining)
	wait := r.Reset.Sub(now.Add(b.offset))
	if r.Reset.IsZero() || wait <= 0 || wait > furthestReset {
		// As good as no reset. What remains counts from the last one's time on.
		if b.known && now.Before(b.reset) {
			b.remaining = min(b.remaining, r.Remaining)
			return
		}
		b.known, b.remaining, b.told, b.reset = true, r.Remaining, time.Time{}, now.Add(defaultStep)
		return
	}
	if r.Limit > 0 && r.Limit == b.limit {
		b.refill.see(r.Limit, r.Remaining, r.Reset, now, wait)
	}
	same := r.Reset.Equal(b.told)
	if b.known && (same || r.Reset.Before(b.told) && now.Before(b.reset)) {
		// An answer of this step or, late, of the one before.
		b.remaining = min(b.remaining, r.Remaining)
		if !same {
			return
		}
	} else {
		b.known, b.remaining = true, r.Remaining
	}
	b.told, b.reset = r.Reset, now.Add(min(wait, longestWait))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
