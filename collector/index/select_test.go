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

// TestSelectAgrees checks that a selection has as many tokens as the group counts, for
// each group of random snapshots, also after the cut, when some tokens have left the
// window.
func TestSelectAgrees(t *testing.T) {
	rules := index.TagRules{
		Exclude: regexp.MustCompile(`^(?:debug)$`), Limit: 4,
		Rewrite: []index.Rewrite{{Match: regexp.MustCompile(`^(?:user:.*)$`), Replacement: "user:*"}, {Match: regexp.MustCompile(`^(?:blank)$`)}},
	}
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			opts := index.Options{Tags: rules, Horizon: time.Hour, ExpectedWait: []index.ExpectedWait{
				{Match: regexp.MustCompile(`^(?:team:.*)$`), Wait: 3*time.Hour + 17*time.Minute}, {Match: regexp.MustCompile(`^(?:user:.*|debug|)$`), Wait: time.Hour},
			}}
			if seed%2 == 1 {
				opts.Period, opts.WaitingWithinPeriod = 3*time.Hour, true
			}
			x := index.New(opts)
			listWaiting(x, noon, randomTokens(random, 300)...)
			if seed%3 == 0 {
				x.StartFlow(noon)
				x.Loaded()
			}
			s := x.Cut(noon, noon)
			if s.Folded == 0 || len(s.Tags) != 6 {
				t.Fatalf("%d tags are folded, %d have groups: the population is too plain", s.Folded, len(s.Tags))
			}
			for _, now := range []time.Time{noon, noon.Add(time.Nanosecond), noon.Add(17 * time.Minute), noon.Add(time.Hour)} {
				agree(t, s, nil, s.Total, now)
				for _, g := range s.Tags {
					agree(t, s, &g.Tag, g.Group, now)
				}
			}
		})
	}
}

func randomTokens(random *rand.Rand, n int) []client.Token {
	tags := []string{"team:payments", "team:growth", "user:1", "user:2", "debug", "", "blank", index.OtherTag, "a", "b", "c", "d"}
	tokens := make([]client.Token, n)
	for i := range tokens {
		created := noon.Add(-time.Duration(random.IntN(4*60)) * time.Minute) // Whole minutes, so that many meet a threshold exactly.
		tokens[i] = client.Token{ID: fmt.Sprint("token ", i), Status: client.StatusWaiting, CreatedAt: created}
		for range random.IntN(4) {
			tokens[i].Tags = append(tokens[i].Tags, tags[random.IntN(len(tags))])
		}
		if random.IntN(3) > 0 {
			tokens[i].TimeoutAt = created.Add(time.Duration(random.IntN(6*60)) * time.Minute)
		}
	}
	return tokens
}

func agree(t *testing.T, s *index.Snapshot, tag *string, g *index.Group, now time.Time) {
	t.Helper()
	check := func(name string, sel index.Selection, want int) {
		t.Helper()
		sel.Tag = tag
		got := slices.Collect(s.Select(sel, now))
		if len(got) != want {
			label := "any"
			if tag != nil {
				label = fmt.Sprintf("%q", *tag)
			}
			t.Errorf("%s, tag %s, at %s: %d tokens, the group counts %d", name, label, now.Format(time.StampNano), len(got), want)
		}
		if !slices.IsSortedFunc(got, func(a, b *index.Token) int { return a.CreatedAt.Compare(b.CreatedAt) }) {
			t.Errorf("%s: not oldest first", name)
		}
	}
	check("all", index.Selection{}, g.Count(0, now))
	check("overdue", index.Selection{Overdue: true}, g.Overdue(now))
	check("late", index.Selection{Late: true}, g.Late(now))
	check("no timeout", index.Selection{WithoutTimeout: true}, g.WithoutTimeout(now))
	for _, d := range []time.Duration{0, 5 * time.Minute, time.Hour, 24 * time.Hour} {
		check("stuck "+d.String(), index.Selection{Stuck: &d}, g.Stuck(d, now))
		check("near timeout "+d.String(), index.Selection{NearTimeout: &d}, g.NearTimeout(d, now))
	}
}

