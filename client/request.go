// A request goes through a chain: list asks for one page, retry sends it again,
// attempt takes a turn at the limiter, send bounds it in time, follow goes where
// redirects on the same server lead, do makes one hop, and interpret reads the
// answer. The key goes to the API's own scheme and host and nowhere else.

package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

var errRequestTimeout = errors.New("no whole answer within the request's timeout")

// request is one page to ask for.
type request struct {
	query string
	// Idempotency is not to show in an error.
	idempotency string
	// Key is read anew for each attempt.
	key string
}

// secrets are what must not show in an error.
func (r request) secrets() []string { return []string{r.key, r.idempotency} }

// answer is one page as it came.
type answer struct {
	page    wirePage
	attempt Attempt
	// How many requests it took.
	attempts int
}

// fail returns an error of what was asked or answered, which send completes.
func fail(reason Reason, err error) *Error { return &Error{Reason: reason, Err: err} }

// send sends the request once and reads the answer. The attempt in the answer is
// filled in even with an error.
func (c *Client) send(ctx context.Context, r request) (answer, *Error) {
	bounded, cancel := context.WithTimeoutCause(ctx, c.options.Timeout, errRequestTimeout)
	defer cancel()
	start := time.Now()
	page, attempt, err := c.exchange(bounded, r)
	attempt.Duration = time.Since(start)
	if err == nil {
		return answer{page: page, attempt: attempt}, nil
	}
	var failure *Error
	if !errors.As(err, &failure) {
		failure = c.interrupted(ctx, bounded, err, r)
	}
	failure.Status, failure.Path, failure.Attempts = attempt.Status, c.url.EscapedPath(), 1
	attempt.Err = failure
	return answer{attempt: attempt}, failure
}

// exchange returns the page, what the headers say, and an error that is an *Error
// unless the request or a body broke off.
func (c *Client) exchange(ctx context.Context, r request) (wirePage, Attempt, error) {
	target := c.url
	target.RawQuery = r.query
	resp, err := c.follow(ctx, &target, r.key)
	if resp == nil {
		return wirePage{}, Attempt{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // It has been read, or is being given up.
	attempt := c.readHeader(resp)
	if err != nil {
		return wirePage{}, attempt, err
	}
	page, err := c.interpret(resp, r)
	return page, attempt, err
}

func (c *Client) readHeader(resp *http.Response) Attempt {
	date, now := readDate(resp.Header), c.options.Now()
	return Attempt{
		Status:     resp.StatusCode,
		RateLimit:  readRateLimit(resp.Header, date, now),
		Date:       date,
		RetryAfter: readRetryAfter(resp.Header, date, now),
	}
}

// interrupted explains a request or a body that broke off.
func (c *Client) interrupted(ctx, bounded context.Context, err error, r request) *Error {
	switch {
	case ctx.Err() != nil:
		return fail(ReasonTimeout, ctx.Err())
	case bounded.Err() != nil:
		return fail(ReasonTimeout, fmt.Errorf("%w of %s", errRequestTimeout, c.options.Timeout))
	case proxyRefused(err):
		return &Error{Reason: ReasonAuth, Err: errProxyRefused, Advice: adviceProxy}
	}
	err = transportError(err, r.secrets()...)
	return fail(transportReason(err, ReasonNetwork), err)
}

// do makes one hop.
func (c *Client) do(ctx context.Context, target *url.URL, key string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Accept", "application/json")
	// Asked for here, whatever the transport does: what lies in the buffers of
	// connections is then compressed.
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", c.options.UserAgent)
	if c.options.PreviewBranch != "" {
		req.Header.Set("X-Trigger-Branch", c.options.PreviewBranch)
	}
	// The transport itself, and not an http.Client: that one quotes addresses in
	// its errors, and we follow redirects by our own rule.
	return c.options.Transport.RoundTrip(req)
}
