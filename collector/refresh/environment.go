package refresh

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// lag bounds how far the service's replicas are behind and its hosts' clocks apart.
const lag = 30 * time.Second

// How often a long first listing says how far it is.
const progressEvery = 5 * time.Second

// Bounds on what is held of an environment, so that the process survives any
// listing. Reaching either takes about 3 GiB.
const (
	// MaxTokens is how many tokens are held.
	MaxTokens = 20_000_000
	// MaxBytes is how many bytes they take, with their tags and what is remembered
	// of the list, by rough count.
	MaxBytes = min(2<<30, math.MaxInt)
	// The loading of the history stops at so many tenths: the last one is left to
	// the tokens that wait, so that their numbers stay right.
	loadTenths = 9
)

// Lister begins listings; a *client.Client is one.
type Lister interface {
	Pager(opts client.ListOptions) *client.Pager
}

// Options set how an environment is kept fresh. All durations are positive.
type Options struct {
	// Interval is the time from the start of one refresh to the next.
	Interval time.Duration
	// MaxStaleness is the age past which a snapshot is no longer shown, and the
	// longest that a refresh may take.
	MaxStaleness time.Duration
	// VerifyInterval is the time in which every token of the window is listed again.
	VerifyInterval time.Duration
	// Concurrency is the number of requests at once while the history loads.
	Concurrency int
	// Period and the other rules of what counts.
	Period              time.Duration
	WaitingWithinPeriod bool
	Tags                index.TagRules
	ExpectedWait        []index.ExpectedWait
	// MaxTokens and MaxBytes bound what is held. Zero: the constants of these names.
	MaxTokens, MaxBytes int
	Logger              log.Logger
	Metrics             *Metrics
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
}

// State tells a reader how an environment is doing. It is immutable.
type State struct {
	// Up is whether the last refresh succeeded; Err and Reason say why not.
	Up     bool
	Err    string
	Reason client.Reason
	// LastRefresh is the end of the last successful refresh; zero before it.
	LastRefresh time.Time
	// Listed is the number of tokens known so far, for the progress of a first
	// listing; Oldest is how far back in time it has come, zero if unknown.
	Listed int
	Oldest time.Time
	// Usage is what it has used of the API.
	Usage Usage
}

// Environment keeps the snapshot of one environment. Run owns it; Snapshot and
// State may be called from anywhere at any time.
type Environment struct {
	api  Lister
	opts Options
	now  func() time.Time
	log  log.Logger

	index *index.Index
	round round
	sched scheduler
	// What is known of the two listings; nil where ids are in no order.
	waiting, all *list
	joins        int  // Boundaries that were forgotten in this round.
	astray       int  // Rounds, one after the other, in which too many were.
	loadedOnce   bool // The history has been loaded at least once.
	flowing      bool
	careful      bool // The last refresh failed, and few pages came since.
	failing      bool
	historyErr   error     // Why the history could not be listed further.
	wake         time.Time // When a look-up is due that waits.
	published    time.Time
	unshown      bool // Pages have come that the last snapshot does not show.

	slack       time.Duration // For how long a new token may yet be seen.
	served      time.Time     // When the top was last listed, by the service's clock.
	firstServed time.Time
	flowLine    time.Time
	highest     high
	unsettled   []string        // Pieces to list again in this round.
	urgent      map[string]bool // Pieces with a timeout that has come.
	missed      map[string]bool // Tokens that the page of their piece did not reach.
	echo        time.Time       // When a look-up last met a replica behind.
	unlisted    map[string]bool // Tokens that a page of finished ones did not show.
	byTime      bool            // A look-up by createdAt is under way.
	byStatus    bool            // One for finished tokens is.
	locate      []sought        // Tokens whose place is to be listed.
	pinning     bool            // The cursor of a new place is being asked for.

	unplaced map[string]arrival // Seen, but not yet where new tokens appear.
	appeared int                // Tokens that appeared there in this round.
	rate     float64            // The same at its most of late.
	probes   float64            // Probes that may be made.
	probed   bool
	clean    time.Time // The time up to which a probe last found nothing.

	turnOpen            bool
	turnBegun, turnLine time.Time
	due                 []*piece // Pieces that verification has to list in this round.

	waitingChain, newestChain, allChain *chain
	listedAt, newestAt, line            time.Time
	doubted, walked                     bool

	top, oldest time.Time // The createdAt of the first and the oldest token listed.
	loadBegun   time.Time
	progress    time.Time // When progress was last logged.
	filled      time.Time // When a bound was reached; zero if none is.

	snapshot atomic.Pointer[index.Snapshot]
	state    atomic.Pointer[State]
}

