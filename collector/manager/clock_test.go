package manager_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector"
	"waitpoint_exporter/collector/index"
	"waitpoint_exporter/test/recount"
	"waitpoint_exporter/test/size"
)

// A clock is a machine's clock in a synctest bubble: its monotonic clock and timers are
// the bubble's, its wall clock can be set. A suspended machine is simulated by setting
// its wall clock ahead, together with the service's.
type clock struct {
	both  time.Time // A reading of both clocks, possible only outside a bubble.
	begun time.Time
	ahead atomic.Int64
}

func (c *clock) Now() time.Time {
	wall := time.Now().Add(time.Duration(c.ahead.Load()))
	return apart(c.both.Add(time.Since(c.begun)), wall)
}

func (c *clock) set(by time.Duration) { c.ahead.Add(int64(by)) }

// apart returns a time with the monotonic reading of one time and the wall clock
// reading of another, as time.Now does after the clock was set. No function makes such
// a time, so this relies on the memory layout in package time.
func apart(monotonic, wall time.Time) time.Time {
	const hasMonotonic = 1 << 63
	fields := (*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&monotonic)) // #nosec G103
	since1885 := wall.Unix() - time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	fields.wall = hasMonotonic | uint64(since1885)<<30 | uint64(wall.Nanosecond())
	return monotonic
}

// TestClockReadingsDiffer checks that the two readings of the tests' clock differ.
func TestClockReadingsDiffer(t *testing.T) {
	t.Parallel()
	a := time.Now()
	b := apart(a.Add(time.Minute), a.Add(time.Hour))
	if d := b.Sub(a); d != time.Minute {
		t.Errorf("%s by the monotonic clock, want 1m", d)
	}
	if d := b.Round(0).Sub(a.Round(0)); d != time.Hour {
		t.Errorf("%s by the wall clock, want 1h", d)
	}
}

// within returns rules with the default thresholds.
func within(period time.Duration, waitingToo bool) recount.Rules {
	return recount.Rules{
		Options: index.Options{Period: period, WaitingWithinPeriod: waitingToo},
		Near:    []collector.Threshold{{Label: "5m", Value: 5 * time.Minute}, {Label: "1h", Value: time.Hour}},
		Stuck: []collector.Threshold{
			{Label: "1h", Value: time.Hour},
			{Label: "1d", Value: 24 * time.Hour},
			{Label: "7d", Value: 7 * 24 * time.Hour},
		},
	}
}

