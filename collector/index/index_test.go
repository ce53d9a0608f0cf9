package index_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func token(id string, status client.Status, tags ...string) client.Token {
	return client.Token{ID: id, Status: status, Tags: tags, CreatedAt: noon.Add(-time.Hour)}
}

// listWaiting makes a complete listing of WAITING tokens.
func listWaiting(x *index.Index, at time.Time, tokens ...client.Token) {
	x.Observe(tokens, at)
	x.Complete()
	x.Lack(x.Missing("", "\xff", at, at), at, true)
	x.Settle(at)
}

// turn returns a function that makes a whole turn of the verify walk, which shows these
// tokens.
func turn(at time.Time, tokens ...client.Token) func(*index.Index) {
	return func(x *index.Index) {
		x.BeginTurn(at)
		x.Observe(tokens, at)
		x.CloseTurn(at, at)
	}
}

// counts returns the numbers of WAITING, COMPLETED, TIMED_OUT and unresolved tokens.
func counts(x *index.Index, now time.Time) [4]int {
	s := x.Cut(now, now)
	return [4]int{s.Total.Count(0, now), s.Total.Count(1, now), s.Total.Count(2, now), s.Unresolved}
}

// TestWhatListingsProve checks what listings prove and what they do not, step by step.
func TestWhatListingsProve(t *testing.T) {
	const lag = 30 * time.Second
	a, b := token("a", client.StatusWaiting), token("b", client.StatusWaiting)
	doneA := token("a", client.StatusCompleted)
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	type step struct {
		name string
		do   func(*index.Index)
		want [4]int
	}
	for name, steps := range map[string][]step{
		"what is not listed has left, and its outcome comes from a page": {
			{"listed", func(x *index.Index) { listWaiting(x, at(0), a, b) }, [4]int{2, 0, 0, 0}},
			{"not listed", func(x *index.Index) { listWaiting(x, at(60), b) }, [4]int{1, 0, 0, 1}},
			{"shown", func(x *index.Index) { x.Observe([]client.Token{doneA}, at(61)) }, [4]int{1, 1, 0, 0}},
			{"shown again", func(x *index.Index) { x.Observe([]client.Token{doneA, doneA}, at(62)) }, [4]int{1, 1, 0, 0}},
		},
		"a young token may be missing on a replica": {
			{"listed", func(x *index.Index) { listWaiting(x, at(0), a, b) }, [4]int{2, 0, 0, 0}},
			{"missing", func(x *index.Index) { listWaiting(x, at(10), b) }, [4]int{2, 0, 0, 0}},
			{"back", func(x *index.Index) { listWaiting(x, at(60), a, b) }, [4]int{2, 0, 0, 0}},
		},
		"finished is for ever": {
			{"finished", func(x *index.Index) { x.Observe([]client.Token{doneA}, at(0)) }, [4]int{0, 1, 0, 0}},
			{"an old row", func(x *index.Index) { listWaiting(x, at(60), a) }, [4]int{0, 1, 0, 0}},
		},
		"an old row does not bring a token back, a row past the lag does": {
			{"listed", func(x *index.Index) { listWaiting(x, at(0), a) }, [4]int{1, 0, 0, 0}},
			{"left", func(x *index.Index) { listWaiting(x, at(60)) }, [4]int{0, 0, 0, 1}},
			{"an old row", func(x *index.Index) { listWaiting(x, at(70), a) }, [4]int{0, 0, 0, 1}},
			{"still there", func(x *index.Index) { listWaiting(x, at(120), a) }, [4]int{1, 0, 0, 0}},
		},
		"a listing that breaks off proves no absence": {
			{"listed", func(x *index.Index) { listWaiting(x, at(0), a, b) }, [4]int{2, 0, 0, 0}},
			{"half", func(x *index.Index) {
				x.Observe([]client.Token{b}, at(60))
				x.Settle(at(60))
			}, [4]int{2, 0, 0, 0}},
		},
		"two whole turns drop what is gone": {
			{"known", func(x *index.Index) { x.Observe([]client.Token{doneA, token("c", client.StatusTimedOut)}, at(0)) }, [4]int{0, 1, 1, 0}},
			{"absent in one turn", turn(at(60), doneA), [4]int{0, 1, 1, 0}},
			{"absent in two", turn(at(120), doneA), [4]int{0, 1, 0, 0}},
			{"back", func(x *index.Index) { x.Observe([]client.Token{token("c", client.StatusTimedOut)}, at(130)) }, [4]int{0, 1, 1, 0}},
		},
		"a turn in which a replica was behind does not count": {
			{"known", func(x *index.Index) { x.Observe([]client.Token{doneA}, at(0)) }, [4]int{0, 1, 0, 0}},
			{"absent in one turn", turn(at(60)), [4]int{0, 1, 0, 0}},
			{"a replica is behind", func(x *index.Index) {
				x.BeginTurn(at(120))
				x.Behind(at(121))
				x.CloseTurn(at(120), at(122))
			}, [4]int{0, 1, 0, 0}},
		},
		"a suspect waits until it is settled, and a later look clears it": {
			{"listed", func(x *index.Index) { listWaiting(x, at(0), a) }, [4]int{1, 0, 0, 0}},
			{"lacked", func(x *index.Index) { x.Lack(x.Missing("", "b", at(60), at(60)), at(60), true) }, [4]int{1, 0, 0, 0}},
			{"shown", func(x *index.Index) { x.Observe([]client.Token{a}, at(61)); x.Settle(at(62)) }, [4]int{1, 0, 0, 0}},
		},
		"what two more looks lack, a lag apart, is gone, and counts once when it comes back": {
			{"listed", func(x *index.Index) { listWaiting(x, at(0), a) }, [4]int{1, 0, 0, 0}},
			{"lacked", func(x *index.Index) { x.Lack(x.Missing("", "b", at(60), at(60)), at(60), true) }, [4]int{1, 0, 0, 0}},
			{"lacked twice", func(x *index.Index) { x.Covered("", "b", time.Time{}, at(61)) }, [4]int{1, 0, 0, 0}},
			{"lacked a lag later", func(x *index.Index) { x.Covered("", "b", time.Time{}, at(121)) }, [4]int{0, 0, 0, 0}},
			{"back", func(x *index.Index) { x.Observe([]client.Token{doneA}, at(122)) }, [4]int{0, 1, 0, 0}},
		},
		"nothing leaves while a replica is behind": {
			{"listed", func(x *index.Index) { listWaiting(x, at(0), a) }, [4]int{1, 0, 0, 0}},
			{"lacked", func(x *index.Index) { x.Behind(at(50)); listWaiting(x, at(60)); x.Gone("a", at(61)) }, [4]int{1, 0, 0, 0}},
			{"trusted again", func(x *index.Index) { listWaiting(x, at(1000)) }, [4]int{0, 0, 0, 1}},
		},
		"an unknown status counts as finished": {
			{"shown", func(x *index.Index) { x.Observe([]client.Token{token("a", "EXPIRED")}, at(0)) }, [4]int{0, 0, 0, 0}},
			{"not waiting any more", func(x *index.Index) { listWaiting(x, at(60), a) }, [4]int{0, 0, 0, 0}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := index.New(index.Options{Lag: lag})
			for i, s := range steps {
				s.do(x)
				if got := counts(x, at(200)); got != s.want {
					t.Errorf("step %d, %s: WAITING, COMPLETED, TIMED_OUT, unresolved are %v, want %v", i, s.name, got, s.want)
				}
			}
		})
	}
}

