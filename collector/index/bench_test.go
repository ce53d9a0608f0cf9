package index_test

import (
	"fmt"
	"testing"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
)

// history returns pages of a hundred tokens, newest first. One in fifty is WAITING, and
// there are two hundred tags.
func history(tokens int) [][]client.Token {
	pages := make([][]client.Token, tokens/100)
	for i := range tokens {
		n := tokens - i
		t := client.Token{
			ID: fmt.Sprintf("waitpoint_%020d", n), Status: client.StatusCompleted,
			CreatedAt: noon.Add(-time.Duration(i) * time.Second), TimeoutAt: noon.Add(time.Duration(n) * time.Second),
			Tags: []string{fmt.Sprintf("team:%d", n%20), fmt.Sprintf("flow:%d", n%180)},
		}
		if n%50 == 0 {
			t.Status = client.StatusWaiting
		}
		pages[i/100] = append(pages[i/100], t)
	}
	return pages
}

func load(pages [][]client.Token) *index.Index {
	x := index.New(index.Options{Tags: index.TagRules{Limit: 100}, Lag: 30 * time.Second, Horizon: 10 * time.Minute})
	list(x, pages)
	x.StartFlow(noon)
	x.Loaded()
	return x
}

func list(x *index.Index, pages [][]client.Token) {
	x.BeginTurn(noon)
	for _, p := range pages {
		x.Observe(p, noon)
	}
	x.CloseTurn(noon, noon)
}

// BenchmarkListing applies a complete listing of 100,000 tokens, first to an empty
// index, then to one that has them all.
func BenchmarkListing(b *testing.B) {
	pages := history(100_000)
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			load(pages)
		}
	})
	b.Run("again", func(b *testing.B) {
		x := load(pages)
		b.ReportAllocs()
		for b.Loop() {
			list(x, pages)
		}
	})
}

// BenchmarkCut cuts a snapshot of 1,000,000 tokens, 20,000 of them WAITING, with 100
// tags with series.
func BenchmarkCut(b *testing.B) {
	x := load(history(1_000_000))
	listWaiting(x, noon)
	var waiting []client.Token
	for _, p := range history(1_000_000) {
		for _, t := range p {
			if t.Status == client.StatusWaiting {
				waiting = append(waiting, t)
			}
		}
	}
	listWaiting(x, noon, waiting...)
	b.ReportAllocs()
	for b.Loop() {
		if s := x.Cut(noon, noon); len(s.Tokens) != len(waiting) {
			b.Fatalf("%d tokens wait, want %d", len(s.Tokens), len(waiting))
		}
	}
}
