package index

import (
	"cmp"
	"slices"
	"time"
)

// Cut drops what has left the window and returns a snapshot as of now.
// At is when the least recently listed WAITING token was listed.
func (x *Index) Cut(at, now time.Time) *Snapshot {
	x.expire(now)
	x.assignSeries()
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

// cutter builds the groups of one snapshot.
type cutter struct {
	x     *Index
	total *Group
	byTag map[uint32]*Group
	other *Group
	// Of what the rules leave out; nil if none does.
	ignored *Group
	folded  int
	open    bool // A tag without WAITING tokens may still get a series: none is folded yet.
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
		case name.hasSeries || name.text == "":
			c.byTag[uint32(id)] = c.newGroup()
		default:
			c.folded++
		}
	}
	if c.open = x.hasOpenSeries(); c.open {
		c.folded = 0
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

// tagGroups returns the groups of the tags that have a series.
func (c *cutter) tagGroups() []TagGroup {
	out := make([]TagGroup, 0, len(c.byTag)+1)
	for id, g := range c.byTag {
		tag := c.x.sets.names[id].text
		out = append(out, TagGroup{tag, g, c.x.flow.created[tag]})
	}
	if c.other != nil && (!c.open || len(c.other.created) > 0) {
		out = append(out, TagGroup{OtherTag, c.other, c.x.flow.created[OtherTag]})
	}
	slices.SortFunc(out, func(a, b TagGroup) int { return cmp.Compare(a.Tag, b.Tag) })
	return out
}
