package refresh

import (
	"math"
	"slices"
	"time"
)

// Verify: each piece again, once in a verify interval.

// nextVerify asks for one of the pieces that plan has found due.
func (e *Environment) nextVerify(now time.Time) *request {
	if !e.index.IsLoaded() {
		return nil
	}
	if e.all == nil {
		return e.nextHistoryInTurn(now)
	}
	for len(e.due) > 0 {
		p := e.due[0]
		if now, ok := e.all.pieces.Get(p.above); !ok || now != p || !p.listed.Before(e.round.start) {
			e.due = e.due[1:] // Another task has listed it.
			continue
		}
		if p.busy {
			return nil
		}
		r := e.askAll(verify, p, e.listFrom(now))
		start := r.start
		r.start = func() { start(); e.due = e.due[1:] }
		return r
	}
	return nil
}

// planVerify keeps those of the due pieces that this round has to list for each to be
// listed once in a verify interval: those that no task has listed for the longest
// time. A turn ends when each piece was listed since it began.
func (e *Environment) planVerify(now time.Time, listed bool) {
	turn := e.opts.VerifyInterval * 19 / 20
	if e.turnOpen && listed {
		e.index.CloseTurn(e.turnLine, now)
		e.turnOpen = false
	}
	if !e.turnOpen && (e.turnBegun.IsZero() || now.Sub(e.turnBegun) >= turn) {
		e.index.BeginTurn(now)
		e.turnBegun, e.turnLine, e.turnOpen = now, e.line.Add(-e.slack), true
	}
	// The piece that is ith oldest has to be listed before it is a turn old, after i
	// others. What an outage left undone is caught up with little by little.
	rate := float64(e.all.pieces.Len()) / float64(turn)
	slices.SortFunc(e.due, func(a, b *piece) int { return a.listed.Compare(b.listed) })
	n := 0
	for i, p := range e.due {
		left := float64(turn - now.Sub(p.listed))
		n = max(n, int(math.Ceil(float64(i+1)-rate*left)))
	}
	n = min(n, len(e.due), 4*(int(rate*float64(e.opts.Interval))+1))
	e.due = slices.Clone(e.due[:n]) // The rest need not be kept.
}
