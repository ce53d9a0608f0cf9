package refresh

import (
	"time"

	"waitpoint_exporter/client"

	"github.com/go-kit/log/level"
)

// Without an order of ids a page proves nothing but its tokens, and only a walk
// from the top to the end proves absence. Listings are then walked one page after
// another, each by a Pager of its own, which goes on where it stopped. A walk that
// was in order to its end has made a list again: it was a fault that has passed.

// A chain is one such walk.
type chain struct {
	pager *client.Pager
	begun time.Time
	busy  bool
	pages int

	list *list // Of the pages so far; nil once they were out of order, or where none is made.
	boundary
}

// newChain begins a walk through a whole listing.
func (e *Environment) newChain(opts client.ListOptions) *chain {
	now := e.now()
	return &chain{pager: e.api.Pager(opts), begun: now, list: newList(now), boundary: boundary{above: topID}}
}

// cover takes in the walk's next page.
func (c *chain) cover(page client.Page, at time.Time) {
	s := sight{boundary: c.boundary, page: page, at: at, fresh: true}
	if c.list == nil || !s.inOrder() {
		c.list = nil
		return
	}
	c.above, c.cursor = c.list.cover(s), page.Next
	if n := len(page.Tokens); n > 0 {
		c.aboveAt = page.Tokens[n-1].CreatedAt
	}
}

// loseOrder gives up all that was built on the order of ids.
func (e *Environment) loseOrder() {
	e.all, e.waiting = nil, nil
	e.waitingChain, e.newestChain, e.allChain, e.walked = nil, nil, nil, false
	e.forgetPlaces()
	e.sched.queued[waiting], e.sched.queued[probe] = nil, nil
	e.unplaced = map[string]arrival{}
	e.index.Clear()
}

// follow asks for the next page of a walk. One that cannot go on from where it is
// begins anew.
func (e *Environment) follow(walk **chain, take func(client.Page, time.Time) error) *request {
	c := *walk
	if c.busy {
		return nil
	}
	r := &request{pager: c.pager, start: func() { c.busy = true }}
	r.drop = func() {
		c.busy = false
		if r.err != nil && client.ReasonOf(r.err) == client.ReasonInvalidResponse {
			*walk = nil
		}
	}
	r.take = func(page client.Page, at time.Time) error {
		c.pages++
		c.cover(page, at)
		return take(page, at)
	}
	return r
}

// regainOrder goes back to lists that walks in order have made.
func (e *Environment) regainOrder(all *list) {
	e.all = all
	e.opts.Metrics.holds("id_order")
	level.Info(e.log).Log("msg", "tokens are listed in order of id again")
}

func (e *Environment) nextWaitingInTurn() *request {
	if e.waitingChain == nil {
		if !e.listedAt.Before(e.round.start) {
			return nil
		}
		e.waitingChain = e.newChain(client.ListOptions{Statuses: onlyWaiting})
	}
	c := e.waitingChain
	return e.follow(&e.waitingChain, func(page client.Page, at time.Time) error {
		if _, err := e.observe(waiting, page, at); err != nil || c.pager.More() {
			return err
		}
		// Two whole walks have to lack what is gone, if it is more than usual, or if the
		// last page is empty, which no list's is.
		missing := e.index.Missing("", topID, c.begun, e.served)
		n, odd := len(missing), len(page.Tokens) == 0
		if (n > max(10, e.index.WaitingLen()/2) || odd && n > 0) && !e.doubted {
			e.doubted, e.waitingChain = true, nil
			return nil
		}
		e.doubted, e.waitingChain, e.listedAt = false, nil, c.begun
		e.index.Lack(missing, c.begun)
		if e.all != nil {
			e.waiting = c.list
		}
		return nil
	})
}

// nextNewestInTurn lists from the top down to what was there, on every replica,
// when this was last done.
func (e *Environment) nextNewestInTurn(time.Time) *request {
	if e.newestChain == nil {
		if !e.newestAt.Before(e.round.start) {
			return nil
		}
		e.newestChain = &chain{pager: e.api.Pager(client.ListOptions{}), begun: e.now()} // Not the whole list.
	}
	c := e.newestChain
	return e.follow(&e.newestChain, func(page client.Page, at time.Time) error {
		s := sight{boundary: boundary{above: topID}, page: page, at: at}
		if c.pages == 1 {
			e.served = s.served()
		}
		if _, err := e.observe(newest, page, at); err != nil {
			return err
		}
		e.noteProgress(s)
		line := e.line
		if line.IsZero() {
			line = e.served
		}
		old := 0
		for _, t := range page.Tokens {
			if t.CreatedAt.Before(line.Add(-e.slack)) {
				old++
			}
		}
		if c.pager.More() && old < len(page.Tokens) && c.pages < maxNewestPages {
			return nil
		}
		e.newestChain, e.newestAt = nil, c.begun
		e.newestListed()
		return nil
	})
}

// maxNewestPages bounds a walk in a list in no order at all, where nothing says
// what is new: the walk through everything finds it.
const maxNewestPages = 1000

func (e *Environment) nextHistoryInTurn(now time.Time) *request {
	loaded := e.index.IsLoaded()
	if e.allChain == nil {
		e.index.BeginTurn(now)
		e.allChain = e.newChain(client.ListOptions{From: e.listFrom(now)})
		e.turnBegun, e.turnLine = now, e.line.Add(-e.slack)
	}
	c := e.allChain
	if loaded {
		total := float64(e.index.Len()/100 + 1)
		due := total * float64(now.Sub(c.begun)) / float64(e.opts.VerifyInterval*19/20)
		if float64(c.pages) >= due {
			return nil
		}
	}
	t := history
	if loaded {
		t = verify
	}
	return e.follow(&e.allChain, func(page client.Page, at time.Time) error {
		if _, err := e.observe(t, page, at); err != nil {
			return err
		}
		e.noteProgress(sight{boundary: boundary{above: topID}, page: page, at: at})
		if c.pager.More() {
			return nil
		}
		e.allChain = nil
		e.index.CloseTurn(e.turnLine, at)
		e.walked = true
		if c.list != nil {
			e.regainOrder(c.list)
		}
		return nil
	})
}
