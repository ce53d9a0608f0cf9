package refresh

import (
	"math"
	"slices"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"

	"github.com/go-kit/log/level"
)

// What each page proves.

const (
	// A place where nothing came for so many rounds is looked at once in so many.
	idleRounds = 10
	// mostPlaces bounds how many places are watched.
	mostPlaces = 8
	// maxSlack bounds for how long a token is waited for.
	maxSlack = 10 * time.Minute
	// echoes is for how long look-ups wait after one met a replica behind.
	echoes = 10 * time.Minute
	// probeShare is the part of all requests that probes may take where nothing
	// points at tokens that are out of order.
	probeShare = 0.005
	// probePages is how many pages of its time a probe looks at.
	probePages = 5
	// mostJoins is how many cursors may lead elsewhere in one round, mostAstray in how
	// many rounds one after the other more may.
	mostJoins, mostAstray = 1, 2
)

// observe takes in the tokens of a page: each exists, with this status.
func (e *Environment) observe(t task, page client.Page, at time.Time) (index.Changes, error) {
	ch := e.index.Observe(page.Tokens, at)
	e.opts.Metrics.finished(ch.Finished)
	for _, s := range ch.Statuses {
		level.Warn(e.log).Log("msg", "token has an unknown status, counting it as finished", "status", textForLog(string(s)))
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

// takeWaiting takes in a page of the WAITING tokens. What it should have shown and
// did not has left. When that is more than usual a second, different look at the
// same tokens has to agree.
func (e *Environment) takeWaiting(s sight) error {
	if _, err := e.observe(waiting, s.page, s.at); err != nil {
		return err
	}
	if e.waiting == nil {
		return nil
	}
	if !s.inOrder() {
		return e.disorder(waiting, s, e.takeWaiting)
	}
	if n := e.waiting.sure(s); n < len(s.page.Tokens) {
		e.sched.queue(waiting, &request{
			opts: client.ListOptions{Statuses: onlyWaiting, After: s.cursor, PageSize: n},
			take: func(page client.Page, at time.Time) error {
				return e.takeWaiting(sight{above: s.above, cursor: s.cursor, page: page, at: at})
			},
		})
		return nil
	}
	missing := e.index.Missing(s.reach(), s.above, s.at)
	shown := len(s.page.Tokens)
	if len(missing) > 0 && shown == 0 || len(missing) > max(10, shown/2) {
		e.sched.queue(waiting, e.lookAgain(s, missing))
	} else {
		e.coverWaiting(s, missing)
	}
	return nil
}

func (e *Environment) coverWaiting(s sight, missing []*index.Token) {
	if e.waiting != nil {
		e.waiting.cover(s)
		e.index.Lack(missing, s.at)
	}
}

// lookAgain asks for the tokens that a page lacked, by another query.
func (e *Environment) lookAgain(s sight, missing []*index.Token) *request {
	to := missing[0].CreatedAt
	for _, t := range missing {
		if t.CreatedAt.After(to) {
			to = t.CreatedAt
		}
	}
	return &request{
		opts: client.ListOptions{Statuses: onlyWaiting, After: s.cursor, To: to},
		take: func(page client.Page, at time.Time) error {
			if _, err := e.observe(waiting, page, at); err != nil {
				return err
			}
			shown := map[string]bool{}
			last := ""
			for _, t := range page.Tokens {
				shown[t.ID], last = true, t.ID
			}
			agreed := missing[:0:0]
			contradicted := 0
			for _, t := range missing {
				switch {
				case shown[t.ID]:
					contradicted++
				case page.Next == "" || t.ID > last:
					agreed = append(agreed, t)
				}
			}
			if contradicted > len(missing)/2 {
				return e.contradict(s)
			}
			e.coverWaiting(s, agreed)
			return nil
		},
	}
}

// contradict drops a page that a second look has shown to be wrong. Its piece is
// asked for again, but not for ever.
func (e *Environment) contradict(s sight) error {
	level.Warn(e.log).Log("msg", "two looks at the same tokens contradict each other, believing the one that shows more")
	if e.waiting == nil {
		return nil
	}
	if p, ok := e.waiting.pieces.Get(s.above); ok {
		if p.doubts++; p.doubts > 2 {
			p.doubts = 0
			return invalid(errContradiction)
		}
	}
	return nil
}

func (e *Environment) takeNewest(s sight) error {
	if s.above == topID {
		e.takeTop(s)
	}
	return e.takeAll(newest, s, time.Time{})
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
		e.warn("replica_lag", "a replica of the service is further behind than "+lag.String()+", believing no absence for a while")
	}
}

// takeHistory takes in a page of what was there before the first listing. The end
// of the list has to be shown twice.
func (e *Environment) takeHistory(s sight) error {
	return e.takeAll(history, s, e.windowStart(s.at))
}

// takeAll takes in a page with tokens of all statuses, created since from.
func (e *Environment) takeAll(t task, s sight, from time.Time) error {
	ch, err := e.observe(t, s.page, s.at)
	if err != nil {
		return err
	}
	e.place(t, s, &ch)
	switch {
	case e.all == nil:
	case !s.inOrder():
		return e.disorder(t, s, func(again sight) error { return e.takeAll(t, again, from) })
	case e.doubtsEnd(t, s):
		e.again(t, s, client.ListOptions{After: s.cursor, From: from, PageSize: 99}, ch, from)
	default:
		e.coverAll(t, s, from, ch)
	}
	return nil
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

// again asks for a page once more, with other options. What was new on it then is
// still taken for new.
func (e *Environment) again(t task, s sight, opts client.ListOptions, ch index.Changes, from time.Time) {
	e.sched.queue(newest, &request{
		opts: opts,
		take: func(page client.Page, at time.Time) error {
			more, err := e.observe(t, page, at)
			again := sight{above: s.above, cursor: s.cursor, page: page, at: at}
			if err != nil || e.all == nil || !again.inOrder() {
				return err
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
			e.coverAll(t, again, from, more)
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
		below != nil && !slices.ContainsFunc(s.page.Tokens, func(t client.Token) bool { return t.ID == below.above })
}

func (e *Environment) coverAll(t task, s sight, from time.Time, ch index.Changes) {
	if e.all == nil {
		return
	}
	if n := e.all.sure(s); n < len(s.page.Tokens) {
		e.again(t, s, client.ListOptions{After: s.cursor, From: from, PageSize: n}, ch, from)
		return
	}
	s.fresh = ch.New > 0 || len(ch.Created) > 0
	if n := len(s.page.Tokens); n > 0 && len(ch.Created) > 0 {
		s.tail = ch.Created[len(ch.Created)-1].ID == s.page.Tokens[n-1].ID
	}
	lo := e.all.cover(s)
	e.index.Covered(lo, s.above, from, s.at)
	if t == history || t == newest {
		e.show(s)
	}
	e.growth(s, ch)
}

// growth looks for a place where new tokens appear below older ones, or below ones
// dated ahead, and has it watched as the top is.
func (e *Environment) growth(s sight, ch index.Changes) {
	if !e.index.IsLoaded() || len(ch.Created) == 0 && e.locating == "" {
		return
	}
	fresh := map[string]bool{e.locating: true}
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
			} else if e.outOfTurn(p.at, t, s) && len(e.all.places) < mostPlaces {
				e.all.watch(p)
				e.found(t)
			}
		}
		if i > 0 && !fresh[s.page.Tokens[i-1].ID] && e.outOfTurn(s.page.Tokens[i-1].CreatedAt, t, s) && !e.pinning && len(e.all.places) < mostPlaces {
			e.pinBelow(s, i)
			e.found(t)
		}
	}
	if e.locating != "" && slices.ContainsFunc(s.page.Tokens, func(t client.Token) bool { return t.ID == e.locating }) {
		e.locating = ""
	}
}

func (e *Environment) found(t client.Token) {
	if t.ID == e.locating {
		e.locating = ""
	}
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
		opts: client.ListOptions{After: s.cursor, PageSize: i, From: e.windowStart(s.at)},
		drop: func() { e.pinning = false },
		take: func(page client.Page, at time.Time) error {
			if err := e.takeAll(newest, sight{above: s.above, cursor: s.cursor, page: page, at: at}, e.windowStart(at)); err != nil || e.all == nil {
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

// takeProbe counts what the newest should have shown.
func (e *Environment) takeProbe(page client.Page, at, to time.Time) error {
	var late []client.Token
	for i := range page.Tokens {
		if t := &page.Tokens[i]; t.CreatedAt.After(e.flowLine) && !e.index.Knows(t) {
			late = append(late, *t)
		}
	}
	if _, err := e.observe(probe, page, at); err != nil {
		return err
	}
	for _, t := range late {
		delete(e.unplaced, t.ID)
		e.late(t.ID, t.CreatedAt, at)
	}
	if len(late) == 0 {
		e.clean = to
	}
	return nil
}

// late notes a token that the newest did not show. If its place was not looked at
// since it was to be seen there, new tokens appear in a place that is not watched;
// else it came later than was waited for.
func (e *Environment) late(id string, created, seen time.Time) {
	e.opts.Metrics.late()
	if e.all == nil {
		return
	}
	if p := e.all.find(id); p.served.Sub(created) < e.slack {
		if len(e.locate) < mostPlaces && !slices.Contains(e.locate, id) {
			e.locate = append(e.locate, id)
		}
		return
	}
	behind := min(seen.Sub(created)*3/2, maxSlack)
	if behind <= e.slack {
		return
	}
	e.warn("creation_order", "tokens appear later than "+e.slack.String()+" after their createdAt, waiting longer for them")
	e.slack = behind
	e.all.pieces.Scan(func(_ string, p *piece) bool {
		if !p.gap && p.high.After(e.clean.Add(-maxSlack)) {
			p.changed = p.listed // List it once more.
			p.high = e.served
		}
		return true
	})
}

// disorder takes in that a page is not where or what it should be. If its cursor
// leads elsewhere the boundary is forgotten; if more do, in one round after the
// other, all cursors are. If the page's own tokens are out of order, on a second
// look too, nothing is taken from the order any more.
func (e *Environment) disorder(t task, s sight, take func(sight) error) error {
	l, opts := e.all, client.ListOptions{After: s.cursor, PageSize: 99}
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
			again := sight{above: s.above, cursor: s.cursor, page: page, at: at}
			if e.all == nil || again.ordered() {
				return take(again)
			}
			e.warn("id_order", "tokens are not listed in order of id, listing them one page after another and looking outcomes up by createdAt")
			e.loseOrder()
			return nil
		},
	})
	return nil
}

// settleArrivals counts the tokens that no place has shown a lag after they were
// first seen.
func (e *Environment) settleArrivals() {
	whole := !e.newGaps() && !e.wants(newest, e.now()) // The newest has listed all that it wants.
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
