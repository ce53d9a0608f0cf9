package refresh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"

	"github.com/go-kit/log/level"
)

// A walk lists every token of the window once, in parts that lie one below the
// other and can be walked side by side.
type walk struct {
	listing *index.Listing
	begun   time.Time
	line    time.Time
	from    time.Time // Start of the window; zero for all of history.
	top     time.Time // CreatedAt of the first token listed.
	parts   []*part
	pages   int
	listed  int
}

// A part goes from its pager's cursor down to and with the id until, or to the
// end of the list if that is empty.
type part struct {
	pager *client.Pager
	above string // Id of the last token listed, or the one the part began below.
	until string
	// Cursor is the one behind the last page, from which a split is sought.
	cursor string
	// At is the createdAt that the part has come to, bound the one it goes down
	// to as far as known: both only guide the splitting.
	at, bound time.Time
	span      time.Duration // From the first token of the last page to its last.
	pages     int
	busy      bool
	splitting bool
	unsplit   bool // No use in splitting it again.
}

func (e *Environment) newWalk() *walk {
	w := &walk{begun: e.now()}
	w.line = e.newest.Add(-lag)
	if e.opts.Period > 0 {
		w.from = w.begun.Add(-e.opts.Period)
	}
	w.listing = e.index.Begin(index.ScopeWindow, w.begun, w.line)
	first := &part{pager: e.api.Pager(client.ListOptions{From: w.from}), at: w.begun, bound: w.from}
	if s := e.snapshot.Load(); first.bound.IsZero() && len(s.Tokens) > 0 {
		first.bound = s.Tokens[0].CreatedAt
	}
	w.parts = []*part{first}
	return w
}

// take adds a page of a part to the picture, and returns an error if that is full.
func (e *Environment) take(w *walk, p *part, page client.Page, at time.Time) error {
	w.pages++
	p.pages++
	p.cursor = page.Next
	err := e.changed(w.listing.Add(page.Tokens, at))
	e.inOrder(page)
	if n := len(page.Tokens); n > 0 {
		w.listed += n
		e.mark(p.above, page)
		first, last := page.Tokens[0], page.Tokens[n-1]
		p.above, p.at = last.ID, last.CreatedAt
		p.span = first.CreatedAt.Sub(last.CreatedAt)
		if w.top.IsZero() {
			w.top = first.CreatedAt
		}
		if e.oldest.IsZero() || p.at.Before(e.oldest) {
			e.oldest = p.at
		}
	}
	if !p.pager.More() || !e.unordered && p.until != "" && p.above <= p.until {
		if !p.pager.More() && !e.unordered && p.above != "" {
			e.bookmarks.trim(p.above)
		}
		w.parts = slices.DeleteFunc(w.parts, func(o *part) bool { return o == p })
	}
	return err
}

// end closes a walk that has come to its end.
func (e *Environment) end(w *walk) {
	w.listing.Close()
	e.walk = nil
}

// giveUp drops a walk that would come to no end.
func (e *Environment) giveUp(err error) {
	if errors.Is(err, client.ErrEndless) {
		e.walk = nil
	}
}

// verify goes on with the walk as far as is due for a turn to end within the
// verify interval.
func (e *Environment) verify(ctx context.Context) error {
	if e.walk == nil {
		e.walk = e.newWalk()
	}
	w := e.walk
	total := e.index.Len()/100 + 1
	// A tenth of the interval is kept for refreshes that fail.
	turn := e.opts.VerifyInterval * 9 / 10
	due := int(float64(total) * float64(e.now().Sub(w.begun)) / float64(turn))
	// What an outage left undone is caught up with little by little.
	most := 4 * (int(float64(total)*float64(e.opts.Interval)/float64(turn)) + 1)
	for due = min(due, w.pages+most); w.pages < due && len(w.parts) > 0; {
		p := w.parts[0]
		at := e.now()
		page, err := p.pager.Next(ctx)
		if err == nil {
			err = e.take(w, p, page, at)
		}
		if err != nil {
			e.giveUp(err)
			return err
		}
	}
	if len(w.parts) == 0 {
		e.end(w)
	}
	return nil
}

// A job is a request that a walker makes for a part.
type job struct {
	part *part
	// If seek is set, the job is to find a place to split the part, near this
	// createdAt and below the cursor after.
	seek  time.Time
	after string
	page  client.Page
	at    time.Time
	err   error
}

