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
	// Overdue picks timeoutAt < now, WithoutTimeout those with no timeoutAt.
	Overdue, WithoutTimeout bool
	// Tag picks what the Group of this tag counts: "" tokens without tags,
	// OtherTag those with a tag past the limit. A tag that has no Group, because
	// the rules rewrite it, leave it out or fold it, picks the tokens that carry it.
	Tag *string
}

// Select returns the WAITING tokens that the selection picks as of now, oldest
// first, those with the same createdAt by id: as many as the methods of the
// snapshot's Groups count at the same moment. It walks the tokens, except where
// createdAt alone decides.
func (s *Snapshot) Select(sel Selection, now time.Time) iter.Seq[*Token] {
	return func(yield func(*Token) bool) {
		if s.Total == nil {
			return
		}
		end := len(s.Tokens)
		if sel.Stuck != nil {
			end = below(s.Total.created, ceilMilli(now.Add(-*sel.Stuck)))
		}
		start := min(s.Total.expired(now), end)
		tagged, timed := s.tagged(sel.Tag), sel.timed(now)
		for _, t := range s.Tokens[start:end] {
			if timed(t) && tagged(t) && !yield(t) {
				return
			}
		}
	}
}

func all(*Token) bool { return true }

// timed returns what the selection asks of a token's timeout.
func (sel Selection) timed(now time.Time) func(*Token) bool {
	if sel.NearTimeout == nil && !sel.Overdue && !sel.WithoutTimeout {
		return all
	}
	at := ceilMilli(now)
	until := at
	if sel.NearTimeout != nil {
		until = floorMilli(now.Add(*sel.NearTimeout))
	}
	return func(t *Token) bool {
		return (sel.NearTimeout == nil || at <= t.timeout && t.timeout <= until) &&
			(!sel.Overdue || t.timeout != none && t.timeout < at) &&
			(!sel.WithoutTimeout || t.timeout == none)
	}
}

// tagged returns what the selection asks of a token's tags.
func (s *Snapshot) tagged(tag *string) func(*Token) bool {
	if tag == nil {
		return all
	}
	// The metrics' own words first: where a label and a tag have the same text,
	// the page behind a number must hold what the number counts.
	counted := func(t *Token) bool { return slices.Contains(t.CountedAs, *tag) }
	own := make(map[string]bool, len(s.Tags))
	for _, g := range s.Tags {
		own[g.Tag] = g.Tag != OtherTag
	}
	switch {
	case *tag == OtherTag:
		return func(t *Token) bool {
			return slices.ContainsFunc(t.CountedAs, func(label string) bool { return !own[label] })
		}
	case *tag == "" || own[*tag]:
		return counted
	default:
		return func(t *Token) bool { return counted(t) || slices.Contains(t.Tags, *tag) }
	}
}
