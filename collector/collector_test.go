package collector_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"waitpoint_exporter/client"
	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector"
	"waitpoint_exporter/collector/index"
	"waitpoint_exporter/test/recount"
	"waitpoint_exporter/test/size"
)

const maxStaleness = 10 * time.Minute

var (
	near = []collector.Threshold{{Label: "5m", Value: 5 * time.Minute}, {Label: "1h", Value: time.Hour}}
	// Labels are as the user wrote them: Prometheus would write 1w.
	stuck = []collector.Threshold{
		{Label: "1h", Value: time.Hour},
		{Label: "1d", Value: 24 * time.Hour},
		{Label: "7d", Value: 7 * 24 * time.Hour},
	}
)

// source always returns the same snapshot.
type source struct{ snapshot *index.Snapshot }

func (s source) Snapshot() *index.Snapshot { return s.snapshot }

// samples gathers all gauges and counters of a snapshot as text.
func samples(t *testing.T, s *index.Snapshot, opts collector.Options, now time.Time) map[string]float64 {
	t.Helper()
	opts.Environment, opts.NearTimeout, opts.StuckAfter, opts.MaxStaleness = "prod", near, stuck, maxStaleness
	opts.Now = func() time.Time { return now }
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector.New(source{s}, opts))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				if l.GetName() != "environment" {
					labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
				}
			}
			name := strings.TrimPrefix(f.GetName(), "triggerdev_waitpoint_") + "{" + strings.Join(labels, ",") + "}"
			out[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return out
}

// series returns the name of a series with its labels, which are pairs of name and
// value, in order.
func series(name string, labels ...string) string {
	var pairs []string
	for pair := range slices.Chunk(labels, 2) {
		pairs = append(pairs, fmt.Sprintf("%s=%q", pair[0], pair[1]))
	}
	slices.Sort(pairs)
	return name + "{" + strings.Join(pairs, ",") + "}"
}

func listed(tokens []simulator.Token) []client.Token {
	var out []client.Token
	for _, t := range tokens {
		out = append(out, client.Token{
			ID: t.ID, Status: client.Status(t.Status), Tags: t.Tags,
			CreatedAt: t.CreatedAt, TimeoutAt: t.TimeoutAt, CompletedAt: t.CompletedAt,
		})
	}
	return out
}

// paint lists all tokens and cuts the snapshot.
func paint(tokens []simulator.Token, opts index.Options, now time.Time, loaded bool) *index.Snapshot {
	opts.Horizon, opts.Lag = maxStaleness, time.Minute
	x := index.New(opts)
	x.Observe(
		listed(slices.DeleteFunc(slices.Clone(tokens), func(t simulator.Token) bool { return t.Status != "WAITING" })),
		now,
	)
	x.Complete()
	if loaded {
		x.Observe(listed(tokens), now)
		x.StartFlow(now)
		x.Loaded()
	}
	return x.Cut(now, now)
}

func anchored(expr string) *regexp.Regexp { return regexp.MustCompile("^(?s:" + expr + ")$") }

