// Package index turns pages of waitpoint tokens into counts of them.
//
// Its input is of two kinds. Observe records the tokens of a page: they exist with these
// statuses. Lack and Gone record absence: a page that covers a part of the list proves
// that no other token is there, and Missing returns those that it should have shown. A
// status comes only from a page that showed it.
//
// No single answer removes a token for good. A WAITING token that is missing on one page
// is a suspect. It counts as WAITING until Settle, and is removed only when its outcome is
// known, or when two requests for its place, a lag apart, did not show it either. A
// finished token is removed when two whole turns did not show it (CloseTurn). Removed
// tokens are remembered, so that they are not counted again if they come back.
//
// No count depends on the order in which the service lists tokens. A token is identified
// by its id and createdAt, which never change. WAITING tokens are kept whole, finished
// ones as 24 bytes in a B-tree in order of createdAt, the order in which they leave a
// moving window.
//
// An Index has one owner and is not safe for concurrent use. Its Snapshots are immutable
// and may be shared. It has no clock: each call has the time as an argument.
package index

import (
	"cmp"
	"hash/maphash"
	"math"
	"slices"
	"time"

	"waitpoint_exporter/client"

	"github.com/tidwall/btree"
)

// Options are the counting rules of one environment.
type Options struct {
	// Period is the window: finished tokens count only while createdAt is not
	// before now - Period. Zero: all of them count.
	Period time.Duration
	// WaitingWithinPeriod puts WAITING tokens under the window too.
	WaitingWithinPeriod bool
	// Tags say under which tags a token counts.
	Tags TagRules
	// ExpectedWait are the rules by which WAITING tokens are late, in their order.
	ExpectedWait []ExpectedWait
	// Lag is the maximum time that a change takes to reach each replica of the service.
	// A listing that contradicts one from less than Lag before proves nothing.
	Lag time.Duration
	// Horizon is how long a Snapshot must stay correct as the window moves.
	Horizon time.Duration
}

// Finished describes a token that was seen to finish.
type Finished struct {
	ID     string
	Status client.Status
	// Wait is completedAt - createdAt in seconds, never negative. It is no
	// time.Duration, which ends at 292 years. HasWait is false without completedAt.
	Wait    float64
	HasWait bool
}

// Changes are the changes that a call found, for the caller's counters.
type Changes struct {
	// Finished are the tokens seen to finish since StartFlow was called.
	Finished []Finished
	// Created are the tokens that count as created, from StartFlow on.
	Created []Arrival
	// New is the number of tokens that were not known, without finished ones outside the
	// window. Differs is the number of tokens whose known status was wrong.
	New, Differs int
	// Returned is the number of WAITING tokens that were missing before.
	Returned int
	// Behind is whether a row shows that a replica is behind by more than Lag.
	Behind bool
	// Statuses are new statuses that the client does not know.
	Statuses []client.Status
}

// An Arrival is a token that counts as created.
type Arrival struct {
	ID        string
	CreatedAt time.Time
}

// Index holds what is known of one environment's tokens.
type Index struct {
	opts     Options
	seed     maphash.Seed
	statuses []client.Status // By status number; 0 is WAITING.
	sets     *setTable
	flow     flow

	waiting  btree.Map[string, *held] // By id.
	missing  btree.Map[string, *held] // Suspects, and tokens that have left WAITING without a known outcome.
	left     int                      // How many of the missing have left WAITING.
	finished *btree.BTreeG[entry]
	near     btree.PathHint // Where finished was last searched; the next token is usually beside it.
	past     map[identity]past
	pruned   time.Time // When past was last pruned.
	size     int       // Of waiting and missing.

	turn        uint8     // The current turn of the verify walk, modulo 256.
	turnBegun   time.Time // When it began.
	behind      time.Time // When a page last proved that a replica is behind by more than Lag.
	epoch       time.Time // The zero of entry.seen.
	complete    bool      // All WAITING tokens are known.
	loaded      bool      // All finished tokens of the window are known.
	flowing     bool      // StartFlow has been called.
	flowLine    int64
	line        int64 // All tokens created before it were listed.
	cutoff      int64 // The start of the window: finished tokens created before it are dropped.
	created     uint64
	corrections uint64
}

// Numbers of the statuses that the client knows.
const (
	waitingStatus uint8 = iota
	completedStatus
	timedOutStatus
	// Further statuses that the client does not know count together.
	maxStatuses = 32
)

// none stands for an absent time in milliseconds.
const none = math.MinInt64

