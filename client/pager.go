// A Pager walks over the pages of a listing. The walk is complete or ends with an
// error: a walk in which cursors or pages repeat is not taken for a short listing.

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

// maxPages bounds the cursors that a walk remembers: 100 million tokens, 100 a page.
const maxPages = 1_000_000

// ErrEndless is wrapped by the error of a walk that exceeds a million pages, the
// number of cursors that a Pager remembers.
var ErrEndless = fmt.Errorf("the walk did not end within %d pages", maxPages)

// Page is one page of tokens in the service's order of ids, newest first. That is
// the order of CreatedAt except for differences of seconds.
type Page struct {
	// Tokens belong to the caller. They do not include tokens whose status is not
	// selected or tokens of the previous page, so a page without tokens need not be
	// the last.
	Tokens []Token
	// Next and Previous are opaque cursors to older and newer tokens, empty if there
	// are none.
	Next, Previous string
	// RateLimit is the state that the answer's headers report.
	RateLimit RateLimit
	// Date is when the service answered, in whole seconds. Zero if unknown.
	Date time.Time
}

// Pager walks over a listing page by page, from ListOptions.After to older
// tokens, or from ListOptions.Before to newer ones. It is not safe for
// concurrent use.
type Pager struct {
	client    *Client
	options   ListOptions
	query     url.Values
	direction string // The parameter that has the cursor.

	done    bool
	pages   int
	cursors map[uint64]struct{} // Hashes of all cursors so far.
	seed    maphash.Seed
	last    map[string]struct{} // Ids of the previous page.
}

// Pager returns a pager over the tokens that opts select. It sends no request yet.
func (c *Client) Pager(opts ListOptions) *Pager {
	opts.Statuses, opts.Tags = slices.Clone(opts.Statuses), slices.Clone(opts.Tags)
	p := &Pager{
		client: c, options: opts, query: opts.query(), direction: "page[after]",
		cursors: map[uint64]struct{}{}, seed: maphash.MakeSeed(),
	}
	if opts.Before != "" {
		p.direction = "page[before]"
	}
	if cursor := p.Cursor(); cursor != "" {
		p.cursors[p.hash(cursor)] = struct{}{}
	}
	return p
}

// More reports whether there are pages left.
func (p *Pager) More() bool { return !p.done }

// Cursor returns the cursor of the page that Next requests: empty for the first
// page, and the last page's once there are no more.
func (p *Pager) Cursor() string { return p.query.Get(p.direction) }

// Next returns the next page, or io.EOF once More is false. Any other error wraps
// an *Error, and the next call requests the same page again.
func (p *Pager) Next(ctx context.Context) (Page, error) {
	if p.done {
		return Page{}, io.EOF
	}
	page, err := p.get(ctx)
	if err != nil && p.pages > 0 {
		return Page{}, fmt.Errorf("list tokens, page %d: %w", p.pages+1, err)
	} else if err != nil { // Each page may have a Pager of its own.
		return Page{}, fmt.Errorf("list tokens: %w", err)
	}
	p.pages++
	next := p.following(page)
	if p.done = next == ""; !p.done {
		p.query.Set(p.direction, next)
		p.cursors[p.hash(next)] = struct{}{}
	}
	return page, nil
}

// following returns the cursor of the page after this one, empty if there is none.
func (p *Pager) following(page Page) string {
	if p.options.Before != "" {
		return page.Previous
	}
	return page.Next
}

// hash shortens a cursor to 8 bytes. Two of a million cursors collide in one out of
// thirty million walks.
func (p *Pager) hash(cursor string) uint64 { return maphash.String(p.seed, cursor) }

// get requests the page at the cursor. If it fails, the walk is unchanged, so that the
// page can be requested again.
func (p *Pager) get(ctx context.Context) (Page, error) {
	if p.pages == 0 {
		if err := p.options.Validate(); err != nil {
			return Page{}, p.client.fail(ReasonBadRequest, err)
		}
	}
	if p.pages >= maxPages {
		return Page{}, p.client.fail(ReasonInvalidResponse, ErrEndless)
	}
	a, err := p.client.retry(ctx, request{query: p.query.Encode(), idempotency: p.options.IdempotencyKey})
	if err != nil {
		return Page{}, err
	}
	page, err := p.judge(a)
	if err != nil {
		failure := p.client.fail(ReasonInvalidResponse, err)
		failure.Status, failure.Attempts = a.attempt.Status, a.attempts
		return Page{}, failure
	}
	return page, nil
}

// judge returns the page with its new tokens of the selected statuses, and remembers the
// ids of all its tokens. Its error says why the walk cannot continue after this page.
func (p *Pager) judge(a answer) (Page, error) {
	page := a.page.Page
	listed, fresh := len(page.Tokens), 0
	ids := make(map[string]struct{}, listed)
	page.Tokens = slices.DeleteFunc(page.Tokens, func(t Token) bool {
		_, twice := ids[t.ID]
		_, before := p.last[t.ID]
		ids[t.ID] = struct{}{}
		if twice || before {
			return true
		}
		fresh++
		// The service ignores some filters.
		return len(p.options.Statuses) > 0 && !slices.Contains(p.options.Statuses, t.Status)
	})
	next := p.following(page)
	_, repeats := p.cursors[p.hash(next)]
	switch {
	case !a.page.paginated:
		return Page{}, errors.New("the answer has no pagination, which the service's always have: " +
			"check that the API URL is that of a Trigger.dev server")
	case next != "" && repeats:
		return Page{}, errors.New("the walk came to a cursor for the second time")
	// An empty last page is valid: its tokens may have left the filter since the page
	// before was listed.
	case fresh == 0 && (next != "" || listed > 0):
		return Page{}, errors.New("the page has no token that the page before did not have")
	}
	p.last = ids
	page.RateLimit, page.Date = a.attempt.RateLimit, a.attempt.Date
	return page, nil
}
