// Package index turns listings of waitpoint tokens into a picture of them.
//
// Two kinds of statement come in. A page, from whatever listing, proves that
// its tokens exist with these statuses: Observe. A whole listing also proves
// that nothing else is there: Begin, Add for each page, Close. What a token's
// status was never comes from anything but a page that showed it.
//
// No count depends on the order in which the service lists tokens. A token is
// known by its id and createdAt, neither of which ever changes; WAITING tokens
// are held whole, finished ones as 24 bytes in a B-tree ordered by createdAt,
// which is the order in which a moving window lets go of them.
//
// An Index has one owner and is not safe for concurrent use. The Snapshots that
// it cuts are immutable and may be shared. It has no clock: every call says what
// time it is.
package index

import (
	"hash/maphash"
	"math"
	"time"

	"waitpoint_exporter/client"

	"github.com/tidwall/btree"
)

// Options are the rules of one environment's picture.
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
	// Lag is how long a change may take to reach every replica the service
	// reads from. A listing that contradicts one from less than Lag ago proves
	// nothing.
	Lag time.Duration
	// Horizon is how long a Snapshot must stay right as the window moves.
	Horizon time.Duration
}

// Finished describes a token that was seen to finish.
type Finished struct {
	ID     string
	Status client.Status
	// Wait is completedAt - createdAt in seconds, never negative; a
	// time.Duration ends at 292 years. HasWait is false where the service gave no
	// completedAt.
	Wait    float64
	HasWait bool
}

// Changes tell what a call found, for the caller's counters.
type Changes struct {
	// Finished are the tokens seen to finish since Loaded was called.
	Finished []Finished
	// Statuses are those met for the first time that the client does not know.
	Statuses []client.Status
	// Known is the number of tokens that the picture had already, in whatever status.
	Known int
}

// Index is the picture of one environment while it is being painted.
type Index struct {
	opts     Options
	seed     maphash.Seed
	statuses []client.Status // By status number; 0 is WAITING.
	sets     *setTable
	flow     flow

	waiting    map[string]*held
	unresolved map[string]*held
	finished   *btree.BTreeG[entry]
	size       int // Of the waiting and the unresolved.

	listings    uint32 // Whole WAITING listings begun.
	turn        uint8  // The current window listing, modulo 256.
	complete    bool   // A whole WAITING listing has been closed.
	loaded      bool
	loadedLine  int64
	cutoff      int64 // Where the window has come to: what was created before is let go of.
	created     uint64
	corrections uint64
}

// Numbers of the statuses that the client knows.
const (
	waitingStatus uint8 = iota
	completedStatus
	timedOutStatus
	// Past this many, statuses that the client does not know count together.
	maxStatuses = 32
)

// none stands for an absent time in milliseconds.
const none = math.MinInt64

// held is a token that waits, or that has left WAITING with its outcome unknown.
type held struct {
	token     *Token
	set       uint32
	firstSeen time.Time
	left      time.Time // When a listing proved that it had left WAITING.
	listed    uint32    // The last whole WAITING listing that showed it.
	turn      uint8     // The last window listing during which it was seen.
	suspect   bool      // Not listed, but too young for that to prove anything.
	outside   bool      // The window has let go of it: it counts nowhere.
}

// entry is a finished token.
type entry struct {
	created int64 // Milliseconds.
	hash    uint64
	set     uint32
	status  uint8
	turn    uint8
}

func before(a, b entry) bool {
	if a.created != b.created {
		return a.created < b.created
	}
	return a.hash < b.hash
}

// New returns an empty Index.
func New(opts Options) *Index {
	return &Index{
		opts:       opts,
		seed:       maphash.MakeSeed(),
		statuses:   []client.Status{client.StatusWaiting, client.StatusCompleted, client.StatusTimedOut},
		sets:       newSetTable(),
		waiting:    map[string]*held{},
		unresolved: map[string]*held{},
		finished:   btree.NewBTreeGOptions(before, btree.Options{NoLocks: true}),
		cutoff:     none,
	}
}