// TestSelect checks selections that have no group with the same count.
func TestSelect(t *testing.T) {
	at := func(created, timeout time.Duration) client.Token {
		token := client.Token{Status: client.StatusWaiting, CreatedAt: noon.Add(created)}
		if timeout != 0 {
			token.TimeoutAt = noon.Add(timeout)
		}
		return token
	}
	tagged := func(id string, token client.Token, tags ...string) client.Token {
		token.ID, token.Tags = id, tags
		return token
	}
	x := index.New(index.Options{Tags: index.TagRules{
		Exclude: regexp.MustCompile(`^(?:debug|)$`), Limit: 1,
		Rewrite: []index.Rewrite{
			{Match: regexp.MustCompile(`^(?:user:.*)$`), Replacement: "user:*"},
			{Match: regexp.MustCompile(`^(?:swapped)$`), Replacement: "elsewhere"},
			{Match: regexp.MustCompile(`^(?:source)$`), Replacement: "swapped"},
		},
	}})
	listWaiting(x, noon,
		tagged("plain", at(-time.Hour, 0)),
		tagged("user", at(-2*time.Hour, -time.Minute), "user:7", "debug"),
		tagged("left out", at(-3*time.Hour, time.Minute), "debug", ""),
		tagged("source", at(-4*time.Hour, time.Hour), "source"),
		tagged("source too", at(-4*time.Hour, 0), "source"),
		tagged("swapped", at(-5*time.Hour, 0), "swapped"),
	)
	s := x.Cut(noon, noon)
	for name, tc := range map[string]struct {
		sel  index.Selection
		want []string
	}{
		"the zero value picks all, oldest first, then by id": {index.Selection{}, []string{"swapped", "source", "source too", "left out", "user", "plain"}},
		"conditions must all hold":                           {index.Selection{Stuck: new(3*time.Hour - 1), NearTimeout: new(time.Hour)}, []string{"source", "left out"}},
		"overdue is not near":                                {index.Selection{Overdue: true, NearTimeout: new(time.Hour)}, nil},
		"overdue has a timeout":                              {index.Selection{Overdue: true, WithoutTimeout: true}, nil},
		"stuck and no timeout":                               {index.Selection{Stuck: new(4 * time.Hour), WithoutTimeout: true}, []string{"swapped"}},
		"no tag is not a tag left out":                       {index.Selection{Tag: new("")}, []string{"plain"}},
		"a tag that is left out":                             {index.Selection{Tag: new("debug")}, []string{"left out", "user"}},
		"a tag that is rewritten":                            {index.Selection{Tag: new("user:7")}, []string{"user"}},
		"a label past the limit":                             {index.Selection{Tag: new("user:*")}, []string{"user"}},
		"all labels past the limit":                          {index.Selection{Tag: new(index.OtherTag)}, []string{"swapped", "user"}},
		"a label goes before a tag of the same text":         {index.Selection{Tag: new("swapped")}, []string{"source", "source too"}},
		"an unknown tag":                                     {index.Selection{Tag: new("nobody")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for token := range s.Select(tc.sel, noon) {
				got = append(got, token.ID)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	// Labels that are not tags select nothing if nothing counts under them, even if
	// there are tags with the same text.
	x = index.New(index.Options{Tags: index.TagRules{Exclude: regexp.MustCompile(`^(?:|__other__)$`)}})
	listWaiting(x, noon, tagged("1", at(0, 0), ""), tagged("2", at(0, 0), index.OtherTag))
	for _, tag := range []string{"", index.OtherTag} {
		for token := range x.Cut(noon, noon).Select(index.Selection{Tag: &tag}, noon) {
			t.Errorf("tag %q picks %s", tag, token.ID)
		}
	}
	for range s.Select(index.Selection{}, noon) {
		break // An iterator that continues after this panics.
	}
	for range (&index.Snapshot{}).Select(index.Selection{}, noon) {
		t.Error("an empty snapshot has tokens")
	}
}
