// The error type of this package and its reasons. Of the received data, an error's
// text contains only the service's own short message, without what may be secret.

package client

import (
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/klauspost/compress/gzip"
)

// Errors for which net/http has no values.
var (
	errMalformed      = errors.New("malformed HTTP response")
	errHeaderTooLarge = errors.New("the answer's header is too large")
)

// Reason classifies errors by what to do about them.
type Reason string

// Every error of this package has one of these reasons.
const (
	// ReasonAuth is a 401, 403 or 407, or a key that could not be read or sent.
	ReasonAuth Reason = "auth"
	// ReasonRateLimited is a 429, or a Limiter that refused the request.
	ReasonRateLimited Reason = "rate_limited"
	// ReasonTimeout is a 408, or an answer that was not complete in time.
	ReasonTimeout Reason = "timeout"
	// ReasonNetwork is a connection that was refused, dropped or cut.
	ReasonNetwork Reason = "network"
	// ReasonServer is a 5xx.
	ReasonServer Reason = "server"
	// ReasonInvalidResponse is an answer that is not valid for the service.
	ReasonInvalidResponse Reason = "invalid_response"
	// ReasonBadRequest is any other 4xx, or invalid ListOptions.
	ReasonBadRequest Reason = "bad_request"
)

// Reasons returns all reasons, in a fixed order.
func Reasons() []Reason {
	return []Reason{
		ReasonAuth, ReasonRateLimited, ReasonTimeout, ReasonNetwork,
		ReasonServer, ReasonInvalidResponse, ReasonBadRequest,
	}
}

// Error is the type of all errors of requests. Its text has the request's path, but
// never the query, the key or a URL. Of a body it has nothing but Message. It names local
// files that the transport could not read.
type Error struct {
	// Reason is never empty.
	Reason Reason
	// Status is the HTTP status, 0 if there was no answer.
	Status int
	// Path is the request's path, without the query.
	Path string
	// Message is the `error` field of a refusal, at most 200 printable
	// characters, without what looks like a URL or a key. It is "<redacted>" if it names
	// an idempotency key or an output. May be empty.
	Message string
	// Advice says what to check. May be empty.
	Advice string
	// Attempts is how often the request was sent.
	Attempts int
	// Err is the cause. Nil if the status is enough.
	Err error
}

// Error returns the request, the answer and the advice.
func (e *Error) Error() string {
	text := "GET " + e.Path
	if e.Status != 0 {
		text += strings.TrimSpace(fmt.Sprintf(": %d %s", e.Status, http.StatusText(e.Status)))
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Attempts > 1 {
		text += fmt.Sprintf(" (%d attempts)", e.Attempts)
	}
	if e.Advice != "" {
		text += "; " + e.Advice
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns the reason of the *Error that err wraps. Without one, a context's
// error is a timeout, a net.Error is a network error or a timeout, and all others are
// invalid responses. It is empty for nil.
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

// statusReason returns the reason for a status other than 200.
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

// transportReason returns the reason for a connection error, or other if it is none.
func transportReason(err error, other Reason) Reason {
	var (
		corrupt flate.CorruptInputError
		timeout interface{ Timeout() bool }
		netErr  net.Error // Also a syscall.Errno.
	)
	switch {
	case errors.Is(err, errMalformed), errors.Is(err, errHeaderTooLarge),
		errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt):
		return ReasonInvalidResponse
	case errors.As(err, &timeout) && timeout.Timeout():
		return ReasonTimeout
	case errors.As(err, &netErr), errors.Is(err, net.ErrClosed),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ReasonNetwork
	}
	return other
}

// transportError returns the error without the URL, its query and received data.
func transportError(err error, secrets ...string) error {
	var e *url.Error
	for errors.As(err, &e) {
		err = e.Err
	}
	switch text := err.Error(); {
	// The error texts of HTTP/1 and HTTP/2.
	case strings.Contains(text, "response headers exceeded"), strings.Contains(text, "header list too large"):
		return errHeaderTooLarge
	case strings.Contains(text, "malformed"),
		strings.Contains(text, "PROTOCOL_ERROR"), strings.Contains(text, "COMPRESSION_ERROR"):
		return errMalformed
	}
	return &redactedError{text: redact(err.Error(), secrets...), err: err}
}

// redactedError is an error with a replaced text.
type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.err }

const maxMessage = 200 // Characters.

// redact returns the text as one printable line of at most maxMessage characters,
// without the secrets and without words that look like a URL or a key.
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
		case strings.Contains(word, "://"), strings.Count(word, "/") > 1,
			strings.Contains(strings.ToLower(word), "%2f"),
			strings.Contains(word, "?") && strings.Contains(word, "="):
			words[i] = "<url>"
		case hideKeys(word) != word:
			words[i] = "<key>"
		}
	}
	runes := []rune(strings.Join(words, " "))
	if len(runes) > maxMessage {
		return string(runes[:maxMessage-1]) + "…"
	}
	return string(runes)
}
