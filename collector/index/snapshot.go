package index

import (
	"cmp"
	"math"
	"slices"
	"time"

	"waitpoint_exporter/client"
)

// A Snapshot is the picture at one moment, immutable and safe to share. What
// depends on the time of day is asked of its Groups with the time of asking.
type Snapshot struct {
	// At is when the WAITING token was listed that was listed least recently.
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
	// Corrections is the number of tokens found other than the picture had them.
	Corrections uint64

	opts   Options
	cutoff int64
}

// Age returns how long before now the WAITING tokens were listed, never less than
// 0. The monotonic clock stands while a machine is suspended and the wall clock
// can be set, so that of the two counts which says more.
func (s *Snapshot) Age(now time.Time) time.Duration {
	return max(now.Sub(s.At), wall(now).Sub(wall(s.At)), 0)
}

// Fresh reports whether the picture can be shown: its age is at most the given
// one, and nothing that its window had let go of is in the window again.
func (s *Snapshot) Fresh(now time.Time, most time.Duration) bool {
	return s.Age(now) <= most && !s.opts.setBack(s.cutoff, now)
}

// wall returns t without its reading of the monotonic clock.
func wall(t time.Time) time.Time { return t.Round(0) }

// A TagGroup is the Group of the tokens counted under one tag.
type TagGroup struct {
	Tag string
	*Group
	// Created is the number of tokens that count as created, since the tag has a
	// series.
	Created uint64
}

// A Token is a WAITING token. It is immutable.
type Token struct {
	ID string
	// Tags are the token's tags as the service has them; CountedAs are the
	// labels under which it counts, before folding.
	Tags, CountedAs []string
	// CreatedAt and TimeoutAt are in UTC; TimeoutAt is zero if there is none.
	CreatedAt, TimeoutAt time.Time
	// ExpectedWait is how long the token may wait; zero if no rule says so.
	ExpectedWait time.Duration

	created, timeout int64 // Milliseconds.
}

func newToken(t *client.Token, countedAs []string, expected time.Duration) *Token {
	token := &Token{
		ID: t.ID, Tags: slices.Clone(t.Tags), CountedAs: countedAs,
		CreatedAt: t.CreatedAt, TimeoutAt: t.TimeoutAt, ExpectedWait: expected,
		created: t.CreatedAt.UnixMilli(), timeout: none,
	}
	if !t.TimeoutAt.IsZero() {
		token.timeout = t.TimeoutAt.UnixMilli()
	}
	return token
}

// size is roughly how many bytes the token takes, its share of a snapshot's
// groups included.
func (t *Token) size() int {
	n := 256 + len(t.ID)
	for _, tag := range t.Tags {
		n += 96 + len(tag)
	}
	return n
}

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
	return below(g.created, ceilMilli(now.Add(-g.period)))
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
		n -= below(g.expiring[status], ceilMilli(now.Add(-g.period)))
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
	n := below(g.timeouts, to) - below(g.timeouts, from)
	for _, timeout := range g.timeoutOf[:g.expired(now)] {
		if from <= timeout && timeout < to {
			n--
		}
	}
	return n
}

// Stuck returns how many WAITING tokens have createdAt < now - after.
func (g *Group) Stuck(after time.Duration, now time.Time) int {
	return max(0, below(g.created, ceilMilli(now.Add(-after)))-g.expired(now))
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
	for i := below(g.timeouts, ceilMilli(now)); i < len(g.timeouts); i++ {
		// Nearly always the first: the others are those the window just let go of.
		if g.timeoutsIn(g.timeouts[i], g.timeouts[i]+1, now) > 0 {
			return time.UnixMilli(g.timeouts[i]).UTC(), true
		}
	}
	return time.Time{}, false
}

