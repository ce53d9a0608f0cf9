package refresh

import (
	"cmp"
	"math"
	"time"

	"github.com/go-kit/log/level"

	"waitpoint_exporter/client"
)

// History: the tokens from before the first listing, in several parts at once.

// loading is what the task history knows.
type loading struct {
	top, oldest   time.Time // The createdAt of the first and of the oldest token listed.
	begun, logged time.Time // When it began, and when progress was last logged.
	err           error     // Why the history could not be listed further.
	once          bool      // The history has been loaded at least once.
}

// nextGap requests the first page of the topmost gap that is not being listed. If there is
// none, it requests a place at which to split the largest gap.
func (e *Environment) nextGap(t task, now time.Time) *request {
	var free, longest *piece
	var most time.Duration
	from := e.listFrom(now)
	e.all.gaps.Reverse(func(_ string, p *piece) bool {
		if p.history != (t == history) || p.above == topID {
			return true
		}
		if !p.busy {
			free = p
			return false
		}
		span, _ := e.remaining(p, from)
		if p.splittable && !p.splitting && (longest == nil || span > most) {
			longest, most = p, span
		}
		return true
	})
	if t == newest {
		from = time.Time{}
	}
	if free != nil {
		return e.askAll(t, free, from)
	}
	if longest == nil {
		return nil
	}
	return e.askSplit(longest, from)
}

// askSplit requests the token in the middle of a gap by createdAt. The following pages are
// requested by the cursor of that page. A split costs a request, and half a page that is
// listed twice: the gap should have several pages, judging by the density of the page above.
func (e *Environment) askSplit(p *piece, from time.Time) *request {
	span, known := e.remaining(p, from)
	worth := span/16 > max(p.span, time.Millisecond)
	if !known {
		worth = e.all.next(p.above) == nil
	}
	seek := p.aboveAt.Add(-span / 2)
	if !worth || seek.Before(from) {
		return nil
	}
	return &request{
		opts: client.ListOptions{After: p.cursor, To: seek, From: from, PageSize: 1},
		busy: &p.splitting,
		take: func(s sight) error {
			if _, err := e.observe(history, s); err != nil || e.all == nil {
				return err
			}
			if len(s.page.Tokens) == 0 || s.page.Next == "" {
				p.bound = seek // Nothing, or a single token, is older.
				return nil
			}
			if len(s.page.Tokens) > 1 || !e.all.split(s.page.Tokens[0], s.page.Next) {
				p.splittable = false
				if rest := e.all.next(p.above); rest != nil {
					rest.splittable = false // Of what was the same gap when the request was sent.
				}
			}
			return nil
		},
	}
}

// bound returns the createdAt at which a piece ends, as far as known.
func (e *Environment) bound(p *piece, from time.Time) time.Time {
	below := e.all.next(p.above)
	switch {
	case p.known != "" && (below == nil || p.high.After(below.aboveAt)):
		return p.high // The newest that was known before.
	case below != nil:
		return below.aboveAt
	}
	if !p.bound.IsZero() || !from.IsZero() {
		return cmp.Or(p.bound, from)
	}
	if s := e.snapshot.Load(); s != nil && len(s.Tokens) > 0 && s.Tokens[0].CreatedAt.Before(p.aboveAt) {
		return s.Tokens[0].CreatedAt
	}
	return time.Time{}
}

// remaining returns the time span of a gap, and whether it is known. Below the oldest known
// token it is estimated as twice what was listed so far.
func (e *Environment) remaining(p *piece, from time.Time) (span time.Duration, known bool) {
	if bound := e.bound(p, from); p.aboveAt.After(bound) && !bound.IsZero() {
		return p.aboveAt.Sub(bound), true
	}
	return 2 * min(max(e.loading.top.Sub(p.aboveAt), p.span, time.Second), math.MaxInt64/2), false
}

// nextHistory requests tokens from before the first listing.
func (e *Environment) nextHistory(now time.Time) *request {
	switch {
	case e.index.IsLoaded(), e.loading.err != nil && e.sched.active[history] > 0:
		return nil
	case e.all == nil:
		return e.nextHistoryInTurn(history, now)
	case e.checkCapacity(loadTenths) != nil:
		return nil
	}
	return e.nextGap(history, now)
}

func (e *Environment) historyKnown() bool {
	if e.all == nil {
		return e.walks.done
	}
	return e.all.gaps.Len() == 0 && len(e.sched.queued[newest]) == 0
}

// loaded records that the history is known.
func (e *Environment) loaded() {
	e.index.Loaded()
	e.loading.once, e.loading.err = true, nil
	e.publish()
	level.Info(e.log).Log("msg", "history is loaded", "tokens", e.index.Len(), "duration", e.now().Sub(e.loading.begun))
	if !e.round.open && e.round.err == nil {
		e.report(nil)
	}
	e.plan(e.now())
}

// noteProgress records how far back the listing has come, and logs it now and then.
func (e *Environment) noteProgress(page client.Page) {
	for _, t := range page.Tokens {
		if e.loading.oldest.IsZero() || t.CreatedAt.Before(e.loading.oldest) {
			e.loading.oldest = t.CreatedAt
		}
	}
	if e.index.IsLoaded() {
		return
	}
	now := e.now()
	if e.loading.begun.IsZero() {
		e.loading.begun, e.loading.logged = now, now
		level.Info(e.log).Log("msg", "loading the history")
	}
	if now.Sub(e.loading.logged) < progressEvery {
		return
	}
	e.loading.logged = now
	state := e.State()
	state.Listed, state.Oldest = e.index.Len(), e.loading.oldest
	e.state.Store(&state)
	level.Info(e.log).Log("msg", "loading the history", "tokens", state.Listed,
		"back_to", state.Oldest.Format(time.RFC3339))
}
