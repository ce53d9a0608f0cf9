// Package recount counts the simulated service's tokens one by one, in a slow and simple
// way, for comparison with an exporter's metrics. It shares only the mapping of tags with
// the exporter.
package recount

import (
	"regexp"
	"slices"
	"time"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector"
	"waitpoint_exporter/collector/index"
)

// Rules are the rules by which tokens are counted.
type Rules struct {
	index.Options

	Near, Stuck []collector.Threshold
	// Own reports whether a tag has its own series. Nil: every tag has.
	Own func(tag string) bool
}

// A Count contains the counts of all tokens that are not ignored, and the number of
// ignored tokens by status.
type Count struct {
	Total   *Group
	Tags    map[string]*Group
	Ignored map[string]int
}

// A Group contains the counts of all tokens, or of those with one tag.
type Group struct {
	Statuses                      map[string]int
	Near, Stuck                   map[string]int // By label.
	Overdue, WithoutTimeout, Late int
	Oldest, NextTimeout           time.Time // In milliseconds, as the API has them; zero: none.
}

func statuses() map[string]int { return map[string]int{"WAITING": 0, "COMPLETED": 0, "TIMED_OUT": 0} }

// NewGroup returns a group without tokens.
func NewGroup() *Group {
	return &Group{Statuses: statuses(), Near: map[string]int{}, Stuck: map[string]int{}}
}

// Of counts the tokens as of now.
func Of(tokens []simulator.Token, rules Rules, now time.Time) Count {
	out := Count{NewGroup(), map[string]*Group{}, statuses()}
	for _, t := range tokens {
		switch {
		case rules.outside(t, now):
		case rules.ignored(t):
			out.Ignored[t.Status]++
		default:
			out.Total.count(t, rules, now)
			for tag := range rules.series(t) {
				if out.Tags[tag] == nil {
					out.Tags[tag] = NewGroup()
				}
				out.Tags[tag].count(t, rules, now)
			}
		}
	}
	return out
}

// outside reports whether the token is too old to count.
func (r Rules) outside(t simulator.Token, now time.Time) bool {
	return r.Period > 0 && (t.Status != "WAITING" || r.WaitingWithinPeriod) && t.CreatedAt.Before(now.Add(-r.Period))
}

// ignored reports whether the token is ignored because of its tags.
func (r Rules) ignored(t simulator.Token) bool {
	return r.Tags.Require != nil && !carries(t, r.Tags.Require) || r.Tags.Ignore != nil && carries(t, r.Tags.Ignore)
}

// series returns the tags in whose series the token counts, each once.
func (r Rules) series(t simulator.Token) map[string]bool {
	out := map[string]bool{}
	tags, _ := r.Tags.Map(t.Tags)
	for _, tag := range tags {
		if r.Own != nil && !r.Own(tag) {
			tag = index.OtherTag
		}
		out[tag] = true
	}
	return out
}

func carries(t simulator.Token, re *regexp.Regexp) bool {
	return slices.ContainsFunc(t.Tags, re.MatchString)
}

func (g *Group) count(t simulator.Token, rules Rules, now time.Time) {
	g.Statuses[t.Status]++
	if t.Status != "WAITING" {
		return
	}
	for _, d := range rules.Near {
		if !t.TimeoutAt.IsZero() && !t.TimeoutAt.Before(now) && !t.TimeoutAt.After(now.Add(d.Value)) {
			g.Near[d.Label]++
		}
	}
	for _, d := range rules.Stuck {
		if t.CreatedAt.Before(now.Add(-d.Value)) {
			g.Stuck[d.Label]++
		}
	}
	for _, rule := range rules.ExpectedWait {
		if rule.Match == nil || carries(t, rule.Match) {
			if now.Sub(t.CreatedAt) > rule.Wait {
				g.Late++
			}
			break
		}
	}
	if created := t.CreatedAt.Truncate(time.Millisecond); g.Oldest.IsZero() || created.Before(g.Oldest) {
		g.Oldest = created
	}
	switch {
	case t.TimeoutAt.IsZero():
		g.WithoutTimeout++
	case t.TimeoutAt.Before(now):
		g.Overdue++
	case g.NextTimeout.IsZero() || t.TimeoutAt.Before(g.NextTimeout):
		g.NextTimeout = t.TimeoutAt.Truncate(time.Millisecond)
	}
}

// Samples returns the samples that a scrape has for the count, under the names that name
// returns. Its arguments are a metric, without the prefix triggerdev_waitpoint_, and
// pairs of a label's name and value.
func (c Count) Samples(rules Rules, name func(metric string, labels ...string) string) map[string]float64 {
	out := map[string]float64{}
	group := func(prefix string, g *Group, tag ...string) {
		put := func(metric string, v float64, labels ...string) {
			out[name(prefix+metric, append(labels, tag...)...)] = v
		}
		for status, n := range g.Statuses {
			put("tokens", float64(n), "status", status)
		}
		for _, d := range rules.Near {
			put("tokens_near_timeout", float64(g.Near[d.Label]), "within", d.Label)
		}
		for _, d := range rules.Stuck {
			put("tokens_stuck", float64(g.Stuck[d.Label]), "after", d.Label)
		}
		put("tokens_overdue", float64(g.Overdue))
		if rules.ExpectedWait != nil {
			put("tokens_late", float64(g.Late))
		}
		if !g.Oldest.IsZero() {
			put("oldest_waiting_timestamp_seconds", seconds(g.Oldest))
		}
	}
	group("", c.Total)
	out[name("tokens_without_timeout")] = float64(c.Total.WithoutTimeout)
	if !c.Total.NextTimeout.IsZero() {
		out[name("next_timeout_timestamp_seconds")] = seconds(c.Total.NextTimeout)
	}
	for tag, g := range c.Tags {
		group("tagged_", g, "tag", tag)
	}
	if rules.Tags.Require != nil || rules.Tags.Ignore != nil {
		for status, n := range c.Ignored {
			out[name("tokens_ignored", "status", status)] = float64(n)
		}
	}
	return out
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
