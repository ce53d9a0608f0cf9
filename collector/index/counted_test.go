package index_test

import (
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
)

// TestWhichTokensCount checks which tokens count.
func TestWhichTokensCount(t *testing.T) {
	team, chat := regexp.MustCompile(`^(?:team:.*)$`), regexp.MustCompile(`^(?:chat|)$`)
	for name, tc := range map[string]struct {
		rules index.TagRules
		tags  []string
		want  bool
	}{
		"no rule":                         {index.TagRules{}, nil, true},
		"required, no tags":               {index.TagRules{Require: team}, nil, false},
		"required, another":               {index.TagRules{Require: team}, []string{"user:1"}, false},
		"required, one of them":           {index.TagRules{Require: team}, []string{"user:1", "team:a"}, true},
		"ignored, no tags":                {index.TagRules{Ignore: chat}, nil, true},
		"ignored, one of them":            {index.TagRules{Ignore: chat}, []string{"team:a", "chat"}, false},
		"ignored, the empty tag":          {index.TagRules{Ignore: chat}, []string{""}, false},
		"required and ignored":            {index.TagRules{Require: team, Ignore: chat}, []string{"team:a", "chat"}, false},
		"required, excluded all the same": {index.TagRules{Require: team, Exclude: team}, []string{"team:a"}, true},
		"required before it is rewritten": {
			index.TagRules{Require: team, Rewrite: []index.Rewrite{{Match: regexp.MustCompile(`^(?:.*)$`), Replacement: "x"}}}, []string{"team:a"}, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.rules.Counts(tc.tags); got != tc.want {
				t.Errorf("Counts(%q) is %v", tc.tags, got)
			}
		})
	}
}

// TestIgnored follows ignored tokens through all changes: they are in the group of
// ignored tokens and nowhere else.
func TestIgnored(t *testing.T) {
	waits := token("out", client.StatusWaiting, "chat", "team:a")
	done := waits
	done.Status, done.CompletedAt = client.StatusCompleted, noon
	counted := token("in", client.StatusWaiting, "team:a")
	counted.CreatedAt = noon.Add(-30 * time.Minute) // The later of the two.
	x := index.New(index.Options{
		Period: 2 * time.Hour, WaitingWithinPeriod: true, Horizon: time.Hour,
		Tags: index.TagRules{Ignore: regexp.MustCompile(`^(?:chat)$`)}, ExpectedWait: []index.ExpectedWait{{Wait: time.Minute}},
	})
	x.StartFlow(noon.Add(-3 * time.Hour))
	x.Loaded() // All count as created.
	listWaiting(x, noon, counted)
	check := func(when string, s *index.Snapshot, now time.Time, ignored [2]int) {
		t.Helper()
		if got := [2]int{s.Ignored.Count(0, now), s.Ignored.Count(1, now)}; got != ignored {
			t.Errorf("%s: %v are ignored, want %v", when, got, ignored)
		}
		total := [5]int{s.Total.Count(0, now), s.Total.Count(1, now), s.Total.Late(now), s.Total.Stuck(0, now), int(s.Created)}
		if want := [5]int{1, 0, 1, 1, 1}; total != want {
			t.Errorf("%s: WAITING, COMPLETED, late, stuck and created are %v, want %v", when, total, want)
		}
		var tags []string
		for _, g := range s.Tags {
			tags = append(tags, g.Tag)
			if g.Count(0, now) != 1 || g.Count(1, now) != 0 || g.Created != 1 {
				t.Errorf("%s: it counts under %q", when, g.Tag)
			}
		}
		if d := cmp.Diff([]string{"team:a"}, tags); d != "" {
			t.Errorf("%s: (-want +got):\n%s", when, d)
		}
		if ids := slices.Collect(s.Select(index.Selection{}, now)); len(ids) != 1 || ids[0].ID != "in" {
			t.Errorf("%s: %d tokens are listed", when, len(ids))
		}
		if finished, _ := x.TakeFlow(); len(finished) > 0 {
			t.Errorf("%s: %v finished", when, finished)
		}
	}
	check("before", x.Cut(noon, noon), noon, [2]int{0, 0})
	listWaiting(x, noon, counted, waits)
	s := x.Cut(noon, noon)
	check("while it waits", s, noon, [2]int{1, 0})
	if ch := x.Observe([]client.Token{done}, noon); len(ch.Finished) > 0 {
		t.Errorf("%v finished", ch.Finished)
	}
	s = x.Cut(noon, noon)
	check("once it has finished", s, noon, [2]int{0, 1})
	check("when it is about to leave the window", s, noon.Add(time.Hour), [2]int{0, 1})
	x.Observe([]client.Token{counted}, noon)
	later := noon.Add(time.Hour)
	check("the same, cut anew", x.Cut(later, later), later, [2]int{0, 1})
}

// TestLate checks which tokens are late, to the millisecond, and by which rule.
func TestLate(t *testing.T) {
	x := index.New(index.Options{Horizon: time.Hour, ExpectedWait: []index.ExpectedWait{
		{Match: regexp.MustCompile(`^(?:webhook.*)$`), Wait: 5 * time.Minute},
		{Match: regexp.MustCompile(`^(?:approval)$`), Wait: 72 * time.Hour},
		{Match: regexp.MustCompile(`^(?:user:.*)$`), Wait: time.Hour},
	}})
	at := func(id string, age time.Duration, tags ...string) client.Token {
		return client.Token{ID: id, Status: client.StatusWaiting, Tags: tags, CreatedAt: noon.Add(-age)}
	}
	listWaiting(x, noon,
		at("webhook, on time", 5*time.Minute, "webhook:a"), at("webhook, late", 5*time.Minute+time.Millisecond, "webhook:a"),
		at("approval", 24*time.Hour, "approval"), at("the first rule counts", 24*time.Hour, "approval", "webhook"),
		at("no rule", 1000*time.Hour), at("none of its tags", 1000*time.Hour, "team:a"), at("user, late", time.Hour+time.Millisecond, "team:a", "user:1"),
	)
	s := x.Cut(noon, noon)
	var got []string
	for token := range s.Select(index.Selection{Late: true}, noon) {
		got = append(got, token.ID)
	}
	if d := cmp.Diff([]string{"the first rule counts", "user, late", "webhook, late"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if n := s.Total.Late(noon); n != 3 {
		t.Errorf("%d are late, want 3", n)
	}
	if n := s.Total.Late(noon.Add(1)); n != 4 {
		t.Errorf("a nanosecond later %d are late, want 4", n)
	}
}
