package refresh

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
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

// Bounds on the picture of an environment, which keep the process alive whatever
// is listed. It takes about 3 GiB to come to either.
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
	// MaxStaleness is the age past which a picture is no longer shown, and the
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

// Environment keeps the picture of one environment. Run owns it; Snapshot and
// State may be called from anywhere at any time.
type Environment struct {
	api  Lister
	opts Options
	now  func() time.Time
	log  log.Logger

	index     *index.Index
	bookmarks bookmarks
	unordered bool      // The list is not in order of id.
	newest    time.Time // The newest createdAt that the last newest walk showed.
	walk      *walk
	at        time.Time // When WAITING was last listed whole.
	loadErr   error     // Why the loading of the history last stopped.
	oldest    time.Time // Of what the walk has listed.
	progress  time.Time // When progress was last logged.
	failing   bool
	filled    time.Time // When the picture came to a bound; zero if it is not at one.

	snapshot atomic.Pointer[index.Snapshot]
	state    atomic.Pointer[State]
}

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
	e.state.Store(&State{})
	return e
}

// startOver forgets all that was listed, and lists it again. What counts events
// goes on where it stands, and the last picture stays until the next is known.
func (e *Environment) startOver(why string) {
	level.Warn(e.log).Log("msg", why+", listing everything again")
	e.index = e.index.Anew()
	e.bookmarks, e.unordered, e.walk, e.loadErr = bookmarks{}, false, nil, nil
	e.newest, e.oldest, e.filled = time.Time{}, time.Time{}, time.Time{}
}

// room returns an error once so many tenths of what may be held are. What has
// filled the picture may be gone from the service, and stays all the same as long
// as nothing can be listed: after a verify interval the next round starts over.
func (e *Environment) room(tenths int) error {
	tokens, bytes := e.opts.MaxTokens/10*tenths, e.opts.MaxBytes/10*tenths
	if e.index.Len() < tokens && e.index.Size()+e.bookmarks.size < bytes {
		return nil
	}
	if e.filled.IsZero() {
		e.filled = e.now()
	}
	return fmt.Errorf("there are more tokens than can be held, which is %d, or %d MiB of them: if they are real, set --tokens.period", tokens, bytes>>20)
}

// Snapshot returns the newest picture; nil before the WAITING tokens are known.
func (e *Environment) Snapshot() *index.Snapshot { return e.snapshot.Load() }

// State returns how the environment is doing.
func (e *Environment) State() State {
	s := *e.state.Load()
	s.Usage = e.opts.Metrics.Usage()
	return s
}

