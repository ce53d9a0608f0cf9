package refresh

import (
	"cmp"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
)

// The newest: the places where new tokens appear, the top of the list first.

const (
	// A place is listed once in so many rounds if new tokens appeared elsewhere in as many,
	// but not there.
	idleRounds = 10
	// mostPlaces bounds how many places are watched.
	mostPlaces = 8
)

// A sought token appeared in an unknown place at the given time.
type sought struct {
	id    string
	since time.Time
}

// An arrival is when a token was created, and when it was first seen.
type arrival struct{ created, seen time.Time }

// high is the highest id seen at the top of the list, and how often a page lacked it.
type high struct {
	id      string
	at      time.Time
	strikes int
}

// arrivals is what the task newest knows.
type arrivals struct {
	slack       time.Duration // How long a new token may take to appear.
	served      time.Time     // When the top was last listed, by the service's clock.
	firstServed time.Time     // The same for the first time.
	line        time.Time     // The same for when the newest were last listed without a gap.
	flowLine    time.Time     // Tokens created after it count as created.
	highest     high
	present     bool               // The list was not empty when it was last listed.
	emptySince  time.Time          // Since when the list is empty, although it was not before; zero if it is not.
	unsettled   []string           // Pieces to list again in this round.
	sought      []sought           // Tokens whose place is to be listed.
	pinning     bool               // The cursor of a new place is being requested.
	unplaced    map[string]arrival // Tokens that another task has shown first.
	appeared    int                // Number of tokens that appeared in this round.
}

// complete returns the createdAt up to which tokens had appeared when the top was last
// listed.
func (a *arrivals) complete() time.Time { return a.served.Add(-a.slack) }

// nextNewest requests the places where new tokens appear, then the unknown parts below
// them, then the pieces in which tokens may still appear because of a host's clock or a
// replica's lag.
func (e *Environment) nextNewest(now time.Time) *request {
	if e.all == nil {
		return e.nextNewestInTurn()
	}
	if r := e.nextPlace(now); r != nil {
		return r
	}
	if r := e.nextGap(newest, now); r != nil {
		return r
	}
	if !e.flowing && e.checkCapacity(loadTenths) == nil {
		p := e.all.topGap(true)
		if p != nil && !p.busy && !p.aboveAt.Before(e.arrivals.complete()) && !e.arrivals.served.IsZero() {
			return e.askAll(newest, p, e.listFrom(now))
		}
	}
	if r := e.nextLocated(now); r != nil {
		return r
	}
	return e.nextUnsettled()
}

// nextPlace requests a watched place that was not listed in this round, the top first. Those
// where tokens no longer appear are listed less often.
func (e *Environment) nextPlace(now time.Time) *request {
	var first *piece
	for _, p := range e.all.places {
		due := p.above == topID || p.idle < idleRounds || e.round.number%idleRounds == 0
		if due && !p.busy && p.listed.Before(e.round.start) && (first == nil || p.above > first.above) {
			first = p
		}
	}
	if first == nil {
		return nil
	}
	return e.askAll(newest, first, e.listFrom(now)) // Without a filter, the last page is expensive.
}

// nextLocated requests the place of a token that appeared somewhere else.
func (e *Environment) nextLocated(now time.Time) *request {
	for len(e.arrivals.sought) > 0 {
		p := e.all.find(e.arrivals.sought[0].id)
		if p.busy {
			break
		}
		if p.listed.Before(e.arrivals.sought[0].since) {
			return e.askAll(newest, p, e.listFrom(now))
		}
		e.arrivals.sought = e.arrivals.sought[1:]
	}
	return nil
}

// nextUnsettled requests a piece in which a token may still appear.
func (e *Environment) nextUnsettled() *request {
	e.arrivals.unsettled = append(e.arrivals.unsettled, e.all.rests...)
	e.all.rests = nil
	for len(e.arrivals.unsettled) > 0 {
		p, ok := e.all.pieces.Get(e.arrivals.unsettled[0])
		if ok && p.listed.Before(e.round.start) && !p.settled(e.arrivals.slack) {
			if p.busy {
				return nil
			}
			return e.askAll(newest, p, time.Time{})
		}
		e.arrivals.unsettled = e.arrivals.unsettled[1:]
	}
	return nil
}

// takeTop records the service's time, and whether a replica is behind.
func (e *Environment) takeTop(s sight) {
	if len(s.page.Tokens) == 0 {
		if !e.arrivals.present {
			e.arrivals.served = s.served()
		}
		return // Otherwise checkPresent decides.
	}
	e.arrivals.served = s.served()
	first := s.page.Tokens[0]
	e.loading.top = cmp.Or(e.loading.top, first.CreatedAt)
	switch {
	case !s.inOrder(): // Its first token may not be the top.
	case first.ID >= e.arrivals.highest.id:
		if first.ID != e.arrivals.highest.id {
			e.arrivals.highest = high{id: first.ID, at: e.now()} // The answer may have taken a while.
		}
		e.arrivals.highest.strikes = 0
	case s.at.Sub(e.arrivals.highest.at) > lag:
		// The token on top may have been deleted; a replica may be behind.
		if e.arrivals.highest.strikes++; e.arrivals.highest.strikes > 3 {
			e.arrivals.highest = high{id: first.ID, at: s.at}
			return
		}
		e.index.Behind(s.at)
		e.warnBehind()
	}
}

