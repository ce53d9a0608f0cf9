// Package client lists the waitpoint tokens of one Trigger.dev environment, with
// GET /api/v1/waitpoints/tokens:
//
//	c, err := client.New(client.Options{APIURL: "https://api.trigger.dev", Key: key})
//	...
//	for token, err := range c.Tokens(ctx, client.ListOptions{}) {
//
// Client.Tokens and Client.Pages iterate over a listing; a Pager also resumes one
// at a cursor. A listing is complete or ends with an error.
//
// Requests that fail for a transient reason are retried within the caller's
// context, and each request waits for the Limiter, if there is one. Every error
// wraps an *Error, whose Reason says what to do about it, and none contains the
// key or another secret.
//
// The package does not log and stores no tokens. Facts about the service were
// measured with version 4.5.12.
package client

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	tokensPath = "/api/v1/waitpoints/tokens"

	defaultTimeout     = 30 * time.Second
	defaultMaxAttempts = 3
	defaultUserAgent   = "waitpoint_exporter/client"
)

var errHeaderValue = errors.New("has control or non-ASCII characters, or a space at an end")

// Options configure a Client.
type Options struct {
	// APIURL is the server's http or https URL. A path prefix is allowed; user
	// information, a query and a fragment are not.
	APIURL string
	// Key returns the environment's secret key. It is called for every request,
	// so that a rotated key takes effect at once, and must be safe for concurrent
	// use if the client is used concurrently.
	Key func() (string, error)
	// PreviewBranch is sent as x-trigger-branch. Preview keys require it.
	PreviewBranch string
	// Transport sends the requests. Nil: NewTransport. It should close idle
	// connections before the service does, which is after 65 s.
	Transport http.RoundTripper
	// Timeout bounds one attempt, including redirects and the body. Zero: 30 s.
	Timeout time.Duration
	// MaxAttempts is the maximum number of times that a request is sent. Zero: 3.
	MaxAttempts int
	// Limiter delays requests. May be nil.
	Limiter Limiter
	// Observe is called after every attempt, before the wait for the next one. May
	// be nil.
	Observe func(Attempt)
	// UserAgent is sent as User-Agent. Empty: a default.
	UserAgent string
	// Now is the clock for answers that have no Date header. Nil: time.Now.
	Now func() time.Time
}

// Client lists the tokens of one environment. It is safe for concurrent use.
type Client struct {
	options Options
	url     url.URL
	own     *http.Transport // Nil if Options had a transport.
}

// New returns a client, or an error that names the invalid option. It sends no
// request.
func New(o Options) (c *Client, err error) {
	defer func() { err = HideKeys(err) }()
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
	c = &Client{options: o, url: *u}
	if o.Transport == nil {
		c.own = NewTransport()
		c.options.Transport = c.own
	}
	return c, nil
}

// CloseIdleConnections closes the idle connections of the client's own
// transport. It does nothing if Options had a transport.
func (c *Client) CloseIdleConnections() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// NewTransport returns the transport that a client uses by default. It bounds
// headers, connections and the time to connect, and uses the proxy of the
// process's environment variables.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        16,
		MaxIdleConnsPerHost: 16,
		// The service closes idle connections after 65 s, which could race with a request.
		IdleConnTimeout:        55 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// parseAPIURL returns the URL of the token list. Its errors never quote a URL that
// may contain a password.
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
	case slices.ContainsFunc(strings.Split(raw, "/"), LooksLikeKey):
		return nil, errors.New("API URL: has a key in it: want none, the key is an option of its own")
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
		u.Path = "/" // JoinPath would return a relative path.
	}
	return u.JoinPath(tokensPath), nil
}

// headerValue reports whether a header's value s reaches the service unchanged.
func headerValue(s string) bool {
	return s == strings.TrimSpace(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
