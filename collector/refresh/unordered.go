package refresh

import (
	"cmp"
	"slices"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"

	"github.com/go-kit/log/level"
)

// Without an order of ids a page proves only that its tokens exist, and only a walk from
// the top to the end proves absence. Each listing is then walked one page after another
// by its own Pager, which continues where it stopped. If a whole walk was in order, the
// fault has passed, and the walk's pages make a list again.

// A chain is such a walk.
type chain struct {
	pager *client.Pager
	begun time.Time
	busy  bool
	pages int

	list *list // Of the pages so far; nil if they were out of order or no list is needed.
	boundary
}

// walks is the state of the listings without order.
type walks struct {
	waiting, newest, all *chain
	waitingAt, newestAt  time.Time // When the last complete ones began.
	doubted              bool      // The last walk through WAITING lacked more than usual.
	done                 bool      // All tokens were listed once.
	pages                int       // How many pages the last walk through all tokens took.
}

// newChain begins a walk through a whole listing.
func (e *Environment) newChain(opts client.ListOptions) *chain {
	c := &chain{pager: e.api.Pager(opts), begun: e.now(), boundary: boundary{above: topID}}
	c.list = newList(c.begun, opts.Statuses...)
	return c
}

// cover records the next page of the walk.
func (c *chain) cover(s sight) {
	c.pages++
	s.fresh = true
	if c.list == nil || !s.inOrder() {
		c.list = nil
		return
	}
	c.above, c.cursor = c.list.cover(s), s.page.Next
	if n := len(s.page.Tokens); n > 0 {
		c.aboveAt = s.page.Tokens[n-1].CreatedAt
	}
}

// loseOrder drops everything that relies on the order of ids.
func (e *Environment) loseOrder() {
	e.all, e.waiting = nil, nil
	e.walks.waiting, e.walks.newest, e.walks.all, e.walks.done = nil, nil, nil, false
	e.forgetPlaces()
	e.sched.queued[waiting], e.sched.queued[probe] = nil, nil
	e.arrivals.unplaced = map[string]arrival{}
	e.index.Clear()
}

// follow requests the next page of a walk. A walk that cannot continue starts again.
func (e *Environment) follow(walk **chain, take func(sight) error) *request {
	c := *walk
	if c.busy {
		return nil
	}
	r := &request{sight: sight{boundary: c.boundary}, pager: c.pager, busy: &c.busy}
	r.drop = func() {
		if r.err != nil && client.ReasonOf(r.err) == client.ReasonInvalidResponse {
			*walk = nil
		}
	}
	r.take = func(s sight) error {
		c.cover(s)
		return take(s)
	}
	return r
}

func (e *Environment) nextWaitingInTurn() *request {
	if e.walks.waiting == nil {
		if !e.walks.waitingAt.Before(e.round.start) {
			return nil
		}
		e.walks.waiting = e.newChain(client.ListOptions{Statuses: onlyWaiting})
	}
	c := e.walks.waiting
	return e.follow(&e.walks.waiting, func(s sight) error {
		if _, err := e.observe(waiting, s); err != nil || c.pager.More() {
			return err
		}
		// If more than a few tokens are missing, since the walk may have been cut off, or the
		// last page is empty, which it never should be, a second walk has to agree.
		missing := e.index.Missing("", topID, c.begun, e.arrivals.served)
		n, odd := len(missing), len(s.page.Tokens) == 0
		if (n > 10 || odd && (n > 0 || c.pages > 1)) && !e.walks.doubted {
			e.walks.doubted, e.walks.waiting = true, nil
			return nil
		}
		if !e.walks.doubted || n == 0 {
			return e.walkedWaiting(c, missing, findingLeft)
		}
		e.confirm(missing, func(r *request) *request {
			c.busy, r.drop = true, func() { e.walks.waiting = nil } // If it fails, the walk starts again.
			return r
		}, func(found finding) error { return e.walkedWaiting(c, missing, found) })
		return nil
	})
}

// walkedWaiting records a whole walk through the list of WAITING tokens.
func (e *Environment) walkedWaiting(c *chain, missing []*index.Token, found finding) error {
	e.walks.doubted, e.walks.waiting = false, nil
	if found == findingWait {
		return invalid("pages contradict each other")
	}
	e.walks.waitingAt = c.begun
	e.index.Lack(missing, c.begun, found == findingLeft)
	if e.all != nil {
		e.waiting = c.list
	}
	return nil
}

// nextNewestInTurn lists from the top down to the tokens that every replica had when this
// was last done.
func (e *Environment) nextNewestInTurn() *request {
	if e.walks.newest == nil {
		if !e.walks.newestAt.Before(e.round.start) {
			return nil
		}
		e.walks.newest = &chain{pager: e.api.Pager(client.ListOptions{}), begun: e.now()} // Not the whole list.
	}
	c := e.walks.newest
	return e.follow(&e.walks.newest, func(s sight) error {
		if c.pages == 1 {
			if err := e.checkPresent(s); err != nil {
				return err
			}
			e.arrivals.served = s.served()
		}
		if _, err := e.observe(newest, s); err != nil {
			return err
		}
		e.noteProgress(s.page)
		line := cmp.Or(e.arrivals.line, e.arrivals.served).Add(-e.arrivals.slack)
		recent := slices.ContainsFunc(s.page.Tokens, func(t client.Token) bool { return !t.CreatedAt.Before(line) })
		if c.pager.More() && recent && c.pages < maxNewestPages {
			return nil
		}
		e.walks.newest, e.walks.newestAt = nil, c.begun
		e.newestListed()
		return nil
	})
}

// maxNewestPages bounds the walk if the list has no order at all. The walk through all
// tokens finds the others.
const maxNewestPages = 1000

func (e *Environment) nextHistoryInTurn(t task, now time.Time) *request {
	if e.walks.all == nil {
		e.index.BeginTurn(now)
		e.walks.all = e.newChain(client.ListOptions{From: e.listFrom(now)})
		e.turn.begun, e.turn.line = now, e.arrivals.line.Add(-e.arrivals.slack)
	}
	c := e.walks.all
	if t == verify {
		total := float64(max(e.index.Len()/usualSize+1, e.walks.pages))
		due := total * float64(now.Sub(c.begun)) / float64(e.opts.VerifyInterval*19/20)
		if float64(c.pages) >= due {
			return nil
		}
	}
	return e.follow(&e.walks.all, func(s sight) error {
		if _, err := e.observe(t, s); err != nil {
			return err
		}
		e.noteProgress(s.page)
		if c.pager.More() {
			return nil
		}
		e.walks.all, e.walks.pages = nil, c.pages
		e.index.CloseTurn(e.turn.line, s.at)
		e.walks.done = true
		if c.list != nil { // The whole walk was in order.
			e.all = c.list
			e.opts.Metrics.holds("id_order")
			level.Info(e.log).Log("msg", "tokens are listed in order of id again")
		}
		return nil
	})
}
