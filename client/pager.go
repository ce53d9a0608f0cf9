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

var (
	errCursorRepeats = errors.New("the walk came to a cursor for the second time")
	errNothingNew    = errors.New("the page has no token that the page before did not have")
	errNoPagination  = errors.New("the page is full but does not say whether there is a next one")
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
	client   *Client
	options  ListOptions
	query    url.Values
	backward bool

	cursor  string
	done    bool
	pages   int
	cursors map[uint64]struct{} // Hashes of all cursors so far.
	seed    maphash.Seed
	last    map[string]struct{} // Ids of the previous page.
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

// More reports whether there are pages left.
func (p *Pager) More() bool { return !p.done }

// Cursor returns the cursor of the page that Next requests: empty for the first
// page, and the last page's once there are no more.
func (p *Pager) Cursor() string { return p.cursor }

// Next returns the next page, or io.EOF once More is false. Any other error wraps
// an *Error, and the next call requests the same page again.
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

// hash shortens a cursor to 8 bytes. Two of a million cursors collide in one out of
// thirty million walks.
func (p *Pager) hash(cursor string) uint64 { return maphash.String(p.seed, cursor) }

// get requests the page at the cursor. It does not advance the walk, so that a page
// that failed can be requested again.
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

// judge returns the page with its new tokens of the selected statuses, and the ids
// of all its tokens. Its error says why the walk cannot continue after this page.
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
	// An empty last page is valid: its tokens may have left the filter since the page
	// before was listed.
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

// fits reports whether the status is selected. The service ignores some filters.
func (p *Pager) fits(s Status) bool {
	return len(p.options.Statuses) == 0 || slices.Contains(p.options.Statuses, s)
}
