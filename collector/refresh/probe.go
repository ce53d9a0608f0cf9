package refresh

import (
	"math"
	"time"

	"waitpoint_exporter/client"
)

// Probe: a short time by createdAt, all of whose tokens the newest should have shown.

const (
	// maxSlack bounds for how long a token is waited for.
	maxSlack = 10 * time.Minute
	// probeShare is the part of all requests that probes may take where nothing
	// points at tokens that are out of order.
	probeShare = 0.005
	// probePages is how many pages of its time a probe looks at.
	probePages = 5
)

// nextProbe asks for a short time by createdAt of which the newest should have
// shown every token.
func (e *Environment) nextProbe() *request {
	if e.probed || !e.round.open || !e.flowing || e.served.IsZero() || e.round.pages[newest] == 0 || !e.newestDone() {
		return nil
	}
	sudden := e.rate >= 3 && (e.appeared == 0 || e.rate-float64(e.appeared) > 4*math.Sqrt(e.rate))
	if !sudden && e.probes < 1 {
		return nil
	}
	to := e.served.Add(-e.slack)
	span := e.opts.Interval
	if e.rate > 0 {
		span = min(span, time.Duration(float64(e.opts.Interval)*60/e.rate))
	}
	if !sudden {
		// Hosts with clocks behind show only some time later.
		to = to.Add(-time.Duration(e.round.number%10) * 30 * time.Second)
	}
	to = to.Truncate(time.Millisecond)
	from := to.Add(-max(span, 100*time.Millisecond))
	if from.Before(e.flowLine) {
		from = e.flowLine.Add(time.Millisecond)
	}
	if !from.Before(to) {
		return nil
	}
	r := &request{
		pager: e.api.Pager(client.ListOptions{From: from, To: to}),
		start: func() { e.probed = true; e.probes = max(e.probes-1, 0) },
	}
	pages := 0
	r.take = func(page client.Page, at time.Time) error {
		// The ids that sort below all others come last.
		if pages++; pages < probePages && r.pager.More() {
			e.sched.queue(probe, r)
		}
		return e.takeProbe(page, at, to)
	}
	return r
}

// takeProbe counts what the newest should have shown.
func (e *Environment) takeProbe(page client.Page, at, to time.Time) error {
	var late []client.Token
	for i := range page.Tokens {
		if t := &page.Tokens[i]; t.CreatedAt.After(e.flowLine) && !e.index.Knows(t) {
			late = append(late, *t)
		}
	}
	if _, err := e.observe(probe, page, at); err != nil {
		return err
	}
	for _, t := range late {
		delete(e.unplaced, t.ID)
		e.late(t.ID, t.CreatedAt, at)
	}
	if len(late) == 0 {
		e.clean = to
	}
	return nil
}

// late notes a token that the newest did not show. If its place was not looked at
// since it was to be seen there, new tokens appear in a place that is not watched;
// else it came later than was waited for.
func (e *Environment) late(id string, created, seen time.Time) {
	e.opts.Metrics.late()
	if e.all == nil {
		return
	}
	if p := e.all.find(id); p.served.Sub(created) < e.slack {
		if len(e.locate) < mostPlaces {
			e.locate = append(e.locate, sought{id, e.now()})
		}
		return
	}
	behind := min(seen.Sub(created)*3/2, maxSlack)
	if behind <= e.slack {
		return
	}
	e.warn("creation_order", "tokens appear later than "+e.slack.String()+" after their createdAt, "+
		"waiting longer for them")
	e.slack = behind
	e.all.pieces.Scan(func(_ string, p *piece) bool {
		if !p.gap && p.high.After(e.clean.Add(-maxSlack)) {
			p.changed = p.listed // List it once more.
			p.high = e.served
		}
		return true
	})
}