// TestFinished checks which waits are reported for the histogram, and which tokens
// count as created.
func TestFinished(t *testing.T) {
	x := index.New(index.Options{})
	old := token("old", client.StatusCompleted)
	waiting := token("waiting", client.StatusWaiting)
	x.Observe([]client.Token{old, waiting}, noon)
	x.StartFlow(noon)
	x.Loaded()
	finished := token("waiting", client.StatusTimedOut)
	finished.CompletedAt = noon.Add(time.Minute)
	quick := client.Token{ID: "quick", Status: client.StatusCompleted, CreatedAt: noon.Add(time.Second), CompletedAt: noon}
	late := token("late", client.StatusCompleted)
	ahead := client.Token{
		ID: "ahead", Status: client.StatusCompleted, CreatedAt: noon.Add(time.Hour), CompletedAt: noon.Add(-time.Second),
	}
	endless := client.Token{ID: "endless", Status: client.StatusCompleted, CreatedAt: noon.Add(time.Second), CompletedAt: noon.Add(time.Second).AddDate(7000, 0, 0)}
	ch := x.Observe([]client.Token{old, finished, quick, quick, late, ahead, endless}, noon.Add(time.Minute))
	want := []index.Finished{
		{ID: "waiting", Status: client.StatusTimedOut, Wait: 3660, HasWait: true},
		{ID: "quick", Status: client.StatusCompleted, HasWait: true}, // Never negative, though hosts' clocks differ.
		{ID: "endless", Status: client.StatusCompleted, Wait: 86400 * (365*7000 + 1697), HasWait: true},
	}
	if d := cmp.Diff(want, ch.Finished); d != "" {
		t.Errorf("finished (-want +got):\n%s", d)
	}
	if got := x.Cut(noon, noon).Created; got != 2 {
		t.Errorf("created %d, want 2: quick and endless", got)
	}
}

