package refresh

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
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

// nextNewest asks for the places where new tokens appear, then for what is new
// below them, then for what a token may still appear in that was created by a
// host, or comes from a replica, with a clock behind.
func (e *Environment) nextNewest(now time.Time) *request {
	if e.all == nil {
		return e.nextNewestInTurn(now)
	}
	for _, p := range e.places() {
		if !p.busy && p.listed.Before(e.round.start) {
			from := time.Time{}
			if p.above != topID {
				from = e.windowStart(now) // It may be the end of the list.
			}
			return e.ask(e.all, p, e.takeNewest, from)
		}
	}
	if r := e.nextGap(false, now); r != nil {
		return r
	}
	if !e.flowing && e.checkCapacity(loadTenths) == nil {
		if p := e.topGap(); p != nil && !p.busy && !p.at.Before(e.served.Add(-e.slack)) && !e.served.IsZero() {
			return e.ask(e.all, p, e.takeNewest, e.windowStart(now))
		}
	}
	if len(e.locate) > 0 {
		if p := e.all.find(e.locate[0]); !p.busy {
			r := e.ask(e.all, p, e.takeNewest, e.windowStart(now))
			r.start = func() { p.busy = true; e.locating = e.locate[0]; e.locate = e.locate[1:] }
			return r
		}
	}
	e.unsettled = append(e.unsettled, e.all.rests...)
	e.all.rests = nil
	for len(e.unsettled) > 0 {
		p, ok := e.all.pieces.Get(e.unsettled[0])
		if ok && p.listed.Before(e.round.start) && !p.settled(e.slack) {
			if p.busy {
				return nil
			}
			return e.ask(e.all, p, e.takeNewest, time.Time{})
		}
		e.unsettled = e.unsettled[1:]
	}
	return nil
}

// places returns the pieces to watch in this round, the top first: those where
// nothing came for a while are looked at now and then.
func (e *Environment) places() []*piece {
	out := make([]*piece, 0, len(e.all.places))
	for _, p := range e.all.places {
		if p.above == topID || p.idle < idleRounds || e.round.number%idleRounds == 0 {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *piece) int { return cmp.Compare(b.above, a.above) })
	return out
}

// topGap returns the gap of the history that lies highest.
func (e *Environment) topGap() *piece {
	var top *piece
	e.all.gaps.Reverse(func(_ string, p *piece) bool {
		if p.history {
			top = p
			return false
		}
		return true
	})
	return top
}

// nextGap asks for the page below the highest gap that nobody walks, or else for
// a place to split the one with the longest way to go.
func (e *Environment) nextGap(ofHistory bool, now time.Time) *request {
	var free, longest *piece
	from := e.windowStart(now)
	e.all.gaps.Reverse(func(_ string, p *piece) bool {
		if p.history != ofHistory || p.above == topID {
			return true
		}
		if !p.busy {
			free = p
			return false
		}
		if !p.splitting && !p.unsplit && p.pages > 0 && (longest == nil || e.remaining(p, from) > e.remaining(longest, from)) {
			longest = p
		}
		return true
	})
	if !ofHistory {
		from = time.Time{}
	}
	if free != nil {
		take := e.takeHistory
		if !ofHistory {
			take = e.takeNewest
		}
		return e.ask(e.all, free, take, from)
	}
	if longest == nil || !e.worthSplitting(longest, from) {
		return nil
	}
	return e.askSplit(longest, from)
}

// askSplit asks for the token half way down a gap. The filter on createdAt is for
// this one request: from the cursor that it brings on, none is needed.
func (e *Environment) askSplit(p *piece, from time.Time) *request {
	seek := p.at.Add(-e.remaining(p, from) / 2)
	if seek.Before(from) {
		return nil
	}
	return &request{
		opts:  client.ListOptions{After: p.cursor, To: seek, From: from, PageSize: 1},
		start: func() { p.splitting = true },
		drop:  func() { p.splitting = false },
		take: func(page client.Page, at time.Time) error {
			if _, err := e.observe(history, page, at); err != nil {
				return err
			}
			if e.all == nil {
				return nil
			}
			if len(page.Tokens) == 0 || page.Next == "" {
				p.bound = seek // Nothing, or a single token, is older.
				return nil
			}
			if !e.all.split(page.Tokens[0], page.Next) {
				p.unsplit = true
				if rest := e.all.next(p.above); rest != nil {
					rest.unsplit = true // Of what was the same gap when the request was sent.
				}
			}
			return nil
		},
	}
}

