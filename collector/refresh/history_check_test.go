package refresh_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/index"
)

// documentedLag is the maximum sum of the replicas' lag and the difference of hosts'
// clocks.
const documentedLag = 30 * time.Second

// watch is what the test knows about a running exporter.
type watch struct {
	started   time.Time
	begun     time.Time     // The start of the last refresh that succeeded.
	outage    time.Duration // The time without such refreshes.
	up        bool
	refreshes int
	flowing   time.Time // When counters were first seen.
	loaded    time.Time // When the history was first seen loaded.
	requests  int       // The service's requests at that time.
	created   uint64    // As last seen.
	waits     uint64
}

// refreshed is called at the end of each refresh, by the goroutine that runs it.
func (h *history) refreshed(start time.Time, failed error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refreshes++
	h.up = failed == nil
	if failed == nil {
		if gap := start.Sub(h.begun); !h.begun.IsZero() && gap > 2*h.interval {
			h.outage += gap
		}
		h.begun = start
	}
	h.check("after refresh %d", h.refreshes)
}

// checkNow checks between two refreshes, as a scrape may come at any time.
func (h *history) checkNow(when string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.up = h.subject.State().Up
	h.check("%s", when)
}

// bounds are the minimum and the maximum of a number.
type bounds struct{ least, most int }

func (b *bounds) count(surely, maybe bool) {
	if surely {
		b.least++
	}
	if surely || maybe {
		b.most++
	}
}

func (b bounds) hold(n int) bool { return b.least <= n && n <= b.most }

// check compares the snapshot with its bounds.
func (h *history) check(format string, args ...any) {
	s := h.subject.Snapshot()
	if h.problem != "" || s == nil || !h.up || h.begun.IsZero() {
		return
	}
	h.db.mu.Lock()
	defer h.db.mu.Unlock()
	h.db.seen = h.db.shown
	now := time.Now()
	if h.flowing.IsZero() && s.Flowing {
		h.flowing = now
	}
	if h.loaded.IsZero() && s.Loaded {
		h.loaded, h.requests = now, h.db.requests
	}
	when := func() string { return fmt.Sprintf(format, args...) }
	if s.Age(h.now()) > h.opts.MaxStaleness {
		return // The snapshot is not shown.
	}
	if late := now.Sub(h.begun); late > h.opts.MaxStaleness+2*h.interval {
		h.fail("%s: up, but the last refresh that succeeded began %s ago", when(), late)
	}
	at := s.At.Add(-h.ahead)
	if !h.allowed.turnwise && at.Before(h.begun) {
		h.fail("%s: a WAITING token was last listed %s before the refresh began", when(), h.begun.Sub(at))
	}
	arrived := h.begun.Add(-documentedLag - h.lateBy())
	left := at.Add(-documentedLag)
	if left.After(arrived) {
		left = arrived
	}
	may := at.Add(-documentedLag - h.allowed.leave)
	sums := h.expect(now, arrived, left, may)
	group := s.Total
	clock := h.now()
	hold := func(name string, n int, b bounds) {
		if !b.hold(n) {
			h.fail("%s: %s is %d, want %d to %d", when(), name, n, b.least, b.most)
		}
	}
	if h.allowed.lacking {
		sums.waiting.least -= s.Unresolved
		for i := range thresholds {
			sums.near[i].least -= s.Unresolved
			sums.stuck[i].least -= s.Unresolved
		}
		sums.overdue.least -= s.Unresolved
		sums.without.least -= s.Unresolved
	}
	hold("WAITING", group.Count(0, clock), sums.waiting)
	for i, th := range thresholds {
		hold(fmt.Sprint("near timeout ", th), group.NearTimeout(th, clock), sums.near[i])
		hold(fmt.Sprint("stuck ", th), group.Stuck(th, clock), sums.stuck[i])
	}
	hold("overdue", group.Overdue(clock), sums.overdue)
	hold("without timeout", group.WithoutTimeout(clock), sums.without)
	if s.Loaded {
		unresolved := s.Unresolved
		for i, b := range sums.finished {
			b.least -= unresolved
			hold(statuses[1+i], group.Count(1+i, clock), b)
		}
		all := group.Count(0, clock) + group.Count(1, clock) + group.Count(2, clock)
		sums.all.least -= unresolved
		hold("the number of all tokens", all, sums.all)
	}
	if h.problem != "" {
		h.problem += h.odd(s, now, left)
	}
	h.checkFlow(when, s, sums)
	if n := s.Corrections; n > 0 && !h.allowed.corrections {
		h.fail("%s: %d corrections", when(), n)
	}
}