// A sought token was found where the newest do not appear, at the given time.
type sought struct {
	id    string
	since time.Time
}

// An arrival is when a token was created, and when it was first seen.
type arrival struct{ created, seen time.Time }

// high is the highest id seen on top of the list, and how often a page lacked it.
type high struct {
	id      string
	at      time.Time
	strikes int
}

var (
	errContradiction = errors.New("pages contradict each other")
	errElsewhere     = errors.New("pages do not go on where their cursors point")
)

// New returns an Environment that lists from api.
func New(api Lister, opts Options) *Environment {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.MaxTokens, opts.MaxBytes = cmp.Or(opts.MaxTokens, MaxTokens), cmp.Or(opts.MaxBytes, MaxBytes)
	e := &Environment{
		api: api, opts: opts, now: opts.Now, log: opts.Logger,
		index: index.New(index.Options{
			Period: opts.Period, WaitingWithinPeriod: opts.WaitingWithinPeriod, Tags: opts.Tags,
			ExpectedWait: opts.ExpectedWait,
			Lag:          lag, Horizon: opts.MaxStaleness,
		}),
	}
	e.slack, e.unplaced, e.missed, e.unlisted = lag, map[string]arrival{}, map[string]bool{}, map[string]bool{}
	now := e.now()
	e.waiting, e.all = newList(now), newList(now)
	e.state.Store(&State{})
	return e
}

// startOver forgets all that was listed, and lists it again. What counts events
// goes on where it stands, and the last snapshot stays until the next is known.
func (e *Environment) startOver(now time.Time) {
	level.Warn(e.log).Log("msg", "more tokens were listed than can be held, listing everything again")
	e.index.Reset()
	e.loseOrder()
	e.waiting = newList(now)
	e.listAgain(now)
	e.filled = time.Time{}
}

// listAgain has the history listed as if for the first time.
func (e *Environment) listAgain(now time.Time) {
	e.all = newList(now)
	e.forgetPlaces()
	e.top, e.oldest, e.historyErr, e.loadBegun = time.Time{}, time.Time{}, nil, time.Time{}
	e.turnBegun, e.turnOpen = time.Time{}, false
}

// forgetPlaces drops what is under way about places in the list of all tokens.
func (e *Environment) forgetPlaces() {
	e.locate, e.unsettled, e.pinning = nil, nil, false
	e.sched.queued[newest] = nil
}

// checkCapacity returns an error once tenths/10 of MaxTokens or MaxBytes is in use.
// What fills the index may be gone from the service, but nothing more is listed
// then: so after a verify interval the next round starts over.
func (e *Environment) checkCapacity(tenths int) error {
	tokens, bytes := e.opts.MaxTokens/10*tenths, e.opts.MaxBytes/10*tenths
	size := e.index.Size()
	for _, l := range []*list{e.waiting, e.all} {
		if l != nil {
			size += l.size
		}
	}
	if e.index.Len() < tokens && size < bytes {
		return nil
	}
	if e.filled.IsZero() {
		e.filled = e.now()
	}
	return fmt.Errorf("there are more tokens than can be held, which is %d, or %d MiB of them: "+
		"if they are real, set --tokens.period", tokens, bytes>>20)
}

// Snapshot returns the newest snapshot; nil before the WAITING tokens are known.
func (e *Environment) Snapshot() *index.Snapshot { return e.snapshot.Load() }

// State returns how the environment is doing.
func (e *Environment) State() State {
	s := *e.state.Load()
	s.Usage = e.opts.Metrics.Usage()
	return s
}

// begin starts a round.
func (e *Environment) begin(start time.Time) {
	e.round = round{start: start, open: true, number: e.round.number + 1}
	if e.astray++; e.joins <= mostJoins {
		e.astray = 0
	}
	e.careful, e.joins = e.failing, 0
	if e.index.ClockSetBack(start) {
		level.Warn(e.log).Log("msg", "the clock has been set back, listing the history again")
		e.index.Rewind(start)
		if e.all != nil {
			e.listAgain(start)
		}
	}
	if !e.filled.IsZero() && start.Sub(e.filled) >= e.opts.VerifyInterval {
		e.startOver(start)
	}
	if err := e.checkCapacity(10); err != nil {
		e.round.err, e.round.stopped = err, true
		return
	}
	e.plan(start)
}