// bound is the createdAt down to which a piece goes, as far as known.
func (e *Environment) bound(p *piece, from time.Time) time.Time {
	below := e.all.next(p.above)
	switch {
	case p.known != "" && (below == nil || p.high.After(below.at)):
		return p.high // The newest that was known before.
	case below != nil:
		return below.at
	}
	if !p.bound.IsZero() || !from.IsZero() {
		return cmp.Or(p.bound, from)
	}
	if s := e.snapshot.Load(); s != nil && len(s.Tokens) > 0 && s.Tokens[0].CreatedAt.Before(p.at) {
		return s.Tokens[0].CreatedAt
	}
	return time.Time{}
}

// remaining is how far in time a gap has still to go. Below the oldest known token
// it is guessed to be as far again as the list has come.
func (e *Environment) remaining(p *piece, from time.Time) time.Duration {
	if bound := e.bound(p, from); p.at.After(bound) && !bound.IsZero() {
		return p.at.Sub(bound)
	}
	return 2 * min(max(e.top.Sub(p.at), p.span, time.Second), math.MaxInt64/2)
}

// worthSplitting tells whether a gap has several pages to go, if its tokens go on
// as dense as on its last page: a split costs a request, and half a page that is
// listed twice.
func (e *Environment) worthSplitting(p *piece, from time.Time) bool {
	if bound := e.bound(p, from); bound.IsZero() || !p.at.After(bound) {
		return e.all.next(p.above) == nil
	}
	return e.remaining(p, from)/16 > max(p.span, time.Millisecond)
}

// A list of so many pieces is walked from one place at once: with more of them the
// pages would show each other's tokens.
const shortList = 16

// nextWaiting asks for the newest, then for tokens whose timeout has come, then
// for what was not listed for the longest time.
func (e *Environment) nextWaiting() *request {
	if e.waiting == nil {
		return e.nextWaitingInTurn()
	}
	var best *piece
	above, sequential := false, e.waiting.pieces.Len() <= shortList // Of the piece above: whether it is being listed.
	first := e.snapshot.Load() == nil                               // Nothing is listed twice before all is listed.
	urgent := e.round.pages[waiting]%3 == 0                         // The others must not wait for ever.
	e.waiting.pieces.Reverse(func(id string, p *piece) bool {
		switch {
		case p.busy && sequential:
			best = nil
			return false
		case p.busy || above || !p.listed.Before(e.round.start) && !p.gap || first && !p.gap:
		case id == topID && p.listed.Before(e.round.start):
			best = p
			return sequential
		case best == nil:
			best = p
		case best.above == topID:
		case urgent && e.urgent[id] != e.urgent[best.above]:
			if e.urgent[id] {
				best = p
			}
		case p.listed.Before(best.listed):
			best = p
		}
		above = p.busy
		return true
	})
	if best == nil {
		return nil
	}
	r := e.ask(e.waiting, best, e.takeWaiting, time.Time{})
	start := r.start
	r.start = func() { start(); delete(e.urgent, best.above) }
	return r
}

// nextOutcome asks for the place of a token whose outcome is not known, newest
// first: a page settles every token that it shows.
func (e *Environment) nextOutcome(now time.Time) *request {
	var found *request
	line := e.windowStart(now)
	e.index.Unresolved(func(t index.Lookup) bool {
		if wait := e.lookUpIn(t, now); wait > 0 {
			if at := now.Add(wait); e.wake.IsZero() || at.Before(e.wake) {
				e.wake = at
			}
			return true
		}
		if e.all == nil || t.CreatedAt.Before(line) || e.missed[t.ID] {
			found = e.askByTime(t.Token)
			return false
		}
		p := e.all.find(t.ID)
		switch {
		case p.busy:
			return true
		case p.gap:
			found = e.askByTime(t.Token)
			return false
		}
		found = e.ask(e.all, p, func(s sight) error {
			if n := len(s.page.Tokens); s.page.Next != "" && (n == 0 || s.page.Tokens[n-1].ID > t.ID) {
				e.missed[t.ID] = true // The piece has more tokens than fit on a page.
				e.index.Look(t.ID, time.Time{})
			}
			return e.takeAll(outcomes, s, time.Time{})
		}, time.Time{})
		start := found.start
		found.start = func() { start(); e.index.Look(t.ID, now) }
		return false
	})
	return found
}

