package index

// What happens to tokens is counted by tag, too, under the label that the tag has
// then: its own, or OtherTag. A label is given by a Cut, so what happens between
// two of them waits for the next. A tag that gets a series of its own later
// starts at zero, and what was counted under OtherTag stays there: no counter
// ever goes back as long as its series lives.

// TagFinished is a token that was seen to finish, under one label of its tags.
type TagFinished struct {
	Tag string
	Finished
}

// An event is a token that was created or, where finished is set, that finished.
type event struct {
	tags     []string // That it counts under and that have no label yet.
	finished *Finished
}

// flow counts events by label.
type flow struct {
	pending []event
	created map[string]uint64
	series  map[string]bool // The labels as of the last Cut, and those counted since.

	finished []TagFinished // For TakeFlow, as is gone.
	gone     []string
}

func (f *flow) add(e event) { f.pending = append(f.pending, e) }

// TakeFlow returns the tokens that the last Cuts found finished, by label, and the
// labels that no token has any more: what is counted under these starts anew. Each
// is returned once.
func (x *Index) TakeFlow() (finished []TagFinished, gone []string) {
	finished, gone = x.flow.finished, x.flow.gone
	x.flow.finished, x.flow.gone = nil, nil
	return finished, gone
}

// settleFlow counts what has happened since the last Cut, under the labels of
// this one.
func (x *Index) settleFlow() {
	f := &x.flow
	if f.created == nil {
		f.created, f.series = map[string]uint64{}, map[string]bool{}
	}
	last := f.series
	x.endSeries()
	if len(f.pending) == 0 {
		return
	}
	open := x.hasOpenSeries()
	later := f.pending[:0]
	for _, e := range f.pending {
		if e = x.settle(e, last, open); len(e.tags) > 0 {
			later = append(later, e)
		}
	}
	clear(f.pending[len(later):])
	f.pending = later
}

// settle counts an event, and returns it with the tags whose label is still open:
// while the history loads, a tag none of whose tokens waits may get a series yet.
// A tag may have gone with the token, past the window when it finished: if it had
// a series of its own until the last Cut, that has ended; if not, it was folded.
func (x *Index) settle(e event, last map[string]bool, open bool) event {
	var later []string
	folded := false
	for _, tag := range e.tags {
		id, ok := x.sets.byText[tag]
		switch {
		case !ok && last[tag] && tag != OtherTag:
		case !ok:
			folded = true
		case tag == "" || x.sets.names[id].kept:
			x.flow.count(tag, e)
		case open && tag != OtherTag:
			later = append(later, tag)
		default:
			folded = true
		}
	}
	if folded && (!x.loaded || x.flow.series[OtherTag]) {
		x.flow.count(OtherTag, e)
	}
	e.tags = later
	return e
}

func (f *flow) count(label string, e event) {
	f.series[label] = true
	if e.finished == nil {
		f.created[label]++
	} else {
		f.finished = append(f.finished, TagFinished{label, *e.finished})
	}
}

// hasOpenSeries reports whether a tag without a series may get one for what is
// known already.
func (x *Index) hasOpenSeries() bool {
	if x.loaded {
		return false
	}
	kept := 0
	for i := range x.sets.names {
		if x.sets.names[i].kept {
			kept++
		}
	}
	return x.opts.Tags.Limit == 0 || kept < x.opts.Tags.Limit
}

// endSeries forgets the counts of labels that no token has any more. Until the
// history is loaded nobody knows which these are.
func (x *Index) endSeries() {
	if !x.loaded {
		return
	}
	series := make(map[string]bool, len(x.flow.series))
	for i := range x.sets.names {
		switch name := &x.sets.names[i]; {
		case name.sets == 0:
		case name.kept || name.text == "":
			series[name.text] = true
		default:
			series[OtherTag] = true
		}
	}
	for label := range x.flow.series {
		if !series[label] {
			delete(x.flow.created, label)
			x.flow.gone = append(x.flow.gone, label)
		}
	}
	x.flow.series = series
}