// odd names tokens that are WAITING in the snapshot although they finished long ago, or
// the reverse.
func (h *history) odd(s *index.Snapshot, now, left time.Time) string {
	shown := map[string]bool{}
	for _, t := range s.Tokens {
		shown[strings.TrimPrefix(t.ID, "waitpoint_")] = true
	}
	var b strings.Builder
	for _, t := range h.db.rows {
		switch waits := t.statusAt(now) == "WAITING"; {
		case b.Len() > 600:
		case shown[t.id] && !waits && !t.finished.After(left):
			fmt.Fprintf(&b, "\n%s is shown as WAITING, finished %s, deleted %s", t.id, t.finished.Format(clockLayout), t.deleted.Format(clockLayout))
		case !shown[t.id] && waits && !t.visible.After(left):
			fmt.Fprintf(&b, "\n%s is not shown as WAITING, written %s, createdAt %s", t.id, t.visible.Format(clockLayout), t.created.Format(clockLayout))
		}
	}
	return b.String()
}

const clockLayout = "2006-01-02 15:04:05.000"

// lateBy is how late a token may be found. Verification finds no token while nothing
// can be listed.
func (h *history) lateBy() time.Duration {
	if h.allowed.arriveTurns == 0 {
		return h.allowed.arrive
	}
	return h.allowed.arrive + time.Duration(h.allowed.arriveTurns)*h.verify + h.outage
}

// checkFlow compares counters with the events.
func (h *history) checkFlow(when func() string, s *index.Snapshot, sums expectation) {
	if !s.Flowing {
		return
	}
	if !s.Loaded {
		sums.created.least, sums.waits.least = 0, 0 // New tokens are still being listed.
	}
	if !sums.created.hold(int(s.Created)) {
		h.fail("%s: %d tokens counted as created, want %d to %d", when(), s.Created, sums.created.least, sums.created.most)
	}
	waits, late, broken := h.gather()
	if sums.waits.least -= s.Unresolved; !sums.waits.hold(int(waits)) {
		h.fail("%s: %d tokens counted as finished, want %d to %d", when(), waits, sums.waits.least, sums.waits.most)
	}
	if s.Created < h.created || waits < h.waits {
		h.fail("%s: a counter went back: created %d to %d, finished %d to %d", when(), h.created, s.Created, h.waits, waits)
	}
	h.created, h.waits = s.Created, waits
	if late > 0 && !h.allowed.late {
		h.fail("%s: %v late arrivals", when(), late)
	}
	if broken != nil && !h.allowed.broken {
		h.fail("%s: assumptions broken: %s", when(), broken)
	}
}

// gather returns the number of waits counted, the late arrivals, and the assumptions
// whose metrics say that they are broken.
func (h *history) gather() (waits uint64, late float64, broken []string) {
	families, err := h.metrics.Gather()
	if err != nil {
		panic(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case "triggerdev_waitpoint_wait_duration_seconds":
				waits += m.GetHistogram().GetSampleCount()
			case "triggerdev_waitpoint_late_arrivals_total":
				late = m.GetCounter().GetValue()
			case "triggerdev_waitpoint_assumption_broken":
				if m.GetGauge().GetValue() > 0 {
					broken = append(broken, m.GetLabel()[0].GetValue())
				}
			}
		}
	}
	return waits, late, broken
}

// expectation has the bounds of all numbers.
type expectation struct {
	waiting, overdue, without, all, created, waits bounds
	finished                                       [2]bounds
	near, stuck                                    [4]bounds
}