// lookUpIn returns how long a look-up has to wait. Where replicas were seen to be
// behind it waits until none is, so that it is made once; what counts as WAITING as
// long as it is not made cannot wait.
func (e *Environment) lookUpIn(t index.Lookup, now time.Time) time.Duration {
	if !t.Looked.IsZero() {
		return t.Looked.Add(lag).Sub(now)
	}
	if t.Sure && !e.echo.IsZero() && now.Sub(e.echo) < echoes {
		return t.Since.Add(lag).Sub(now)
	}
	return 0
}

// askByTime asks for everything that was created in the token's millisecond.
func (e *Environment) askByTime(t *index.Token) *request {
	r := &request{pager: e.api.Pager(client.ListOptions{From: t.CreatedAt, To: t.CreatedAt})}
	r.start = func() { e.index.Look(t.ID, e.now()) }
	shown := false
	r.take = func(page client.Page, at time.Time) error {
		if _, err := e.observe(outcomes, page, at); err != nil {
			return err
		}
		for _, token := range page.Tokens {
			shown = shown || token.ID == t.ID
		}
		switch {
		case r.pager.More():
			e.sched.queue(outcomes, r)
		case !shown:
			e.index.Gone(t.ID, at)
		}
		return nil
	}
	return r
}

// nextHistory asks for what was there before the first listing.
func (e *Environment) nextHistory(now time.Time) *request {
	switch {
	case e.index.IsLoaded(), e.historyErr != nil && e.sched.active[history] > 0:
		return nil
	case e.all == nil:
		return e.nextHistoryInTurn(now)
	case e.checkCapacity(loadTenths) != nil:
		return nil
	}
	return e.nextGap(true, now)
}

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
		if now.Sub(p.listed) > 2*e.opts.Interval {
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

// nextProbe asks for a short time by createdAt of which the newest should have
// shown every token.
func (e *Environment) nextProbe() *request {
	if e.probed || !e.round.open || !e.flowing || e.served.IsZero() || e.sched.active[newest] > 0 || e.round.pages[newest] == 0 {
		return nil
	}
	if e.wants(newest, e.now()) {
		return nil // It has not shown all that it will.
	}
	sudden := e.rate >= 3 && (e.appeared == 0 || e.rate-float64(e.appeared) > 4*math.Sqrt(e.rate))
	if !sudden && e.probes < 1 {
		return nil
	}
	to := e.served.Add(-e.slack)
	span := e.opts.Interval
	if e.rate > 0 {
		span = min(span, time.Duration(float64(e.opts.Interval)*60/e.rate))
	}
	if !sudden {
		// Hosts with clocks behind show only some time later.
		to = to.Add(-time.Duration(e.round.number%10) * 30 * time.Second)
	}
	to = to.Truncate(time.Millisecond)
	from := to.Add(-max(span, 100*time.Millisecond))
	if from.Before(e.flowLine) {
		from = e.flowLine.Add(time.Millisecond)
	}
	if !from.Before(to) {
		return nil
	}
	r := &request{
		pager: e.api.Pager(client.ListOptions{From: from, To: to}),
		start: func() { e.probed = true; e.probes = max(e.probes-1, 0) },
	}
	pages := 0
	r.take = func(page client.Page, at time.Time) error {
		// The ids that sort below all others come last.
		if pages++; pages < probePages && r.pager.More() {
			e.sched.queue(probe, r)
		}
		return e.takeProbe(page, at, to)
	}
	return r
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
