package index

import (
	"time"

	"waitpoint_exporter/client"
)

// trustAfter is how long absence proves nothing after a replica was found to be further
// behind than Lag.
const trustAfter = 10 * time.Minute

// Behind records that a page requested at the given time came from a replica that is
// further behind than Lag.
func (x *Index) Behind(at time.Time) {
	if at.After(x.behind) {
		x.behind = at
	}
}

// Trusted reports whether a page requested at the given time can prove absence.
func (x *Index) Trusted(at time.Time) bool {
	return x.behind.IsZero() || at.Sub(x.behind) > trustAfter
}

// seeWaiting records that a known token was shown as WAITING.
func (x *Index) seeWaiting(id string, h *held, at time.Time, ch *Changes) {
	if at.After(h.shown) {
		h.shown = at
	}
	if h.lacked.IsZero() {
		return
	}
	ch.Returned++
	if !at.After(h.lacked) || h.left && at.Sub(h.lacked) <= x.opts.Lag {
		return // The row may be older than the absence, or from a lagging replica.
	}
	h.clear()
	x.missing.Delete(id)
	if !h.left {
		return
	}
	// It had not left, or a replica is far behind.
	x.Behind(at)
	ch.Behind = true
	h.left, h.looked, h.firstSeen = false, time.Time{}, at
	x.left--
	ch.Differs++
	x.waiting.Set(id, h)
	if !h.outside {
		x.sets.count(h.set, waitingStatus)
	}
}

// clear forgets that the token was missing.
func (h *held) clear() { h.lacked, h.lost = time.Time{}, time.Time{} }

// Complete records that all WAITING tokens are known.
func (x *Index) Complete() { x.complete = true }

// Missing returns the WAITING tokens with from <= id < to that were not shown since the
// given time, when a page that covers these ids was requested; served is the same time by
// the service's clock. They are in order of id. An empty from is the end of the list.
// Tokens that were both created and first seen less than Lag before are left out: a replica
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

// everywhere reports whether every replica had the token at the given time, since it was
// first seen long enough before.
func (x *Index) everywhere(h *held, at time.Time) bool { return at.Sub(h.firstSeen) >= x.opts.Lag }

// Lack records that a page requested at the given time should have shown these WAITING
// tokens and did not. They become suspects, whose outcome is to be looked up. Unless it is
// certain that they have left, they count as WAITING until then.
func (x *Index) Lack(tokens []*Token, at time.Time, certain bool) {
	for _, t := range tokens {
		h, ok := x.waiting.Get(t.ID)
		if !ok || !h.shown.Before(at) {
			continue
		}
		if h.lacked.IsZero() {
			h.lacked, h.sure = at, false
			x.missing.Set(t.ID, h)
		}
		h.sure = h.sure || certain && x.everywhere(h, at)
	}
}

// Clear records that nothing is missing: suspects are WAITING again.
func (x *Index) Clear() {
	for _, h := range x.missing.Values() {
		if !h.left {
			h.clear()
			h.looked = time.Time{}
			x.missing.Delete(h.token.ID)
		}
	}
}

// Settle removes the suspects from WAITING: they have left, although their outcome is not
// known yet. They stay while a replica is further behind than Lag, or if a replica may not
// have had them yet, whatever their createdAt.
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
				x.sets.uncount(h.set, waitingStatus) // Its tags keep their series.
			}
		}
		return true
	})
}

// A Lookup is a token whose outcome is to be looked up.
type Lookup struct {
	*Token
	// Since is when it was first missing; Looked is when its outcome was last looked up,
	// zero if never.
	Since, Looked time.Time
	// Waiting is whether the next snapshot counts it as WAITING, see Settle.
	Waiting bool
}

// Unresolved calls yield for each token whose outcome is to be looked up now, in descending
// order of id, until it returns false.
func (x *Index) Unresolved(now time.Time, yield func(Lookup) bool) {
	trusted := x.Trusted(now)
	x.missing.Reverse(func(_ string, h *held) bool {
		leaves := h.sure && trusted
		return yield(Lookup{h.token, h.lacked, h.looked, !h.left && !leaves})
	})
}

// Look records that the outcome of the token is being looked up.
func (x *Index) Look(id string, at time.Time) {
	if h, ok := x.missing.Get(id); ok {
		h.looked = at
	}
}

// Covered records that a page requested at the given time shows all tokens with from <= id
// < to that were created at or after line, in any status. A token to be looked up there
// that it does not show has been looked up by this, and may be gone.
func (x *Index) Covered(from, to string, line, at time.Time) {
	var gone []string
	x.missing.Ascend(from, func(id string, h *held) bool {
		if id >= to {
			return false
		}
		if !h.token.CreatedAt.Before(line) && h.shown.Before(at) && h.lacked.Before(at) {
			if at.After(h.looked) {
				h.looked = at
			}
			gone = append(gone, id)
		}
		return true
	})
	for _, id := range gone {
		x.Gone(id, at)
	}
}

// Gone records that a request at the given time for the token's own place did not show it
// in any status. If lag cannot explain that, and a second request a lag later has the same
// result, the service has deleted the token: it has no outcome.
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
		x.past[x.identify(id, h.token.CreatedAt)] = past{status: waitingStatus, until: at.Add(tombstone)}
	}
}

// takeOut removes a token that is or was WAITING, and reports whether there was one.
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
	switch {
	case h.outside:
	case h.left:
		x.sets.release(h.set)
	default:
		x.sets.remove(h.set, waitingStatus)
	}
	return true
}

// Soon calls yield for each WAITING token with a timeout at or before the given
// time, in order of id.
func (x *Index) Soon(until time.Time, yield func(*Token)) {
	limit := until.UnixMilli()
	x.waiting.Scan(func(_ string, h *held) bool {
		if h.token.timeout != none && h.token.timeout <= limit {
			yield(h.token)
		}
		return true
	})
}

// Knows reports whether the token is known, in whatever status.
func (x *Index) Knows(t *client.Token) bool {
	id := x.identify(t.ID, t.CreatedAt)
	_, finished := x.finished.Get(entry{identity: id})
	_, waits := x.waiting.Get(t.ID)
	_, left := x.missing.Get(t.ID)
	_, remembered := x.past[id]
	return finished || waits || left || remembered
}
