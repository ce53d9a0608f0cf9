package refresh

import (
	"cmp"
	"math"
	"slices"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
)

// The newest: the places where new tokens appear, the top of the list first.

const (
	// A place where nothing came for so many rounds is looked at once in so many.
	idleRounds = 10
	// mostPlaces bounds how many places are watched.
	mostPlaces = 8
)

// nextNewest asks for the places where new tokens appear, then for what is new
// below them, then for what a token may still appear in that was created by a
// host, or comes from a replica, with a clock behind.
func (e *Environment) nextNewest(now time.Time) *request {
	if e.all == nil {
		return e.nextNewestInTurn(now)
	}
	if r := e.nextPlace(now); r != nil {
		return r
	}
	if r := e.nextGap(false, now); r != nil {
		return r
	}
	if !e.flowing && e.checkCapacity(loadTenths) == nil {
		if p := e.topGap(); p != nil && !p.busy && !p.aboveAt.Before(e.served.Add(-e.slack)) && !e.served.IsZero() {
			return e.askAll(newest, p, e.listFrom(now))
		}
	}
	if r := e.nextLocated(now); r != nil {
		return r
	}
	return e.nextUnsettled()
}

// nextPlace asks for a watched place that this round has not listed yet.
func (e *Environment) nextPlace(now time.Time) *request {
	for _, p := range e.places() {
		if !p.busy && p.listed.Before(e.round.start) {
			return e.askAll(newest, p, e.listFrom(now)) // It may be the end of the list.
		}
	}
	return nil
}

// nextLocated asks for the place of a token that the newest did not show.
func (e *Environment) nextLocated(now time.Time) *request {
	for len(e.locate) > 0 {
		p := e.all.find(e.locate[0].id)
		if p.busy {
			break
		}
		if p.listed.Before(e.locate[0].since) {
			return e.askAll(newest, p, e.listFrom(now))
		}
		e.locate = e.locate[1:]
	}
	return nil
}

