// The one error type of this package, the reason that each error has, and what
// its text may hold: nothing that was received, except the service's own short
// message, and nothing that is secret.

package client

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"unicode"
)

// What net/http has no error value for.
var (
	errMalformed      = errors.New("malformed HTTP response")
	errHeaderTooLarge = errors.New("the answer's header is too large")
)

// Reason sorts errors by what one can do about them.
type Reason string

// Every error of this package has one of these reasons.
const (
	// ReasonAuth is a 401, 403 or 407, or a key that could not be had or sent.
	ReasonAuth Reason = "auth"
	// ReasonRateLimited is a 429, or a Limiter that let no request go.
	ReasonRateLimited Reason = "rate_limited"
	// ReasonTimeout is a 408, or an answer that was not whole in time.
	ReasonTimeout Reason = "timeout"
	// ReasonNetwork is a connection refused, dropped or cut.
	ReasonNetwork Reason = "network"
	// ReasonServer is a 5xx.
	ReasonServer Reason = "server"
	// ReasonInvalidResponse is an answer that is not what the service gives.
	ReasonInvalidResponse Reason = "invalid_response"
	// ReasonBadRequest is any other 4xx, or options refused before sending.
	ReasonBadRequest Reason = "bad_request"
)

// Reasons returns all reasons, in a fixed order. The slice is the caller's.
func Reasons() []Reason {
	return []Reason{
		ReasonAuth, ReasonRateLimited, ReasonTimeout, ReasonNetwork,
		ReasonServer, ReasonInvalidResponse, ReasonBadRequest,
	}
}

// Error is the one error that calls of this package return. Its text has the
// request's path without its query, and never the key, a URL, an idempotency key
// or a body.
type Error struct {
	// Reason is never empty.
	Reason Reason
	// Status is the HTTP status, 0 if none came.
	Status int
	// Path is that of the request, without the query.
	Path string
	// Message is what the service itself said of a refused request: its short
	// `error` field, at most 200 printable characters, with anything that may be
	// secret taken out. Empty if it said nothing readable.
	Message string
	// Advice says what to look at. May be empty.
	Advice string
	// Attempts is how often the request was sent before this error was returned,
	// 0 if never.
	Attempts int
	// Err is the cause, nil if the status says it all.
	Err error
}

// Error says what was asked, what came back and what to do about it.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s", e.Path)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": %d", e.Status)
		if text := http.StatusText(e.Status); text != "" {
			b.WriteString(" " + text)
		}
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %s", e.Message)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %s", e.Err)
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " (%d attempts)", e.Attempts)
	}
	if e.Advice != "" {
		fmt.Fprintf(&b, "; %s", e.Advice)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns the reason of an *Error in err's tree. Of other errors, a
// context that ended is a timeout, a net.Error is network or timeout, and the
// rest is an invalid response. Empty for nil.
func ReasonOf(err error) Reason {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Reason
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return ReasonTimeout
	}
	return transportReason(err, ReasonInvalidResponse)
}

// statusReason sorts answers other than 200.
func statusReason(status int) Reason {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusProxyAuthRequired:
		return ReasonAuth
	case status == http.StatusTooManyRequests:
		return ReasonRateLimited
	case status == http.StatusRequestTimeout:
		return ReasonTimeout
	case status >= 500 && status < 600:
		return ReasonServer
	case status >= 400 && status < 500:
		return ReasonBadRequest
	}
	return ReasonInvalidResponse
}

// transportReason sorts what a connection fails with; other errors get the given
// reason.
func transportReason(err error, other Reason) Reason {
	var corrupt flate.CorruptInputError
	if errors.Is(err, errMalformed) || errors.Is(err, errHeaderTooLarge) ||
		errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt) {
		return ReasonInvalidResponse
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return ReasonTimeout
	}
	var (
		netErr net.Error
		errno  syscall.Errno
	)
	if errors.As(err, &netErr) || errors.As(err, &errno) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return ReasonNetwork
	}
	return other
}

// transportError takes the URL, which has the query in it, out of an error, and
// replaces one that quotes what was received.
func transportError(err error, secrets ...string) error {
	var e *url.Error
	for errors.As(err, &e) {
		err = e.Err
	}
	switch text := err.Error(); {
	// What is not in the words of HTTP/1 is in those of HTTP/2.
	case strings.Contains(text, "response headers exceeded"), strings.Contains(text, "header list too large"):
		return errHeaderTooLarge
	case strings.Contains(text, "malformed"),
		strings.Contains(text, "PROTOCOL_ERROR"), strings.Contains(text, "COMPRESSION_ERROR"):
		return errMalformed
	}
	return &redactedError{text: redact(err.Error(), secrets...), err: err}
}

// redactedError is an error with another text.
type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.err }

// maxMessage is how many characters of the service's own words are kept.
const maxMessage = 200

// redact returns a text on one line, printable, at most 200 characters, without
// the secrets and without words that look like a URL or a key.
func redact(text string, secrets ...string) string {
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		text = strings.ReplaceAll(text, secret, "<redacted>")
		text = strings.ReplaceAll(text, url.QueryEscape(secret), "<redacted>")
	}
	words := strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == unicode.ReplacementChar
	})
	for i, word := range words {
		switch {
		case strings.Contains(word, "://"), strings.Count(word, "/") > 1, strings.Contains(strings.ToLower(word), "%2f"),
			strings.Contains(word, "?") && strings.Contains(word, "="):
			words[i] = "<url>"
		case (strings.Contains(word, "tr_") || strings.Contains(word, "pk_")) && !strings.Contains(word, "…"):
			words[i] = "<key>"
		}
	}
	runes := []rune(strings.Join(words, " "))
	if len(runes) > maxMessage {
		return string(runes[:maxMessage-1]) + "…"
	}
	return string(runes)
}
