package refresh

import (
	"time"

	"waitpoint_exporter/client"
)

// Without an order of ids a page proves nothing but its tokens, and only a walk
// from the top to the end proves absence. Listings are then walked one page after
// another, each by a Pager of its own, which goes on where it stopped.

// A chain is one such walk.
type chain struct {
	pager *client.Pager
	begun time.Time
	busy  bool
	pages int
}

// loseOrder gives up all that was built on the order of ids.
func (e *Environment) loseOrder() {
	e.all, e.waiting = nil, nil
	e.forgetPlaces()
	e.sched.queued[waiting], e.sched.queued[probe] = nil, nil
	e.unplaced = map[string]arrival{}
	e.index.Clear()
}

func (e *Environment) follow(c *chain, take func(client.Page, time.Time) error) *request {
	if c.busy {
		return nil
	}
	return &request{
		pager: c.pager,
		start: func() { c.busy = true },
		drop:  func() { c.busy = false },
		take: func(page client.Page, at time.Time) error {
			c.pages++
			return take(page, at)
		},
	}
}

func (e *Environment) nextWaitingInTurn() *request {
	if e.waitingChain == nil {
		if !e.listedAt.Before(e.round.start) {
			return nil
		}
		e.waitingChain = &chain{pager: e.api.Pager(client.ListOptions{Statuses: onlyWaiting}), begun: e.now()}
	}
	c := e.waitingChain
	return e.follow(c, func(page client.Page, at time.Time) error {
		if _, err := e.observe(waiting, page, at); err != nil || c.pager.More() {
			return err
		}
		// Two whole walks have to lack what is gone, if it is more than usual.
		missing := e.index.Missing("", topID, c.begun)
		if n := len(missing); n > 10 && n > e.index.WaitingLen()/2 && !e.doubted {
			e.doubted, e.waitingChain = true, nil
			return nil
		}
		e.doubted, e.waitingChain, e.listedAt = false, nil, c.begun
		e.index.Lack(missing, c.begun)
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
		e.newestChain = &chain{pager: e.api.Pager(client.ListOptions{}), begun: e.now()}
	}
	c := e.newestChain
	return e.follow(c, func(page client.Page, at time.Time) error {
		s := sight{above: topID, page: page, at: at}
		if c.pages == 1 {
			e.served = s.served()
		}
		if _, err := e.observe(newest, page, at); err != nil {
			return err
		}
		e.show(s)
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
		e.newestChain, e.newestAt, e.line = nil, c.begun, e.served
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
		e.allChain = &chain{pager: e.api.Pager(client.ListOptions{From: e.windowStart(now)}), begun: now}
		e.turnBegun, e.turnLine = now, e.served.Add(-e.slack)
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
	return e.follow(c, func(page client.Page, at time.Time) error {
		if _, err := e.observe(t, page, at); err != nil {
			return err
		}
		e.show(sight{above: topID, page: page, at: at})
		if c.pager.More() {
			return nil
		}
		e.allChain = nil
		e.index.CloseTurn(e.turnLine, at)
		e.walked = true
		return nil
	})
}
