package index

import (
	"math"
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
	// Created holds the createdAt of the WAITING tokens, ascending; timeouts are their
	// timeoutAt; late is when they become late.
	created        []int64
	timeouts, late deadlines
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
	return g.timeouts.within(ceilMilli(now), now.Add(within).UnixMilli()+1, g.expired(now))
}

// Overdue returns how many WAITING tokens have timeoutAt < now.
func (g *Group) Overdue(now time.Time) int {
	return g.timeouts.within(none+1, ceilMilli(now), g.expired(now))
}

// Late returns how many WAITING tokens have waited for longer than is expected
// of them: createdAt + expected wait < now.
func (g *Group) Late(now time.Time) int {
	return g.late.within(none+1, ceilMilli(now), g.expired(now))
}

// Stuck returns how many WAITING tokens have createdAt < now - after.
func (g *Group) Stuck(after time.Duration, now time.Time) int {
	return max(0, countBelow(g.created, ceilMilli(now.Add(-after)))-g.expired(now))
}

// WithoutTimeout returns how many WAITING tokens have no timeoutAt.
func (g *Group) WithoutTimeout(now time.Time) int {
	return g.Count(int(waitingStatus), now) - g.timeouts.within(none+1, math.MaxInt64, g.expired(now))
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
	for _, at := range g.timeouts.sorted[countBelow(g.timeouts.sorted, ceilMilli(now)):] {
		// Nearly always the first: the others are those the window just let go of.
		if g.timeouts.within(at, at+1, g.expired(now)) > 0 {
			return time.UnixMilli(at).UTC(), true
		}
	}
	return time.Time{}, false
}

// deadlines are a time of each WAITING token of a group.
type deadlines struct {
	of     []int64 // In order of createdAt; none for tokens without. Empty if no token has one.
	sorted []int64 // Those there are, ascending.
}

// sort fills what is sorted.
func (g *Group) sort() {
	for _, d := range []*deadlines{&g.timeouts, &g.late} {
		for _, at := range d.of {
			if at != none {
				d.sorted = append(d.sorted, at)
			}
		}
		slices.Sort(d.sorted)
	}
}

// within counts the times in [from, to). The window can have let go only of tokens that
// it still held when the snapshot was cut: those few, the first expired, are walked.
func (d *deadlines) within(from, to int64, expired int) int {
	n := countBelow(d.sorted, to) - countBelow(d.sorted, from)
	for _, at := range d.of[:min(expired, len(d.of))] {
		if from <= at && at < to {
			n--
		}
	}
	return n
}

// countBelow returns how many of the ascending values are less than limit.
func countBelow(values []int64, limit int64) int {
	n, _ := slices.BinarySearch(values, limit)
	return n
}
