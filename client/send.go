// One request: bounded in time and size, with the key in its header, which goes
// to the API's own scheme and host and nowhere else. Bodies are always closed.

package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const (
	// This bounds a page, after decompression. A page of 100 tokens has 39 KB
	// without outputs.
	maxBody = 16 << 20
	// This bounds what is read of other answers.
	maxErrorBody = 64 << 10
	maxRedirects = 5
	// This keeps a buffer that an odd page blew up from living on.
	maxPooled = 1 << 20
)

// Answers that are not what the service gives.
var (
	errTooLarge       = fmt.Errorf("the answer's body is over %d MiB", maxBody>>20)
	errHTML           = errors.New("the answer is an HTML page, not JSON: check that the API URL is the API's and not a dashboard's or a proxy's")
	errOtherStatus    = errors.New("want 200: check that the API URL is that of a Trigger.dev server")
	errSwitching      = errors.New("want 200, not another protocol: check that the API URL is that of a Trigger.dev server")
	errNoLocation     = errors.New("redirect to nowhere")
	errTooManyHops    = fmt.Errorf("more than %d redirects", maxRedirects)
	errOtherQuery     = errors.New("redirect that does not keep the query, not followed: it asks for something else")
	errToItself       = errors.New("redirect to itself")
	errForeignHost    = errors.New("redirect to another host or scheme, not followed: the key goes nowhere else")
	errRequestTimeout = errors.New("no whole answer within the request's timeout")
)

// request is one page to ask for.
type request struct {
	path  string
	query string
	// What must not show in an error.
	secrets []string
}

// answer is one page as it came.
type answer struct {
	page    wirePage
	attempt Attempt
	// How many requests it took.
	attempts int
}

// send sends the request once, follows redirects on the same server, and reads
// the answer. The attempt in the answer is filled in even with an error.
func (c *Client) send(ctx context.Context, r request, key string) (answer, *Error) {
	var a answer
	requestCtx, cancel := context.WithTimeoutCause(ctx, c.options.Timeout, errRequestTimeout)
	defer cancel()

	fail := func(reason Reason, err error) (answer, *Error) {
		return a, &Error{Reason: reason, Status: a.attempt.Status, Path: r.path, Err: err}
	}
	// Explains a request or a body that broke off.
	interrupted := func(err error) (answer, *Error) {
		switch {
		case ctx.Err() != nil:
			return fail(ReasonTimeout, ctx.Err())
		case requestCtx.Err() != nil:
			return fail(ReasonTimeout, fmt.Errorf("%w of %s", errRequestTimeout, c.options.Timeout))
		}
		err = transportError(err, append(r.secrets, key)...)
		return fail(transportReason(err, ReasonNetwork), err)
	}

	target := c.url
	target.RawQuery = r.query
	for hop := 0; ; hop++ {
		resp, err := c.roundTrip(requestCtx, &target, key)
		if err != nil {
			return interrupted(err)
		}
		a.attempt.Status = resp.StatusCode
		now := c.options.Now()
		a.attempt.Date = readDate(resp.Header)
		a.attempt.RateLimit = readRateLimit(resp.Header, a.attempt.Date, now)
		a.attempt.RetryAfter = readRetryAfter(resp.Header, a.attempt.Date, now)

		switch {
		case resp.StatusCode == http.StatusOK:
			defer resp.Body.Close() //nolint:errcheck // The body has been read, or is being given up.
			var readErr error
			if a.page, readErr, err = c.readPage(resp); readErr != nil {
				return interrupted(readErr)
			}
			if err != nil {
				return fail(ReasonInvalidResponse, err)
			}
			return a, nil
		case resp.StatusCode == http.StatusSwitchingProtocols:
			// Its body is the connection, which may never end and which the request's
			// timeout does not close.
			_ = resp.Body.Close()
			return fail(ReasonInvalidResponse, errSwitching)
		case redirects(resp.StatusCode):
			next, err := c.redirect(&target, resp)
			discard(resp)
			if err == nil && hop == maxRedirects {
				err = errTooManyHops
			}
			if err != nil {
				return fail(ReasonInvalidResponse, err)
			}
			target = *next
		default:
			message := readMessage(resp, append(r.secrets, key)...)
			var err error
			if statusReason(resp.StatusCode) == ReasonInvalidResponse {
				err = errOtherStatus
			}
			return a, &Error{
				Err:     err,
				Reason:  statusReason(resp.StatusCode),
				Status:  resp.StatusCode,
				Path:    r.path,
				Message: message,
				Advice:  statusAdvice(resp.StatusCode, message, key, c.options.PreviewBranch),
			}
		}
	}
}

