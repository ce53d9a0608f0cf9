package index

import (
	"iter"
	"slices"
	"time"
)

// A Selection picks WAITING tokens by the rules by which Groups count them. Its
// zero value picks all; what is set must all hold.
type Selection struct {
	// Stuck picks createdAt < now - Stuck, NearTimeout now <= timeoutAt <= now +
	// NearTimeout.
	Stuck, NearTimeout *time.Duration
	// Overdue picks timeoutAt < now, WithoutTimeout those with no timeoutAt, Late
	// createdAt + expected wait < now.
	Overdue, WithoutTimeout, Late bool
	// Tag picks what the Group of this tag counts: "" tokens without tags,
	// OtherTag those with a tag past the limit. A tag that has no Group, because
	// the rules rewrite it, leave it out or fold it, picks the tokens that carry it.
	Tag *string
}

// Select returns the WAITING tokens that the selection picks as of now, oldest
// first, those with the same createdAt by id: as many as the methods of the
// snapshot's Groups count at the same moment. It walks a Group's tokens, only
// those old enough if Stuck is set; where the tag has no Group, all tokens.
func (s *Snapshot) Select(sel Selection, now time.Time) iter.Seq[*Token] {
	return func(yield func(*Token) bool) {
		g, tagged := s.tagged(sel.Tag)
		if g == nil {
			return
		}
		end := len(g.created)
		if sel.Stuck != nil {
			end = countBelow(g.created, ceilMilli(now.Add(-*sel.Stuck)))
		}
		for i := g.expired(now); i < end; i++ {
			t := s.Tokens[i]
			if g.places != nil {
				t = s.Tokens[g.places[i]]
			}
			if sel.picks(t, now) && tagged(t) && !yield(t) {
				return
			}
		}
	}
}

func all(*Token) bool { return true }

// tagged returns the group in which the tokens with the tag are, nil if there
// is none, and what tells them from the group's others.
func (s *Snapshot) tagged(tag *string) (*Group, func(*Token) bool) {
	if tag == nil {
		return s.Total, all
	}
	// Groups first: where a label and a tag have the same text, the list behind a
	// number holds what the number counts.
	for _, g := range s.Tags {
		if g.Tag == *tag {
			return g.Group, all
		}
	}
	if *tag == "" || *tag == OtherTag {
		return nil, nil
	}
	return s.Total, func(t *Token) bool {
		return slices.Contains(t.CountedAs, *tag) || slices.Contains(t.Tags, *tag)
	}
}

// picks reports whether the selection picks a token by its timeout and expected wait.
func (sel *Selection) picks(t *Token, now time.Time) bool {
	at := ceilMilli(now)
	return (sel.NearTimeout == nil || at <= t.timeout && t.timeout <= now.Add(*sel.NearTimeout).UnixMilli()) &&
		(!sel.Overdue || t.timeout != none && t.timeout < at) &&
		(!sel.WithoutTimeout || t.timeout == none) &&
		(!sel.Late || t.IsLate(now))
}
