package index

import (
	"regexp"
	"slices"

	"waitpoint_exporter/client"
)

// Tokens that TagRules.Require or TagRules.Ignore leave out are held like all
// others, so that their changes are seen, but under a set of their own: they are
// in Snapshot.Ignored, and in no other group, list or flow.

// ignoredSet is the set of the tokens that are not counted.
const ignoredSet uint32 = 1

// selects reports whether the rules leave any token out.
func (r TagRules) selects() bool { return r.Require != nil || r.Ignore != nil }

// Counts reports whether a token with the given tags is counted at all.
func (r TagRules) Counts(raw []string) bool {
	return (r.Require == nil || slices.ContainsFunc(raw, matches(r.Require))) &&
		(r.Ignore == nil || !slices.ContainsFunc(raw, matches(r.Ignore)))
}

func matches(re *regexp.Regexp) func(string) bool {
	return re.MatchString
}

// setOf returns the tags that a token with the given tags is counted under, and
// their set. As with number, the caller must count a token under the set before
// the next call.
func (x *Index) setOf(raw []string) (countedAs []string, set uint32) {
	if !x.opts.Tags.Counts(raw) {
		return nil, ignoredSet
	}
	countedAs, _ = x.opts.Tags.Map(raw)
	return countedAs, x.sets.number(countedAs)
}

// startsCount reports whether a new token counts as created, and notes it for
// its tags if so.
func (x *Index) startsCount(t *client.Token) bool {
	if !x.opts.Tags.Counts(t.Tags) {
		return false
	}
	tags, _ := x.opts.Tags.Map(t.Tags)
	x.flow.add(event{tags: tags})
	return true
}

// endsCount reports whether a token that finished counts, and notes it for its
// tags if so.
func (x *Index) endsCount(t *client.Token, f Finished) bool {
	if !x.opts.Tags.Counts(t.Tags) {
		return false
	}
	if f.HasWait {
		tags, _ := x.opts.Tags.Map(t.Tags)
		x.flow.add(event{tags: tags, finished: &f})
	}
	return true
}
