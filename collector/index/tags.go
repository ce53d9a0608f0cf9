package index

import (
	"regexp"
	"slices"
)

// OtherTag is the label value under which tags past the limit are counted.
const OtherTag = "__other__"

// TagRules decide under which tags a token is counted. The zero value counts
// each token under all of its tags. Rules are read only: one value may serve
// many indexes at once.
type TagRules struct {
	// Require, if set, lets only tokens count that have a tag which it matches;
	// Ignore, if set, leaves out tokens that have a tag which it matches. Both must
	// be anchored: they match whole tags, as the token has them.
	Require, Ignore *regexp.Regexp
	// Include, if set, keeps only the tags it matches; Exclude, if set, leaves
	// out those it matches. Both must be anchored: they match whole tags.
	Include, Exclude *regexp.Regexp
	// Rewrite holds the rules in order; the first that matches a tag makes the
	// tag's new text, the others are not tried.
	Rewrite []Rewrite
	// Limit is the number of tags with series of their own; the others are
	// counted under OtherTag. Zero means no limit.
	Limit int
}

// A Rewrite replaces each tag that Match matches, whole, by Replacement, in
// which $1 or ${name} stand for what the groups matched.
type Rewrite struct {
	Match       *regexp.Regexp
	Replacement string
}

// Counts reports whether a token with the given tags is counted at all.
func (r TagRules) Counts(raw []string) bool {
	return (r.Require == nil || slices.ContainsFunc(raw, r.Require.MatchString)) &&
		(r.Ignore == nil || !slices.ContainsFunc(raw, r.Ignore.MatchString))
}

// Map returns the tags a token with the given tags is counted under, sorted and
// each once. It reports false for a token that had tags but lost all of them to
// Include and Exclude: it counts under none. A token without tags counts under
// the empty tag.
func (r TagRules) Map(raw []string) ([]string, bool) {
	if len(raw) == 0 {
		return []string{""}, true
	}
	out := make([]string, 0, len(raw))
	for _, tag := range raw {
		if (r.Include == nil || r.Include.MatchString(tag)) && (r.Exclude == nil || !r.Exclude.MatchString(tag)) {
			out = append(out, r.rewrite(tag))
		}
	}
	if len(out) == 0 {
		return nil, false
	}
	slices.Sort(out)
	return slices.Compact(out), true
}

func (r TagRules) rewrite(tag string) string {
	for _, rule := range r.Rewrite {
		if m := rule.Match.FindStringSubmatchIndex(tag); m != nil {
			return string(rule.Match.ExpandString(nil, rule.Replacement, tag, m))
		}
	}
	return tag
}