// SetBack reports whether the window at the given time begins more than Lag before
// where it has begun already, so that tokens that were let go of are in it again:
// the clock has been set back. Short of that the window waits for the clock.
func (x *Index) SetBack(now time.Time) bool { return x.opts.setBack(x.cutoff, now) }

func (o Options) setBack(cutoff int64, now time.Time) bool {
	return o.Period > 0 && cutoff != none && ceilMilli(now.Add(o.Lag-o.Period)) < cutoff
}

// Anew returns an empty Index with the same rules, which goes on counting where x
// stands.
func (x *Index) Anew() *Index {
	y := New(x.opts)
	y.created, y.corrections, y.flow = x.created, x.corrections, x.flow
	return y
}

// Observe takes in a page that was asked for at the given time: its tokens
// exist, with these statuses. It keeps none of the caller's slices.
func (x *Index) Observe(page []client.Token, at time.Time) Changes {
	var ch Changes
	for i := range page {
		x.observe(&page[i], at, &ch)
	}
	return ch
}

// verdict tells how a token compared with the picture.
type verdict int

const (
	verdictKnown verdict = iota
	verdictNew
	verdictMoved   // It has finished since.
	verdictDiffers // The picture was wrong about a fact that never changes.
	verdictOutside // Finished and outside the window: seen before or not, it is not held.
)

func (x *Index) observe(t *client.Token, at time.Time, ch *Changes) verdict {
	key := entry{created: t.CreatedAt.UnixMilli(), hash: maphash.String(x.seed, t.ID)}
	var v verdict
	if t.Status == client.StatusWaiting {
		v = x.observeWaiting(t, key, at)
	} else {
		v = x.observeFinished(t, key, at, ch)
	}
	switch v {
	case verdictNew:
		if x.loaded && key.created > x.loadedLine && x.startsCount(t) {
			x.created++
		}
	case verdictKnown, verdictMoved, verdictDiffers:
		ch.Known++
	case verdictOutside:
	}
	return v
}

func (x *Index) observeWaiting(t *client.Token, key entry, at time.Time) verdict {
	if old, ok := x.finished.Get(key); ok {
		// Finished is for ever: this row comes from a replica that lags.
		x.mark(old)
		return verdictKnown
	}
	if h := x.unresolved[t.ID]; h != nil {
		h.turn = x.turn
		if at.Sub(h.left) <= x.opts.Lag {
			return verdictKnown
		}
		// No replica is that far behind, so it was never gone.
		delete(x.unresolved, t.ID)
		h.left, h.listed, h.firstSeen = time.Time{}, x.listings, at
		x.waiting[t.ID] = h
		if !h.outside {
			x.sets.count(h.set, waitingStatus)
		}
		return verdictDiffers
	}
	h := x.waiting[t.ID]
	if h != nil {
		h.suspect, h.turn = false, x.turn
		return verdictKnown
	}
	tags, set := x.setOf(t.Tags)
	h = &held{token: newToken(t, tags, x.opts.expected(t.Tags)), firstSeen: at, turn: x.turn, set: set}
	x.sets.add(h.set, waitingStatus)
	x.waiting[t.ID] = h
	x.size += h.token.size()
	return verdictNew
}