func (e *Environment) warnBehind() {
	e.warn("replica_lag", "a replica of the service is further behind than "+lag.String()+
		", or tokens that were finished or gone are WAITING again, believing no absence for a while")
}

// place returns a page's tokens that count as created. Among them are those that another
// request had shown before, if they appear here as new tokens do.
func (e *Environment) place(t task, s sight, ch index.Changes) map[string]bool {
	created := map[string]bool{}
	for _, a := range ch.Created {
		created[a.ID] = true
	}
	for _, token := range s.page.Tokens {
		if _, ok := e.arrivals.unplaced[token.ID]; ok {
			if p := e.all.find(token.ID); t == newest || p.gap || p.watched || !p.settled(e.arrivals.slack) {
				delete(e.arrivals.unplaced, token.ID)
				e.arrivals.appeared++
				created[token.ID] = true
			}
		}
	}
	return created
}

// growth finds a place where new tokens appear below older ones, or below ones dated
// ahead, and watches it from then on.
func (e *Environment) growth(s sight) {
	if !e.index.IsLoaded() {
		return
	}
	for _, t := range e.arrivals.sought {
		s.created[t.id] = true // It may be on the page, too.
	}
	for i, t := range s.page.Tokens {
		if !s.created[t.ID] {
			continue
		}
		if p, ok := e.all.pieces.Get(s.above); ok && i == 0 && s.above != topID {
			if p.watched {
				p.idle = 0
			} else if e.outOfTurn(p.aboveAt, t) && len(e.all.places) < mostPlaces {
				e.all.watch(s.above)
				e.found(t)
			}
		}
		below := i > 0 && !s.created[s.page.Tokens[i-1].ID] && e.outOfTurn(s.page.Tokens[i-1].CreatedAt, t)
		if below && !e.arrivals.pinning && len(e.all.places) < mostPlaces {
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
func (e *Environment) outOfTurn(above time.Time, t client.Token) bool {
	return t.CreatedAt.Sub(above) > 2*e.arrivals.slack || e.ahead(above) > 2*e.arrivals.slack
}

// ahead returns how far a token's createdAt is ahead of the service's clock at least.
func (e *Environment) ahead(created time.Time) time.Duration {
	return created.Sub(e.served.latest(e.now()))
}

// pinBelow requests the cursor that begins right below the page's ith token.
func (e *Environment) pinBelow(s sight, i int) {
	if e.all.watch(s.page.Tokens[i-1].ID) {
		return
	}
	pin := e.all.repeat(s, i, func(again sight) error {
		if err := e.takeAll(newest, again); err != nil || e.all == nil {
			return err
		}
		if n := len(again.page.Tokens); n > 0 {
			e.all.watch(again.page.Tokens[n-1].ID)
		}
		return nil
	})
	e.arrivals.pinning, pin.busy = true, &e.arrivals.pinning
	e.sched.queue(newest, pin)
}

// settleArrivals counts the tokens as late that no place has shown within the lag after
// they were first seen.
func (e *Environment) settleArrivals() {
	whole := e.all.topGap(false) == nil && e.newestDone()
	for id, a := range e.arrivals.unplaced {
		if whole && e.round.start.Sub(a.seen) > lag {
			delete(e.arrivals.unplaced, id)
			// Tokens dated ahead do not appear at the top if others are dated further ahead.
			if e.ahead(a.created) > e.arrivals.slack || a.created.Before(e.arrivals.complete()) {
				e.late(id, a.created, a.seen)
			}
		}
	}
	for _, p := range e.all.places {
		if e.arrivals.appeared > 0 {
			p.idle++
		}
		if p.idle > 100*idleRounds && p.above != topID {
			p.watched = false
			e.all.sort(p)
		}
	}
	e.probing.rate = max(float64(e.arrivals.appeared), e.probing.rate*4/5)
	e.probing.budget = min(e.probing.budget+probeShare*float64(e.round.sent), 1)
	e.arrivals.appeared = 0
}

// newestDone reports whether this round has listed the newest tokens: nothing is left to
// request, and no other task is requesting a piece that may contain them.
func (e *Environment) newestDone() bool {
	return e.sched.active[newest]+e.sched.active[outcomes]+e.sched.active[verify] == 0 &&
		e.next(newest, e.now()) == nil
}

// newestKnown reports whether all tokens are known that were created from the slack before
// the first listing on: tokens can be counted as created from then on.
func (e *Environment) newestKnown() bool {
	e.arrivals.firstServed = cmp.Or(e.arrivals.firstServed, e.arrivals.served)
	if now := e.served.earliest(e.now()); now.Before(e.arrivals.firstServed) {
		e.arrivals.firstServed = now
	}
	if e.all == nil {
		return !e.walks.newestAt.IsZero()
	}
	if e.arrivals.served.IsZero() {
		return false
	}
	gap := e.all.topGap(true)
	return gap == nil || gap.aboveAt.Before(e.arrivals.firstServed.Add(-e.arrivals.slack))
}

// newestListed records that all tokens were listed that were created until the slack
// before the top was last listed.
func (e *Environment) newestListed() {
	e.arrivals.line = e.arrivals.served
	e.index.Known(e.arrivals.complete())
}
