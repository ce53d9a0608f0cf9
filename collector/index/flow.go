package index

// Created and finished tokens are also counted by tag, under the label that the tag has at
// that time: its own, or OtherTag. Labels are assigned by Cut, so events between two Cuts
// are counted at the next one. A tag that gets its own series later starts at zero, and
// earlier counts stay under OtherTag, so that no counter decreases while its series exists.

// TagFinished is a token that was seen to finish, under one label of its tags.
type TagFinished struct {
	Tag string
	Finished
}

// An event is a token that was created or, where finished is set, that finished.
type event struct {
	tags     []string // The tags that have no label yet.
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

// TakeFlow returns the finished tokens of the last Cuts by label, and the labels that no
// token has any more, whose counters start again. Each is returned once.
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

// settle counts an event and returns it with the tags whose label is not decided: while
// the history loads, a tag without WAITING tokens may still get a series. A token that had
// left the window when it finished may have been the last of its tag. If the tag had its
// own series until the last Cut, that has ended; otherwise it was folded.
func (x *Index) settle(e event, last map[string]bool, open bool) event {
	var later []string
	folded := false
	for _, tag := range e.tags {
		id, ok := x.sets.byText[tag]
		switch {
		case !ok && last[tag] && tag != OtherTag:
		case !ok:
			folded = true
		case tag == "" || x.sets.names[id].hasSeries:
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

// hasOpenSeries reports whether a tag without a series may still get one.
func (x *Index) hasOpenSeries() bool {
	return !x.loaded && x.sets.series() < x.opts.Tags.Limit
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
		case name.hasSeries || name.text == "":
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