func (c *Client) roundTrip(ctx context.Context, target *url.URL, key string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.options.UserAgent)
	if c.options.PreviewBranch != "" {
		req.Header.Set("X-Trigger-Branch", c.options.PreviewBranch)
	}
	// The transport itself, and not an http.Client: that one quotes addresses in
	// its errors, and we follow redirects by our own rule.
	return c.options.Transport.RoundTrip(req)
}

// readPage returns an error of the reading apart from one of what was read.
func (c *Client) readPage(resp *http.Response) (page wirePage, readErr, err error) {
	if resp.ContentLength > maxBody {
		return wirePage{}, nil, errTooLarge
	}
	w, ok := c.workspaces.Get().(*workspace)
	if !ok {
		w = new(workspace)
	}
	defer func() {
		clear(w.body) // Callback URLs are not left lying.
		if cap(w.body) <= maxPooled {
			c.workspaces.Put(w)
		}
	}()
	w.body, err = appendAll(w.body[:0], resp.Body)
	switch {
	case errors.Is(err, errTooLarge):
		return wirePage{}, nil, err
	case err != nil:
		return wirePage{}, err, nil
	}
	page, err = decodePage(w.body, &w.tags)
	if errors.Is(err, errEarlyEnd) && resp.Close && resp.ContentLength < 0 && !resp.Uncompressed {
		// Nothing but the connection's end marks that of such a body.
		return wirePage{}, io.ErrUnexpectedEOF, nil
	}
	if err != nil && looksLikeHTML(resp, w.body) {
		err = errHTML
	}
	return page, nil, err
}

// workspace is what reading a page needs and does not hand out.
type workspace struct {
	body []byte
	tags interner
}

// appendAll reads to the end, or to the bound on a body.
func appendAll(b []byte, r io.Reader) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			grown := make([]byte, len(b), min(max(2*cap(b), 64<<10), maxBody+1))
			copy(grown, b)
			b = grown
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > maxBody:
			return b, errTooLarge
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return b, err
		}
	}
}

func looksLikeHTML(resp *http.Response, body []byte) bool {
	start := strings.TrimSpace(string(body[:min(len(body), 64)]))
	return strings.HasPrefix(start, "<") || strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html")
}

// readMessage returns the service's own words on a refused request, if there are
// any. A body that cannot be read does not change what the status said.
func readMessage(resp *http.Response, secrets ...string) string {
	defer resp.Body.Close() //nolint:errcheck // The status has said what there is to say.
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return ""
	}
	var refusal struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &refusal) != nil {
		return ""
	}
	return redact(refusal.Error, secrets...)
}

// discard reads the little that may be left, so that the connection is kept.
func discard(resp *http.Response) {
	defer resp.Body.Close() //nolint:errcheck // Nothing more is wanted of it.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxErrorBody))
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirect returns where the answer sends us, if that is the same question at
// another path of the same server. Its errors do not quote the address.
func (c *Client) redirect(from *url.URL, resp *http.Response) (*url.URL, error) {
	location := resp.Header.Get("Location")
	if location == "" {
		return nil, errNoLocation
	}
	to, err := from.Parse(location)
	if err != nil {
		return nil, errNoLocation
	}
	if to.User != nil || origin(to) != origin(&c.url) {
		return nil, errForeignHost
	}
	switch {
	case to.RawQuery != from.RawQuery:
		return nil, errOtherQuery
	case to.EscapedPath() == from.EscapedPath():
		return nil, errToItself
	}
	return to, nil
}

// origin is the scheme and host, with the port written out.
func origin(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
