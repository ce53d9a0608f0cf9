package refresh

import (
	"slices"
	"time"

	"github.com/go-kit/log/level"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
)

// WAITING: the list of WAITING tokens.

// A list of up to so many pieces is listed one page after another. A longer one has a part
// for each concurrent request. Within a part, each page begins where the one above ended,
// so that pages stay full.
const shortList = 16

// A part of the list has one request at a time. First is the piece to list next.
type part struct {
	first *piece
	busy  bool
}

// nextWaiting requests the top, then what is not known, then tokens whose timeout has
// come, then the least recently listed piece.
func (e *Environment) nextWaiting(time.Time) *request {
	if e.waiting == nil {
		return e.nextWaitingInTurn()
	}
	n, i := e.waiting.pieces.Len(), 0
	parts := make([]part, 1)
	if n > shortList {
		parts = make([]part, e.opts.Concurrency)
	}
	e.waiting.pieces.Reverse(func(_ string, p *piece) bool {
		q := &parts[i*len(parts)/n]
		i++
		q.busy = q.busy || p.busy
		if e.wantsWaiting(p) && e.goesFirst(p, q.first) {
			q.first = p
		}
		return true
	})
	var best *piece
	for _, q := range parts {
		if !q.busy && q.first != nil && e.goesFirst(q.first, best) {
			best = q.first
		}
	}
	if best == nil {
		return nil
	}
	r := e.ask(e.waiting, best, e.takeWaiting, time.Time{})
	r.start = func() { delete(e.urgent, best.above) }
	return r
}

// wantsWaiting reports whether a piece is to be listed in this round. Until the whole list
// is known, nothing is listed twice.
func (e *Environment) wantsWaiting(p *piece) bool {
	return p.gap || p.listed.Before(e.round.start) && e.snapshot.Load() != nil
}

// goesFirst reports whether a piece is to be listed before another, which may be nil.
func (e *Environment) goesFirst(p, other *piece) bool {
	urgent := e.round.pages[waiting]%3 == 0 // Otherwise urgent pieces could starve the others.
	switch {
	case other == nil:
		return true
	case p.above == topID || other.above == topID:
		return p.above == topID && p.listed.Before(e.round.start)
	case p.gap != other.gap:
		return p.gap
	case urgent && e.urgent[p.above] != e.urgent[other.above]:
		return e.urgent[p.above]
	}
	return p.listed.Before(other.listed)
}

// takeWaiting records a page of WAITING tokens. Tokens that it should show and does not
// have left. If these are more than usual, or at the end of the list, some of them are looked
// up, and a second, different query has to agree.
func (e *Environment) takeWaiting(s sight) error {
	if _, err := e.observe(waiting, s); err != nil || e.waiting == nil {
		return err
	}
	if !s.inOrder() {
		return e.disorder(waiting, e.waiting, s, e.takeWaiting)
	}
	shown := len(s.page.Tokens)
	size := e.waiting.sure(s)
	again := size < shown
	if s.page.Next == "" && e.waiting.gapBelow(s.above) && s.looksAgain() {
		size, again = otherSize-s.ends, true
	}
	if again {
		e.sched.queue(waiting, e.waiting.reserve(e.waiting.repeat(s, size, e.takeWaiting)))
		return nil
	}
	missing := e.index.Missing(s.reach(), s.above, s.at, s.served())
	if n := len(missing); n > max(10, shown/2) ||
		n > 0 && (shown == 0 || missing[0].ID < s.page.Tokens[shown-1].ID) {
		hold := func(r *request) *request {
			if r.boundary = s.boundary; e.waiting != nil {
				return e.waiting.reserve(r)
			}
			return r
		}
		e.confirm(missing, hold, func(found finding) error { return e.takeConfirmed(s, missing, found) })
	} else {
		e.coverWaiting(s, missing, findingLeft)
	}
	return nil
}

// takeConfirmed records a page that lacks more tokens than usual, some of which were looked
// up. If those have all left, a second look has to agree.
func (e *Environment) takeConfirmed(s sight, missing []*index.Token, found finding) error {
	switch {
	case found == findingWait:
		return e.contradict(s)
	case found == findingLeft && e.waiting != nil:
		latest := slices.MaxFunc(missing, func(a, b *index.Token) int { return a.CreatedAt.Compare(b.CreatedAt) })
		e.lookBelow(s, &second{cursor: s.cursor, to: latest.CreatedAt, open: missing})
	default:
		e.coverWaiting(s, missing, found)
	}
	return nil
}

func (e *Environment) coverWaiting(s sight, missing []*index.Token, found finding) {
	if e.waiting != nil {
		e.waiting.cover(s)
		e.index.Lack(missing, s.at, found == findingLeft)
	}
}

