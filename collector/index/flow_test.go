package index_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
)

// flowOf has the counts of created and finished tokens by tag.
type flowOf struct{ Created, Finished map[string]int }

func newFlow() flowOf { return flowOf{map[string]int{}, map[string]int{}} }

// take adds the counts of x since the last call, as of its snapshot.
func (f flowOf) take(x *index.Index, s *index.Snapshot) {
	finished, gone := x.TakeFlow()
	for _, tag := range gone {
		delete(f.Finished, tag)
	}
	for _, token := range finished {
		f.Finished[token.Tag]++
	}
	clear(f.Created)
	for _, t := range s.Tags {
		f.Created[t.Tag] = int(t.Created)
		f.Finished[t.Tag] += 0
	}
}

// TestFlowByTag compares the counts by tag with a recount, over random histories in
// which tags come and go, are rewritten and folded, tokens are ignored, and the window
// moves.
func TestFlowByTag(t *testing.T) {
	rules := index.TagRules{
		Ignore: regexp.MustCompile(`^(?:chat)$`), Exclude: regexp.MustCompile(`^(?:debug)$`), Limit: 4,
		Rewrite: []index.Rewrite{{Match: regexp.MustCompile(`^(?:user:.*)$`), Replacement: "user:*"}},
	}
	const period = 40 * time.Minute
	pool := []string{"", "chat", "debug", "user:1", "user:2", "a", "b", "c", "d", "e", "f", index.OtherTag}
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			x := index.New(index.Options{Tags: rules, Period: period, WaitingWithinPeriod: seed%2 == 0, Horizon: time.Hour})
			listWaiting(x, noon)
			x.StartFlow(noon)
			x.Loaded()
			got, want := newFlow(), newFlow()
			var tokens []client.Token
			folded, gone, labels := 0, 0, map[string]bool{}
			for round := range 60 {
				now := noon.Add(time.Duration(round+1) * 10 * time.Minute)
				var created, finished []client.Token
				for range random.IntN(4) {
					token := client.Token{ID: fmt.Sprintf("%d.%d", round, len(created)), Status: client.StatusWaiting, CreatedAt: now.Add(-time.Minute)}
					for range random.IntN(4) {
						token.Tags = append(token.Tags, pool[random.IntN(len(pool))])
					}
					created = append(created, token)
				}
				tokens = append(tokens, created...)
				for i := range tokens {
					if tokens[i].Status == client.StatusWaiting && random.IntN(3) == 0 {
						tokens[i].Status, tokens[i].CompletedAt = client.StatusCompleted, now
						finished = append(finished, tokens[i])
					}
				}
				// Some are seen while they are WAITING, others only once they have
				// finished.
				x.Observe(created[:random.IntN(len(created)+1)], now)
				x.Observe(finished, now)
				x.Observe(created, now)
				s := x.Cut(now, now)
				got.take(x, s)
				if s.Folded > 0 {
					folded++
				}
				before := labels
				labels = map[string]bool{}
				for _, g := range s.Tags {
					labels[g.Tag] = true
				}
				for label := range want.Created {
					if !labels[label] {
						delete(want.Created, label)
						delete(want.Finished, label)
						gone++
					}
				}
				for label := range labels {
					want.Created[label] += 0
					want.Finished[label] += 0
				}
				ended := before
				for _, token := range tokens {
					if token.Status == client.StatusWaiting && seed%2 == 1 || !token.CreatedAt.Before(now.Add(-period)) {
						for tag := range under(token, rules) {
							delete(ended, tag)
						}
					}
				}
				recountFlow(want.Created, created, rules, ended, labels)
				recountFlow(want.Finished, finished, rules, ended, labels)
				if d := cmp.Diff(want, got); d != "" {
					t.Fatalf("round %d (-recount +index):\n%s", round, d)
				}
			}
			if folded == 0 || gone == 0 {
				t.Errorf("tags were folded in %d rounds, %d went: the history is too plain", folded, gone)
			}
		})
	}
}