// TestTags checks which tags keep series of their own.
func TestTags(t *testing.T) {
	x := index.New(index.Options{Tags: index.TagRules{Limit: 2}})
	names := func(loaded bool) (out []string) {
		if loaded {
			x.StartFlow(noon)
			x.Loaded()
		}
		for _, g := range x.Cut(noon, noon).Tags {
			out = append(out, g.Tag)
		}
		return out
	}
	check := func(step string, got []string, want ...string) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", step, d)
		}
	}
	listWaiting(x, noon, token("1", client.StatusWaiting, "w"), token("2", client.StatusWaiting))
	x.Observe([]client.Token{token("3", client.StatusCompleted, "few"), token("4", client.StatusCompleted, "many"), token("5", client.StatusCompleted, "many")}, noon)
	check("while the history loads", names(false), "", "w")
	check("loaded", names(true), "", index.OtherTag, "many", "w")
	x.Observe([]client.Token{token("6", client.StatusCompleted, "few"), token("7", client.StatusCompleted, "few")}, noon)
	check("a tag that has a series keeps it", names(true), "", index.OtherTag, "many", "w")
	// Token 1 leaves WAITING. Its outcome is unknown, so its tag stays.
	listWaiting(x, noon.Add(time.Hour), token("2", client.StatusWaiting))
	check("unresolved", names(true), "", index.OtherTag, "many", "w")
	x.Gone("1", noon.Add(2*time.Hour))
	check("the last token that carried it is gone", names(true), "", "few", "many")
}

// TestThresholds checks on which side of each threshold the exact instant counts.
func TestThresholds(t *testing.T) {
	x := index.New(index.Options{})
	const ms = time.Millisecond
	var tokens []client.Token
	for i, timeout := range []time.Duration{-ms, 0, 5 * time.Minute, 5*time.Minute + ms} {
		tokens = append(tokens, client.Token{ID: string(rune('a' + i)), Status: client.StatusWaiting, CreatedAt: noon.Add(-time.Hour - time.Duration(i-1)*ms), TimeoutAt: noon.Add(timeout)})
	}
	listWaiting(x, noon, tokens...)
	g := x.Cut(noon, noon).Total
	for name, tc := range map[string]struct{ got, want int }{
		"overdue is before now":                     {g.Overdue(noon), 1},
		"overdue within the millisecond":            {g.Overdue(noon.Add(1)), 2},
		"near includes now and now + within":        {g.NearTimeout(5*time.Minute, noon), 2},
		"near a nanosecond later":                   {g.NearTimeout(5*time.Minute, noon.Add(1)), 1},
		"stuck is before now - after":               {g.Stuck(time.Hour, noon), 2},
		"stuck a nanosecond later":                  {g.Stuck(time.Hour, noon.Add(1)), 3},
		"with a threshold before all, none is near": {g.NearTimeout(time.Second, noon.Add(time.Hour)), 0},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %d, want %d", name, tc.got, tc.want)
		}
	}
}

// TestCountedOnce checks that a token counts once as created and once as finished, even
// if it seemed deleted, or has left the window.
func TestCountedOnce(t *testing.T) {
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	waits, done := token("a", client.StatusWaiting), token("a", client.StatusCompleted)
	for name, tc := range map[string]struct {
		period time.Duration
		before func(*index.Index)
	}{
		"taken for deleted": {0, func(x *index.Index) {
			x.Lack(x.Missing("", "b", at(60), at(60)), at(60), true)
			x.Covered("", "b", time.Time{}, at(61))
			x.Covered("", "b", time.Time{}, at(91)) // A lag later.
		}},
		"out of the window": {30 * time.Minute, func(*index.Index) {}},
	} {
		t.Run(name, func(t *testing.T) {
			x := index.New(index.Options{Lag: 30 * time.Second, Period: tc.period})
			x.StartFlow(noon.Add(-2 * time.Hour))
			x.Loaded()
			listWaiting(x, at(0), waits)
			tc.before(x)
			finished := 0
			for i := range 3 {
				finished += len(x.Observe([]client.Token{done}, at(92+i)).Finished)
			}
			if created := x.Cut(at(100), at(100)).Created; created != 1 || finished != 1 {
				t.Errorf("counted %d times as created, %d times as finished", created, finished)
			}
		})
	}
}