// A second look at the tokens that a page lacked. It may take several pages, since a
// lagging replica shows more tokens. If it ends the list above some of the tokens, it may be
// cut off: a third one has to agree.
type second struct {
	cursor       string
	to           time.Time
	open, agreed []*index.Token // Still to be checked; missing in the second look, too.
	contradicted int            // Number of tokens that the second look showed.
	ended        bool           // The second look ended above some tokens: this is the third.
}

// lookBelow requests the tokens that a page lacked with another query.
func (e *Environment) lookBelow(s sight, look *second) {
	e.sched.queue(waiting, e.waiting.reserve(&request{
		sight: sight{boundary: s.boundary},
		opts:  client.ListOptions{Statuses: onlyWaiting, After: look.cursor, To: look.to},
		take: func(seen sight) error {
			if _, err := e.observe(waiting, seen); err != nil || e.waiting == nil {
				return err
			}
			shown, last := map[string]bool{}, "" // Open, which is in order of id, may be long.
			for _, t := range seen.page.Tokens {
				shown[t.ID], last = true, t.ID
			}
			ends := len(shown) == 0 || seen.page.Next == "" && look.open[0].ID < last
			if ends && !look.ended {
				look.to, look.ended = look.to.Add(time.Millisecond), true
				e.lookBelow(s, look)
				return nil
			}
			look.cursor, look.ended = seen.page.Next, false
			look.open = slices.DeleteFunc(look.open, func(t *index.Token) bool {
				switch {
				case shown[t.ID]:
					look.contradicted++
				case look.cursor == "" || t.ID > last:
					look.agreed = append(look.agreed, t)
				default:
					return false
				}
				return true
			})
			switch {
			case look.contradicted > len(look.agreed)+len(look.open):
				return e.contradict(s)
			case len(look.open) > 0:
				e.lookBelow(s, look)
			default:
				e.coverWaiting(s, look.agreed, findingLeft)
			}
			return nil
		},
	}))
}

// A finding is what a sample says of tokens that the list of WAITING tokens lacks.
type finding int

const (
	findingLeft  finding = iota // They have left.
	findingMixed                // Some have; each one has to be looked up.
	findingWait                 // They wait: the service does not filter as it should.
)

// samples is how many of them are looked up at most.
const samples = 3

// confirm looks up some tokens that the list of WAITING tokens lacks, in any status, and
// passes on what they say of all of them. Hold reserves the place for each request. If all
// pages are empty, the top has to show that the service still lists tokens.
func (e *Environment) confirm(missing []*index.Token, hold func(*request) *request, take func(finding) error) {
	lacked := map[string]bool{}
	for _, t := range missing {
		lacked[t.ID] = true
	}
	var open []*index.Token // To be looked up: some that are far from each other.
	for i := range samples {
		open = append(open, missing[(2*i+1)*len(missing)/(2*samples)])
	}
	waits, finished, shown := 0, 0, false
	var ask func()
	ask = func() {
		asked := open[0]
		e.sched.queue(waiting, hold(&request{
			opts: client.ListOptions{To: asked.CreatedAt},
			take: func(s sight) error {
				if _, err := e.observe(outcomes, s); err != nil {
					return err
				}
				for _, t := range s.page.Tokens {
					switch {
					case !lacked[t.ID]:
					case t.Status == client.StatusWaiting:
						waits++
					default:
						finished++
					}
					delete(lacked, t.ID)
				}
				delete(lacked, asked.ID)
				shown = shown || len(s.page.Tokens) > 0
				open = slices.DeleteFunc(open, func(t *index.Token) bool { return !lacked[t.ID] })
				switch {
				case len(open) > 0:
					ask()
				case !shown:
					e.askPresent(waiting, func() error { return take(findingLeft) })
				case waits == 0:
					return take(findingLeft)
				case finished > 0:
					return take(findingMixed)
				default:
					return take(findingWait)
				}
				return nil
			},
		}))
	}
	ask()
}

// contradict drops a page that a second look contradicts. Its piece is requested again,
// a limited number of times.
func (e *Environment) contradict(s sight) error {
	level.Warn(e.log).Log("msg",
		"two looks at the same tokens contradict each other, believing the one that shows more")
	if e.waiting == nil {
		return nil
	}
	if p, ok := e.waiting.pieces.Get(s.above); ok {
		if p.doubts++; p.doubts > 2 {
			p.doubts = 0
			return invalid("pages contradict each other")
		}
	}
	return nil
}

// waitingGaps reports whether tokens may be WAITING that are not listed yet.
func (e *Environment) waitingGaps() bool { return e.waiting != nil && e.waiting.gaps.Len() > 0 }

// waitingAt returns when the least recently listed WAITING token was listed; false if some
// were not listed yet.
func (e *Environment) waitingAt() (time.Time, bool) {
	if e.waiting == nil {
		return e.walks.waitingAt, !e.walks.waitingAt.IsZero()
	}
	at, whole := e.waiting.oldest()
	return at, whole && (len(e.sched.queued[waiting]) == 0 || e.snapshot.Load() != nil)
}
