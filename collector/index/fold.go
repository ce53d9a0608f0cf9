package index

import (
	"cmp"
	"slices"
)

// assignSeries decides which tags keep a series of their own. The others, past
// Tags.Limit, fold into OtherTag. Free series go to the tags with the most WAITING
// tokens, then to those with the most tokens. Until the history is loaded only tags
// with WAITING tokens get one: the others' counts are not known yet.
func (x *Index) assignSeries() {
	t := x.sets
	free := x.opts.Tags.Limit - t.series()
	if free <= 0 {
		return
	}
	type rank struct {
		id             uint32
		waiting, total int
	}
	ranks := make([]rank, len(t.names))
	for _, set := range t.sets {
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
		return name.hasSeries || name.text == "" || name.text == OtherTag || r.total == 0 ||
			(!x.loaded && r.waiting == 0)
	})
	slices.SortFunc(ranks, func(a, b rank) int {
		return cmp.Or(cmp.Compare(b.waiting, a.waiting), cmp.Compare(b.total, a.total),
			cmp.Compare(t.names[a.id].text, t.names[b.id].text))
	})
	for _, r := range ranks[:min(len(ranks), free)] {
		t.names[r.id].hasSeries = true
	}
}
