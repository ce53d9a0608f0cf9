package index

import (
	"time"

	"waitpoint_exporter/client"
)

// Scope is what a whole listing lists.
type Scope int

const (
	// ScopeWaiting is every WAITING token, whatever its age.
	ScopeWaiting Scope = iota
	// ScopeWindow is every token in the window, whatever its status. Only one
	// such listing may be open at a time; it may take a day.
	ScopeWindow
)

// A Listing is a walk through everything in a scope. Its pages are taken in as
// they come; its Close adds that there was nothing else. A Listing that did not
// reach its end is dropped without Close, and has then proved nothing more than
// its pages did.
type Listing struct {
	x     *Index
	scope Scope
	gen   uint32
	begun time.Time
	line  int64
}

// Begin starts a listing at the given time. Tokens created after line may
// rightly be missing from a window listing: they may have come after it passed.
func (x *Index) Begin(scope Scope, at, line time.Time) *Listing {
	l := &Listing{x: x, scope: scope, begun: at, line: line.UnixMilli()}
	switch scope {
	case ScopeWaiting:
		x.listings++
		l.gen = x.listings
	case ScopeWindow:
		x.turn++
	}
	return l
}

// Add takes in a page that was asked for at the given time.
func (l *Listing) Add(page []client.Token, at time.Time) Changes {
	var ch Changes
	for i := range page {
		t := &page[i]
		v := l.x.observe(t, at, &ch)
		switch l.scope {
		case ScopeWaiting:
			if h := l.x.waiting[t.ID]; h != nil {
				h.listed, h.suspect = l.gen, false
			}
		case ScopeWindow:
			missed := v == verdictNew && t.CreatedAt.UnixMilli() < l.line
			if l.x.loaded && (missed || v == verdictDiffers) {
				l.x.corrections++
			}
		}
	}
	return ch
}

// Close says that the listing was whole: what it did not show is not there.
func (l *Listing) Close() {
	if l.scope == ScopeWaiting {
		l.closeWaiting()
	} else {
		l.closeWindow()
	}
}

// closeWaiting takes what was not listed out of WAITING at once. What was first
// seen less than the lag ago may be missing because a replica did not have it
// yet: it stays, and is looked up.
func (l *Listing) closeWaiting() {
	x := l.x
	x.complete = true
	for id, h := range x.waiting {
		if h.listed == l.gen {
			continue
		}
		if l.begun.Sub(h.firstSeen) <= x.opts.Lag {
			h.suspect = true
			continue
		}
		x.leave(id, h)
		h.left, h.suspect = l.begun, false
		x.unresolved[id] = h
	}
}

// closeWindow drops the finished tokens that were not seen during this turn by
// any listing, and the unresolved ones that should have been.
func (l *Listing) closeWindow() {
	x := l.x
	x.expire(l.begun)
	var gone []entry
	x.finished.Scan(func(e entry) bool {
		if e.created >= l.line {
			return false
		}
		if e.turn != x.turn {
			gone = append(gone, e)
		}
		return true
	})
	for _, e := range gone {
		x.drop(e)
		if x.loaded {
			x.corrections++
		}
	}
	for id, h := range x.unresolved {
		if h.turn != x.turn && h.left.Before(l.begun) && h.token.created < l.line && x.inWindow(h.token.created, l.begun) {
			x.forget(id, h)
		}
	}
}
