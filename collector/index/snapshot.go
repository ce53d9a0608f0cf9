package index

import (
	"time"

	"waitpoint_exporter/client"
)

// A Snapshot is what is known at one moment, immutable and safe to share. What
// depends on the time of day is asked of its Groups with the time of asking.
type Snapshot struct {
	// At is when the least recently listed WAITING token was listed.
	At time.Time
	// Waiting is set once the WAITING tokens have been listed whole.
	Waiting bool
	// Flowing is set once Created counts.
	Flowing bool
	// Loaded is set once the window's finished tokens have all been listed.
	Loaded bool
	// Statuses are all statuses that Counts of a Group speak of, WAITING first.
	Statuses []client.Status
	// Total counts each token once; Tags holds one Group for each tag that has a
	// series, in order of the tag.
	Total *Group
	Tags  []TagGroup
	// Ignored counts the tokens that the rules leave out of all else; nil if no rule
	// leaves any out.
	Ignored *Group
	// Tokens are the WAITING tokens, oldest first.
	Tokens []*Token
	// Unresolved is the number of tokens that have left WAITING and whose
	// outcome is still to be looked up.
	Unresolved int
	// Folded is the number of distinct tags counted under OtherTag.
	Folded int
	// Created is the number of tokens created since the newest were first known.
	Created uint64
	// Corrections is the number of tokens whose state was corrected by verification.
	Corrections uint64

	opts   Options
	cutoff int64
}

// Age returns how long before now the WAITING tokens were listed, never less than
// 0. The monotonic clock stands while a machine is suspended and the wall clock
// can be set, so that of the two counts which says more.
func (s *Snapshot) Age(now time.Time) time.Duration {
	return max(now.Sub(s.At), now.Round(0).Sub(s.At.Round(0)), 0) // Round leaves the wall clock.
}

// Fresh reports whether the snapshot can be shown: its age is at most the given
// one, and nothing that its window had let go of is in the window again.
func (s *Snapshot) Fresh(now time.Time, most time.Duration) bool {
	return s.Age(now) <= most && !s.opts.clockSetBack(s.cutoff, now)
}

// A TagGroup is the Group of the tokens counted under one tag.
type TagGroup struct {
	Tag string
	*Group
	// Created is the number of tokens that count as created, since the tag has a
	// series.
	Created uint64
}