// expect returns the bounds of all numbers. Tokens that were visible at arrived are
// known, tokens that had finished at left are known as finished, and tokens that had
// finished by may are no longer shown as WAITING.
func (h *history) expect(now, arrived, left, may time.Time) expectation {
	var x expectation
	clock := h.now()
	window := time.Time{}
	if h.period > 0 {
		window = clock.Add(-h.period)
	}
	for _, t := range h.db.rows {
		if t.visible.After(now) {
			continue
		}
		known := !t.visible.After(arrived)
		gone := !t.deleted.After(now)
		finished := !t.finished.After(now)
		inWindow := !t.created.Before(window)
		// Whether it may or must be shown as WAITING.
		canWait := t.finished.After(may) && t.deleted.After(may) && (inWindow || !h.waitingWithin)
		mustWait := canWait && known && !finished && !gone
		mustFinish := known && !t.finished.After(left) && !gone && inWindow
		canFinish := finished && inWindow
		if canWait {
			h.expectWaiting(&x, t, mustWait, clock)
		}
		x.finished[statusNumber(t.status)].count(mustFinish, canFinish)
		x.all.count(mustWait || mustFinish || known && canWait && canFinish && !gone, canWait || canFinish)
		surely, maybe := h.flows(t)
		x.created.count(surely && known && !gone, surely || maybe)
		if finished && t.finished.Before(t.deleted) {
			surely, maybe = h.ends(t, surely)
			x.waits.count(surely && known && !t.finished.After(left) && !gone, surely || maybe)
		}
	}
	return x
}

func statusNumber(status string) int {
	if status == "TIMED_OUT" {
		return 1
	}
	return 0
}

func (h *history) expectWaiting(x *expectation, t *stored, surely bool, clock time.Time) {
	x.waiting.count(surely, true)
	for i, th := range thresholds {
		if !t.timeout.IsZero() && !t.timeout.Before(clock) && !t.timeout.After(clock.Add(th)) {
			x.near[i].count(surely, true)
		}
		if t.created.Before(clock.Add(-th)) {
			x.stuck[i].count(surely, true)
		}
	}
	if t.timeout.IsZero() {
		x.without.count(surely, true)
	} else if t.timeout.Before(clock) {
		x.overdue.count(surely, true)
	}
}

// flows returns whether a token surely or maybe counts as created: surely if it was
// created and written after the newest tokens were known, not at all if it was created
// well before the start.
func (h *history) flows(t *stored) (surely, maybe bool) {
	if h.flowing.IsZero() || t.created.Before(h.started.Add(-documentedLag-2*time.Second)) {
		return false, false
	}
	surely = t.created.After(h.flowing) && t.visible.After(h.flowing)
	if late := h.lateBy(); late > 0 && h.period > 0 {
		// A token that is found so late may have left the window by then.
		surely = surely && t.created.Add(h.period).After(t.visible.Add(late+documentedLag+2*h.interval))
	}
	return surely, true
}

// ends returns whether a finished token surely or maybe counts as seen to finish.
func (h *history) ends(t *stored, created bool) (bool, bool) {
	switch {
	case created:
		return true, true
	case h.flowing.IsZero() || t.finished.Before(h.started.Add(-documentedLag-h.allowed.leave)):
		return false, false
	}
	waited := !t.visible.After(h.started.Add(-documentedLag-h.allowed.leave)) && t.finished.After(h.flowing)
	return waited, true
}

// checkExactly compares everything after a quiet time.
func (h *history) checkExactly() {
	s, state := h.subject.Snapshot(), h.subject.State()
	if s == nil || !s.Loaded || !s.Flowing || !state.Up {
		h.fail("after a quiet time: up %t (%s), snapshot %t", state.Up, state.Err, s != nil && s.Loaded)
		return
	}
	h.db.mu.Lock()
	defer h.db.mu.Unlock()
	now := time.Now()
	if s.Unresolved > 0 {
		h.fail("after a quiet time: %d tokens are unresolved", s.Unresolved)
	}
	tokens, rules := h.labelled(s, now)
	opts := h.opts
	opts.Tags = rules
	if d := differences(expected(tokens, opts, h.now()), shown(s, h.now())); d != "" {
		h.fail("after a quiet time numbers differ (-service +exporter): %s", d)
	}
	sums := h.expect(now, now, now, now)
	h.checkFlow(func() string { return "after a quiet time" }, s, sums)
	if h.period == 0 && h.tags.Limit == 0 && !h.allowed.corrections {
		h.checkTagFlow(s, now)
	}
}

