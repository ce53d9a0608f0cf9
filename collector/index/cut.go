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
	c := cutter{x: x, byTag: map[uint32]*Group{}, s: &Snapshot{
		At: at, Waiting: x.complete, Flowing: x.flowing, Loaded: x.loaded, Statuses: slices.Clone(x.statuses),
		Unresolved: x.left, Created: x.created, Corrections: x.corrections,
		opts: x.opts, cutoff: x.cutoff,
	}}
	c.addGroups()
	c.countFinished()
	c.placeExpiring(now)
	c.placeWaiting()
	c.listTags()
	return c.s
}

// cutter builds the groups of one snapshot.
type cutter struct {
	x     *Index
	s     *Snapshot
	byTag map[uint32]*Group
	other *Group
	open  bool // A tag without WAITING tokens may still get a series: none is folded yet.
}

func (c *cutter) addGroups() {
	c.s.Total = c.newGroup()
	if tags := c.x.opts.Tags; tags.Require != nil || tags.Ignore != nil {
		c.s.Ignored = c.newGroup()
	}
	c.open = c.x.hasOpenSeries()
	for id := range c.x.sets.names {
		name := &c.x.sets.names[id]
		switch {
		case name.sets == 0:
		case name.hasSeries || name.text == "":
			c.byTag[uint32(id)] = c.newGroup()
		case !c.open:
			c.s.Folded++
		}
	}
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
		yield(c.s.Ignored)
		return
	}
	yield(c.s.Total)
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
	for n, set := range c.x.sets.sets {
		if set.refs == 0 {
			continue
		}
		c.groups(uint32(n), func(g *Group) {
			for status := 1; status < len(set.counts); status++ {
				g.finished[status] += int(set.counts[status])
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

func (c *cutter) placeWaiting() {
	list := make([]*held, 0, c.x.waiting.Len())
	c.x.waiting.Scan(func(_ string, h *held) bool {
		if !h.outside {
			list = append(list, h)
		}
		return true
	})
	slices.SortFunc(list, func(a, b *held) int {
		return cmp.Or(cmp.Compare(a.token.created, b.token.created), cmp.Compare(a.token.ID, b.token.ID))
	})
	c.s.Tokens = make([]*Token, 0, len(list))
	for _, h := range list {
		place := uint32(len(c.s.Tokens))
		if h.set != ignoredSet {
			c.s.Tokens = append(c.s.Tokens, h.token)
		}
		c.groups(h.set, func(g *Group) {
			g.created = append(g.created, h.token.created)
			g.timeouts.of = append(g.timeouts.of, h.token.timeout)
			if c.s.Expects() {
				g.late.of = append(g.late.of, h.token.deadline())
			}
			if g != c.s.Total && g != c.s.Ignored {
				g.places = append(g.places, place)
			}
		})
	}
	for _, g := range c.byTag {
		g.sort()
	}
	for _, g := range []*Group{c.s.Total, c.s.Ignored, c.other} {
		if g != nil {
			g.sort()
		}
	}
}

// listTags lists the groups of the tags that have a series.
func (c *cutter) listTags() {
	c.s.Tags = make([]TagGroup, 0, len(c.byTag)+1)
	add := func(tag string, g *Group) {
		c.s.Tags = append(c.s.Tags, TagGroup{tag, g, c.x.flow.created[tag]})
	}
	for id, g := range c.byTag {
		add(c.x.sets.names[id].text, g)
	}
	if c.other != nil && (!c.open || len(c.other.created) > 0) {
		add(OtherTag, c.other)
	}
	slices.SortFunc(c.s.Tags, func(a, b TagGroup) int { return cmp.Compare(a.Tag, b.Tag) })
}
