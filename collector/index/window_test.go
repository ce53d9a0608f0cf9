package index_test

import (
	"testing"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
)

// TestWindow checks the window to the millisecond: a finished token counts up to
// createdAt + period, whether it is seen then or the window moves there.
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

// TestFoldedOnce checks that a token counts once under OtherTag, however many of its
// tags are folded.
func TestFoldedOnce(t *testing.T) {
	x := index.New(index.Options{Tags: index.TagRules{Limit: 1}})
	listWaiting(x, noon, token("a", client.StatusWaiting, "x"), token("b", client.StatusWaiting, "x", "y", "z"),
		token("c", client.StatusWaiting, "y", "z"), token("d", client.StatusWaiting, "y"), token("e", client.StatusWaiting, "x"))
	x.Observe([]client.Token{token("f", client.StatusCompleted, "y", "z")}, noon)
	x.StartFlow(noon)
	x.Loaded()
	s := x.Cut(noon, noon)
	got := map[string][2]int{}
	for _, g := range s.Tags {
		got[g.Tag] = [2]int{g.Count(0, noon), g.Count(1, noon)}
	}
	if len(got) != 2 || got["y"] != [2]int{3, 1} || got[index.OtherTag] != [2]int{4, 1} || s.Folded != 2 {
		t.Errorf("%v, %d folded", got, s.Folded)
	}
}

// TestOutsideWindow checks that a finished token that has left the window is neither
// counted nor reported again when a page shows it.
func TestOutsideWindow(t *testing.T) {
	x := index.New(index.Options{Period: time.Hour})
	x.StartFlow(noon)
	x.Loaded()
	token := client.Token{ID: "a", Status: client.StatusCompleted, CreatedAt: noon.Add(time.Minute), CompletedAt: noon.Add(2 * time.Minute)}
	reported := 0
	for i := range 4 {
		now := noon.Add(2*time.Minute + time.Duration(i)*time.Hour)
		reported += len(x.Observe([]client.Token{token}, now).Finished)
		if s := x.Cut(now, now); s.Created != 1 || s.Corrections != 0 || reported != 1 {
			t.Fatalf("after %d h: created %d, corrections %d, reported %d times", i, s.Created, s.Corrections, reported)
		}
	}
}

// TestSetBack checks that a window does not move back with the clock, reports when it
// should have, and counts correctly after Rewind.
func TestSetBack(t *testing.T) {
	const lag = 30 * time.Second
	x := index.New(index.Options{Period: time.Hour, Lag: lag})
	x.StartFlow(noon.Add(-2 * time.Hour))
	x.Loaded()
	token := client.Token{ID: "a", Status: client.StatusCompleted, CreatedAt: noon.Add(-30 * time.Minute)}
	x.Observe([]client.Token{token}, noon)
	if x.ClockSetBack(noon) {
		t.Error("set back before anything was let go of")
	}
	later := noon.Add(time.Hour)
	if got := counts(x, later); got != [4]int{} {
		t.Errorf("an hour later: %v", got)
	}
	for _, back := range []time.Duration{0, lag, lag + time.Millisecond} {
		if got, want := x.ClockSetBack(later.Add(-back)), back > lag; got != want {
			t.Errorf("set back by %s: %t, want %t", back, got, want)
		}
	}
	x.Observe([]client.Token{token}, noon)
	if s := x.Cut(noon, noon); s.Total.Count(1, noon) != 0 || s.Created != 1 {
		t.Errorf("the window has moved back: %d finished, %d created", s.Total.Count(1, noon), s.Created)
	}
	x.Rewind(noon)
	if x.ClockSetBack(noon) || x.IsLoaded() {
		t.Error("the window has not moved back")
	}
	x.Observe([]client.Token{token}, noon)
	x.Loaded()
	if s := x.Cut(noon, noon); s.Total.Count(1, noon) != 1 || s.Created != 1 {
		t.Errorf("listed again: %d finished, %d created", s.Total.Count(1, noon), s.Created)
	}
}
