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

// What each task requests next. These functions do no I/O and change nothing: only
// request.start does, when the request is sent.

//nolint:gochecknoglobals // Lists that nothing changes.
var (
	onlyWaiting  = []client.Status{client.StatusWaiting}
	onlyFinished = []client.Status{client.StatusCompleted, client.StatusTimedOut}
)

// ask returns the request for a piece of a list.
func (e *Environment) ask(l *list, p *piece, take func(sight) error, from time.Time) *request {
	opts := client.ListOptions{Statuses: l.statuses, After: cmp.Or(p.resume, p.cursor), From: from}
	r := &request{sight: sight{boundary: p.boundary, from: from}, opts: opts, busy: &p.busy}
	r.drop = func() {
		if client.ReasonOf(r.err) == client.ReasonBadRequest && opts.After != "" {
			e.refused(l, p)
		}
	}
	r.take = func(s sight) error {
		if s.page.Next != "" && s.page.Next == opts.After || l.taken(s.page) {
			return invalid("the cursor does not move on")
		}
		if n := len(s.page.Tokens); s.page.Next != "" && 0 < n && n < 80 {
			e.warn("page_size", "the service gives shorter pages than were asked for", "tokens", n)
		}
		return take(s)
	}
	return r
}

// askAll returns the request for a piece of the list of all tokens. The top is requested
// without a filter: new tokens may have any createdAt, and with a filter the service reads
// the whole history for a page that is not full.
func (e *Environment) askAll(t task, p *piece, from time.Time) *request {
	if p.above == topID {
		from = time.Time{}
	}
	return e.ask(e.all, p, func(s sight) error { return e.takeAll(t, s) }, from)
}

// noProgress is the error of a round that could not end within the maximum staleness.
func noProgress() error {
	return &client.Error{Reason: client.ReasonTimeout, Err: errors.New("the pages that came led nowhere")}
}

func invalid(text string) error {
	return &client.Error{Reason: client.ReasonInvalidResponse, Err: errors.New(text)}
}

// listFrom is the createdAt from which tokens of all statuses are listed: the start of
// the window. After an outage longer than the window it is earlier, since tokens that were
// created meanwhile count as created.
func (e *Environment) listFrom(now time.Time) time.Time {
	if e.opts.Period == 0 {
		return time.Time{}
	}
	from, known := now.Add(-e.opts.Period), e.arrivals.line.Add(-e.arrivals.slack)
	if known.Before(e.arrivals.flowLine) {
		known = e.arrivals.flowLine
	}
	if e.flowing && known.Before(from) {
		return known
	}
	return from
}

// plan determines, at the start of a round, which pieces it has to list again.
func (e *Environment) plan(now time.Time) {
	e.arrivals.unsettled, e.urgent, e.probing.sent = nil, map[string]bool{}, false
	e.lookUps.missed, e.lookUps.unlisted = map[string]bool{}, map[string]bool{}
	if e.waiting != nil {
		e.waiting.pieces.Scan(func(_ string, p *piece) bool {
			p.doubts = 0
			return true
		})
		// If a round cannot list all, tokens whose timeout has come are first.
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
	e.turn.due = nil
	old := 0 // Pieces that were not listed since the turn of verification began.
	e.all.pieces.Reverse(func(id string, p *piece) bool {
		if !p.gap && !p.settled(e.arrivals.slack) && !p.watched {
			e.arrivals.unsettled = append(e.arrivals.unsettled, id)
		}
		if p.listed.Before(e.turn.begun) {
			old++
		}
		// A piece that was just listed is not due, however many pieces there are.
		if e.index.IsLoaded() && now.Sub(p.listed) > min(2*e.opts.Interval, e.opts.VerifyInterval/16) {
			e.turn.due = append(e.turn.due, p)
		}
		return true
	})
	if e.index.IsLoaded() {
		e.planVerify(now, old == 0)
	}
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

// warn logs once that an assumption about the service does not hold.
func (e *Environment) warn(assumption, msg string, fields ...any) {
	if e.opts.Metrics.broke(assumption) {
		level.Warn(e.log).Log(append([]any{"msg", msg}, fields...)...)
	}
}