// TestEverySample compares each sample with a recount of tokens of all shapes, when the
// snapshot is cut and again when it is as old as it may be shown.
func TestEverySample(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 123456, time.UTC)
	service := simulator.New(simulator.Options{Now: func() time.Time { return now }})
	environment := service.Environment(simulator.EnvironmentOptions{Key: "tr_dev_x"})
	environment.Populate(
		simulator.Population{
			Seed:    3,
			Tokens:  size.Of(2_000, 20_000),
			Waiting: size.Of(400, 4_000),
			Span:    3 * 24 * time.Hour,
			Odd:     true,
		},
	)
	tokens := environment.Tokens()
	for name, opts := range map[string]index.Options{
		"everything":            {},
		"period":                {Period: 24 * time.Hour},
		"waiting within period": {Period: 24 * time.Hour, WaitingWithinPeriod: true},
		"include":               {Tags: index.TagRules{Include: anchored("team:.*")}},
		"exclude":               {Tags: index.TagRules{Exclude: anchored("user:.*|approval")}},
		"rewrite": {Tags: index.TagRules{Rewrite: []index.Rewrite{{
			Match:       anchored("(user|team):.*"),
			Replacement: "$1:*",
		}}}},
		"limit":   {Tags: index.TagRules{Limit: 5}},
		"require": {Tags: index.TagRules{Require: anchored("team:.*")}},
		"ignore":  {Tags: index.TagRules{Ignore: anchored("approval|team:legal"), Limit: 5}},
		"require and ignore, within a period": {
			Period: 24 * time.Hour, WaitingWithinPeriod: true,
			Tags: index.TagRules{
				Require: anchored("team:.*|user:.*"), Ignore: anchored("approval"),
				Exclude: anchored("user:.*"),
			},
		},
		"expected wait": {ExpectedWait: []index.ExpectedWait{
			{Match: anchored("team:legal"), Wait: 48 * time.Hour},
			{Match: anchored("team:.*|approval"), Wait: 2 * time.Hour},
			{Match: anchored("approval|user:.*"), Wait: time.Minute},
			{Wait: 6 * time.Hour},
		}},
		"expected wait of few, rewritten and folded, within a period": {
			Period: 24 * time.Hour, WaitingWithinPeriod: true,
			ExpectedWait: []index.ExpectedWait{
				{Match: anchored("team:.*"), Wait: 23*time.Hour + 55*time.Minute},
				{Match: anchored("user:.*1"), Wait: 1},
			},
			Tags: index.TagRules{
				Limit: 2, Rewrite: []index.Rewrite{{Match: anchored("(user|team):.*"), Replacement: "$1:*"}},
				Ignore: anchored("team:support"),
			},
		},
		"limit, rules, a period": {Period: time.Hour, Tags: index.TagRules{Limit: 3, Exclude: anchored("approval")}},
	} {
		t.Run(name, func(t *testing.T) {
			s := paint(tokens, opts, now, true)
			kept := map[string]bool{"": true}
			for _, g := range s.Tags {
				kept[g.Tag] = g.Tag != index.OtherTag
			}
			own := func(tag string) bool { return opts.Tags.Limit == 0 || kept[tag] }
			for _, later := range []time.Duration{0, time.Second, maxStaleness} {
				at := now.Add(later)
				got := samples(t, s, collector.Options{Period: opts.Period}, at)
				for _, name := range []string{
					"tags_folded{}", "history_loaded{}", "tokens_unresolved{}",
					"verify_corrections_total{}", "period_seconds{}", "waiting_listed_timestamp_seconds{}",
				} {
					if _, ok := got[name]; !ok {
						t.Errorf("%s is absent", name)
					}
					delete(got, name)
				}
				rules := recount.Rules{Options: opts, Near: near, Stuck: stuck, Own: own}
				count := recount.Of(tokens, rules, at)
				want := count.Samples(rules, series)
				want["tokens_created_total{}"] = 0 // All tokens existed before.
				for tag := range count.Tags {
					want[series("tagged_tokens_created_total", "tag", tag)] = 0
				}
				// A tag whose last token leaves the window is removed at the next
				// refresh. Until then its series are zero.
				for name, v := range got {
					if _, ok := want[name]; !ok && v == 0 && later > 0 {
						delete(got, name)
					}
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("%s later (-recount +metrics):\n%s", later, d)
				}
			}
		})
	}
}