// held is a token that is WAITING, or has left WAITING without a known outcome.
type held struct {
	token     *Token
	set       uint32
	firstSeen time.Time
	shown     time.Time // When it was last shown as WAITING.
	lacked    time.Time // When it was first missing since then; zero if it was not.
	looked    time.Time // When its outcome was last looked up.
	lost      time.Time // When a request for its own place first did not show it in any status.
	sure      bool      // It was missing at a time when every replica had it.
	left      bool      // It no longer counts as WAITING.
	outside   bool      // It has left the window, and counts nowhere.
}

// entry is a finished token.
type entry struct {
	identity

	set    uint32
	seen   uint16 // Minutes from the epoch to when it was first seen finished, modulo 2^16.
	status uint8
	turn   uint8
}

func before(a, b entry) bool {
	return a.created < b.created || a.created == b.created && a.hash < b.hash
}

// New returns an empty Index.
func New(opts Options) *Index {
	opts.Tags.Limit = cmp.Or(opts.Tags.Limit, math.MaxInt)
	return &Index{
		opts:     opts,
		seed:     maphash.MakeSeed(),
		statuses: []client.Status{client.StatusWaiting, client.StatusCompleted, client.StatusTimedOut},
		sets:     newSetTable(),
		finished: btree.NewBTreeGOptions(before, btree.Options{NoLocks: true, Degree: 128}),
		past:     map[identity]past{},
		cutoff:   none,
		line:     none,
	}
}

// Observe records the tokens of a page that was requested at the given time. It does not
// keep the caller's slices.
func (x *Index) Observe(page []client.Token, at time.Time) Changes {
	var ch Changes
	x.prune(at)
	for i := range page {
		t := &page[i]
		key := entry{identity: x.identify(t.ID, t.CreatedAt)}
		if t.Status == client.StatusWaiting {
			x.observeWaiting(t, key, at, &ch)
		} else {
			x.observeFinished(t, key, at, &ch)
		}
	}
	return ch
}

// verdict is the result of comparing a finished token with what was known.
type verdict int

const (
	verdictKnown verdict = iota
	verdictNew
	verdictMoved   // It has finished since.
	verdictDiffers // What was known was wrong about a fact that never changes.
)

// arrive counts a token that was not known, under the given tags and the key's set.
func (x *Index) arrive(t *client.Token, key entry, countedAs []string, at time.Time, ch *Changes) {
	counts := x.counts(t, at)
	if counts || t.Status == client.StatusWaiting || x.inWindow(key.created, at) {
		ch.New++
	}
	if !counts {
		return
	}
	ch.Created = append(ch.Created, Arrival{t.ID, t.CreatedAt})
	if key.set != ignoredSet {
		x.created++
		x.flow.pending = append(x.flow.pending, event{tags: countedAs})
	}
}

// counts reports whether a token that was not known counts as created. One that finished
// before counting began does not, even if it is dated ahead. Finished tokens outside the
// window are not kept, so they may have been counted before.
func (x *Index) counts(t *client.Token, at time.Time) bool {
	created := t.CreatedAt.UnixMilli()
	if !x.flowing || created <= x.flowLine || !t.CompletedAt.IsZero() && t.CompletedAt.UnixMilli() < x.flowLine {
		return false
	}
	return created > x.line || x.inWindow(created, at)
}

// Known records that all tokens created before line were listed.
func (x *Index) Known(line time.Time) { x.line = max(x.line, line.UnixMilli()) }

func (x *Index) observeWaiting(t *client.Token, key entry, at time.Time, ch *Changes) {
	if old, ok := x.finished.Get(key); ok {
		// A finished token stays finished: this row is from a lagging replica.
		if x.minute(at)-old.seen >= 2 && x.minute(at)-old.seen < math.MaxUint16/2 {
			x.Behind(at)
			ch.Behind = true
		}
		x.mark(old)
		return
	}
	if x.wasFinished(key.identity, at) {
		return
	}
	h, ok := x.waiting.Get(t.ID)
	if !ok {
		h, ok = x.missing.Get(t.ID) // It has left.
	}
	if ok {
		x.seeWaiting(t.ID, h, at, ch)
		return
	}
	var tags []string
	tags, key.set = x.setOf(t.Tags)
	h = &held{token: newToken(t, tags, x.opts.expected(t.Tags)), firstSeen: at, shown: at, set: key.set}
	x.sets.add(h.set, waitingStatus)
	x.waiting.Set(t.ID, h)
	x.size += h.token.size()
	if _, removed := x.past[key.identity]; !removed {
		x.arrive(t, key, tags, at, ch)
	}
	delete(x.past, key.identity)
}

