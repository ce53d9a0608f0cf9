package index

import (
	"time"

	"waitpoint_exporter/client"
)

// trustAfter is for how long no absence counts once a page has proved that a
// replica is further behind than Lag: what it does not have yet looks absent.
const trustAfter = 10 * time.Minute

// Behind says that a page asked for at the given time came from a replica that is
// further behind than Lag.
func (x *Index) Behind(at time.Time) {
	if at.After(x.behind) {
		x.behind = at
	}
}

// Trusted reports whether a look at the given time proves absence.
func (x *Index) Trusted(at time.Time) bool {
	return x.behind.IsZero() || at.Sub(x.behind) > trustAfter
}

// seeWaiting takes in that a known token was shown as WAITING.
func (x *Index) seeWaiting(id string, h *held, at time.Time) verdict {
	if at.After(h.shown) {
		h.shown = at
	}
	switch {
	case h.lacked.IsZero(), !at.After(h.lacked):
		return verdictKnown
	case !h.left:
		h.clear()
		x.missing.Delete(id)
		return verdictKnown
	case at.Sub(h.lacked) <= x.opts.Lag:
		return verdictKnown // The row may come from a replica that does not know yet.
	}
	// It was never gone.
	h.clear()
	h.left, h.looked, h.firstSeen = false, time.Time{}, at
	x.left--
	x.missing.Delete(id)
	x.waiting.Set(id, h)
	if !h.outside {
		x.sets.count(h.set, waitingStatus)
	}
	return verdictDiffers
}

// clear forgets what looks have lacked.
func (h *held) clear() { h.lacked, h.lost = time.Time{}, time.Time{} }

// Complete says that the WAITING tokens are all known. Only the first call counts.
func (x *Index) Complete() { x.complete = true }

// Missing returns the WAITING tokens with from <= id < to that no look has shown
// since the given time, when a page was asked for that covers these ids; served is
// the same by the service's clock. An empty from is the end of the list. Tokens that
// were created and became known less than Lag before are not among them: a replica
// may not have them yet.
func (x *Index) Missing(from, to string, at, served time.Time) []*Token {
	var out []*Token
	x.waiting.Ascend(from, func(id string, h *held) bool {
		if id >= to {
			return false
		}
		if h.shown.Before(at) && (x.everywhere(h, at) || served.Sub(h.token.CreatedAt) >= x.opts.Lag) {
			out = append(out, h.token)
		}
		return true
	})
	return out
}

// everywhere reports whether every replica had the token at the given time: it was
// known for long enough.
func (x *Index) everywhere(h *held, at time.Time) bool { return at.Sub(h.firstSeen) >= x.opts.Lag }

// Lack says that a look which was asked for at the given time and should have
// shown these WAITING tokens did not. They become suspects, whose outcome is to be
// looked up.
func (x *Index) Lack(tokens []*Token, at time.Time) {
	for _, t := range tokens {
		h, ok := x.waiting.Get(t.ID)
		if !ok || !h.shown.Before(at) {
			continue
		}
		if h.lacked.IsZero() {
			h.lacked, h.sure = at, false
			x.missing.Set(t.ID, h)
		}
		h.sure = h.sure || x.everywhere(h, at)
	}
}

// Clear says that what looks lacked so far proves nothing: suspects are none.
func (x *Index) Clear() {
	for _, h := range x.missing.Values() {
		if !h.left {
			h.clear()
			h.looked = time.Time{}
			x.missing.Delete(h.token.ID)
		}
	}
}

// Settle takes the suspects out of WAITING that no look has shown since one lacked
// them: they have left, with an outcome that is still unknown. While a replica is
// further behind than Lag they stay, as do those that it may not have had yet,
// whatever their createdAt says.
func (x *Index) Settle(now time.Time) {
	if !x.Trusted(now) {
		return
	}
	x.missing.Scan(func(id string, h *held) bool {
		if !h.left && h.sure {
			h.left = true
			x.left++
			x.waiting.Delete(id)
			if !h.outside {
				x.sets.uncount(h.set, waitingStatus) // Its set stays held for its tags' sake.
			}
		}
		return true
	})
}

// A Lookup is a token whose outcome is to be looked up.
type Lookup struct {
	*Token
	// Since is when a look first lacked it; Looked is when its outcome was last
	// looked up, zero if never.
	Since, Looked time.Time
	// Sure is whether every replica had the token when a look lacked it: it has left.
	Sure bool
}

// Unresolved calls yield for each token whose outcome is to be looked up, newest
// id first, until it returns false.
func (x *Index) Unresolved(yield func(Lookup) bool) {
	x.missing.Reverse(func(_ string, h *held) bool { return yield(Lookup{h.token, h.lacked, h.looked, h.sure}) })
}

// Look says that the outcome of the token is being looked up.
func (x *Index) Look(id string, at time.Time) {
	if h, ok := x.missing.Get(id); ok {
		h.looked = at
	}
}

// Covered says that a page asked for at the given time covers the ids from <= id <
// to of tokens created at or after line, whatever their status. What is to be
// looked up there and was not shown may be gone.
func (x *Index) Covered(from, to string, line, at time.Time) {
	var gone []string
	x.missing.Ascend(from, func(id string, h *held) bool {
		if id >= to {
			return false
		}
		if !h.token.CreatedAt.Before(line) && h.shown.Before(at) && h.lacked.Before(at) {
			gone = append(gone, id)
		}
		return true
	})
	for _, id := range gone {
		x.Gone(id, at)
	}
}

// Gone says that a look at the token's own place, asked for at the given time, did
// not show it, whatever its status. If no lag explains that, and another look a lag
// later says the same, the service has deleted it: it has no outcome.
func (x *Index) Gone(id string, at time.Time) {
	h, ok := x.missing.Get(id)
	if !ok || !x.everywhere(h, at) || !x.Trusted(at) {
		return
	}
	if h.lost.IsZero() {
		h.lost = at
	}
	if at.Sub(h.lost) >= x.opts.Lag {
		x.takeOut(id)
		x.past[x.identify(h.token)] = past{status: waitingStatus, until: at.Add(tombstone)}
	}
}

func (x *Index) identify(t *Token) identity {
	return identity{created: t.created, hash: x.hash(t.ID)}
}

// takeOut drops a token that waits, or did, and reports whether there was one.
func (x *Index) takeOut(id string) bool {
	h, ok := x.waiting.Delete(id)
	if missing, was := x.missing.Delete(id); was && !ok {
		h, ok = missing, true
		x.left--
	}
	if !ok {
		return false
	}
	x.size -= h.token.size()
	if h.outside {
		return true
	}
	if !h.left {
		x.sets.uncount(h.set, waitingStatus)
	}
	x.sets.release(h.set)
	return true
}

// Soon calls yield for each WAITING token with a timeout at or before the given
// time, in order of id.
func (x *Index) Soon(until time.Time, yield func(*Token)) {
	limit := floorMilli(until)
	x.waiting.Scan(func(_ string, h *held) bool {
		if h.token.timeout != none && h.token.timeout <= limit {
			yield(h.token)
		}
		return true
	})
}

// Knows reports whether the token is known, in whatever status.
func (x *Index) Knows(t *client.Token) bool {
	key := entry{created: t.CreatedAt.UnixMilli(), hash: x.hash(t.ID)}
	if _, ok := x.finished.Get(key); ok {
		return true
	}
	_, waits := x.waiting.Get(t.ID)
	_, left := x.missing.Get(t.ID)
	_, remembered := x.past[identity{key.created, key.hash}]
	return waits || left || remembered
}
