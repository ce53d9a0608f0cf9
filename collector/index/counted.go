package index

import "slices"

// Tokens that TagRules.Require or TagRules.Ignore leave out are held like all
// others, so that their changes are seen, but under a set of their own: they are
// in Snapshot.Ignored, and in no other group, list or flow.

// ignoredSet is the set of the tokens that are not counted.
const ignoredSet uint32 = 1

// Counts reports whether a token with the given tags is counted at all.
func (r TagRules) Counts(raw []string) bool {
	return (r.Require == nil || slices.ContainsFunc(raw, r.Require.MatchString)) &&
		(r.Ignore == nil || !slices.ContainsFunc(raw, r.Ignore.MatchString))
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
