package refresh

import (
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
			return e.takeAll(outcomes, s)
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

// askByTime asks for everything that was created in the token's millisecond. If that
// does not show the token, it is asked for again, with some time around it: one
// answer, which may be empty by mistake, does not make a token gone.
func (e *Environment) askByTime(t *index.Token) *request {
	r := e.askAround(t, 0, func(time.Time) {
		e.sched.queue(outcomes, e.askAround(t, time.Millisecond, func(at time.Time) { e.index.Gone(t.ID, at) }))
	})
	r.start = func() { e.index.Look(t.ID, e.now()) }
	return r
}

// askAround asks for everything that was created about when the token was, one page
// after another, and calls lacked if that does not show the token.
func (e *Environment) askAround(t *index.Token, margin time.Duration, lacked func(time.Time)) *request {
	r := &request{pager: e.api.Pager(client.ListOptions{From: t.CreatedAt.Add(-margin), To: t.CreatedAt.Add(margin)})}
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
			lacked(at)
		}
		return nil
	}
	return r
}
