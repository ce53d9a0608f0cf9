package index

import (
	"slices"
	"time"
)

// A Group answers for a set of tokens. Its methods take the time of asking,
// which may be up to Options.Horizon after the snapshot was cut, and cost the
// logarithm of the number of WAITING tokens. If the time is before that, finished
// tokens count as of the cut: the window does not move back.
type Group struct {
	period        time.Duration
	waitingWindow bool
	// Created holds the createdAt of the WAITING tokens, ascending; timeoutOf
	// the timeoutAt of each, in the same order; timeouts those there are,
	// ascending.
	created, timeoutOf, timeouts []int64
	late                         deadlines
	// Places are where the WAITING tokens stand in Snapshot.Tokens, ascending;
	// nil where the group has all of them.
	places []uint32
	// Finished counts by status number; expiring holds, ascending, the createdAt
	// of those that the window lets go of within the horizon.
	finished []int
	expiring [][]int64
}

// expired returns how many WAITING tokens the window has let go of.
func (g *Group) expired(now time.Time) int {
	if !g.waitingWindow || g.period == 0 {
		return 0
	}
	return countBelow(g.created, ceilMilli(now.Add(-g.period)))
}

// Count returns the number of tokens with the status of this number, an index
// of Snapshot.Statuses.
func (g *Group) Count(status int, now time.Time) int {
	if status == int(waitingStatus) {
		return len(g.created) - g.expired(now)
	}
	if status >= len(g.finished) {
		return 0
	}
	n := g.finished[status]
	if g.period > 0 {
		n -= countBelow(g.expiring[status], ceilMilli(now.Add(-g.period)))
	}
	return n
}

// NearTimeout returns how many WAITING tokens have now <= timeoutAt <= now + within.
func (g *Group) NearTimeout(within time.Duration, now time.Time) int {
	from, to := ceilMilli(now), floorMilli(now.Add(within))+1
	return g.timeoutsIn(from, to, now)
}

// Overdue returns how many WAITING tokens have timeoutAt < now.
func (g *Group) Overdue(now time.Time) int {
	return g.timeoutsIn(none+1, ceilMilli(now), now)
}

// timeoutsIn counts the timeouts in [from, to). The window can have let go only
// of tokens that it still held when the snapshot was cut: those few are walked.
func (g *Group) timeoutsIn(from, to int64, now time.Time) int {
	n := countBelow(g.timeouts, to) - countBelow(g.timeouts, from)
	for _, timeout := range g.timeoutOf[:g.expired(now)] {
		if from <= timeout && timeout < to {
			n--
		}
	}
	return n
}

// Stuck returns how many WAITING tokens have createdAt < now - after.
func (g *Group) Stuck(after time.Duration, now time.Time) int {
	return max(0, countBelow(g.created, ceilMilli(now.Add(-after)))-g.expired(now))
}

// WithoutTimeout returns how many WAITING tokens have no timeoutAt.
func (g *Group) WithoutTimeout(now time.Time) int {
	n := len(g.created) - len(g.timeouts)
	for _, timeout := range g.timeoutOf[:g.expired(now)] {
		if timeout == none {
			n--
		}
	}
	return n
}

// Oldest returns the createdAt of the oldest WAITING token; false if none waits.
func (g *Group) Oldest(now time.Time) (time.Time, bool) {
	if i := g.expired(now); i < len(g.created) {
		return time.UnixMilli(g.created[i]).UTC(), true
	}
	return time.Time{}, false
}

// NextTimeout returns the soonest timeoutAt that is not past; false if there is
// none.
func (g *Group) NextTimeout(now time.Time) (time.Time, bool) {
	for i := countBelow(g.timeouts, ceilMilli(now)); i < len(g.timeouts); i++ {
		// Nearly always the first: the others are those the window just let go of.
		if g.timeoutsIn(g.timeouts[i], g.timeouts[i]+1, now) > 0 {
			return time.UnixMilli(g.timeouts[i]).UTC(), true
		}
	}
	return time.Time{}, false
}

// countBelow returns how many of the ascending values are less than limit.
func countBelow(values []int64, limit int64) int {
	n, _ := slices.BinarySearch(values, limit)
	return n
}