// expected returns the correct samples for the service's tokens, with names as from
// sampleName.
func expected(tokens []simulator.Token, rules recount.Rules, now time.Time) map[string]float64 {
	return recount.Of(tokens, rules, now).Samples(rules, func(metric string, labels ...string) string {
		pairs := slices.Collect(slices.Chunk(labels, 2))
		slices.SortFunc(pairs, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
		name := []string{"waitpoint_" + metric}
		for _, pair := range pairs {
			name = append(name, pair[1])
		}
		return strings.Join(name, " ")
	})
}

// flowSample matches the samples that count events, not tokens.
var flowSample = regexp.MustCompile(`^(tagged_)?(tokens_created_total|wait_duration_seconds)`)

// numbers returns the samples that expected also returns.
func numbers(all map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for name, v := range all {
		if name, ok := strings.CutPrefix(name, "waitpoint_"); ok && !flowSample.MatchString(name) &&
			name != "tokens_unresolved" &&
			(strings.HasPrefix(name, "tokens") || strings.HasPrefix(name, "tagged_") || strings.HasPrefix(name,
				"oldest_") || strings.HasPrefix(name, "next_")) {
			out["waitpoint_"+name] = v
		}
	}
	return out
}

// wrong returns the diff of the samples that are present, empty if all are right.
func wrong(want, got map[string]float64) string {
	shown := map[string]float64{}
	for name := range got {
		shown[name] = want[name]
	}
	return cmp.Diff(shown, got)
}

// A move of the clocks: the exporter's clock is set, or its machine is suspended while
// a third of the WAITING tokens finish.
type move struct {
	set, suspended time.Duration
	then           time.Duration // Until the next move; two intervals if zero.
}

// TestClock checks that after any move of the clock, numbers are absent or right by the
// new clock; that two intervals later all are present and right; and that extra
// requests are made only to list again a history that was dropped.
func TestClock(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	there := func(d time.Duration) []move { return []move{{set: d}, {set: -d}} }
	for name, moves := range map[string][]move{
		"20 s ahead":      there(20 * time.Second),
		"5 min ahead":     there(5 * time.Minute),
		"1 h ahead":       there(time.Hour),
		"1 h behind":      there(-time.Hour),
		"10 years ahead":  there(10 * year),
		"10 years behind": there(-10 * year),
		"10 years ahead, for less than an interval": {{set: 10 * year, then: 30 * time.Second}, {set: -10 * year}},
		"behind again and again": {{set: -time.Hour, then: 40 * time.Second}, {
			set:  -time.Hour,
			then: 40 * time.Second,
		}, {set: -time.Hour}},
		"suspended for 8 h": {{suspended: 8 * time.Hour}},
		"suspended for 8 h, the clock not told": {
			{suspended: 8 * time.Hour, set: -8 * time.Hour},
			{set: 8 * time.Hour},
		},
	} {
		t.Run(name, func(t *testing.T) {
			both := time.Now()
			synctest.Test(t, func(t *testing.T) { testClock(t, both, moves) })
		})
	}
}

// TestClockInOutage checks that a snapshot becomes too old to be shown even if the
// clock is set back while the service does not answer.
func TestClockInOutage(t *testing.T) {
	t.Parallel()
	both := time.Now()
	synctest.Test(t, func(t *testing.T) {
		own := &clock{both: both, begun: time.Now()}
		w := newWorldAt(t, own.Now, simulator.Options{})
		w.service.Environment(simulator.EnvironmentOptions{Key: key("a")}).
			Populate(simulator.Population{Seed: 5, Tokens: 10, Waiting: 5})
		w.apply("a")
		time.Sleep(90 * time.Second)
		w.service.Inject(simulator.Fault{Kind: simulator.FaultDrop})
		own.set(-time.Hour)
		if n := len(numbers(samples(t, w.manager, "a"))); n == 0 {
			t.Error("no numbers as soon as the clock was set")
		}
		time.Sleep(10 * time.Minute)
		if got := numbers(samples(t, w.manager, "a")); len(got) > 0 {
			t.Errorf("numbers from before the outage: %v", got)
		}
	})
}

func testClock(t *testing.T, both time.Time, moves []move) {
	own := &clock{both: both, begun: time.Now()}
	var service atomic.Int64
	w := newWorldAt(
		t,
		own.Now,
		simulator.Options{Now: func() time.Time { return time.Now().Add(time.Duration(service.Load())) }},
	)
	environments := map[string]recount.Rules{
		"a": within(0, false),
		"b": within(24*time.Hour, false),
		"c": within(24*time.Hour, true),
	}
	for name := range environments {
		w.truth[name] = w.service.Environment(simulator.EnvironmentOptions{Key: key(name)})
		w.truth[name].Populate(
			simulator.Population{Seed: 5, Tokens: 1000, Waiting: 50, Span: 3 * 24 * time.Hour, Tags: fewTags},
		)
	}
	w.apply(
		"a|, tags: {limit: 0}",
		"b|, tokens: {period: 1d}, tags: {limit: 0}",
		"c|, tokens: {period: 1d, waiting_within_period: true}, tags: {limit: 0}",
	)
	const interval = time.Minute
	step := size.Of(30*time.Second, 10*time.Second)
	time.Sleep(10*time.Minute + 30*time.Second)
	last := map[string]map[string]float64{}
	check := func(when string, whole bool) {
		t.Helper()
		for name, r := range environments {
			all := samples(t, w.manager, name)
			want, got := expected(w.truth[name].Tokens(), r, own.Now()), numbers(all)
			if whole {
				want, got = got, want // Missing samples are also wrong.
			}
			if d := wrong(want, got); d != "" {
				t.Fatalf("%s, %s: %s", name, when, d)
			}
			for sample, v := range last[name] {
				if now, ok := all[sample]; ok && strings.Contains(sample, "_total") && now < v {
					t.Errorf("%s, %s: %s fell from %v to %v", name, when, sample, v, now)
				}
			}
			if all["waitpoint_verify_corrections_total"] > 0 || all["waitpoint_tokens_created_total"] > 0 {
				t.Fatalf(
					"%s, %s: %v corrections, %v created",
					name,
					when,
					all["waitpoint_verify_corrections_total"],
					all["waitpoint_tokens_created_total"],
				)
			}
			last[name] = all
		}
	}
	counts := func() map[string]int {
		n := map[string]int{}
		for name, e := range w.truth {
			n[name] = e.Count()
		}
		return n
	}
	begin := counts()
	time.Sleep(2 * interval)
	usual := counts()["a"] - begin["a"]
	for i, m := range moves {
		when := "move " + strconv.Itoa(i)
		own.set(m.set + m.suspended)
		service.Add(int64(m.suspended))
		begin, finished := counts(), 0
		if m.suspended > 0 {
			for _, e := range w.truth {
				for n, token := range e.Tokens() {
					if token.Status == "WAITING" && n%3 == 0 {
						e.Finish(token.ID, "TIMED_OUT")
						finished++
					}
				}
			}
		}
		until := m.then
		if until == 0 {
			until = 2 * interval
		}
		for passed := time.Duration(0); passed < until; passed += step {
			if m.suspended == 0 || m.set == 0 { // The exporter cannot detect a suspension that its clock does not show.
				check(when+", "+passed.String()+" later", false)
			}
			time.Sleep(step)
		}
		if m.then == 0 {
			check(when+", two intervals later", true)
		}
		for name, n := range counts() {
			made, most := n-begin[name], usual+finished
			if environments[name].Period > 0 {
				most += 45 // The pages of its history, and the seeks to split it.
			}
			if made > most {
				t.Errorf("%s, %s: %d requests, %d in two intervals without it", name, when, made, usual)
			}
		}
	}
}
