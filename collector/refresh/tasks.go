package refresh

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"waitpoint_exporter/client"

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
			return take(sight{above: above, cursor: cursor, page: page, at: at})
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
		e.turnBegun, e.turnLine, e.turnOpen = now, e.served.Add(-e.slack), true
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
