package refresh

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"

	"github.com/go-kit/log/level"
)

// What each task asks for next. None of these functions does I/O, and none takes
// anything from what is to be done: request.start does that.

//nolint:gochecknoglobals // A list that nothing changes.
var onlyWaiting = []client.Status{client.StatusWaiting}

// ask returns the request for a piece.
func (e *Environment) ask(l *list, p *piece, take func(sight) error, from time.Time) *request {
	opts := client.ListOptions{After: cmp.Or(p.resume, p.cursor), From: from}
	if l == e.waiting {
		opts.Statuses = onlyWaiting
	}
	above, cursor := p.above, p.cursor
	return &request{
		opts:  opts,
		start: func() { p.busy = true },
		drop:  func() { p.busy = false },
		take: func(page client.Page, at time.Time) error {
			if page.Next != "" && page.Next == opts.After || l.taken(page) {
				return invalid(errors.New("the cursor does not move on"))
			}
			if n := len(page.Tokens); page.Next != "" && 0 < n && n < 80 {
				e.warn("page_size", "the service gives shorter pages than were asked for", "tokens", n)
			}
			return take(sight{above: above, cursor: cursor, page: page, at: at, from: from})
		},
	}
}

func invalid(err error) error { return &client.Error{Reason: client.ReasonInvalidResponse, Err: err} }

// windowStart is the createdAt before which finished tokens do not count.
func (e *Environment) windowStart(now time.Time) time.Time {
	if e.opts.Period == 0 {
		return time.Time{}
	}
	return now.Add(-e.opts.Period)
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

func purpose(t task, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", [tasks]string{
		newest: "list the newest tokens", waiting: "list WAITING tokens", outcomes: "look up outcomes",
		history: "load the history", verify: "list the history again", probe: "look for tokens out of order",
	}[t], err)
}

// warn says once that something assumed of the service does not hold.
func (e *Environment) warn(assumption, msg string, fields ...any) {
	if !e.opts.Metrics.broke(assumption) {
		return
	}
	level.Warn(e.log).Log(append([]any{"msg", msg}, fields...)...)
}
