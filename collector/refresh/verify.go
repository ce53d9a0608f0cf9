package refresh

import (
	"math"
	"slices"
	"time"
)

// Verify: each piece again, once in a verify interval.

// turn is what the task verify knows: each piece is listed once in a turn.
type turn struct {
	open        bool
	begun, line time.Time // Tokens created before line were known when it began.
	due         []*piece  // The pieces to list in this round.
}

// nextVerify requests one of the due pieces.
func (e *Environment) nextVerify(now time.Time) *request {
	if !e.index.IsLoaded() {
		return nil
	}
	if e.all == nil {
		return e.nextHistoryInTurn(verify, now)
	}
	for len(e.turn.due) > 0 {
		p := e.turn.due[0]
		if now, ok := e.all.pieces.Get(p.above); !ok || now != p || !p.listed.Before(e.round.start) {
			e.turn.due = e.turn.due[1:] // Another task has listed it.
			continue
		}
		if p.busy {
			return nil
		}
		r := e.askAll(verify, p, e.listFrom(now))
		r.start = func() { e.turn.due = e.turn.due[1:] }
		return r
	}
	return nil
}

// planVerify selects the due pieces for this round, the least recently listed ones, so that
// each piece is listed once in a verify interval. A turn ends when each piece was listed
// since it began.
func (e *Environment) planVerify(now time.Time, listed bool) {
	turn := e.opts.VerifyInterval * 19 / 20
	if e.turn.open && listed {
		e.index.CloseTurn(e.turn.line, now)
		e.turn.open = false
	}
	if !e.turn.open && (e.turn.begun.IsZero() || now.Sub(e.turn.begun) >= turn) {
		e.index.BeginTurn(now)
		e.turn.begun, e.turn.line, e.turn.open = now, e.arrivals.line.Add(-e.arrivals.slack), true
	}
	// The ith piece has to be listed before it is a turn old, after i others. After an
	// outage the backlog is spread over several rounds.
	rate := float64(e.all.pieces.Len()) / float64(turn)
	slices.SortFunc(e.turn.due, func(a, b *piece) int { return a.listed.Compare(b.listed) })
	n := 0
	for i, p := range e.turn.due {
		left := float64(turn - now.Sub(p.listed))
		n = max(n, int(math.Ceil(float64(i+1)-rate*left)))
	}
	n = min(n, len(e.turn.due), 4*(int(rate*float64(e.opts.Interval))+1))
	e.turn.due = slices.Clone(e.turn.due[:n]) // Releases the rest.
}
