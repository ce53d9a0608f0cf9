package refresh

import (
	"slices"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
)

// Outcomes: the status of tokens that are no longer WAITING.

// echoes is for how long look-ups are delayed after one met a lagging replica.
const echoes = 10 * time.Minute

// lookUps is what the task outcomes knows.
type lookUps struct {
	missed   map[string]bool // Tokens that the page of their piece did not reach.
	unlisted map[string]bool // Tokens that a page of finished ones did not show.
	echo     time.Time       // When a look-up last met a lagging replica.
	byTime   bool            // A look-up by createdAt is under way.
	byStatus bool            // A look-up among finished tokens is under way.
}

// nextOutcome requests a page with a token whose outcome is not known, the newest first.
// A page settles every token on it.
func (e *Environment) nextOutcome(now time.Time) *request {
	var found *request
	line, scattered := e.listFrom(now), e.scattered()
	e.index.Unresolved(now, func(t index.Lookup) bool {
		if wait := e.lookUpIn(t, scattered, now); wait > 0 {
			if at := now.Add(wait); e.wake.IsZero() || at.Before(e.wake) {
				e.wake = at
			}
			return true
		}
		var p *piece
		if e.all != nil && !t.CreatedAt.Before(line) && !e.lookUps.missed[t.ID] {
			p = e.all.find(t.ID)
		}
		switch {
		case scattered && !e.lookUps.unlisted[t.ID]:
			if !e.lookUps.byStatus { // Otherwise the page under way may show this token, too.
				found = e.askFinished(t.Token)
			}
		case p != nil && p.busy:
		case p != nil && !p.gap:
			found = e.askAtPlace(t.Token, p, now)
		case !e.lookUps.byTime:
			found = e.askByTime(t.Token)
		}
		return found == nil
	})
	return found
}

// scattered reports whether there are few finished tokens among many WAITING ones. Then a
// page of finished tokens settles several. With a window their number is not known.
func (e *Environment) scattered() bool {
	return e.all != nil && e.waiting != nil && e.waiting.pieces.Len() > shortList &&
		e.index.IsLoaded() && e.opts.Period == 0 && 2*e.index.Len() < 3*e.index.WaitingLen()
}

// lookUpIn returns after how long a token is looked up. If replicas lag, it waits until
// none does, so that one look-up is enough. If a page settles several tokens, it waits
// for more of them. A token that counts as WAITING until then is looked up in each round.
func (e *Environment) lookUpIn(t index.Lookup, scattered bool, now time.Time) time.Duration {
	switch {
	case t.Waiting && t.Looked.Before(e.round.start):
		return 0
	case !t.Looked.IsZero():
		return t.Looked.Add(lag).Sub(now)
	case !e.lookUps.echo.IsZero() && now.Sub(e.lookUps.echo) < echoes || scattered:
		return t.Since.Add(lag).Sub(now)
	}
	return 0
}

// askAtPlace requests the piece that contains the token.
func (e *Environment) askAtPlace(t *index.Token, p *piece, now time.Time) *request {
	r := e.ask(e.all, p, func(s sight) error {
		if n := len(s.page.Tokens); s.page.Next != "" && (n == 0 || s.page.Tokens[n-1].ID > t.ID) {
			e.lookUps.missed[t.ID] = true // The piece has more tokens than fit on a page.
			e.index.Look(t.ID, time.Time{})
		}
		return e.takeAll(outcomes, s)
	}, time.Time{})
	r.start = func() { e.index.Look(t.ID, now) }
	return r
}

// askFinished requests the finished tokens from the boundary above the token. A token
// that the page does not show is then looked up at its place.
func (e *Environment) askFinished(t *index.Token) *request {
	p := e.waiting.find(t.ID)
	if q := e.all.find(t.ID); q.above < p.above {
		p = q
	}
	return &request{
		opts: client.ListOptions{Statuses: onlyFinished, After: p.cursor},
		busy: &e.lookUps.byStatus,
		take: func(s sight) error {
			_, err := e.observe(outcomes, s)
			e.lookUps.unlisted[t.ID] = true
			if n := len(s.page.Tokens); n > 0 {
				e.index.Unresolved(s.at, func(u index.Lookup) bool {
					if u.ID < p.above && u.ID > s.page.Tokens[n-1].ID {
						e.lookUps.unlisted[u.ID] = true
					}
					return true
				})
			}
			return err
		},
	}
}

// askByTime requests a page of the tokens that were created when the token was, and
// before. If the token is not on it, everything that was created about then is requested:
// a single answer, which may be empty by mistake, does not prove that a token is gone.
func (e *Environment) askByTime(t *index.Token) *request {
	return &request{
		opts:  client.ListOptions{To: t.CreatedAt},
		busy:  &e.lookUps.byTime,
		start: func() { e.index.Look(t.ID, e.now()) },
		take: func(s sight) error {
			if _, err := e.observe(outcomes, s); err != nil || shows(s.page, t.ID) {
				return err
			}
			e.sched.queue(outcomes, e.askAround(t))
			return nil
		},
	}
}

// askAround requests everything that was created within a millisecond of the token, one
// page after another. If no page shows the token, it is gone.
func (e *Environment) askAround(t *index.Token) *request {
	from, to := t.CreatedAt.Add(-time.Millisecond), t.CreatedAt.Add(time.Millisecond)
	r := &request{pager: e.api.Pager(client.ListOptions{From: from, To: to})}
	shown := false
	r.take = func(s sight) error {
		if _, err := e.observe(outcomes, s); err != nil {
			return err
		}
		shown = shown || shows(s.page, t.ID)
		switch {
		case r.pager.More():
			e.sched.queue(outcomes, r)
		case !shown:
			e.index.Gone(t.ID, s.at)
		}
		return nil
	}
	return r
}

func shows(page client.Page, id string) bool {
	return slices.ContainsFunc(page.Tokens, func(t client.Token) bool { return t.ID == id })
}
