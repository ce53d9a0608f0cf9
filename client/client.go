// Package client lists the waitpoint tokens of one Trigger.dev environment:
// GET /api/v1/waitpoints/tokens.
//
// A listing is whole or it is an error. Requests that failed for a passing
// reason are sent again within the caller's context; every request takes its
// turn at a Limiter, if there is one. Errors are of one type, *Error, from which
// a reason follows, and never hold the key or anything else that is secret.
//
// The package logs nothing and keeps nothing. What it says about the service was
// measured with version 4.5.12.
package client

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	tokensPath = "/api/v1/waitpoints/tokens"

	defaultTimeout     = 30 * time.Second
	defaultMaxAttempts = 3
	defaultUserAgent   = "waitpoint_exporter/client"
)

var errHeaderValue = errors.New("has control or non-ASCII characters, or a space at an end")

// Options say how to reach an environment.
type Options struct {
	// APIURL is the server's http or https URL. A path prefix is allowed; user
	// information, a query and a fragment are not.
	APIURL string
	// Key returns the environment's secret key. It is called for every request,
	// so that a rotated key is used from then on, and must be safe for concurrent
	// use if the client is used concurrently.
	Key func() (string, error)
	// PreviewBranch is sent as x-trigger-branch. Preview keys need it.
	PreviewBranch string
	// Transport sends the requests. Nil: one of the client's own, which keeps
	// connections and heeds the environment's proxy variables. One that is given
	// should close idle connections before the service does, at 65 s.
	Transport http.RoundTripper
	// Timeout bounds one request with its body, redirects included. Zero: 30 s.
	Timeout time.Duration
	// MaxAttempts bounds how often a request is sent before its error is
	// returned. Zero: 3.
	MaxAttempts int
	// Limiter holds requests back. May be nil.
	Limiter Limiter
	// Observe is called after every attempt, before a retry's wait. May be nil.
	Observe func(Attempt)
	// UserAgent is the header of that name.
	UserAgent string
	// Now is the clock against which a rate limit's reset is read if an answer
	// has no Date. Nil: time.Now.
	Now func() time.Time
}

// Client lists the tokens of one environment. It is safe for concurrent use.
type Client struct {
	options Options
	url     url.URL
	// Nil if the caller brought a transport.
	own *http.Transport
	// Of *workspace.
	workspaces sync.Pool
}

// New returns a client, or an error that says which option is wrong. No request
// is sent.
func New(o Options) (*Client, error) {
	u, err := parseAPIURL(o.APIURL)
	switch {
	case err != nil:
		return nil, err
	case o.Key == nil:
		return nil, errors.New("no source for the key")
	case o.Timeout < 0:
		return nil, fmt.Errorf("timeout %s: want 0 or more", o.Timeout)
	case o.MaxAttempts < 0:
		return nil, fmt.Errorf("attempts %d: want 0 or more", o.MaxAttempts)
	case !headerValue(o.PreviewBranch):
		return nil, fmt.Errorf("preview branch %q: %w", o.PreviewBranch, errHeaderValue)
	case !headerValue(o.UserAgent):
		return nil, fmt.Errorf("user agent %q: %w", o.UserAgent, errHeaderValue)
	}
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	o.MaxAttempts = cmp.Or(o.MaxAttempts, defaultMaxAttempts)
	o.UserAgent = cmp.Or(o.UserAgent, defaultUserAgent)
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Client{options: o, url: *u}
	if o.Transport == nil {
		c.own = NewTransport()
		c.options.Transport = c.own
	}
	return c, nil
}

// CloseIdleConnections closes the kept connections of the client's own
// transport. It does nothing to one that was given.
func (c *Client) CloseIdleConnections() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// NewTransport returns a transport as the client's own: with bounds on headers and
// connections, compression, and the proxy that the process's environment names.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        16,
		MaxIdleConnsPerHost: 16,
		// The service closes at 65 s; whoever closes first avoids the race.
		IdleConnTimeout:        55 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// parseAPIURL never quotes a URL that may have a password in it.
func parseAPIURL(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, errors.New("the API URL is empty: want http:// or https:// with a host")
	}
	shown := fmt.Sprintf("API URL %q", raw)
	if strings.ContainsAny(raw, "@?#") {
		shown = "API URL"
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: not a URL: want http:// or https:// with a host", shown)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%s: want it to start with http:// or https://", shown)
	case u.User != nil:
		return nil, errors.New("API URL: has user information: want none, the key is all it takes")
	case u.Hostname() == "":
		return nil, fmt.Errorf("%s: has no host", shown)
	case u.RawQuery != "" || u.ForceQuery:
		return nil, errors.New("API URL: has a query: want none")
	case strings.Contains(raw, "#"):
		return nil, errors.New("API URL: has a fragment: want none")
	}
	if u.Path == "" {
		u.Path = "/" // JoinPath gives a relative path otherwise.
	}
	return u.JoinPath(tokensPath), nil
}

// headerValue reports whether s can be sent as a header and arrive as it is.
func headerValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s == strings.TrimSpace(s)
}

// Pager returns a pager over the tokens that opts choose. It sends nothing yet.
func (c *Client) Pager(opts ListOptions) *Pager {
	return newPager(c, opts)
}
