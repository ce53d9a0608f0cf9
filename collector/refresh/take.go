package refresh

import (
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"

	"github.com/go-kit/log/level"
)

// What each page proves.

const (
	// mostJoins is how many cursors may lead elsewhere in one round, mostAstray in how
	// many rounds one after the other more may.
	mostJoins, mostAstray = 1, 2
	// otherSize asks for a page by another query than the usual, which is for 100.
	otherSize = 99
)

// observe takes in the tokens of a page: each exists, with this status.
func (e *Environment) observe(t task, page client.Page, at time.Time) (index.Changes, error) {
	ch := e.index.Observe(page.Tokens, at)
	e.opts.Metrics.finished(ch.Finished)
	for _, s := range ch.Statuses {
		level.Warn(e.log).Log("msg", "token has an unknown status, counting it as finished",
			"status", textForLog(string(s)))
	}
	if t == newest {
		e.appeared += len(ch.Created)
	} else if e.index.IsLoaded() {
		for _, a := range ch.Created {
			e.unplaced[a.ID] = arrival{a.CreatedAt, at}
		}
	}
	if t == verify {
		n := ch.New - len(ch.Created) + ch.Differs
		for _, a := range ch.Created {
			if a.CreatedAt.Before(e.turnLine) {
				n++
			}
		}
		e.index.Correct(n)
	}
	if t == outcomes && ch.Returned > 0 {
		e.echo = at // A replica does not know yet.
	}
	return ch, e.checkCapacity(10)
}

// takeAll takes in a page with tokens of all statuses.
func (e *Environment) takeAll(t task, s sight) error {
	if s.above == topID && e.all != nil {
		e.takeTop(s)
	}
	ch, err := e.observe(t, s.page, s.at)
	if err != nil {
		return err
	}
	e.place(t, s, &ch)
	switch {
	case e.all == nil:
	case !s.inOrder():
		return e.disorder(t, s, func(again sight) error { return e.takeAll(t, again) })
	case e.doubtsEnd(t, s):
		e.again(t, s, otherSize, ch)
	default:
		e.coverAll(t, s, ch)
	}
	return nil
}

// again asks for a page once more, with another size. What was new on it then is
// still taken for new.
func (e *Environment) again(t task, s sight, size int, ch index.Changes) {
	e.sched.queue(newest, &request{
		opts: client.ListOptions{After: s.cursor, From: s.from, PageSize: size},
		take: func(page client.Page, at time.Time) error {
			more, err := e.observe(t, page, at)
			again := s.again(page, at)
			if err != nil || e.all == nil || !again.inOrder() {
				return err
			}
			if size == otherSize && len(page.Tokens) == 0 && e.doubtsEnd(t, again) {
				e.again(t, s, size-1, ch) // Two empty pages may both be wrong.
				return nil
			}
			created := map[string]bool{}
			for _, a := range append(ch.Created, more.Created...) {
				created[a.ID] = true
			}
			more.New += ch.New
			more.Created = nil
			for _, t := range page.Tokens {
				if created[t.ID] {
					more.Created = append(more.Created, index.Arrival{ID: t.ID, CreatedAt: t.CreatedAt})
				}
			}
			e.coverAll(t, again, more)
			return nil
		},
	})
}

// doubtsEnd reports whether a page ends the list where more is known, or expected.
func (e *Environment) doubtsEnd(t task, s sight) bool {
	if s.page.Next != "" {
		return false
	}
	p, ok := e.all.pieces.Get(s.above)
	below := e.all.next(s.above)
	return t == history && ok && p.gap || len(s.page.Tokens) == 0 && e.index.Len() > 0 ||
		below != nil && !shows(s.page, below.above)
}

func (e *Environment) coverAll(t task, s sight, ch index.Changes) {
	if e.all == nil {
		return
	}
	if n := e.all.sure(s); n < len(s.page.Tokens) {
		e.again(t, s, n, ch)
		return
	}
	s.fresh = ch.New > 0 || len(ch.Created) > 0
	if n := len(s.page.Tokens); n > 0 && len(ch.Created) > 0 {
		s.tail = ch.Created[len(ch.Created)-1].ID == s.page.Tokens[n-1].ID
	}
	lo := e.all.cover(s)
	e.index.Covered(lo, s.above, s.from, s.at)
	if t == history || t == newest {
		e.noteProgress(s)
	}
	e.growth(s, ch)
}

// disorder takes in that a page is not where or what it should be. If its cursor
// leads elsewhere the boundary is forgotten; if more do, in one round after the
// other, all cursors are. If the page's own tokens are out of order, on a second
// look too, nothing is taken from the order any more.
func (e *Environment) disorder(t task, s sight, take func(sight) error) error {
	l, opts := e.all, client.ListOptions{After: s.cursor, From: s.from, PageSize: otherSize}
	if t == waiting {
		l, opts.Statuses = e.waiting, onlyWaiting
	}
	if s.ordered() {
		l.join(s.above)
		if e.joins++; e.joins <= mostJoins {
			return nil
		}
		if e.astray >= mostAstray {
			e.astray = 0
			e.waiting = newList(s.at)
			e.index.Unload()
			e.listAgain(s.at)
		}
		return invalid(errElsewhere)
	}
	e.sched.queue(t, &request{
		opts: opts,
		take: func(page client.Page, at time.Time) error {
			again := s.again(page, at)
			if e.all == nil || again.ordered() {
				return take(again)
			}
			e.warn("id_order", "tokens are not listed in order of id, "+
				"listing them one page after another and looking outcomes up by createdAt")
			e.loseOrder()
			return nil
		},
	})
	return nil
}
