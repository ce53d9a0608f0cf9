package index_test

import (
	"testing"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
)

// TestWindow holds the window to the millisecond: a finished token counts up to
// createdAt + period, whether it is seen then or the window moves to there.
func TestWindow(t *testing.T) {
	const period = time.Hour
	token := client.Token{ID: "a", Status: client.StatusCompleted, CreatedAt: noon}
	for _, tc := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {period - time.Millisecond, 1}, {period, 1}, {period + time.Nanosecond, 0}, {period + time.Millisecond, 0}} {
		now := noon.Add(tc.after)
		x := index.New(index.Options{Period: period, Horizon: 2 * period})
		x.Observe([]client.Token{token}, now)
		if got := x.Cut(now, now).Total.Count(1, now); got != tc.want {
			t.Errorf("seen %s after its creation: %d, want %d", tc.after, got, tc.want)
		}
		x = index.New(index.Options{Period: period, Horizon: 2 * period})
		x.Observe([]client.Token{token}, noon)
		s := x.Cut(noon, noon)
		if got := s.Total.Count(1, now); got != tc.want {
			t.Errorf("asked %s after it was seen: %d, want %d", tc.after, got, tc.want)
		}
		if got := x.Cut(now, now).Total.Count(1, now); got != tc.want {
			t.Errorf("cut %s after it was seen: %d, want %d", tc.after, got, tc.want)
		}
	}
}

// TestFoldedOnce holds that a token counts once under OtherTag, however many of
// its tags are folded.
func TestFoldedOnce(t *testing.T) {
	x := index.New(index.Options{Tags: index.TagRules{Limit: 1}})
	listWaiting(x, noon, token("a", client.StatusWaiting, "x"), token("b", client.StatusWaiting, "x", "y", "z"),
		token("c", client.StatusWaiting, "y", "z"), token("d", client.StatusWaiting, "y"), token("e", client.StatusWaiting, "x"))
	x.Observe([]client.Token{token("f", client.StatusCompleted, "y", "z")}, noon)
	x.Loaded(noon)
	s := x.Cut(noon, noon)
	got := map[string][2]int{}
	for _, g := range s.Tags {
		got[g.Tag] = [2]int{g.Count(0, noon), g.Count(1, noon)}
	}
	if len(got) != 2 || got["y"] != [2]int{3, 1} || got[index.OtherTag] != [2]int{4, 1} || s.Folded != 2 {
		t.Errorf("%v, %d folded", got, s.Folded)
	}
}
