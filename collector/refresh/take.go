package refresh

import (
	"cmp"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"

	"github.com/go-kit/log/level"
)

// What each page proves.

const (
	// mostJoins is how many cursors may lead to another place in one round, mostAstray is
	// how many consecutive rounds may exceed that.
	mostJoins, mostAstray = 1, 2
	// otherSize makes a query different from the usual one.
	otherSize, usualSize = 99, 100
)

// observe records the tokens of a page and their statuses.
func (e *Environment) observe(t task, s sight) (index.Changes, error) {
	ch := e.index.Observe(s.page.Tokens, s.at)
	e.opts.Metrics.finished(ch.Finished)
	for _, status := range ch.Statuses {
		level.Warn(e.log).Log("msg", "token has an unknown status, counting it as finished",
			"status", textForLog(string(status)))
	}
	if ch.Behind {
		e.warnBehind()
	}
	if t == newest {
		e.arrivals.appeared += len(ch.Created)
	} else if e.index.IsLoaded() {
		for _, a := range ch.Created {
			e.arrivals.unplaced[a.ID] = arrival{a.CreatedAt, s.at}
		}
	}
	if t == verify {
		n := ch.New - len(ch.Created) + ch.Differs
		for _, a := range ch.Created {
			if a.CreatedAt.Before(e.turn.line) {
				n++
			}
		}
		e.index.Correct(n)
	}
	if t == outcomes && ch.Returned > 0 {
		e.lookUps.echo = s.at // A replica is behind.
	}
	return ch, e.checkCapacity(10)
}

// takeAll records a page with tokens of all statuses.
func (e *Environment) takeAll(t task, s sight) error {
	if s.above == topID && e.all != nil {
		e.takeTop(s)
	}
	ch, err := e.observe(t, s)
	if err != nil || e.all == nil {
		return err
	}
	s.fresh, s.created = ch.New > 0, e.place(t, s, ch)
	if !s.inOrder() {
		return e.disorder(t, e.all, s, func(again sight) error { return e.takeAll(t, again) })
	}
	return e.coverAll(t, s)
}

// again requests a page again, with another size. Tokens that were new on the first page
// still count as new.
func (e *Environment) again(t task, s sight, size int) {
	e.sched.queue(newest, e.all.reserve(e.all.repeat(s, size, func(again sight) error {
		ch, err := e.observe(t, again)
		if err != nil || e.all == nil || !again.inOrder() {
			return err
		}
		again.fresh, again.created = s.fresh || ch.New > 0, s.created
		for _, a := range ch.Created {
			again.created[a.ID] = true
		}
		return e.coverAll(t, again)
	})))
}

// doubtsEnd reports whether a page is the end of the list although tokens below it are
// known or may be there.
func (e *Environment) doubtsEnd(s sight) bool {
	if s.page.Next != "" {
		return false
	}
	below := e.all.next(s.above)
	return e.all.gapBelow(s.above) || len(s.page.Tokens) == 0 && e.arrivals.present ||
		below != nil && !shows(s.page, below.above)
}

// checkPresent returns an error if the list of all tokens is empty although it was not
// before: the service deletes nothing. An environment without tokens is believed only once
// the list was empty for two verify intervals.
func (e *Environment) checkPresent(s sight) error {
	a := &e.arrivals
	switch {
	case len(s.page.Tokens) > 0:
		a.present, a.emptySince = true, time.Time{}
	case !a.present:
	case a.emptySince.IsZero() || s.at.Sub(a.emptySince) < 2*e.opts.VerifyInterval:
		a.emptySince = cmp.Or(a.emptySince, s.at)
		return invalid("the list of all tokens is empty, but it was not before")
	default:
		e.startOver(s.at, "the list of all tokens has stayed empty")
		a.present, a.emptySince = false, time.Time{}
	}
	return nil
}

func (e *Environment) coverAll(t task, s sight) error {
	switch doubted := e.doubtsEnd(s); {
	case doubted && s.looksAgain():
		e.again(t, s, otherSize-s.ends)
		return nil
	case s.above == topID:
		if err := e.checkPresent(s); err != nil {
			return err
		}
	case doubted && len(s.page.Tokens) == 0 && !s.alive:
		e.askPresent(t, func() error {
			if s.alive = true; e.all != nil {
				e.again(t, s, otherSize-s.ends-1) // The service may have come back meanwhile.
			}
			return nil
		})
		return nil
	}
	e.record(t, s)
	return nil
}

// askPresent calls then if the top still shows tokens, so that empty pages can be believed.
func (e *Environment) askPresent(t task, then func() error) {
	e.sched.queue(t, &request{opts: client.ListOptions{PageSize: otherSize}, take: func(s sight) error {
		_, err := e.observe(t, s)
		if err == nil {
			err = e.checkPresent(s)
		}
		if err != nil {
			return err
		}
		return then()
	}})
}

// record records a page that is believed.
func (e *Environment) record(t task, s sight) {
	if e.all == nil {
		return
	}
	created := map[string]bool{} // An earlier look may have shown others.
	for _, t := range s.page.Tokens {
		if s.created[t.ID] {
			created[t.ID] = true
		}
	}
	s.created = created
	if n := e.all.sure(s); n < len(s.page.Tokens) {
		e.again(t, s, n)
		return
	}
	s.fresh = s.fresh || len(s.created) > 0
	lo := e.all.cover(s)
	e.index.Covered(lo, s.above, s.from, s.at)
	if t == history || t == newest {
		e.noteProgress(s.page)
	}
	e.growth(s)
}

// disorder handles a page that is out of order. If the cursor led to another place, its
// boundary is forgotten; if that happens to many in several rounds, all cursors are. If
// the page itself is out of order, and the next one too, the engine stops relying on the
// order of ids.
func (e *Environment) disorder(t task, l *list, s sight, take func(sight) error) error {
	if s.ordered() {
		l.join(s.above)
		if e.round.joins++; e.round.joins <= mostJoins {
			return nil
		}
		if e.astray >= mostAstray {
			e.forgetCursors(s.at)
		}
		return invalid("pages do not go on where their cursors point")
	}
	e.sched.queue(t, l.repeat(s, otherSize, func(again sight) error {
		if e.all == nil || again.ordered() {
			return take(again)
		}
		e.warn("id_order", "tokens are not listed in order of id, "+
			"listing them one page after another and looking outcomes up by createdAt")
		e.loseOrder()
		return nil
	}))
	return nil
}

// refused handles a cursor that the service refuses: its boundary is forgotten. If that
// happens in several consecutive rounds, all cursors are.
func (e *Environment) refused(l *list, p *piece) {
	p.resume = ""
	l.join(p.above)
	if !e.round.refused {
		e.round.refused = true
		e.refusals++
	}
	if e.refusals > mostAstray {
		e.forgetCursors(e.now())
	}
}

// forgetCursors lists everything again. Known tokens stay.
func (e *Environment) forgetCursors(now time.Time) {
	e.astray, e.refusals = 0, 0
	if e.all != nil {
		e.waiting = newList(now, onlyWaiting...)
		e.index.Unload()
		e.listAgain(now)
	}
}
