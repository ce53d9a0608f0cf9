// A request passes through a chain of functions: Pager.Next requests a page, retry
// retries after transient failures, attempt waits for the limiter, send applies the
// timeout, follow follows redirects on the same server, do sends one HTTP request, and
// interpret reads the answer. The key is sent only to the API's scheme and host.

package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"
)

var errRequestTimeout = errors.New("no whole answer within the request's timeout")

// request is a request for one page.
type request struct {
	query       string
	idempotency string // The idempotency key in the query.
	key         string // Read for each attempt.
}

// answer is one page as it was received.
type answer struct {
	page     wirePage
	attempt  Attempt
	attempts int // Requests sent for it.
}

// fail returns an error. Its status and attempts are set by send.
func (c *Client) fail(reason Reason, err error) *Error {
	return &Error{Reason: reason, Path: c.url.EscapedPath(), Err: err}
}

// send sends the request once, within the timeout, and reads the answer. The answer
// contains the attempt even if there is an error.
func (c *Client) send(ctx context.Context, r request) (answer, *Error) {
	bounded, cancel := context.WithTimeoutCause(ctx, c.options.Timeout, errRequestTimeout)
	defer cancel()
	start := time.Now()
	a, err := c.exchange(bounded, r)
	a.attempt.Duration = time.Since(start)
	if err == nil {
		return a, nil
	}
	failure, ok := errors.AsType[*Error](err)
	if !ok {
		failure = c.interrupted(ctx, bounded, err, r)
	}
	failure.Status, failure.Attempts = a.attempt.Status, 1
	a.attempt.Err = failure
	return a, failure
}

// exchange returns the answer. Its error is an *Error unless the connection failed.
func (c *Client) exchange(ctx context.Context, r request) (answer, error) {
	target := c.url
	target.RawQuery = r.query
	resp, err := c.follow(ctx, &target, r.key)
	if resp == nil {
		return answer{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // Nothing more is read from it.
	// An error leaves the date zero.
	date, _ := http.ParseTime(resp.Header.Get("Date"))
	date = date.UTC()
	sent := cmp.Or(date, c.options.Now())
	a := answer{attempt: Attempt{
		Status: resp.StatusCode, Date: date,
		RateLimit: readRateLimit(resp.Header, sent), RetryAfter: readRetryAfter(resp.Header, sent),
	}}
	if err == nil {
		a.page, err = c.interpret(resp, r)
	}
	return a, err
}

// interrupted returns the error for a connection that failed.
func (c *Client) interrupted(ctx, bounded context.Context, err error, r request) *Error {
	file, ok := errors.AsType[*fs.PathError](err)
	switch {
	case ctx.Err() != nil:
		return c.fail(ReasonTimeout, ctx.Err())
	case ok: // The path is local, and no secret.
		failure := c.fail(transportReason(err, ReasonNetwork), HideKeys(file))
		if bounded.Err() != nil {
			failure.Reason = ReasonTimeout
		}
		failure.Advice = "check this file with a header or certificate for requests"
		return failure
	case bounded.Err() != nil:
		return c.fail(ReasonTimeout, fmt.Errorf("%w of %s", errRequestTimeout, c.options.Timeout))
	// A proxy refused to connect. There is no error value for it in net/http.
	case strings.Contains(err.Error(), http.StatusText(http.StatusProxyAuthRequired)):
		failure := c.fail(ReasonAuth, errProxyRefused)
		failure.Advice = adviceProxy
		return failure
	}
	err = transportError(err, r.key, r.idempotency)
	return c.fail(transportReason(err, ReasonNetwork), err)
}

// do sends one HTTP request and follows no redirect.
func (c *Client) do(ctx context.Context, target *url.URL, key string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Cache-Control", "no-cache") // A proxy must not answer with an old page.
	// Set here, independent of the transport, so that the buffers of connections contain
	// only compressed data.
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", c.options.UserAgent)
	if c.options.PreviewBranch != "" {
		req.Header.Set("X-Trigger-Branch", c.options.PreviewBranch)
	}
	// An http.Client would quote addresses in its errors and follow redirects to other
	// hosts.
	return c.options.Transport.RoundTrip(req)
}