// Run refreshes until ctx ends, and returns ctx's error.
func (e *Environment) Run(ctx context.Context) error {
	for {
		start, requests := e.now(), ctx
		if !e.index.IsLoaded() {
			requests = BeyondShare(ctx)
		}
		ok := e.refresh(requests, start)
		next := start.Add(e.opts.Interval)
		if ok && !e.index.IsLoaded() {
			e.load(requests, next)
		}
		if err := sleep(ctx, next.Sub(e.now())); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// refresh makes one round of listings, accounts for it, and reports whether the
// round succeeded.
func (e *Environment) refresh(parent context.Context, start time.Time) bool {
	ctx, cancel := context.WithTimeout(parent, e.opts.MaxStaleness)
	defer cancel()
	if e.index.SetBack(start) {
		e.startOver("the clock has been set back")
	}
	err := e.round(ctx, start)
	if parent.Err() != nil {
		return false
	}
	ok := err == nil
	if ok {
		err = e.loadErr
	}
	if err == nil {
		e.filled = time.Time{}
	}
	end := e.now()
	e.opts.Metrics.ended(end, end.Sub(start), err)
	e.report(err, end)
	level.Debug(e.log).Log("msg", "refresh ended", "duration", end.Sub(start), "waiting", e.index.WaitingLen(),
		"known", e.index.Len(), "err", err)
	return ok
}

// report updates the state, and logs when failures begin and end.
func (e *Environment) report(err error, at time.Time) {
	s := e.State()
	switch {
	case err != nil && !e.failing:
		level.Warn(e.log).Log("msg", "refresh does not succeed, keeping the last picture", "reason", client.ReasonOf(err), "err", err)
	case err == nil && e.failing:
		level.Info(e.log).Log("msg", "refresh succeeds again")
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

func (e *Environment) round(ctx context.Context, start time.Time) error {
	if !e.filled.IsZero() && start.Sub(e.filled) >= e.opts.VerifyInterval {
		e.startOver("more tokens were listed than can be held")
	}
	if err := e.room(10); err != nil {
		return err
	}
	if err := e.listWaiting(ctx); err != nil {
		return fmt.Errorf("list WAITING tokens: %w", err)
	}
	if e.snapshot.Load() == nil {
		e.publish()
		level.Info(e.log).Log("msg", "WAITING tokens are known", "waiting", e.index.WaitingLen())
	}
	err := e.listNewest(ctx)
	e.publish()
	if err != nil {
		return fmt.Errorf("list the newest tokens: %w", err)
	}
	if !e.index.IsLoaded() {
		return nil
	}
	defer e.publish()
	if err := e.lookUp(ctx, start.Add(e.opts.Interval)); err != nil {
		return fmt.Errorf("look up outcomes: %w", err)
	}
	if err := e.verify(ctx); err != nil {
		return fmt.Errorf("list the history again: %w", err)
	}
	return nil
}

func (e *Environment) publish() {
	s := e.index.Cut(e.at, e.now())
	finished, gone := e.index.TakeFlow()
	e.opts.Metrics.byTag(s, finished, gone)
	e.snapshot.Store(s)
}

// changed passes on what the index found, and returns an error if it is full.
func (e *Environment) changed(ch index.Changes) error {
	e.opts.Metrics.finished(ch.Finished)
	for _, s := range ch.Statuses {
		level.Warn(e.log).Log("msg", "token has an unknown status, counting it as finished", "status", printable(string(s)))
	}
	return e.room(10)
}

// printable returns a text that does nothing in a terminal. The log's formats
// escape control characters, but only those of ASCII.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// inOrder checks that a page is in the order that bookmarks rely on.
func (e *Environment) inOrder(page client.Page) {
	desc := func(a, b client.Token) int { return cmp.Compare(b.ID, a.ID) }
	if e.unordered || slices.IsSortedFunc(page.Tokens, desc) {
		return
	}
	e.unordered = true
	e.bookmarks = bookmarks{}
	level.Warn(e.log).Log("msg", "tokens are not listed in order of id, looking outcomes up by createdAt")
}

// listWaiting lists every WAITING token.
func (e *Environment) listWaiting(ctx context.Context) error {
	begun := e.now()
	listing := e.index.Begin(index.ScopeWaiting, begun, time.Time{})
	pager := e.api.Pager(client.ListOptions{Statuses: []client.Status{client.StatusWaiting}})
	for pager.More() {
		at := e.now()
		page, err := pager.Next(ctx)
		if err != nil {
			return err
		}
		if err := e.changed(listing.Add(page.Tokens, at)); err != nil {
			return err
		}
	}
	listing.Close()
	e.at = begun
	return nil
}

// A walk that found no known ground in this many pages of old tokens stops: the
// token it looks for has been deleted.
const oldPages = 3

// listNewest lists from the top until it has met the newest token of last time
// and come to tokens that were there, on every replica, then.
func (e *Environment) listNewest(ctx context.Context) error {
	var (
		newest = e.newest
		line   = e.newest.Add(-lag)
		met    = e.newest.IsZero()
		old    = 0
		above  string
	)
	pager := e.api.Pager(client.ListOptions{})
	for pager.More() {
		at := e.now()
		page, err := pager.Next(ctx)
		if err != nil {
			return err
		}
		if err := e.changed(e.index.Observe(page.Tokens, at)); err != nil {
			return err
		}
		e.inOrder(page)
		if len(page.Tokens) == 0 {
			continue
		}
		e.mark(above, page)
		served := at
		if !page.Date.IsZero() {
			served = page.Date
		}
		wholly := true
		for _, t := range page.Tokens {
			if t.CreatedAt.After(newest) && t.CreatedAt.Before(served.Add(time.Minute)) {
				newest = t.CreatedAt
			}
			if !t.CreatedAt.Before(e.newest) {
				met = true
			}
			if !t.CreatedAt.Before(line) {
				wholly = false
			}
		}
		if wholly {
			old++
		}
		last := page.Tokens[len(page.Tokens)-1]
		above = last.ID
		if e.newest.IsZero() || last.CreatedAt.Before(line) && (met || old >= oldPages) {
			break
		}
	}
	e.newest = newest
	return nil
}

func (e *Environment) mark(above string, page client.Page) {
	if !e.unordered {
		e.bookmarks.put(above, page)
	}
}
