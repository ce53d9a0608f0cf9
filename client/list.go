package client

import (
	"context"
	"iter"
)

// Pages returns an iterator over the pages of a listing. An error ends it, with an
// empty page. Each use of the iterator starts from the beginning.
func (c *Client) Pages(ctx context.Context, opts ListOptions) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		p := c.Pager(opts)
		for p.More() {
			page, err := p.Next(ctx)
			if !yield(page, err) || err != nil {
				return
			}
		}
	}
}

// Tokens returns an iterator over the tokens of a listing, each once: it remembers
// their ids. An error ends it, with an empty token. Each use of the iterator starts
// from the beginning.
func (c *Client) Tokens(ctx context.Context, opts ListOptions) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		seen := map[string]struct{}{}
		for page, err := range c.Pages(ctx, opts) {
			if err != nil {
				yield(Token{}, err)
				return
			}
			for _, t := range page.Tokens {
				if _, ok := seen[t.ID]; ok {
					continue
				}
				seen[t.ID] = struct{}{}
				if !yield(t, nil) {
					return
				}
			}
		}
	}
}
