// Redirects are followed to another path of the same server if they keep the query.
// The key is sent nowhere else.

package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const maxRedirects = 5

// follow sends the request and follows redirects. It returns the last response, also
// with the error for a redirect that it does not follow.
func (c *Client) follow(ctx context.Context, target *url.URL, key string) (*http.Response, error) {
	redirects := []int{
		http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
	}
	for hop := 0; ; hop++ {
		resp, err := c.do(ctx, target, key)
		if err != nil || !slices.Contains(redirects, resp.StatusCode) {
			return resp, err
		}
		// The rest of the body is read so that the connection can be reused.
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxErrorBody))
		_ = resp.Body.Close()
		next, err := c.redirect(target, resp.Header.Get("Location"))
		if err == nil && hop == maxRedirects {
			err = fmt.Errorf("more than %d redirects", maxRedirects)
		}
		if err != nil {
			return resp, c.fail(ReasonInvalidResponse, err)
		}
		target = next
	}
}

// redirect returns the redirect's target if it may be followed. Its errors do not
// quote the address.
func (c *Client) redirect(from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	if err != nil || location == "" {
		return nil, errors.New("redirect to nowhere")
	}
	foreign := to.User != nil || origin(to) != origin(&c.url)
	// The service's own redirects, to a path without a trailing slash, keep the rest.
	same := to.RawQuery == from.RawQuery &&
		strings.TrimRight(to.EscapedPath(), "/") == strings.TrimRight(from.EscapedPath(), "/")
	switch {
	case foreign && same && from.Scheme == "http" && to.Scheme == "https" && to.User == nil &&
		to.Hostname() == from.Hostname():
		return nil, errors.New("redirect to https, not followed: the API URL has to begin with https, too")
	case foreign && same:
		return nil, errors.New("redirect to another host or scheme, not followed: the key goes nowhere else")
	case foreign || to.RawQuery != from.RawQuery:
		return nil, errors.New("redirect to another page, not followed: a proxy or gateway in front of the API " +
			"wants a login or something else first; let the exporter past it, or check the API URL")
	case to.EscapedPath() == from.EscapedPath():
		return nil, errors.New("redirect to itself")
	}
	return to, nil
}

// origin returns scheme, host and port.
func origin(u *url.URL) string {
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