// noneTag is the tag of tokens that count under no tag.
const noneTag = "\x00none"

// labelled returns the service's tokens with the labels that they count under as tags,
// since folding depends on the other tokens, and rules that keep these labels.
func (h *history) labelled(s *index.Snapshot, now time.Time) ([]simulator.Token, index.TagRules) {
	series := map[string]bool{}
	kept := 0
	for _, t := range s.Tags {
		series[t.Tag] = true
		if t.Tag != "" && t.Tag != index.OtherTag {
			kept++
		}
	}
	if h.tags.Limit > 0 && kept > h.tags.Limit {
		h.fail("%d tags have series, want at most %d", kept, h.tags.Limit)
	}
	// The number of folded tags is as of the last refresh; since then tokens may have left
	// the window.
	folded, maybe := map[string]bool{}, map[string]bool{}
	var out []simulator.Token
	for _, t := range h.db.rows {
		status := t.statusAt(now)
		if status == "" {
			continue
		}
		tags, ok := h.tags.Map(t.tags)
		if !ok {
			tags = []string{noneTag}
		}
		counts := h.period == 0 || status == "WAITING" && !h.waitingWithin || !t.created.Before(h.now().Add(-h.period))
		for i, tag := range tags {
			if h.tags.Limit > 0 && ok && tag != "" && !series[tag] {
				if counts {
					folded[tag] = true
				}
				if counts || !t.created.Before(h.now().Add(-h.period-2*h.interval)) {
					maybe[tag] = true
				}
				tags[i] = index.OtherTag
			}
		}
		slices.Sort(tags)
		out = append(out, simulator.Token{
			ID: t.id, Status: status, Tags: slices.Compact(tags), CreatedAt: t.created, TimeoutAt: t.timeout,
		})
	}
	if s.Folded < len(folded) || s.Folded > len(maybe) {
		h.fail("%d tags are shown as folded, want %d to %d", s.Folded, len(folded), len(maybe))
	}
	return out, index.TagRules{Exclude: regexp.MustCompile("^(?:" + noneTag + ")$")}
}

// checkTagFlow compares the tokens counted as created by tag, if all are known.
func (h *history) checkTagFlow(s *index.Snapshot, now time.Time) {
	want := map[string]bounds{}
	for _, t := range h.db.rows {
		surely, maybe := h.flows(t)
		tags, _ := h.tags.Map(t.tags)
		for _, tag := range tags {
			b := want[tag]
			b.count(surely && t.statusAt(now) != "", maybe && !t.visible.After(now))
			want[tag] = b
		}
	}
	for _, t := range s.Tags {
		if b := want[t.Tag]; !b.hold(int(t.Created)) {
			h.fail("after a quiet time: %d tokens counted as created under %q, want %d to %d", t.Created, t.Tag, b.least, b.most)
		}
	}
}

// checkCost checks how much of the rate limit was used.
func (h *history) checkCost() {
	h.db.mu.Lock()
	defer h.db.mu.Unlock()
	if h.db.refused > 0 || h.db.productionRefused > 0 {
		h.fail("the rate limit refused %d requests, and %d of production", h.db.refused, h.db.productionRefused)
	}
	if h.share == 0 || h.loaded.IsZero() {
		return
	}
	rate := h.share * float64(h.refill) / refillEvery.Seconds()
	most := rate*time.Since(h.loaded).Seconds() + max(rate*h.interval.Seconds(), 4) + float64(h.concurrency)
	if n := h.db.requests - h.requests; float64(n) > most {
		h.fail("%d requests since the history was loaded, the share is %.0f", n, most)
	}
}
