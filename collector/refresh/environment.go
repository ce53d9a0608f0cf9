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

// lag bounds the sum of the lag of the service's replicas and the difference of its hosts'
// clocks.
const lag = 30 * time.Second

// How often a long first listing logs its progress.
const progressEvery = 5 * time.Second

// Bounds on what is kept of an environment, so that the process survives a listing of any
// size. At either bound the process takes about 3 GiB.
const (
	// MaxTokens is the maximum number of tokens.
	MaxTokens = 20_000_000
	// MaxBytes is their maximum size with tags and lists, approximately. On 32 bits it is
	// small enough that sums of sizes do not overflow.
	MaxBytes = min(2<<30, math.MaxInt/4)
	// Loading the history stops at so many tenths. The last one is for WAITING tokens, so
	// that their numbers stay right.
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
	// MaxStaleness is the age past which a snapshot is no longer shown, and the maximum
	// duration of a refresh.
	MaxStaleness time.Duration
	// VerifyInterval is the time within which each token of the window is listed again.
	VerifyInterval time.Duration
	// Concurrency is the maximum number of concurrent requests.
	Concurrency int
	// Period and the following say which tokens count, see index.Options.
	Period              time.Duration
	WaitingWithinPeriod bool
	Tags                index.TagRules
	ExpectedWait        []index.ExpectedWait
	// MaxTokens and MaxBytes default to the constants of these names.
	MaxTokens, MaxBytes int
	Logger              log.Logger
	Metrics             *Metrics
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// State is the state of an environment. It is immutable.
type State struct {
	// Up is whether the last refresh succeeded; Err and Reason say why not.
	Up     bool
	Err    string
	Reason client.Reason
	// Advised is whether Err says what to do, for its own case.
	Advised bool
	// Listed is the number of tokens known so far, and Oldest the oldest createdAt among
	// them, zero if unknown: the progress of a first listing.
	Listed int
	Oldest time.Time
	// Usage is its use of the API.
	Usage Usage
}

// Environment keeps the snapshot of one environment. Run owns it. Snapshot and State are
// safe for concurrent use.
type Environment struct {
	api  Lister
	opts Options
	now  func() time.Time
	log  log.Logger

	index  *index.Index
	served serviceClock
	round  round
	sched  scheduler
	wake   time.Time // When a look-up is due that is delayed.
	// The two lists; nil while ids are in no order.
	waiting, all *list

	// The state of the tasks, see their files.
	arrivals arrivals
	probing  probing
	lookUps  lookUps
	loading  loading
	turn     turn
	walks    walks
	astray   int             // Consecutive rounds with more than mostJoins.
	refusals int             // Consecutive rounds in which a cursor was refused.
	urgent   map[string]bool // Pieces of WAITING with a timeout that has come.

	flowing bool      // Tokens are counted as created and finished.
	failing bool      // The last refresh failed.
	filled  time.Time // When a bound was reached; zero if none is.

	published time.Time
	unshown   bool // Pages came that the last snapshot does not show.
	snapshot  atomic.Pointer[index.Snapshot]
	state     atomic.Pointer[State]
}

// New returns an Environment that lists from api.
func New(api Lister, opts Options) *Environment {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.MaxTokens, opts.MaxBytes = cmp.Or(opts.MaxTokens, MaxTokens), cmp.Or(opts.MaxBytes, MaxBytes)
	now := opts.Now()
	e := &Environment{
		api: api, opts: opts, now: opts.Now, log: opts.Logger,
		waiting: newList(now, onlyWaiting...), all: newList(now),
		arrivals: arrivals{slack: lag, unplaced: map[string]arrival{}},
		index: index.New(index.Options{
			Period: opts.Period, WaitingWithinPeriod: opts.WaitingWithinPeriod, Tags: opts.Tags,
			ExpectedWait: opts.ExpectedWait,
			Lag:          lag, Horizon: opts.MaxStaleness,
		}),
	}
	e.state.Store(&State{})
	opts.Metrics.fresh = func() bool {
		s := e.Snapshot()
		return s != nil && s.Fresh(e.now(), opts.MaxStaleness)
	}
	return e
}

// startOver forgets everything and lists it again. Counters keep their values, and the
// last snapshot stays until the next one is known.
func (e *Environment) startOver(now time.Time, why string) {
	level.Warn(e.log).Log("msg", why+", listing everything again")
	e.index.Reset()
	e.loseOrder()
	e.waiting = newList(now, onlyWaiting...)
	e.listAgain(now)
	e.filled = time.Time{}
}

// listAgain starts listing the history again.
func (e *Environment) listAgain(now time.Time) {
	e.all = newList(now)
	e.forgetPlaces()
	e.loading, e.turn = loading{once: e.loading.once}, turn{}
}

// forgetPlaces drops pending work on places in the list of all tokens.
func (e *Environment) forgetPlaces() {
	e.arrivals.sought, e.arrivals.unsettled, e.arrivals.pinning = nil, nil, false
	e.sched.queued[newest] = nil
}

// checkCapacity returns an error once tenths/10 of MaxTokens or MaxBytes is in use.
// Nothing more is listed then, although the service may have fewer tokens by now. So
// after a verify interval the next round starts over.
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
	e.filled = cmp.Or(e.filled, e.now())
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
	if e.astray++; e.round.joins <= mostJoins {
		e.astray = 0
	}
	if !e.round.refused {
		e.refusals = 0
	}
	e.round = round{start: start, open: true, number: e.round.number + 1, careful: e.failing}
	if e.index.ClockSetBack(start) {
		level.Warn(e.log).Log("msg", "the clock has been set back, listing the history again")
		e.index.Rewind(start)
		if e.all != nil {
			e.listAgain(start)
		}
	}
	if !e.filled.IsZero() && start.Sub(e.filled) >= e.opts.VerifyInterval {
		e.startOver(start, "more tokens were listed than can be held")
	}
	if err := e.checkCapacity(10); err != nil {
		e.round.err, e.round.stopped = err, true
		return
	}
	e.plan(start)
}

