package index

import (
	"hash/maphash"
	"maps"
	"time"
)

// How long a removed token is remembered, so that it is not counted again.
const (
	// memory is for finished tokens outside the window. After it no replica shows them
	// as WAITING.
	memory = 2 * time.Hour
	// tombstone is for tokens that the service stopped listing.
	tombstone = 7 * 24 * time.Hour
	// prunes is the interval of prune.
	prunes = 10 * time.Minute
)

// identity identifies a token.
type identity struct {
	created int64
	hash    uint64
}

// past is what is remembered of a token: the number of its status, WAITING if its outcome
// is not known.
type past struct {
	status uint8
	until  time.Time
}

func (x *Index) identify(id string, created time.Time) identity {
	return identity{created.UnixMilli(), maphash.String(x.seed, id)}
}

// wasFinished reports whether a token shown as WAITING is remembered as finished.
func (x *Index) wasFinished(id identity, at time.Time) bool {
	p, ok := x.past[id]
	if !ok || p.status == waitingStatus {
		return false
	}
	if until := at.Add(memory); until.After(p.until) {
		p.until = until // A replica still shows it.
		x.past[id] = p
	}
	return true
}

// finishedBefore returns whether a finished token that is not kept is new, or was counted
// before.
func (x *Index) finishedBefore(key entry, at time.Time) verdict {
	p, ok := x.past[key.identity]
	switch {
	case !ok:
		return verdictNew
	case p.status == waitingStatus:
		delete(x.past, key.identity)
		return verdictMoved
	case x.inWindow(key.created, at):
		delete(x.past, key.identity)
		return verdictDiffers // It had been removed.
	}
	return verdictKnown
}

// prune forgets the tokens that were remembered for long enough.
func (x *Index) prune(now time.Time) {
	if now.Sub(x.pruned).Abs() < prunes {
		return
	}
	x.pruned = now
	maps.DeleteFunc(x.past, func(_ identity, p past) bool { return now.After(p.until) })
}