func (x *Index) observeFinished(t *client.Token, key entry, at time.Time, ch *Changes) {
	key.status, key.turn, key.seen = x.status(t.Status, ch), x.turn, x.minute(at)
	old, known := x.finished.GetHint(key, &x.near)
	if known && old.status == key.status {
		x.mark(old)
		return
	}
	v := verdictNew
	if known {
		x.drop(old)
		v = verdictDiffers
	}
	// The set is counted up before the token leaves its old place, so that the set and
	// its tags keep their series.
	var tags []string
	tags, key.set = x.setOf(t.Tags)
	x.sets.add(key.set, key.status)
	if x.takeOut(t.ID) {
		v = verdictMoved
	} else if v == verdictNew {
		v = x.finishedBefore(key, at)
	}
	if x.inWindow(key.created, at) {
		x.finished.SetHint(key, &x.near)
	} else {
		x.past[key.identity] = past{key.status, at.Add(memory)}
		x.sets.remove(key.set, key.status)
	}
	if x.flowing && key.set != ignoredSet && (v == verdictMoved || v == verdictNew && x.counts(t, at)) {
		f := Finished{ID: t.ID, Status: x.statuses[key.status], HasWait: !t.CompletedAt.IsZero()}
		if f.HasWait {
			f.Wait = float64(max(0, t.CompletedAt.UnixMilli()-key.created)) / 1000
			x.flow.pending = append(x.flow.pending, event{tags, &f})
		}
		ch.Finished = append(ch.Finished, f)
	}
	switch v {
	case verdictNew:
		x.arrive(t, key, tags, at, ch)
	case verdictDiffers:
		ch.Differs++
	case verdictKnown, verdictMoved:
	}
}

// minute returns entry.seen for a time.
func (x *Index) minute(at time.Time) uint16 {
	if x.epoch.IsZero() {
		x.epoch = at
	}
	return uint16(int64(at.Sub(x.epoch)/time.Minute) & math.MaxUint16)
}

func (x *Index) mark(e entry) {
	if e.turn != x.turn {
		e.turn = x.turn
		x.finished.Set(e)
	}
}

func (x *Index) drop(e entry) {
	x.finished.Delete(e)
	x.sets.remove(e.set, e.status)
}

func (x *Index) status(s client.Status, ch *Changes) uint8 {
	n := slices.Index(x.statuses, s)
	if n < 0 && len(x.statuses) < maxStatuses {
		ch.Statuses = append(ch.Statuses, s)
		x.statuses = append(x.statuses, s)
	}
	if n < 0 {
		n = len(x.statuses) - 1
	}
	return uint8(n)
}

// StartFlow records that the WAITING tokens are known, and the newest down to those created
// at line. From now on, unknown tokens created after line count as created, and tokens
// that finish are reported in Changes.Finished. Only the first call has an effect.
func (x *Index) StartFlow(line time.Time) {
	if !x.flowing {
		x.flowing, x.flowLine = true, line.UnixMilli()
	}
}

// Loaded records that all finished tokens of the window were listed.
func (x *Index) Loaded() { x.loaded = true }

// IsLoaded reports whether Loaded has been called.
func (x *Index) IsLoaded() bool { return x.loaded }

// Len returns the number of tokens known: waiting, unresolved and finished.
func (x *Index) Len() int { return x.waiting.Len() + x.left + x.finished.Len() }

// Size returns the approximate size of the Index in bytes.
func (x *Index) Size() int {
	const finished = 40 // An entry and its share of the tree.
	const remembered = 64
	return x.size + x.sets.size + finished*x.finished.Len() + remembered*len(x.past)
}

// WaitingLen returns the number of WAITING tokens.
func (x *Index) WaitingLen() int { return x.waiting.Len() }

// Reset forgets all tokens. Counters keep their values.
func (x *Index) Reset() {
	y := New(x.opts)
	y.seed, y.past, y.epoch, y.flow, y.flowing = x.seed, x.past, x.epoch, x.flow, x.flowing
	y.created, y.corrections, y.line, y.flowLine = x.created, x.corrections, x.line, max(x.flowLine, x.line)
	*x = *y
}

// Unload records that the history has to be listed again. Known tokens stay. Tokens that
// are found and are older than the newest known one do not count as created.
func (x *Index) Unload() { x.loaded, x.flowLine = false, max(x.flowLine, x.line) }