// end closes the round: what its looks lacked has left, and its success is
// accounted for.
func (e *Environment) end() {
	err := e.round.err
	if err == nil && !e.index.IsLoaded() {
		err = purpose(history, e.checkCapacity(loadTenths))
	}
	if err == nil {
		e.filled = time.Time{}
		if e.all != nil {
			e.settleArrivals()
		}
		if e.all != nil && !e.served.IsZero() && !e.newGaps() {
			e.newestListed()
		}
	}
	e.round.open = false
	if err == nil || !e.round.benched[waiting] && e.round.pages[waiting] > 0 {
		e.publish()
	}
	e.account(err)
}

// advance takes the steps that a page may have made possible.
func (e *Environment) advance(t task) {
	at, whole := e.waitingAt()
	if whole && e.snapshot.Load() == nil {
		e.index.Complete()
		e.publish()
		level.Info(e.log).Log("msg", "WAITING tokens are known", "waiting", e.index.WaitingLen())
	}
	if whole && !e.flowing && e.newestKnown() {
		e.flowing, e.flowLine = true, e.firstServed.Add(-e.slack)
		e.index.StartFlow(e.flowLine)
		e.opts.Metrics.flowing()
	}
	if whole && e.flowing && !e.index.IsLoaded() && e.historyKnown() {
		e.loaded()
	}
	if whole && t != history && e.now().Sub(at) < e.opts.MaxStaleness {
		e.unshown = true
	}
}

// show publishes what pages have found since the last snapshot: now and then in a
// round that lasts, and soon after a round. It returns when it will; zero if there is
// nothing to show.
func (e *Environment) show() (due time.Time) {
	if !e.unshown || e.round.err != nil {
		return time.Time{}
	}
	every := e.opts.Interval / 2
	if !e.round.open {
		every = time.Second
	}
	if due = e.published.Add(every); e.now().Before(due) {
		return due
	}
	e.publish()
	return time.Time{}
}

// publish makes the snapshot of what is known: what a look has lacked has left
// WAITING. While the newest are known with a gap, what is finished is not shown.
func (e *Environment) publish() {
	e.unshown = false
	at, whole := e.waitingAt()
	if !whole {
		return
	}
	now := e.now()
	e.index.Settle(now)
	s := e.index.Cut(at, now)
	if e.all != nil && e.all.gaps.Len() > 0 {
		s.Loaded = false
	}
	finished, gone := e.index.TakeFlow()
	e.opts.Metrics.byTag(s, finished, gone)
	e.snapshot.Store(s)
	e.published = now
}

// account takes the end of a refresh into the metrics, the state and the log.
func (e *Environment) account(err error) {
	now := e.now()
	e.opts.Metrics.ended(now, now.Sub(e.round.start), err)
	e.report(err, now)
	level.Debug(e.log).Log("msg", "refresh ended", "duration", now.Sub(e.round.start), "requests", e.round.sent,
		"waiting", e.index.WaitingLen(), "known", e.index.Len(), "err", err)
}

// report updates the state, and logs when failures begin and end.
func (e *Environment) report(err error, at time.Time) {
	s := e.State()
	switch {
	case err != nil && !e.failing:
		msg := "refresh failed, keeping the last snapshot"
		if e.snapshot.Load() == nil {
			msg = "refresh failed"
		}
		level.Warn(e.log).Log("msg", msg, "reason", client.ReasonOf(err), "err", err)
	case err == nil && e.failing:
		level.Info(e.log).Log("msg", "refresh succeeded again")
	}
	e.failing = err != nil
	s.Up, s.Err, s.Reason = err == nil, "", ""
	if err != nil {
		s.Err, s.Reason = err.Error(), client.ReasonOf(err)
	} else {
		s.LastRefresh = at
	}
	s.Listed, s.Oldest = e.index.Len(), e.oldest
	e.state.Store(&s)
}

// textForLog returns the text that does nothing in a terminal. The log's formats
// escape control characters, but only those of ASCII.
func textForLog(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
