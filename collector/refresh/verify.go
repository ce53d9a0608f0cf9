package refresh

import (
	"time"

	"waitpoint_exporter/collector/index"
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
		from := e.windowStart(now)
		r := e.ask(e.all, p, func(s sight) error { return e.takeAll(verify, s, from) }, from)
		start := r.start
		r.start = func() { start(); e.due = e.due[1:] }
		return r
	}
	return nil
}

// plan works out, at the start of a round, which pieces it has to list again.
func (e *Environment) plan(now time.Time) {
	e.unsettled, e.urgent, e.missed, e.probed = nil, map[string]bool{}, map[string]bool{}, false
	if e.waiting != nil {
		e.waiting.pieces.Scan(func(_ string, p *piece) bool {
			p.doubts = 0
			return true
		})
		// What fits into a round is listed whole; past that timeouts say what is first.
		if oldest, whole := e.waiting.oldest(); whole && now.Sub(oldest) > 2*e.opts.Interval {
			e.index.Soon(now, func(t *index.Token) {
				if p := e.waiting.find(t.ID); p.listed.Before(t.TimeoutAt.Add(lag)) {
					e.urgent[p.above] = true
				}
			})
		}
	}
	if e.all == nil {
		return
	}
	e.due = nil
	old := 0 // Pieces that this turn of verification has not listed yet.
	e.all.pieces.Reverse(func(id string, p *piece) bool {
		if !p.gap && !p.settled(e.slack) && !p.watched {
			e.unsettled = append(e.unsettled, id)
		}
		if p.listed.Before(e.turnBegun) {
			old++
		}
		// What was listed just now is not due, however many pieces there are.
		if now.Sub(p.listed) > min(2*e.opts.Interval, e.opts.VerifyInterval/16) {
			e.due = append(e.due, p)
		}
		return true
	})
	if !e.index.IsLoaded() {
		e.due = nil
		return
	}
	e.planVerify(now, old == 0)
}
