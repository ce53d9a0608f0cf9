package refresh

import (
	"cmp"
	"context"
	"slices"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/ratelimit"

	"github.com/go-kit/log/level"
)

// A task is a purpose of requests.
type task int

const (
	newest   task = iota // The places where new tokens appear.
	waiting              // What waits.
	outcomes             // What became of tokens that do not wait any more.
	history              // What was there before the first listing.
	verify               // Everything, once in a verify interval.
	probe                // What the newest should have shown.
	tasks
)

// weights are the tasks' shares of the requests while all of them have some to send. The
// share that a task does not use goes to the others in proportion.
//
//nolint:gochecknoglobals // A table that nothing changes.
var weights = [tasks]float64{newest: 4, waiting: 12, outcomes: 3, history: 3, verify: 2, probe: 1}

// A request is for one page.
type request struct {
	sight // At is set when it is sent, page when that came.
	opts  client.ListOptions
	// Take is called with the page.
	take func(sight) error
	// Busy, if set, is true from when the request is sent until it has ended.
	busy *bool
	// Start, if set, is called when the request is sent, and drop when it has ended,
	// successfully or not.
	start, drop func()
	// Pager returns the page; without one, a new one is made with opts.
	pager *client.Pager

	task task
	err  error
}

// After a failed refresh, requests are sent one at a time until so many pages came.
const fewPages = 8

// A round is one refresh: from its start until nothing is left to do, or until the next
// one is due.
type round struct {
	start   time.Time
	open    bool
	err     error
	benched [tasks]bool // A task that failed waits for the next round.
	stopped bool
	pages   [tasks]int // That came.
	number  int
	careful bool // The round before failed.
	sent    int  // Requests.
	came    int  // Pages that came.
	refused bool // A cursor was refused.
	joins   int  // Cursors that led to another place.
}

// scheduler shares requests among tasks.
type scheduler struct {
	results chan *request
	active  [tasks]int
	busy    int
	virtual [tasks]float64 // What a task has used, divided by its weight.
	clock   float64        // The same of the task that was served last.
	// Requests that follow from pages. They are sent before the task's others.
	queued [tasks][]*request
}

// turn returns the tasks in the order in which they may send a request.
func (s *scheduler) turn() []task {
	order := make([]task, tasks)
	for t := range tasks {
		order[t] = t
		// A task that was idle does not get more than its share now.
		s.virtual[t] = max(s.virtual[t], s.clock-1)
	}
	slices.SortStableFunc(order, func(a, b task) int { return cmp.Compare(s.virtual[a], s.virtual[b]) })
	return order
}

func (s *scheduler) queue(t task, r *request) { s.queued[t] = append(s.queued[t], r) }

// Run refreshes until ctx ends, and returns ctx's error.
func (e *Environment) Run(ctx context.Context) error {
	e.sched.results = make(chan *request, e.opts.Concurrency)
	defer func() {
		for ; e.sched.busy > 0; e.sched.busy-- {
			<-e.sched.results
		}
	}()
	for {
		start := e.now()
		next := start.Add(e.opts.Interval)
		e.begin(start)
		for {
			wake := e.launch(ctx)
			if e.round.open && e.idle() {
				e.end()
			}
			if e.over(next) {
				break
			}
			if err := e.await(ctx, next, wake); err != nil {
				return err
			}
		}
		if e.round.open {
			e.end()
		}
	}
}

// over reports whether the round ends now, whether or not work is left.
func (e *Environment) over(next time.Time) bool {
	now := e.now()
	switch {
	case now.Before(next):
		return false
	case !e.round.open || e.progressed():
		return true
	case now.Sub(e.round.start) < e.opts.MaxStaleness:
		return false
	}
	e.round.err = cmp.Or(e.round.err, noProgress())
	return true
}

// await waits for a page, or until wake or the next round.
func (e *Environment) await(ctx context.Context, next, wake time.Time) error {
	now := e.now()
	var timeout <-chan time.Time
	if wake.IsZero() || next.After(now) && next.Before(wake) {
		wake = next
	}
	if wait := wake.Sub(now); wait > 0 || e.sched.busy == 0 {
		timer := time.NewTimer(max(wait, time.Millisecond))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case r := <-e.sched.results:
		e.finish(ctx, r)
	case <-timeout:
	}
	return ctx.Err()
}

// launch sends the requests that may be sent now. It returns when to call it again; zero
// if only a page makes a difference.
func (e *Environment) launch(ctx context.Context) (wake time.Time) {
	e.wake = time.Time{}
	requests := ctx
	if !e.loading.once {
		requests = ratelimit.BeyondShare(ctx)
	}
	for e.sched.busy < e.workers() && ctx.Err() == nil && !e.round.stopped {
		now := e.now()
		r := e.pick(now)
		if r == nil {
			break
		}
		r.at = now
		if r.pager == nil {
			r.pager = e.api.Pager(r.opts)
		}
		e.round.sent++
		go func() {
			ctx, cancel := context.WithTimeout(requests, e.opts.MaxStaleness)
			defer cancel()
			r.page, r.err = r.pager.Next(ctx)
			e.sched.results <- r
		}()
	}
	if due := e.show(); !due.IsZero() && (e.wake.IsZero() || due.Before(e.wake)) {
		e.wake = due
	}
	return e.wake
}

