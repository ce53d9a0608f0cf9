package refresh

import (
	"slices"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
)

// Outcomes: what became of tokens that do not wait any more.

// echoes is for how long look-ups wait after one met a replica behind.
const echoes = 10 * time.Minute

// nextOutcome asks for the place of a token whose outcome is not known, newest
// first: a page settles every token that it shows.
func (e *Environment) nextOutcome(now time.Time) *request {
	var found *request
	line, scattered := e.listFrom(now), e.scattered()
	e.index.Unresolved(func(t index.Lookup) bool {
		if wait := e.lookUpIn(t, now); wait > 0 {
			if at := now.Add(wait); e.wake.IsZero() || at.Before(e.wake) {
				e.wake = at
			}
			return true
		}
		var p *piece
		if e.all != nil && !t.CreatedAt.Before(line) && !e.missed[t.ID] {
			p = e.all.find(t.ID)
		}
		switch {
		case scattered && !e.unlisted[t.ID]:
			if !e.byStatus { // Else the page that is under way may show this one, too.
				found = e.askFinished(t.Token)
			}
		case p != nil && p.busy:
		case p != nil && !p.gap:
			found = e.askAtPlace(t.Token, p, now)
		case !e.byTime:
			found = e.askByTime(t.Token)
		}
		return found == nil
	})
	return found
}

// scattered reports whether finished tokens are few among many that wait: then a page
// of finished ones shows what became of several. With a window nobody knows.
func (e *Environment) scattered() bool {
	return e.all != nil && e.waiting != nil && e.waiting.pieces.Len() > shortList &&
		e.index.IsLoaded() && e.opts.Period == 0 && 2*e.index.Len() < 3*e.index.WaitingLen()
}

// lookUpIn returns how long a look-up has to wait. Where replicas were seen to be
// behind it waits until none is, so that it is made once; where a page shows many
// outcomes it waits for more. What counts as WAITING until its outcome is known is
// looked up in each round.
func (e *Environment) lookUpIn(t index.Lookup, now time.Time) time.Duration {
	switch {
	case !t.Sure && t.Looked.Before(e.round.start):
		return 0
	case !t.Looked.IsZero():
		return t.Looked.Add(lag).Sub(now)
	case !e.echo.IsZero() && now.Sub(e.echo) < echoes || e.scattered():
		return t.Since.Add(lag).Sub(now)
	}
	return 0
}

// askAtPlace asks for the piece that the token is in.
func (e *Environment) askAtPlace(t *index.Token, p *piece, now time.Time) *request {
	r := e.ask(e.all, p, func(s sight) error {
		if n := len(s.page.Tokens); s.page.Next != "" && (n == 0 || s.page.Tokens[n-1].ID > t.ID) {
			e.missed[t.ID] = true // The piece has more tokens than fit on a page.
			e.index.Look(t.ID, time.Time{})
		}
		return e.takeAll(outcomes, s)
	}, time.Time{})
	start := r.start
	r.start = func() { start(); e.index.Look(t.ID, now) }
	return r
}

// askFinished asks for finished tokens from the boundary above the token on. What the
// page does not show is looked up at its place.
func (e *Environment) askFinished(t *index.Token) *request {
	p := e.waiting.find(t.ID)
	if q := e.all.find(t.ID); q.above < p.above {
		p = q
	}
	return &request{
		opts:  client.ListOptions{Statuses: onlyFinished, After: p.cursor},
		start: func() { e.byStatus = true },
		drop:  func() { e.byStatus = false },
		take: func(page client.Page, at time.Time) error {
			_, err := e.observe(outcomes, page, at)
			e.unlisted[t.ID] = true
			if n := len(page.Tokens); n > 0 {
				e.index.Unresolved(func(u index.Lookup) bool {
					if u.ID < p.above && u.ID > page.Tokens[n-1].ID {
						e.unlisted[u.ID] = true
					}
					return true
				})
			}
			return err
		},
	}
}

// askByTime asks for a page of what was created when the token was, and before: a
// page settles every token that it shows. If the token is not on it, everything is
// asked for that was created about then: one answer, which may be empty by mistake,
// does not make a token gone.
func (e *Environment) askByTime(t *index.Token) *request {
	return &request{
		opts:  client.ListOptions{To: t.CreatedAt},
		start: func() { e.byTime = true; e.index.Look(t.ID, e.now()) },
		drop:  func() { e.byTime = false },
		take: func(page client.Page, at time.Time) error {
			if _, err := e.observe(outcomes, page, at); err != nil || shows(page, t.ID) {
				return err
			}
			e.sched.queue(outcomes, e.askAround(t))
			return nil
		},
	}
}

// askAround asks for everything that was created about when the token was, one page
// after another. A token that none of them shows is gone.
func (e *Environment) askAround(t *index.Token) *request {
	from, to := t.CreatedAt.Add(-time.Millisecond), t.CreatedAt.Add(time.Millisecond)
	r := &request{pager: e.api.Pager(client.ListOptions{From: from, To: to})}
	shown := false
	r.take = func(page client.Page, at time.Time) error {
		if _, err := e.observe(outcomes, page, at); err != nil {
			return err
		}
		shown = shown || shows(page, t.ID)
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

func shows(page client.Page, id string) bool {
	return slices.ContainsFunc(page.Tokens, func(t client.Token) bool { return t.ID == id })
}
