package index

import (
	"encoding/binary"
	"slices"
)

// Tokens share few combinations of tags, so each token holds the number of its
// combination, its set, and the counts are kept for each set. A set, and each
// tag in it, is forgotten when its last token goes: memory follows what exists.

// ignoredSet is the set of the tokens that TagRules.Require or TagRules.Ignore leave
// out. They are held like all others, so that their changes are seen, but they are in
// Snapshot.Ignored, and in no other group, list or flow.
const ignoredSet uint32 = 1

type tagSet struct {
	tags   []uint32 // Numbers of its tags, ascending.
	counts []uint32 // Tokens by status number.
	refs   int      // Tokens that hold it: those counted, and those with no known status.
	key    string
}

type tagName struct {
	text      string
	sets      int  // Sets that have this tag.
	hasSeries bool // Whether it has a series of its own.
}

// setTable numbers tags and sets; number 0 is the set of tokens counted under
// no tag at all, ignoredSet that of tokens that are not counted. Both stay.
type setTable struct {
	byText   map[string]uint32
	names    []tagName
	freeTags []uint32

	byKey    map[string]uint32
	sets     []tagSet
	freeSets []uint32
	// Roughly the bytes that tags and sets take, those kept for later left out.
	size int

	ids []uint32 // Scratch space.
	key []byte
}

func newSetTable() *setTable {
	t := &setTable{byText: map[string]uint32{}, byKey: map[string]uint32{}}
	t.byKey[""] = 0
	t.sets = append(t.sets, tagSet{}, tagSet{})
	return t
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

// number returns the set of the given tags, which are distinct. The caller must
// count a token under it before the next call: until then nothing holds it.
func (t *setTable) number(tags []string) uint32 {
	t.ids = t.ids[:0]
	for _, text := range tags {
		id, ok := t.byText[text]
		if !ok {
			id = t.newTag(text)
		}
		t.ids = append(t.ids, id)
	}
	slices.Sort(t.ids)
	t.key = t.key[:0]
	for _, id := range t.ids {
		t.key = binary.BigEndian.AppendUint32(t.key, id)
	}
	if n, ok := t.byKey[string(t.key)]; ok {
		return n
	}
	set := tagSet{tags: slices.Clone(t.ids), key: string(t.key)}
	t.size += set.size()
	for _, id := range set.tags {
		t.names[id].sets++
	}
	var n uint32
	if last := len(t.freeSets) - 1; last >= 0 {
		n, t.freeSets = t.freeSets[last], t.freeSets[:last]
		t.sets[n] = set
	} else {
		n = uint32(len(t.sets))
		t.sets = append(t.sets, set)
	}
	t.byKey[set.key] = n
	return n
}

func (t *setTable) newTag(text string) uint32 {
	var id uint32
	if last := len(t.freeTags) - 1; last >= 0 {
		id, t.freeTags = t.freeTags[last], t.freeTags[:last]
		t.names[id] = tagName{text: text}
	} else {
		id = uint32(len(t.names))
		t.names = append(t.names, tagName{text: text})
	}
	t.byText[text] = id
	t.size += t.names[id].size()
	return id
}

// Their share of the maps and of a snapshot's groups is in it.
func (s *tagSet) size() int  { return 256 + 8*len(s.tags) }
func (n *tagName) size() int { return 384 + len(n.text) }

// add counts a token under set n and holds the set for it.
func (t *setTable) add(n uint32, status uint8) {
	t.sets[n].refs++
	t.count(n, status)
}

// remove takes a token from set n and lets go of the set.
func (t *setTable) remove(n uint32, status uint8) {
	t.uncount(n, status)
	t.release(n)
}

func (t *setTable) count(n uint32, status uint8) {
	set := &t.sets[n]
	for len(set.counts) <= int(status) {
		set.counts = append(set.counts, 0)
	}
	set.counts[status]++
}

// uncount leaves the set held: its token's status is not known for the moment.
func (t *setTable) uncount(n uint32, status uint8) { t.sets[n].counts[status]-- }

func (t *setTable) release(n uint32) {
	set := &t.sets[n]
	if set.refs--; set.refs > 0 || n <= ignoredSet {
		return
	}
	for _, id := range set.tags {
		name := &t.names[id]
		if name.sets--; name.sets == 0 {
			delete(t.byText, name.text)
			t.size -= name.size()
			*name = tagName{}
			t.freeTags = append(t.freeTags, id)
		}
	}
	delete(t.byKey, set.key)
	t.size -= set.size()
	*set = tagSet{}
	t.freeSets = append(t.freeSets, n)
}

// series returns how many tags have a series of their own.
func (t *setTable) series() (n int) {
	for i := range t.names {
		if t.names[i].hasSeries {
			n++
		}
	}
	return n
}