// recountFlow counts each token once under each of its labels that has a series. Ended
// labels disappeared with the token.
func recountFlow(out map[string]int, tokens []client.Token, rules index.TagRules, ended, labels map[string]bool) {
	for _, token := range tokens {
		counted := map[string]bool{}
		for tag := range under(token, rules) {
			if !labels[tag] && !ended[tag] {
				tag = index.OtherTag
			}
			if labels[tag] && !counted[tag] {
				counted[tag] = true
				out[tag]++
			}
		}
	}
}

// under returns the tags that a token counts under, before folding.
func under(token client.Token, rules index.TagRules) map[string]bool {
	out := map[string]bool{}
	if !slices.Contains(token.Tags, "chat") {
		tags, _ := rules.Map(token.Tags)
		for _, tag := range tags {
			out[tag] = true
		}
	}
	return out
}

// TestFlowLabels checks which label an event counts under, step by step.
func TestFlowLabels(t *testing.T) {
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	waits := func(id string, minutes int, tags ...string) client.Token {
		return client.Token{ID: id, Status: client.StatusWaiting, Tags: tags, CreatedAt: at(minutes)}
	}
	done := func(t client.Token, minutes int) client.Token {
		t.Status, t.CompletedAt = client.StatusCompleted, at(minutes)
		return t
	}
	a1, a2, b1, b2 := waits("a1", 1, "a"), waits("a2", 2, "a"), waits("b1", 1, "b"), waits("b2", 61, "b")
	both := waits("both", 3, "b", "c")
	type step struct {
		at   int
		page []client.Token
		want flowOf
	}
	for name, tc := range map[string]struct {
		opts  index.Options
		steps []step
	}{
		"a tag that gets a series later starts at zero, and what was folded stays": {
			index.Options{Period: time.Hour, Tags: index.TagRules{Limit: 1}},
			[]step{
				{1, []client.Token{a1}, flowOf{map[string]int{"a": 1}, map[string]int{"a": 0}}},
				{2, []client.Token{b1}, flowOf{map[string]int{"a": 1, index.OtherTag: 1}, map[string]int{"a": 0, index.OtherTag: 0}}},
				{3, []client.Token{done(a1, 3)}, flowOf{map[string]int{"a": 1, index.OtherTag: 1}, map[string]int{"a": 1, index.OtherTag: 0}}},
				// a1 has left the window: a is gone, and b has its series.
				{62, []client.Token{b2}, flowOf{map[string]int{"b": 1}, map[string]int{"b": 0}}},
				{63, []client.Token{done(b2, 63)}, flowOf{map[string]int{"b": 1}, map[string]int{"b": 1}}},
			},
		},
		"a token counts once where two of its tags are folded": {
			index.Options{Tags: index.TagRules{Limit: 1}},
			[]step{
				{1, []client.Token{a1, a2}, flowOf{map[string]int{"a": 2}, map[string]int{"a": 0}}},
				{3, []client.Token{both}, flowOf{map[string]int{"a": 2, index.OtherTag: 1}, map[string]int{"a": 0, index.OtherTag: 0}}},
				{4, []client.Token{done(both, 4)}, flowOf{map[string]int{"a": 2, index.OtherTag: 1}, map[string]int{"a": 0, index.OtherTag: 1}}},
			},
		},
		"a token counts once, whatever shows it": {
			index.Options{},
			[]step{
				{1, []client.Token{a1, a1}, flowOf{map[string]int{"a": 1}, map[string]int{"a": 0}}},
				{2, []client.Token{done(a1, 2), a1, done(a1, 2)}, flowOf{map[string]int{"a": 1}, map[string]int{"a": 1}}},
				{3, []client.Token{a1, done(a1, 2)}, flowOf{map[string]int{"a": 1}, map[string]int{"a": 1}}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := index.New(tc.opts)
			listWaiting(x, noon)
			x.StartFlow(noon)
			x.Loaded()
			got := newFlow()
			for i, step := range tc.steps {
				x.Observe(step.page, at(step.at))
				got.take(x, x.Cut(at(step.at), at(step.at)))
				for label := range got.Finished { // Histograms of labels without a token are dropped.
					if _, ok := got.Created[label]; !ok {
						t.Errorf("step %d: %q is still counted", i, label)
					}
				}
				if d := cmp.Diff(step.want, got); d != "" {
					t.Errorf("step %d (-want +got):\n%s", i, d)
				}
			}
		})
	}
}