func (x *Index) observeFinished(t *client.Token, key entry, at time.Time, ch *Changes) verdict {
	key.status, key.turn = x.status(t.Status, ch), x.turn
	old, known := x.finished.Get(key)
	if known && old.status == key.status {
		x.mark(old)
		return verdictKnown
	}
	v := verdictNew
	if known {
		x.drop(old)
		v = verdictDiffers
	}
	// Number the set before the token leaves its old place, so that the set and
	// its tags, and with them their series, live on.
	_, key.set = x.setOf(t.Tags)
	x.sets.add(key.set, key.status)
	if x.inWindow(key.created, at) {
		x.finished.Set(key)
	} else {
		v = verdictOutside
		defer x.sets.remove(key.set, key.status)
	}
	if h := x.waiting[t.ID]; h != nil {
		x.leave(t.ID, h)
		x.size -= h.token.size()
		if !h.outside {
			x.sets.release(h.set)
		}
		v = verdictMoved
	} else if h := x.unresolved[t.ID]; h != nil {
		x.forget(t.ID, h)
		v = verdictMoved
	}
	if x.loaded && (v == verdictMoved || v == verdictNew && key.created > x.loadedLine) {
		f := Finished{ID: t.ID, Status: x.statuses[key.status], HasWait: !t.CompletedAt.IsZero()}
		if f.HasWait {
			f.Wait = float64(max(0, t.CompletedAt.UnixMilli()-key.created)) / 1000
		}
		if x.endsCount(t, f) {
			ch.Finished = append(ch.Finished, f)
		}
	}
	return v
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
	for n, known := range x.statuses {
		if known == s {
			return uint8(n)
		}
	}
	if len(x.statuses) >= maxStatuses {
		return x.status(x.statuses[maxStatuses-1], ch)
	}
	ch.Statuses = append(ch.Statuses, s)
	x.statuses = append(x.statuses, s)
	return uint8(len(x.statuses) - 1)
}

func (x *Index) inWindow(created int64, now time.Time) bool {
	return x.opts.Period == 0 || created >= max(x.cutoff, ceilMilli(now.Add(-x.opts.Period)))
}

// Loaded says that the window's finished tokens have all been listed. Tokens
// created after line count as created from now on, and those that finish from
// now on are reported as Finished. Only the first call counts.
func (x *Index) Loaded(line time.Time) {
	if !x.loaded {
		x.loaded, x.loadedLine = true, line.UnixMilli()
	}
}

// IsLoaded reports whether Loaded has been called.
func (x *Index) IsLoaded() bool { return x.loaded }

// Len returns the number of tokens known: waiting, unresolved and finished.
func (x *Index) Len() int { return len(x.waiting) + len(x.unresolved) + x.finished.Len() }

// Size returns roughly how many bytes all that is known takes.
func (x *Index) Size() int {
	const finished = 40 // An entry and its share of the tree.
	return x.size + x.sets.size + finished*x.finished.Len()
}

// WaitingLen returns the number of WAITING tokens.
func (x *Index) WaitingLen() int { return len(x.waiting) }

// Unresolved returns the tokens whose outcome is to be looked up, in no order:
// those that have left WAITING, and those that a listing did not show though
// they are too young for that to prove that they left.
func (x *Index) Unresolved() []*Token {
	out := make([]*Token, 0, len(x.unresolved))
	for _, h := range x.unresolved {
		out = append(out, h.token)
	}
	for _, h := range x.waiting {
		if h.suspect {
			out = append(out, h.token)
		}
	}
	return out
}

// IsUnresolved reports whether the token with this id still needs a look-up.
func (x *Index) IsUnresolved(id string) bool {
	if x.unresolved[id] != nil {
		return true
	}
	h := x.waiting[id]
	return h != nil && h.suspect
}

// Gone takes in a whole listing of everything that was created at the same
// instant as the token, asked for at the given time, which did not show it. If
// no lag can explain that, the service has deleted it: it has no outcome.
func (x *Index) Gone(id string, at time.Time) {
	if h := x.unresolved[id]; h != nil && at.Sub(h.left) > x.opts.Lag {
		x.forget(id, h)
	}
}

// forget drops an unresolved token.
func (x *Index) forget(id string, h *held) {
	delete(x.unresolved, id)
	x.size -= h.token.size()
	if !h.outside {
		x.sets.release(h.set)
	}
}

// leave takes a token out of WAITING; its set stays held for its tags' sake.
func (x *Index) leave(id string, h *held) {
	delete(x.waiting, id)
	if !h.outside {
		x.sets.uncount(h.set, waitingStatus)
	}
}
