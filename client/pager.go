// The walk over a listing's pages. It is whole, or ends with an error: a service
// that repeats itself or leaves the end open does not pass for a short listing.

package client

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/url"
	"slices"
	"time"
)

// What ends a walk that would not be whole, or would have no end.
var (
	errCursorRepeats = errors.New("the walk came to a cursor for the second time")
	errNothingNew    = errors.New("the page has no token that the page before did not have")
	errNoPagination  = errors.New("the page is full but does not say whether there is a next one")
	// ErrEndless is in the tree of the error of a walk that has come to more
	// pages than a Pager remembers the cursors of, a million. It has no end, or
	// none that would be of use.
	ErrEndless = fmt.Errorf("the walk did not end within %d pages", maxPages)
)

// This bounds what a walk remembers: a hundred million tokens, 100 a page.
const maxPages = 1_000_000

// Page is one page of tokens, newest first, by the ids that the service orders
// them by: within seconds that is by CreatedAt.
type Page struct {
	// Tokens are the caller's. A page may have none and not be the last: tokens
	// that do not fit the asked statuses, and ones that the page before had, are
	// left out.
	Tokens []Token
	// Next and Previous are the cursors to older and newer tokens, empty if there
	// are none. They mean nothing but to the service.
	Next, Previous string
	// RateLimit is as of this answer.
	RateLimit RateLimit
	// Date is when the service answered, in whole seconds. Zero if it did not say.
	Date time.Time
}

// Pager walks over a listing page by page, from ListOptions.After to older
// tokens, or from ListOptions.Before to newer ones. It is not safe for
// concurrent use.
type Pager struct {
	client   *Client
	options  ListOptions
	query    url.Values
	backward bool

	cursor string
	done   bool
	pages  int
	// The hashes of all those that the walk has come to.
	cursors map[uint64]struct{}
	seed    maphash.Seed
	// The ids of the page before.
	last map[string]struct{}
}

func newPager(c *Client, opts ListOptions) *Pager {
	opts.Statuses = opts.statuses()
	opts.Tags = slices.Clone(opts.Tags)
	p := &Pager{
		client:   c,
		options:  opts,
		query:    opts.query(),
		backward: opts.Before != "",
		cursor:   opts.After,
		cursors:  map[uint64]struct{}{},
		seed:     maphash.MakeSeed(),
	}
	if p.backward {
		p.cursor = opts.Before
	}
	if p.cursor != "" {
		p.cursors[p.hash(p.cursor)] = struct{}{}
	}
	return p
}

// More reports whether the walk has not come to its end.
func (p *Pager) More() bool { return !p.done }

// Cursor returns where the next call of Next starts: empty for the first page,
// the last page's cursor once the walk is over.
func (p *Pager) Cursor() string { return p.cursor }

// Next gets the next page. Its error wraps an *Error; the next call then asks for
// the same page again. Once More is false it returns io.EOF.
func (p *Pager) Next(ctx context.Context) (Page, error) {
	if p.done {
		return Page{}, io.EOF
	}
	page, ids, err := p.get(ctx)
	if err != nil {
		return Page{}, fmt.Errorf("list tokens, page %d: %w", p.pages+1, err)
	}
	p.pages++
	p.last = ids
	next := page.Next
	if p.backward {
		next = page.Previous
	}
	if next == "" {
		p.done = true
		return page, nil
	}
	p.cursor = next
	p.cursors[p.hash(next)] = struct{}{}
	return page, nil
}

// hash stands for a cursor in 8 bytes: that two of a million have the same one
// happens once in thirty million walks.
func (p *Pager) hash(cursor string) uint64 { return maphash.String(p.seed, cursor) }

// get asks for the page at the cursor. It changes nothing, so that a failed page
// can be asked for again.
func (p *Pager) get(ctx context.Context) (Page, map[string]struct{}, error) {
	path := p.client.url.EscapedPath()
	if p.pages == 0 {
		if err := p.options.Validate(); err != nil {
			return Page{}, nil, &Error{Reason: ReasonBadRequest, Path: path, Err: err}
		}
	}
	if p.pages >= maxPages {
		return Page{}, nil, &Error{Reason: ReasonInvalidResponse, Path: path, Err: ErrEndless}
	}
	query := p.query
	if p.cursor != "" {
		if p.backward {
			query.Set("page[before]", p.cursor)
		} else {
			query.Set("page[after]", p.cursor)
		}
	}
	a, err := p.client.retry(ctx, request{query: query.Encode(), idempotency: p.options.IdempotencyKey})
	if err != nil {
		return Page{}, nil, err
	}
	page, ids, err := p.judge(a)
	if err != nil {
		return Page{}, nil, &Error{
			Reason: ReasonInvalidResponse, Status: a.attempt.Status, Path: path, Attempts: a.attempts, Err: err,
		}
	}
	return page, ids, nil
}

// judge returns the page, with what was asked for and is new, and the ids of all
// that it had. Its error says why the walk cannot go on from there.
func (p *Pager) judge(a answer) (Page, map[string]struct{}, error) {
	next := a.page.next
	if p.backward {
		next = a.page.previous
	}
	ids := make(map[string]struct{}, len(a.page.tokens))
	fresh := 0
	tokens := a.page.tokens[:0]
	for _, t := range a.page.tokens {
		if _, ok := ids[t.ID]; ok {
			continue
		}
		ids[t.ID] = struct{}{}
		if _, ok := p.last[t.ID]; ok {
			continue
		}
		fresh++
		if p.fits(t.Status) {
			tokens = append(tokens, t)
		}
	}
	_, repeats := p.cursors[p.hash(next)]
	switch {
	case !a.page.paginated && len(a.page.tokens) >= p.options.pageSize():
		return Page{}, nil, errNoPagination
	case next != "" && repeats:
		return Page{}, nil, errCursorRepeats
	// An empty last page is no error: the tokens may have left the filter since
	// the page before.
	case fresh == 0 && (next != "" || len(a.page.tokens) > 0):
		return Page{}, nil, errNothingNew
	}
	clear(a.page.tokens[len(tokens):])
	return Page{
		Tokens:    tokens,
		Next:      a.page.next,
		Previous:  a.page.previous,
		RateLimit: a.attempt.RateLimit,
		Date:      a.attempt.Date,
	}, ids, nil
}

// fits reports whether a token's status was asked for: the service ignores some
// filters.
func (p *Pager) fits(s Status) bool {
	return len(p.options.Statuses) == 0 || slices.Contains(p.options.Statuses, s)
}
