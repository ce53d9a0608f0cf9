package index

import (
	"cmp"
	"regexp"
	"slices"
	"time"
)

// An ExpectedWait is how long a token may wait that has a tag which Match
// matches, whole; nil matches every token. Of several rules the first one counts.
type ExpectedWait struct {
	Match *regexp.Regexp
	Wait  time.Duration
}

// expected returns how long a token with the given tags may wait; 0 if no rule
// says so. Rules see the tags as the token has them.
func (o Options) expected(raw []string) time.Duration {
	for _, rule := range o.ExpectedWait {
		if rule.Match == nil || slices.ContainsFunc(raw, matches(rule.Match)) {
			return rule.Wait
		}
	}
	return 0
}

// deadlines are when the tokens of a group become late.
type deadlines struct {
	of     []int64 // Of each token, in order of createdAt; none for those without.
	sorted []int64 // Those there are, ascending.
}

// deadline returns the last millisecond in which the token is not late.
func (t *Token) deadline() int64 {
	if t.ExpectedWait == 0 {
		return none
	}
	return t.created + t.ExpectedWait.Milliseconds()
}

// IsLate reports whether the token has waited for longer than is expected of it.
func (t *Token) IsLate(now time.Time) bool {
	return t.ExpectedWait != 0 && t.deadline() < ceilMilli(now)
}

// Expects reports whether any token is expected to wait for a limited time.
func (s *Snapshot) Expects() bool { return len(s.opts.ExpectedWait) > 0 }

// Late returns how many WAITING tokens have waited for longer than is expected
// of them: createdAt + expected wait < now.
func (g *Group) Late(now time.Time) int {
	limit := ceilMilli(now)
	n := countBelow(g.late.sorted, limit)
	// The window can have let go only of tokens that it still held when the
	// snapshot was cut: those few are walked.
	for _, at := range g.late.of[:min(g.expired(now), len(g.late.of))] {
		if at != none && at < limit {
			n--
		}
	}
	return n
}

// placeDeadlines takes the tokens that wait, in order of createdAt, and reorders
// them.
func (c *cutter) placeDeadlines(list []*held) {
	if len(c.x.opts.ExpectedWait) == 0 {
		return
	}
	for _, h := range list {
		c.groups(h.set, func(g *Group) { g.late.of = append(g.late.of, h.token.deadline()) })
	}
	slices.SortFunc(list, func(a, b *held) int { return cmp.Compare(a.token.deadline(), b.token.deadline()) })
	for _, h := range list {
		if at := h.token.deadline(); at != none {
			c.groups(h.set, func(g *Group) { g.late.sorted = append(g.late.sorted, at) })
		}
	}
}