// Cut lets go of what has left the window and returns the picture as of now.
// At is when the WAITING token was listed that was listed least recently.
func (x *Index) Cut(at, now time.Time) *Snapshot {
	x.expire(now)
	x.keepTags()
	x.settleFlow()
	s := &Snapshot{
		At: at, Waiting: x.complete, Flowing: x.flowing, Loaded: x.loaded, Statuses: slices.Clone(x.statuses),
		Unresolved: x.left, Created: x.created, Corrections: x.corrections,
		opts: x.opts, cutoff: x.cutoff,
	}
	c := x.newCutter()
	c.countFinished()
	c.placeExpiring(now)
	s.Tokens = c.placeWaiting()
	s.Total, s.Tags, s.Folded = c.total, c.tagGroups(), c.folded
	s.Ignored = c.ignored
	return s
}

func (x *Index) expire(now time.Time) {
	if x.opts.Period == 0 {
		return
	}
	cutoff := max(x.cutoff, ceilMilli(now.Add(-x.opts.Period)))
	x.cutoff = cutoff
	for {
		e, ok := x.finished.Min()
		if !ok || e.created >= cutoff {
			break
		}
		x.drop(e)
		if x.minute(now)-e.seen < uint16(memory/time.Minute) {
			x.remember(e, now)
		}
	}
	if !x.opts.WaitingWithinPeriod {
		return
	}
	x.waiting.Scan(func(_ string, h *held) bool {
		if !h.outside && h.token.created < cutoff {
			x.sets.remove(h.set, waitingStatus)
			h.outside = true
		}
		return true
	})
}

// keepTags gives the free series to the tags with the most WAITING tokens, then
// to those with the most tokens. Until the history is loaded only tags with
// WAITING tokens are asked: the others' counts are not known yet.
func (x *Index) keepTags() {
	t := x.sets
	kept := 0
	for i := range t.names {
		if t.names[i].kept {
			kept++
		}
	}
	limit := x.opts.Tags.Limit
	if limit == 0 {
		limit = math.MaxInt
	}
	if kept >= limit {
		return
	}
	type rank struct {
		id             uint32
		waiting, total int
	}
	ranks := make([]rank, len(t.names))
	for i := range t.sets {
		set := &t.sets[i]
		for _, id := range set.tags {
			ranks[id].id = id
			ranks[id].total += set.refs
			if len(set.counts) > 0 {
				ranks[id].waiting += int(set.counts[waitingStatus])
			}
		}
	}
	ranks = slices.DeleteFunc(ranks, func(r rank) bool {
		name := &t.names[r.id]
		return name.kept || name.text == "" || name.text == OtherTag || r.total == 0 || (!x.loaded && r.waiting == 0)
	})
	slices.SortFunc(ranks, func(a, b rank) int {
		return cmp.Or(cmp.Compare(b.waiting, a.waiting), cmp.Compare(b.total, a.total), cmp.Compare(t.names[a.id].text, t.names[b.id].text))
	})
	for _, r := range ranks[:min(len(ranks), limit-kept)] {
		t.names[r.id].kept = true
	}
}

// cutter builds the groups of one snapshot.
type cutter struct {
	x     *Index
	total *Group
	byTag map[uint32]*Group
	other *Group
	// Of what the rules leave out; nil if none does.
	ignored *Group
	folded  int
}

func (x *Index) newCutter() *cutter {
	c := &cutter{x: x, byTag: map[uint32]*Group{}}
	c.total = c.newGroup()
	if x.opts.Tags.selects() {
		c.ignored = c.newGroup()
	}
	for id := range x.sets.names {
		name := &x.sets.names[id]
		switch {
		case name.sets == 0:
		case name.kept || name.text == "":
			c.byTag[uint32(id)] = c.newGroup()
		default:
			c.folded++
		}
	}
	return c
}

func (c *cutter) newGroup() *Group {
	return &Group{
		period: c.x.opts.Period, waitingWindow: c.x.opts.WaitingWithinPeriod,
		finished: make([]int, len(c.x.statuses)), expiring: make([][]int64, len(c.x.statuses)),
	}
}