// nextUnsettled asks for a piece in which a token may still appear.
func (e *Environment) nextUnsettled() *request {
	e.unsettled = append(e.unsettled, e.all.rests...)
	e.all.rests = nil
	for len(e.unsettled) > 0 {
		p, ok := e.all.pieces.Get(e.unsettled[0])
		if ok && p.listed.Before(e.round.start) && !p.settled(e.slack) {
			if p.busy {
				return nil
			}
			return e.askAll(newest, p, time.Time{})
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

// takeTop notes what the top of the list says of the time and of replicas.
func (e *Environment) takeTop(s sight) {
	e.served = s.served()
	if len(s.page.Tokens) == 0 {
		return
	}
	first := s.page.Tokens[0]
	if e.top.IsZero() {
		e.top = first.CreatedAt
	}
	switch {
	case !s.inOrder(): // What comes first says nothing.
	case first.ID >= e.highest.id:
		if first.ID != e.highest.id {
			e.highest = high{id: first.ID, at: e.now()} // The answer may have taken long.
		}
		e.highest.strikes = 0
	case s.at.Sub(e.highest.at) > lag:
		// The token on top may have been deleted; a replica may be behind.
		if e.highest.strikes++; e.highest.strikes > 3 {
			e.highest = high{id: first.ID, at: s.at}
			return
		}
		e.index.Behind(s.at)
		e.warn("replica_lag", "a replica of the service is further behind than "+lag.String()+
			", believing no absence for a while")
	}
}

// place adds to what a page has created the tokens that another look had shown
// before, if the newest would have shown them here.
func (e *Environment) place(t task, s sight, ch *index.Changes) {
	if len(e.unplaced) == 0 || e.all == nil {
		return
	}
	created := map[string]bool{}
	for _, a := range ch.Created {
		created[a.ID] = true
	}
	ch.Created = ch.Created[:0]
	for _, token := range s.page.Tokens {
		if _, ok := e.unplaced[token.ID]; ok {
			if p := e.all.find(token.ID); t == newest || p.gap || p.watched || !p.settled(e.slack) {
				delete(e.unplaced, token.ID)
				e.appeared++
				created[token.ID] = true
			}
		}
		if created[token.ID] {
			ch.Created = append(ch.Created, index.Arrival{ID: token.ID, CreatedAt: token.CreatedAt})
		}
	}
}

// growth looks for a place where new tokens appear below older ones, or below ones
// dated ahead, and has it watched as the top is.
func (e *Environment) growth(s sight, ch index.Changes) {
	if !e.index.IsLoaded() || len(ch.Created) == 0 && len(e.locate) == 0 {
		return
	}
	fresh := map[string]bool{}
	for _, t := range e.locate {
		fresh[t.id] = true
	}
	for _, a := range ch.Created {
		fresh[a.ID] = true
	}
	for i, t := range s.page.Tokens {
		if !fresh[t.ID] {
			continue
		}
		if p, ok := e.all.pieces.Get(s.above); ok && i == 0 && s.above != topID {
			if p.watched {
				p.idle = 0
			} else if e.outOfTurn(p.aboveAt, t, s) && len(e.all.places) < mostPlaces {
				e.all.watch(p)
				e.found(t)
			}
		}
		below := i > 0 && !fresh[s.page.Tokens[i-1].ID] && e.outOfTurn(s.page.Tokens[i-1].CreatedAt, t, s)
		if below && !e.pinning && len(e.all.places) < mostPlaces {
			e.pinBelow(s, i)
			e.found(t)
		}
	}
}

func (e *Environment) found(t client.Token) {
	e.warn("newest_on_top", "new tokens appear inside the list, watching the place", "created", t.CreatedAt)
}

// outOfTurn reports whether a new token is listed below one that was created long
// before it, or that is dated ahead.
func (e *Environment) outOfTurn(above time.Time, t client.Token, s sight) bool {
	return t.CreatedAt.Sub(above) > 2*e.slack || above.Sub(s.served()) > 2*e.slack
}

// pinBelow gets the cursor right below the page's ith token.
func (e *Environment) pinBelow(s sight, i int) {
	above := s.page.Tokens[i-1].ID
	if p, ok := e.all.pieces.Get(above); ok {
		e.all.watch(p)
		return
	}
	e.pinning = true
	e.sched.queue(newest, &request{
		opts: client.ListOptions{After: s.cursor, From: s.from, PageSize: i},
		drop: func() { e.pinning = false },
		take: func(page client.Page, at time.Time) error {
			if err := e.takeAll(newest, s.again(page, at)); err != nil || e.all == nil {
				return err
			}
			if n := len(page.Tokens); n > 0 {
				if p, ok := e.all.pieces.Get(page.Tokens[n-1].ID); ok {
					e.all.watch(p)
				}
			}
			return nil
		},
	})
}

// settleArrivals counts the tokens that no place has shown a lag after they were
// first seen.
func (e *Environment) settleArrivals() {
	whole := !e.newGaps() && e.newestDone()
	for id, a := range e.unplaced {
		if whole && e.round.start.Sub(a.seen) > lag {
			delete(e.unplaced, id)
			if a.created.Before(e.served.Add(-e.slack)) {
				e.late(id, a.created, a.seen)
			}
		}
	}
	for _, p := range e.all.places {
		p.idle++
		if p.idle > 100*idleRounds && p.above != topID {
			p.watched = false
			e.all.sort(p)
		}
	}
	e.rate = max(float64(e.appeared), e.rate*4/5)
	e.probes += probeShare * float64(e.round.sent)
	e.probes = math.Min(e.probes, 1)
	e.appeared = 0
}

// newestDone reports whether the newest tokens are listed as far as this round goes:
// nothing is left to ask for, and no other task has a piece under way that may be
// one of theirs.
func (e *Environment) newestDone() bool {
	return e.sched.active[newest]+e.sched.active[outcomes]+e.sched.active[verify] == 0 && !e.wants(newest, e.now())
}

// newestKnown reports whether all tokens are known that may count as created.
func (e *Environment) newestKnown() bool {
	if e.firstServed.IsZero() {
		e.firstServed = e.served
	}
	if e.all == nil {
		return !e.newestAt.IsZero()
	}
	if e.served.IsZero() {
		return false
	}
	gap := e.topGap()
	return gap == nil || gap.aboveAt.Before(e.firstServed.Add(-e.slack))
}

// newGaps reports whether new tokens are known with a gap.
func (e *Environment) newGaps() (found bool) {
	e.all.gaps.Scan(func(_ string, p *piece) bool {
		found = !p.history
		return !found
	})
	return found
}

// newestListed says that what was created until a lag before the top was last listed
// has been listed, whole.
func (e *Environment) newestListed() {
	e.line = e.served
	e.index.Known(e.served.Add(-e.slack))
}