// load lists the history until it is whole or the time is up, with several
// walkers, or with one as long as it fails. The walkers only fetch; all that they
// find is taken in here.
func (e *Environment) load(ctx context.Context, until time.Time) {
	if e.walk == nil {
		e.walk = e.newWalk()
		e.progress = e.now()
		level.Info(e.log).Log("msg", "loading the history")
	}
	w := e.walk
	ctx, cancel := context.WithTimeout(ctx, e.opts.MaxStaleness)
	defer cancel()
	for _, p := range w.parts {
		p.busy, p.splitting = false, false
	}
	// After a failure one walker tries whether the service is back.
	walkers := e.opts.Concurrency
	if e.loadErr != nil {
		walkers = 1
	}
	results := make(chan job)
	active := 0
	err := e.room(loadTenths)
	for {
		for err == nil && active < walkers && e.now().Before(until) {
			j, ok := e.nextJob(w)
			if !ok {
				break
			}
			active++
			go func() { results <- j.run(ctx, e.api, w.from, e.now) }()
		}
		if active == 0 {
			break
		}
		j := <-results
		active--
		if j.err == nil {
			walkers = e.opts.Concurrency
		}
		err = cmp.Or(err, j.err, e.settle(w, j), e.room(loadTenths))
		e.showProgress(w)
	}
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return // The program ends.
	}
	e.loadErr = nil
	if err != nil {
		e.giveUp(err)
		e.loadErr = fmt.Errorf("load the history: %w", err)
		e.opts.Metrics.ended(e.now(), e.now().Sub(w.begun), e.loadErr)
		e.report(e.loadErr, e.now())
		return
	}
	if len(w.parts) > 0 {
		return
	}
	e.end(w)
	e.index.Loaded(e.newest)
	e.opts.Metrics.loaded()
	e.publish()
	e.report(nil, e.now())
	level.Info(e.log).Log("msg", "history is loaded", "tokens", e.index.Len(), "requests", w.pages, "duration", e.now().Sub(w.begun))
}

// nextJob returns the next page of a part that nobody walks, or else a place to
// split the part with the longest way to go.
func (e *Environment) nextJob(w *walk) (job, bool) {
	for _, p := range w.parts {
		if !p.busy {
			p.busy = true
			return job{part: p}, true
		}
	}
	if e.unordered {
		return job{}, false
	}
	var longest *part
	for _, p := range w.parts {
		if p.splitting || p.unsplit || p.pages == 0 {
			continue
		}
		if longest == nil || w.way(p) > w.way(longest) {
			longest = p
		}
	}
	if longest == nil || !w.worthSplitting(longest) {
		return job{}, false
	}
	seek := longest.at.Add(-w.way(longest) / 2)
	if seek.Before(w.from) { // Nothing is there.
		longest.unsplit = true
		return job{}, false
	}
	longest.splitting = true
	return job{part: longest, seek: seek, after: longest.cursor}, true
}

// way is how far in time a part has still to go. Below the oldest known token
// it is guessed to be as far again as the walk has come.
func (w *walk) way(p *part) time.Duration {
	if p.at.After(p.bound) && !p.bound.IsZero() {
		return p.at.Sub(p.bound)
	}
	return 2 * min(max(w.top.Sub(p.at), p.span, time.Second), math.MaxInt64/2)
}

// worthSplitting tells whether a part has several pages to go, if its tokens go
// on as dense as on its last page: a split costs a request, and half a page that
// is listed twice.
func (w *walk) worthSplitting(p *part) bool {
	if p.bound.IsZero() || !p.at.After(p.bound) {
		return p.until == ""
	}
	return w.way(p)/4 > max(p.span, time.Millisecond)
}

func (j job) run(ctx context.Context, api Lister, from time.Time, now func() time.Time) job {
	j.at = now()
	if j.seek.IsZero() {
		j.page, j.err = j.part.pager.Next(ctx)
		return j
	}
	// The filter on createdAt is for this one request; from the cursor that it
	// brings the part is walked without.
	pager := api.Pager(client.ListOptions{After: j.after, To: j.seek, From: from, PageSize: 1})
	j.page, j.err = pager.Next(ctx)
	return j
}

// settle takes in what a job brought, and returns an error if the picture is full.
func (e *Environment) settle(w *walk, j job) error {
	p := j.part
	if j.seek.IsZero() {
		p.busy = false
		if j.err != nil {
			return nil
		}
		return e.take(w, p, j.page, j.at)
	}
	p.splitting = false
	if j.err != nil {
		return nil
	}
	err := e.changed(e.index.Observe(j.page.Tokens, j.at))
	if len(j.page.Tokens) == 0 || j.page.Next == "" {
		p.bound = j.seek // Nothing, or a single token, is older.
		return err
	}
	found := j.page.Tokens[0]
	if p.above <= found.ID || p.until != "" && found.ID <= p.until || !slices.Contains(w.parts, p) {
		p.unsplit = true
		return err
	}
	below := &part{
		pager: e.api.Pager(client.ListOptions{After: j.page.Next, From: w.from}),
		above: found.ID, until: p.until, at: found.CreatedAt, bound: p.bound,
	}
	if !below.at.After(below.bound) {
		below.bound = time.Time{}
	}
	p.until, p.bound = found.ID, found.CreatedAt
	w.parts = append(w.parts, below)
	return err
}

func (e *Environment) showProgress(w *walk) {
	now := e.now()
	if now.Sub(e.progress) < progressEvery {
		return
	}
	e.progress = now
	s := e.State()
	s.Listed, s.Oldest = e.index.Len(), e.oldest
	e.state.Store(&s)
	level.Info(e.log).Log("msg", "loading the history", "tokens", s.Listed, "requests", w.pages, "back_to", s.Oldest.Format(time.RFC3339))
}
