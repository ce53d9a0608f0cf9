package index

import "time"

// Verification lists everything in the window again in each turn. Every page, of whatever
// listing, marks its finished tokens with the current turn.

// BeginTurn begins a turn of verification at the given time.
func (x *Index) BeginTurn(at time.Time) {
	x.turn++
	x.turnBegun = at
}

// CloseTurn ends a turn of verification: every token of the window that was created before
// line, or is dated ahead, was listed since BeginTurn. Finished tokens that neither this
// turn nor the previous one showed are removed. A turn during which a replica was found to
// be further behind than Lag proves nothing and does not count.
func (x *Index) CloseTurn(line, now time.Time) {
	if !x.behind.Before(x.turnBegun) {
		x.turn--
		return
	}
	x.expire(now)
	limit, ahead := line.UnixMilli(), now.Add(x.opts.Lag).UnixMilli()
	var gone []entry
	x.finished.Scan(func(e entry) bool {
		if listed := e.created < limit || e.created > ahead; listed && x.turn-e.turn >= 2 {
			gone = append(gone, e)
		}
		return true
	})
	for _, e := range gone {
		x.drop(e)
		x.past[e.identity] = past{e.status, now.Add(tombstone)}
	}
	x.Correct(len(gone))
}

// Correct counts tokens whose known state was wrong.
func (x *Index) Correct(n int) {
	if x.loaded {
		x.corrections += uint64(n)
	}
}
