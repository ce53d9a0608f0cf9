package refresh

import (
	"math"
	"time"

	"waitpoint_exporter/client"
)

// Probe: a short time range by createdAt, all of whose tokens should be known.

const (
	// maxSlack bounds the slack, for how long a token may still appear.
	maxSlack = 10 * time.Minute
	// probeShare is the share of requests for probes while nothing suggests that tokens
	// appear out of order.
	probeShare = 0.005
	// probePages is the number of pages of one probe.
	probePages = 5
)

// probing is what the task probe knows.
type probing struct {
	rate   float64   // The recent maximum of tokens that appeared in a round.
	budget float64   // The number of probes that may be sent.
	sent   bool      // In this round.
	clean  time.Time // The createdAt up to which a probe last found nothing.
}

// nextProbe requests a short time range by createdAt.
func (e *Environment) nextProbe(time.Time) *request {
	if e.probing.sent || !e.round.open || !e.flowing || e.arrivals.served.IsZero() ||
		e.round.pages[newest] == 0 || !e.newestDone() {
		return nil
	}
	// Suddenly fewer tokens than before: they may appear in another place.
	rate, appeared := e.probing.rate, float64(e.arrivals.appeared)
	sudden := rate >= 3 && (appeared == 0 || rate-appeared > 4*math.Sqrt(rate))
	if !sudden && e.probing.budget < 1 {
		return nil
	}
	to := e.arrivals.complete()
	span := time.Duration(float64(e.opts.Interval) * min(1, 60/rate)) // All of it if rate is 0.
	if !sudden {
		// Tokens of hosts whose clock is behind appear some time later.
		to = to.Add(-time.Duration(e.round.number%10) * 30 * time.Second)
	}
	to = to.Truncate(time.Millisecond)
	from := to.Add(-max(span, 100*time.Millisecond))
	if from.Before(e.arrivals.flowLine) {
		from = e.arrivals.flowLine.Add(time.Millisecond)
	}
	if !from.Before(to) {
		return nil
	}
	r := &request{
		pager: e.api.Pager(client.ListOptions{From: from, To: to}),
		start: func() { e.probing.sent = true; e.probing.budget = max(e.probing.budget-1, 0) },
	}
	pages := 0
	r.take = func(s sight) error {
		// Ids of a new shape, which sort below all others, are on the last page.
		if pages++; pages < probePages && r.pager.More() {
			e.sched.queue(probe, r)
		}
		return e.takeProbe(s, to)
	}
	return r
}

// takeProbe counts the tokens that should have been known.
func (e *Environment) takeProbe(s sight, to time.Time) error {
	var late []client.Token
	for i := range s.page.Tokens {
		if t := &s.page.Tokens[i]; t.CreatedAt.After(e.arrivals.flowLine) && !e.index.Knows(t) {
			late = append(late, *t)
		}
	}
	if _, err := e.observe(probe, s); err != nil {
		return err
	}
	for _, t := range late {
		delete(e.arrivals.unplaced, t.ID)
		e.late(t.ID, t.CreatedAt, s.at)
	}
	if len(late) == 0 {
		e.probing.clean = to
	}
	return nil
}

// late counts a token that did not appear in time. If its place was not listed since, new
// tokens appear in a place that is not watched, which is then requested. Otherwise the
// token appeared later than the slack, which is then increased.
func (e *Environment) late(id string, created, seen time.Time) {
	e.opts.Metrics.lateArrivals.Inc()
	if e.all == nil {
		return
	}
	if p := e.all.find(id); p.served.Sub(created) < e.arrivals.slack {
		if len(e.arrivals.sought) < mostPlaces {
			e.arrivals.sought = append(e.arrivals.sought, sought{id, e.now()})
		}
		return
	}
	behind := min(seen.Sub(created)*3/2, maxSlack)
	if behind <= e.arrivals.slack {
		return
	}
	e.warn("creation_order", "tokens appear later than "+e.arrivals.slack.String()+" after their createdAt, "+
		"waiting longer for them")
	e.arrivals.slack = behind
	e.all.pieces.Scan(func(_ string, p *piece) bool {
		if !p.gap && p.high.After(e.probing.clean.Add(-maxSlack)) {
			p.changed = p.listed // List it once more.
			p.high = e.arrivals.served
		}
		return true
	})
}
