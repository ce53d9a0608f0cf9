package refresh

import (
	"time"

	"github.com/go-kit/log/level"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
)

// WAITING: the list of what waits.

// A list of so many pieces is walked from one place at once: with more of them the
// pages would show each other's tokens.
const shortList = 16

// nextWaiting asks for the newest, then for tokens whose timeout has come, then
// for what was not listed for the longest time.
func (e *Environment) nextWaiting() *request {
	if e.waiting == nil {
		return e.nextWaitingInTurn()
	}
	var best *piece
	above, sequential := false, e.waiting.pieces.Len() <= shortList // Of the piece above: whether it is being listed.
	first := e.snapshot.Load() == nil                               // Nothing is listed twice before all is listed.
	urgent := e.round.pages[waiting]%3 == 0                         // The others must not wait for ever.
	e.waiting.pieces.Reverse(func(id string, p *piece) bool {
		switch {
		case p.busy && sequential:
			best = nil
			return false
		case p.busy || above || !p.listed.Before(e.round.start) && !p.gap || first && !p.gap:
		case id == topID && p.listed.Before(e.round.start):
			best = p
			return sequential
		case best == nil:
			best = p
		case best.above == topID:
		case urgent && e.urgent[id] != e.urgent[best.above]:
			if e.urgent[id] {
				best = p
			}
		case p.listed.Before(best.listed):
			best = p
		}
		above = p.busy
		return true
	})
	if best == nil {
		return nil
	}
	r := e.ask(e.waiting, best, e.takeWaiting, time.Time{})
	start := r.start
	r.start = func() { start(); delete(e.urgent, best.above) }
	return r
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
				return e.takeWaiting(s.again(page, at))
			},
		})
		return nil
	}
	missing := e.index.Missing(s.reach(), s.above, s.at, s.served())
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
	return e.lookBelow(s, second{cursor: s.cursor, to: to, open: missing})
}

// A second look at what a page lacked may take several pages: a replica that is
// behind shows more tokens. If it is empty a third one has to agree.
type second struct {
	cursor       string
	to           time.Time
	open, agreed []*index.Token // Not looked at yet; lacked by the second look, too.
	contradicted int            // Shown by it.
	empty        bool           // It was empty, and this is the third.
}

func (e *Environment) lookBelow(s sight, look second) *request {
	return &request{
		opts: client.ListOptions{Statuses: onlyWaiting, After: look.cursor, To: look.to},
		take: func(page client.Page, at time.Time) error {
			if _, err := e.observe(waiting, page, at); err != nil {
				return err
			}
			if len(page.Tokens) == 0 && !look.empty {
				third := look
				third.to, third.empty = look.to.Add(time.Millisecond), true
				e.sched.queue(waiting, e.lookBelow(s, third))
				return nil
			}
			shown := map[string]bool{}
			last := ""
			for _, t := range page.Tokens {
				shown[t.ID], last = true, t.ID
			}
			next := look
			next.cursor, next.open = page.Next, nil
			for _, t := range look.open {
				switch {
				case shown[t.ID]:
					next.contradicted++
				case page.Next == "" || t.ID > last:
					next.agreed = append(next.agreed, t)
				default:
					next.open = append(next.open, t)
				}
			}
			switch {
			case next.contradicted > len(next.agreed)+len(next.open):
				return e.contradict(s)
			case len(next.open) > 0 && len(page.Tokens) > 0:
				e.sched.queue(waiting, e.lookBelow(s, next))
			default:
				e.coverWaiting(s, next.agreed)
			}
			return nil
		},
	}
}

// contradict drops a page that a second look has shown to be wrong. Its piece is
// asked for again, but not for ever.
func (e *Environment) contradict(s sight) error {
	level.Warn(e.log).Log("msg",
		"two looks at the same tokens contradict each other, believing the one that shows more")
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

// waitingAt returns when the WAITING token was listed that was least recently;
// false if some were not yet.
func (e *Environment) waitingAt() (time.Time, bool) {
	if e.waiting == nil {
		return e.listedAt, !e.listedAt.IsZero()
	}
	at, whole := e.waiting.oldest()
	return at, whole && (len(e.sched.queued[waiting]) == 0 || e.snapshot.Load() != nil)
}