// TestAbsence checks that unknown values are absent.
func TestAbsence(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	tokens := []simulator.Token{
		{ID: "a", Status: "WAITING", Tags: []string{"x"}, CreatedAt: now.Add(-time.Hour)},
		{ID: "b", Status: "COMPLETED", Tags: []string{"x"}, CreatedAt: now.Add(-time.Hour), CompletedAt: now},
	}
	always := []string{
		"history_loaded{}",
		"period_seconds{}",
		"tags_folded{}",
		"tokens_unresolved{}",
		"verify_corrections_total{}",
	}
	x := index.New(index.Options{Horizon: maxStaleness, Lag: time.Minute})
	x.Observe(listed(tokens), now)
	x.Complete()
	x.StartFlow(now)
	x.Observe(listed([]simulator.Token{
		{ID: "c", Status: "COMPLETED", Tags: []string{"x"}, CreatedAt: now.Add(time.Second), CompletedAt: now},
		{ID: "d", Status: "COMPLETED", Tags: []string{"y"}, CreatedAt: now.Add(time.Second), CompletedAt: now},
	}), now)
	flowing := x.Cut(now, now)
	for name, tc := range map[string]struct {
		snapshot *index.Snapshot
		at       time.Time
		present  []string
		absent   []string
	}{
		"before the first listing": {nil, now, always, []string{"tokens{", "tokens_overdue", "tokens_created"}},
		"while the history loads": {
			paint(tokens, index.Options{}, now, false), now,
			append([]string{
				`tokens{status="WAITING"}`, `tagged_tokens{status="WAITING",tag="x"}`,
				"tokens_overdue{}",
			}, always...),
			[]string{`status="COMPLETED"`, `status="TIMED_OUT"`, "tokens_created"},
		},
		// Tag y has no WAITING token: it may get a series when the history is loaded.
		"counting while the history loads": {
			flowing, now,
			append([]string{"tokens_created_total{}", `tagged_tokens_created_total{tag="x"}`}, always...),
			[]string{`status="COMPLETED"`, `"y"`, index.OtherTag},
		},
		"loaded": {
			paint(tokens, index.Options{}, now, true), now,
			append([]string{`tokens{status="TIMED_OUT"}`, "tokens_created_total{}"}, always...), nil,
		},
		"at the greatest age": {
			paint(tokens, index.Options{}, now, true), now.Add(maxStaleness),
			[]string{`tokens{status="WAITING"}`},
			nil,
		},
		"too old": {
			paint(tokens, index.Options{}, now, true), now.Add(maxStaleness + 1),
			append([]string{"waiting_listed_timestamp_seconds{}"}, always...),
			[]string{"tokens{", "tokens_overdue", "tokens_created", "oldest"},
		},
		"nothing waits": {
			paint(tokens[1:], index.Options{}, now, true), now,
			[]string{`tokens{status="WAITING"}`},
			[]string{"oldest", "next_timeout"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := samples(t, tc.snapshot, collector.Options{}, tc.at)
			for _, name := range tc.present {
				if _, ok := got[name]; !ok {
					t.Errorf("%s is absent", name)
				}
			}
			for name := range got {
				for _, no := range tc.absent {
					if strings.Contains(name, no) {
						t.Errorf("%s is present", name)
					}
				}
			}
		})
	}
}

// TestNewestSnapshot checks that a Collector shows the newest snapshot at each scrape,
// with the tags that it has.
func TestNewestSnapshot(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	x := index.New(index.Options{Horizon: maxStaleness})
	list := func(tokens ...client.Token) *index.Snapshot {
		x.Observe(tokens, now)
		x.Complete()
		x.StartFlow(now)
		x.Loaded()
		return x.Cut(now, now)
	}
	waits := func(id, tag string) client.Token {
		return client.Token{ID: id, Status: client.StatusWaiting, Tags: []string{tag}, CreatedAt: now}
	}
	s := &source{list(waits("a", "first"))}
	c := collector.New(
		s,
		collector.Options{Environment: "prod", MaxStaleness: maxStaleness, Now: func() time.Time { return now }},
	)
	for _, want := range []int{1, 2} {
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(c)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		total, tags := 0.0, 0
		for _, f := range families {
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if l.GetName() == "status" && l.GetValue() == "WAITING" {
						if f.GetName() == "triggerdev_waitpoint_tokens" {
							total = m.GetGauge().GetValue()
						} else {
							tags++
						}
					}
				}
			}
		}
		if total != float64(want) || tags != want {
			t.Errorf("%v tokens WAITING under %d tags, want %d", total, tags, want)
		}
		s.snapshot = list(waits("a", "first"), waits("b", "second"))
	}
}
