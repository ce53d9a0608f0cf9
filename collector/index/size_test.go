package index_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
)

// TestSizeFollowsTokens checks that a removed token leaves nothing behind, however it
// was removed.
func TestSizeFollowsTokens(t *testing.T) {
	tags := []string{strings.Repeat("x", 1000), "b"}
	waiting := token("a", client.StatusWaiting, tags...)
	finished := token("a", client.StatusCompleted, tags...)
	later := noon.Add(time.Hour)
	opts := index.Options{Lag: time.Minute, Period: 24 * time.Hour, WaitingWithinPeriod: true}
	gone := func(x *index.Index) { listWaiting(x, later) }
	deleted := func(x *index.Index, at time.Time) { x.Gone("a", at); x.Gone("a", at.Add(opts.Lag)) }
	for name, leave := range map[string]func(x *index.Index){
		"finished":            func(x *index.Index) { x.Observe([]client.Token{finished}, later) },
		"gone, then finished": func(x *index.Index) { gone(x); x.Observe([]client.Token{finished}, later) },
		"gone, then deleted":  func(x *index.Index) { gone(x); deleted(x, later.Add(time.Hour)) },
		"gone, back, gone": func(x *index.Index) {
			gone(x)
			listWaiting(x, later.Add(time.Hour), waiting)
			listWaiting(x, later.Add(2*time.Hour))
			deleted(x, later.Add(3*time.Hour))
		},
		"outside, then gone": func(x *index.Index) {
			x.Cut(later, later.Add(25*time.Hour))
			gone(x)
			deleted(x, later.Add(time.Hour))
		},
		"outside, then finished": func(x *index.Index) {
			x.Cut(later, later.Add(25*time.Hour))
			x.Observe([]client.Token{finished}, later.Add(25*time.Hour))
		},
		"missing from all of time": func(x *index.Index) {
			gone(x)
			x.Covered("", "b", time.Time{}, later.Add(time.Minute))
			x.Covered("", "b", time.Time{}, later.Add(2*time.Minute))
		},
	} {
		x := index.New(opts)
		empty := x.Size()
		listWaiting(x, noon, waiting)
		if n := x.Size() - empty; n < 1001 {
			t.Errorf("%s: a token with 1,001 bytes of tags takes %d", name, n)
		}
		leave(x)
		x.Cut(later, later.Add(1000*time.Hour))   // Finished tokens leave the window.
		x.Observe(nil, later.Add(2000*time.Hour)) // They are forgotten.
		if n := x.Size() - empty; n != 0 || x.Len() != 0 {
			t.Errorf("%s: %d bytes of %d tokens are left", name, n, x.Len())
		}
	}
}

// TestSize checks that the approximate size is not far below the memory used on the
// heap, including the current snapshot and the next one.
func TestSize(t *testing.T) {
	names := make([]string, 20_100)
	for i := range names {
		names[i] = fmt.Sprint("tag ", i)
	}
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	for name, tc := range map[string]struct {
		tokens int
		status client.Status
		tags   func(i int) []string
	}{
		"waiting":                   {20_000, client.StatusWaiting, func(int) []string { return nil }},
		"waiting, each its own tag": {20_000, client.StatusWaiting, func(i int) []string { return names[i : i+1] }},
		"waiting, all tags shared":  {2_000, client.StatusWaiting, func(int) []string { return names[:100] }},
		"waiting, many sets":        {2_000, client.StatusWaiting, func(i int) []string { return names[i : i+100] }},
		"waiting, long tags":        {500, client.StatusWaiting, func(i int) []string { return []string{strings.Repeat(names[i], 1000)} }},
		"finished":                  {100_000, client.StatusCompleted, func(int) []string { return nil }},
		"finished, each its own":    {20_000, client.StatusCompleted, func(i int) []string { return names[i : i+1] }},
		"finished, many sets":       {2_000, client.StatusCompleted, func(i int) []string { return names[i : i+100] }},
	} {
		t.Run(name, func(t *testing.T) {
			before := heap()
			x := index.New(index.Options{})
			for i := range tc.tokens {
				created := noon.Add(-time.Duration(i) * time.Second)
				x.Observe([]client.Token{{ID: fmt.Sprintf("waitpoint_%025d", i), Status: tc.status, Tags: tc.tags(i), CreatedAt: created}}, noon)
			}
			x.StartFlow(noon)
			x.Loaded()
			shown, next := x.Cut(noon, noon), x.Cut(noon, noon)
			taken, counted := heap()-before, x.Size()
			if taken > 2*counted {
				t.Errorf("%d KiB are taken, %d KiB counted", taken>>10, counted>>10)
			}
			runtime.KeepAlive(shown)
			runtime.KeepAlive(next)
			runtime.KeepAlive(x)
		})
	}
}
