package refresh

import (
	"cmp"
	"context"
	"slices"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
)

// Tokens that came late may stand between a bookmark and the token that is
// looked for; past this many pages the token is asked for by itself.
const pagesFromBookmark = 3

// lookUp finds the outcomes of tokens that left WAITING, newest first, so that
// each page settles as many as it can. It stops when the time is up; the rest
// follow in the next refresh.
func (e *Environment) lookUp(ctx context.Context, until time.Time) error {
	left := e.index.Unresolved()
	slices.SortFunc(left, func(a, b *index.Token) int { return cmp.Compare(b.ID, a.ID) })
	for i, token := range left {
		if !e.index.IsUnresolved(token.ID) {
			continue
		}
		if i > 0 && !e.now().Before(until) {
			return nil
		}
		if err := e.lookUpByBookmark(ctx, token); err != nil {
			return err
		}
		if !e.index.IsUnresolved(token.ID) {
			continue
		}
		if err := e.lookUpByTime(ctx, token); err != nil {
			return err
		}
	}
	return nil
}

func (e *Environment) lookUpByBookmark(ctx context.Context, token *index.Token) error {
	if e.opts.Period > 0 && token.CreatedAt.Before(e.now().Add(-e.opts.Period)) {
		return nil // The walk leaves no bookmarks there.
	}
	mark, cursor, ok := e.bookmarks.above(token.ID)
	if !ok || e.unordered {
		return nil
	}
	pager := e.api.Pager(client.ListOptions{After: cursor})
	for n := 0; n < pagesFromBookmark && pager.More(); n++ {
		at := e.now()
		page, err := pager.Next(ctx)
		if err != nil {
			return err
		}
		if err := e.changed(e.index.Observe(page.Tokens, at)); err != nil {
			return err
		}
		e.inOrder(page)
		if len(page.Tokens) == 0 {
			return nil
		}
		e.mark(mark, page)
		mark = page.Tokens[len(page.Tokens)-1].ID
		if mark <= token.ID {
			return nil
		}
	}
	return nil
}

// lookUpByTime lists everything that was created in the token's millisecond.
func (e *Environment) lookUpByTime(ctx context.Context, token *index.Token) error {
	begun, shown := e.now(), false
	pager := e.api.Pager(client.ListOptions{From: token.CreatedAt, To: token.CreatedAt})
	for pager.More() {
		at := e.now()
		page, err := pager.Next(ctx)
		if err != nil {
			return err
		}
		if err := e.changed(e.index.Observe(page.Tokens, at)); err != nil {
			return err
		}
		shown = shown || slices.ContainsFunc(page.Tokens, func(t client.Token) bool { return t.ID == token.ID })
	}
	if !shown {
		e.index.Gone(token.ID, begun)
	}
	return nil
}