// groups calls yield for each group that a set counts in, each once.
func (c *cutter) groups(set uint32, yield func(*Group)) {
	if set == ignoredSet {
		yield(c.ignored)
		return
	}
	yield(c.total)
	folded := false
	for _, id := range c.x.sets.sets[set].tags {
		if g := c.byTag[id]; g != nil {
			yield(g)
		} else {
			folded = true
		}
	}
	if folded {
		if c.other == nil {
			c.other = c.newGroup()
		}
		yield(c.other)
	}
}

func (c *cutter) countFinished() {
	for n := range c.x.sets.sets {
		counts := c.x.sets.sets[n].counts
		if c.x.sets.sets[n].refs == 0 {
			continue
		}
		c.groups(uint32(n), func(g *Group) {
			for status := 1; status < len(counts); status++ {
				g.finished[status] += int(counts[status])
			}
		})
	}
}

func (c *cutter) placeExpiring(now time.Time) {
	period := c.x.opts.Period
	if period == 0 {
		return
	}
	end := ceilMilli(now.Add(c.x.opts.Horizon - period))
	c.x.finished.Scan(func(e entry) bool {
		if e.created >= end {
			return false
		}
		c.groups(e.set, func(g *Group) {
			g.expiring[e.status] = append(g.expiring[e.status], e.created)
		})
		return true
	})
}

func (c *cutter) placeWaiting() []*Token {
	x := c.x
	list := make([]*held, 0, x.waiting.Len())
	x.waiting.Scan(func(_ string, h *held) bool {
		if !h.outside {
			list = append(list, h)
		}
		return true
	})
	slices.SortFunc(list, func(a, b *held) int {
		return cmp.Or(cmp.Compare(a.token.created, b.token.created), cmp.Compare(a.token.ID, b.token.ID))
	})
	tokens := make([]*Token, 0, len(list))
	for _, h := range list {
		place := uint32(len(tokens))
		if h.set != ignoredSet {
			tokens = append(tokens, h.token)
		}
		c.groups(h.set, func(g *Group) {
			g.created = append(g.created, h.token.created)
			g.timeoutOf = append(g.timeoutOf, h.token.timeout)
			if g != c.total && g != c.ignored {
				g.places = append(g.places, place)
			}
		})
	}
	c.placeDeadlines(list)
	slices.SortFunc(list, func(a, b *held) int { return cmp.Compare(a.token.timeout, b.token.timeout) })
	for _, h := range list {
		if h.token.timeout != none {
			c.groups(h.set, func(g *Group) { g.timeouts = append(g.timeouts, h.token.timeout) })
		}
	}
	return tokens
}

// tagGroups returns the groups of the tags that have a series. Until the
// history is loaded a group without WAITING tokens says nothing, so it is left out.
func (c *cutter) tagGroups() []TagGroup {
	out := make([]TagGroup, 0, len(c.byTag)+1)
	for id, g := range c.byTag {
		tag := c.x.sets.names[id].text
		out = append(out, TagGroup{tag, g, c.x.flow.created[tag]})
	}
	if c.other != nil {
		out = append(out, TagGroup{OtherTag, c.other, c.x.flow.created[OtherTag]})
	}
	if !c.x.loaded {
		out = slices.DeleteFunc(out, func(t TagGroup) bool { return len(t.created) == 0 })
	}
	slices.SortFunc(out, func(a, b TagGroup) int { return cmp.Compare(a.Tag, b.Tag) })
	return out
}

// below returns how many of the ascending values are less than limit.
func below(values []int64, limit int64) int {
	n, _ := slices.BinarySearch(values, limit)
	return n
}

// Times in the picture are whole milliseconds, as the service gives them. A
// comparison with a time that is not whole rounds that one the right way.

func floorMilli(t time.Time) int64 { return t.UnixMilli() }

func ceilMilli(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		ms++
	}
	return ms
}