// workers returns the number of concurrent requests. After a failure a single one checks
// whether the service is back.
func (e *Environment) workers() int {
	if e.round.careful && e.round.came < fewPages || e.round.err != nil {
		return 1
	}
	return e.opts.Concurrency
}

func (e *Environment) pick(now time.Time) *request {
	for _, t := range e.sched.turn() {
		if e.round.benched[t] {
			continue
		}
		if r := e.next(t, now); r != nil {
			r.task = t
			e.sched.clock = e.sched.virtual[t]
			e.sched.virtual[t] += 1 / weights[t]
			e.sched.active[t]++
			e.sched.busy++
			if queue := e.sched.queued[t]; len(queue) > 0 {
				e.sched.queued[t] = queue[1:]
				return r
			}
			if r.busy != nil {
				*r.busy = true
			}
			if r.start != nil {
				r.start()
			}
			return r
		}
	}
	return nil
}

// next returns the request for the page that a task wants next; nil if it wants none.
func (e *Environment) next(t task, now time.Time) *request {
	if queue := e.sched.queued[t]; len(queue) > 0 {
		return queue[0]
	}
	return [tasks]func(time.Time) *request{
		newest: e.nextNewest, waiting: e.nextWaiting, outcomes: e.nextOutcome,
		history: e.nextHistory, verify: e.nextVerify, probe: e.nextProbe,
	}[t](now)
}

// finish handles the result of a request.
func (e *Environment) finish(ctx context.Context, r *request) {
	e.sched.busy--
	e.sched.active[r.task]--
	if r.busy != nil {
		*r.busy = false
	}
	if r.drop != nil {
		r.drop()
	}
	err := r.err
	if err == nil {
		e.round.pages[r.task]++
		e.round.came++
		r.page.Date = e.served.believe(r.page.Date, e.now())
		if n := len(r.page.Tokens); n > cmp.Or(r.opts.PageSize, usualSize) {
			e.warn("page_size", "the service gives longer pages than were asked for", "tokens", n)
		}
		err = r.take(r.sight)
	}
	if err == nil && r.task == history {
		err = e.checkCapacity(loadTenths)
	}
	if r.task == history {
		e.loading.err = err
	}
	switch {
	case ctx.Err() != nil:
	case err == nil:
		e.advance(r.task)
	default:
		e.fail(r.task, err)
	}
}

// fail suspends a task for the rest of the round. If other requests would fail too, none
// are sent: an outage must not cause more requests than usual.
func (e *Environment) fail(t task, err error) {
	level.Debug(e.log).Log("msg", "request failed", "task", int(t), "err", err)
	if e.round.benched[t] {
		return // Another of its requests was under way.
	}
	again := e.round.err != nil
	e.round.benched[t] = true
	reason := client.ReasonOf(err) // Others than these two concern every request.
	alone := reason == client.ReasonInvalidResponse || reason == client.ReasonBadRequest
	e.round.stopped = e.round.stopped || again || !alone
	if !again {
		e.round.err = purpose(t, err)
	}
	if !e.round.open && !again {
		e.account(e.round.err)
		e.round.stopped = true
	}
}

// idle reports whether the round has nothing left to do, except for the history, which
// continues until the next round.
func (e *Environment) idle() bool {
	if e.round.stopped {
		return true // What is under way would not make it succeed.
	}
	for t := range tasks {
		if e.sched.active[t] > 0 && (t != history || e.loading.err != nil) {
			return false
		}
	}
	now := e.now()
	for t := range tasks {
		// The history continues after the round, unless it could not be listed at all.
		later := t == history && (e.loading.err == nil || e.round.pages[history] > 0)
		if !later && !e.round.benched[t] && e.next(t, now) != nil {
			return false
		}
	}
	return true
}

// progressed reports whether each task that still wants a page got one. A round for which
// that is true may end after its interval.
func (e *Environment) progressed() bool {
	if e.round.stopped || e.round.err != nil {
		return e.sched.busy == 0
	}
	now := e.now()
	if e.all != nil {
		// Another task may be requesting it.
		if top, _ := e.all.pieces.Get(topID); top.listed.Before(e.round.start) {
			return false
		}
	}
	if e.waitingGaps() && now.Sub(e.round.start) < e.opts.MaxStaleness {
		return false // New tokens are WAITING that are not known yet.
	}
	for _, t := range []task{newest, waiting} {
		if e.round.pages[t] == 0 && (e.sched.active[t] > 0 || e.next(t, now) != nil) {
			return false
		}
	}
	return true
}
