package index

import (
	"hash/maphash"
	"time"
)

// How long a token that counts no more is remembered, so that it is not counted a
// second time.
const (
	// memory is for finished tokens outside the window: past it no replica shows
	// them as WAITING any more.
	memory = 2 * time.Hour
	// tombstone is for tokens that the service stopped listing.
	tombstone = 7 * 24 * time.Hour
	// prunes is the time between two looks for what is remembered for too long.
	prunes = 10 * time.Minute
)

// identity is what a token is known by.
type identity struct {
	created int64
	hash    uint64
}

// past is what is remembered of a token: the number of its status, WAITING if its
// outcome never was shown.
type past struct {
	status uint8
	until  time.Time
}

func (x *Index) hash(id string) uint64 { return maphash.String(x.seed, id) }

// remember keeps a finished token in mind that is not held.
func (x *Index) remember(e entry, at time.Time) {
	x.past[identity{e.created, e.hash}] = past{e.status, at.Add(memory)}
}

// wasFinished reports whether a token shown as WAITING is remembered as finished.
func (x *Index) wasFinished(key entry, at time.Time) bool {
	id := identity{key.created, key.hash}
	p, ok := x.past[id]
	if !ok || p.status == waitingStatus {
		return false
	}
	if until := at.Add(memory); until.After(p.until) {
		p.until = until // Some replica still shows it.
		x.past[id] = p
	}
	return true
}

// recall forgets that a token was gone, and reports whether it was.
func (x *Index) recall(key entry) bool {
	id := identity{key.created, key.hash}
	_, ok := x.past[id]
	delete(x.past, id)
	return ok
}

// finishedBefore tells whether a finished token that is not held is new, or was
// counted before.
func (x *Index) finishedBefore(key entry, at time.Time) verdict {
	p, ok := x.past[identity{key.created, key.hash}]
	switch {
	case !ok:
		return verdictNew
	case p.status == waitingStatus:
		x.recall(key)
		return verdictMoved
	case x.inWindow(key.created, at):
		x.recall(key)
		return verdictDiffers // It was taken for gone.
	}
	return verdictKnown
}

// prune forgets what need not be remembered any longer.
func (x *Index) prune(now time.Time) {
	if now.Sub(x.pruned).Abs() < prunes {
		return
	}
	x.pruned = now
	for id, p := range x.past {
		if now.After(p.until) {
			delete(x.past, id)
		}
	}
}