// end closes the round, publishes a snapshot, and records whether the round succeeded.
func (e *Environment) end() {
	err := e.round.err
	if err == nil && !e.index.IsLoaded() {
		err = purpose(history, e.checkCapacity(loadTenths))
	}
	if err == nil {
		e.filled = time.Time{}
		if e.all != nil {
			e.settleArrivals()
			if !e.arrivals.served.IsZero() && e.all.topGap(false) == nil {
				e.newestListed()
			}
		}
	}
	e.round.open = false
	if err == nil || !e.round.benched[waiting] && e.round.pages[waiting] > 0 {
		e.publish()
	}
	e.account(err)
}

// advance takes the steps that a page may allow: WAITING is known, counters begin, the
// history is loaded.
func (e *Environment) advance(t task) {
	at, whole := e.waitingAt()
	if whole && e.snapshot.Load() == nil {
		e.index.Complete()
		e.publish()
		level.Info(e.log).Log("msg", "WAITING tokens are known", "waiting", e.index.WaitingLen())
	}
	if whole && !e.flowing && e.newestKnown() {
		e.flowing, e.arrivals.flowLine = true, e.arrivals.firstServed.Add(-e.arrivals.slack)
		e.index.StartFlow(e.arrivals.flowLine)
		e.opts.Metrics.flowing()
	}
	if whole && e.flowing && !e.index.IsLoaded() && e.historyKnown() {
		e.loaded()
	}
	if whole && t != history && e.now().Sub(at) < e.opts.MaxStaleness {
		e.unshown = true
	}
}

// show publishes a snapshot if pages came since the last one: every half interval during a
// round, four times as often if its oldest look is over two intervals or half of the
// maximum staleness old, and after a second between rounds. It returns when that is due;
// zero if no page came.
func (e *Environment) show() (due time.Time) {
	if !e.unshown || e.round.err != nil {
		return time.Time{}
	}
	now, every := e.now(), e.opts.Interval/2
	if last := e.snapshot.Load(); last != nil && now.Sub(last.At) > min(e.opts.MaxStaleness/2, 2*e.opts.Interval) {
		every /= 4
	}
	if !e.round.open {
		every = time.Second
	}
	if due = e.published.Add(every); now.Before(due) {
		return due
	}
	e.publish()
	return time.Time{}
}

// publish makes a snapshot, unless there is a gap in the list of WAITING tokens: they would
// be too few. Tokens that a listing lacked have left WAITING. While there is a gap in the
// list of all tokens, finished tokens are not shown.
func (e *Environment) publish() {
	at, whole := e.waitingAt()
	if !whole || e.waitingGaps() {
		return
	}
	e.unshown = false
	now := e.now()
	e.index.Settle(now)
	s := e.index.Cut(at, now)
	s.Loaded = s.Loaded && (e.all == nil || e.all.gaps.Len() == 0)
	finished, gone := e.index.TakeFlow()
	e.opts.Metrics.byTag(s, finished, gone)
	e.snapshot.Store(s)
	e.published = now
}

// account records the end of a refresh in metrics, state and log.
func (e *Environment) account(err error) {
	now := e.now()
	e.opts.Metrics.ended(now, now.Sub(e.round.start), err)
	e.report(err)
	level.Debug(e.log).Log("msg", "refresh ended", "duration", now.Sub(e.round.start), "requests", e.round.sent,
		"waiting", e.index.WaitingLen(), "known", e.index.Len(), "err", err)
}

// report updates the state, and logs when failures begin, when their reason changes, and
// when they end.
func (e *Environment) report(err error) {
	s, reason := e.State(), client.ReasonOf(err)
	switch {
	case reason == s.Reason:
	case err == nil:
		level.Info(e.log).Log("msg", "refresh succeeded again")
	default:
		msg := "refresh failed, keeping the last snapshot"
		if e.snapshot.Load() == nil {
			msg = "refresh failed"
		}
		level.Warn(e.log).Log("msg", msg, "reason", reason, "err", err)
	}
	e.failing = err != nil
	s.Up, s.Err, s.Reason = err == nil, "", reason
	failure, ok := errors.AsType[*client.Error](err)
	s.Advised = ok && failure.Advice != ""
	if err != nil {
		s.Err = err.Error()
	}
	s.Listed, s.Oldest = e.index.Len(), e.loading.oldest
	e.state.Store(&s)
}

// textForLog replaces everything in a text that could affect a terminal. The log's formats
// escape ASCII control characters only.
func textForLog(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
