package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/sync/semaphore"
)

// TokensPath is the path of the list of WAITING tokens.
const TokensPath = "/tokens"

// maxLists is the maximum number of lists that are made at once, and maxFiles the one of
// CSV files, which keep a list of all tokens until they are sent; further requests get 503.
// Sending a page does not count, so a slow client delays no page.
const (
	maxLists = 8
	maxFiles = 8
)

// tokens serves the WAITING tokens, as a page, as JSON and as CSV.
func (s *server) tokens(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept")
	now, environments := s.opts.Now(), s.opts.Environments()
	q, err := parseQuery(r)
	if err == nil && q.form {
		h.Set("Location", q.canonical())
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	if err == nil && q.format == formatCSV {
		if err = acquire(s.files, w); err == nil {
			defer s.files.Release(1)
		}
	}
	var l *listing
	if err == nil {
		l, err = s.find(w, environments, &q, now)
	}
	code := http.StatusOK
	wrong, _ := errors.AsType[*queryError](err) // Every error about a query is one.
	if err != nil {
		code = wrong.code
	}
	switch {
	case q.format == formatHTML:
		s.write(w, code, "tokens", newTokensView(environments, l, &q, err, now))
	case err != nil && q.format == formatCSV:
		text(w, code, err.Error()+"\n")
	case err != nil:
		writeJSON(w, code, errorJSON{err.Error(), wrong.parameter})
	case q.format == formatCSV:
		writeCSV(w, l)
	default:
		writeJSON(w, code, newTokensJSON(l, &q, now))
	}
}

// find returns the page that the query selects as of now, or an error if there is no such
// environment, or if too many lists are being made.
func (s *server) find(w http.ResponseWriter, environments []Environment, q *query, now time.Time) (*listing, error) {
	if err := acquire(s.lists, w); err != nil {
		return nil, err
	}
	defer s.lists.Release(1)
	snapshots, err := choose(environments, q, now)
	if err != nil {
		return nil, err
	}
	l := list(snapshots, q)
	if q.format == formatCSV && len(l.unknown()) > 0 {
		// A CSV file cannot show that tokens are missing.
		return nil, &queryError{http.StatusServiceUnavailable, "", "the WAITING tokens are not known yet: " +
			strings.Join(l.unknown(), ", ")}
	}
	return l, nil
}

// acquire returns an error if there are too many requests already.
func acquire(bound *semaphore.Weighted, w http.ResponseWriter) error {
	if bound.TryAcquire(1) {
		return nil
	}
	w.Header().Set("Retry-After", "1")
	return &queryError{http.StatusServiceUnavailable, "", "too many requests for lists at once; try again"}
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	b, _ := json.Marshal(v) // Our own types always marshal.
	send(w, code, "application/json", append(escapeForTerminal(b), '\n'))
}

// escapeForTerminal escapes characters that encoding/json leaves and a terminal would
// interpret: control characters beyond ASCII, and those that change the direction of
// text.
func escapeForTerminal(text []byte) []byte {
	out := make([]byte, 0, len(text)+1)
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r < 0x7f || unicode.IsPrint(r) {
			out = append(out, text[:size]...)
		} else {
			for _, unit := range utf16.AppendRune(nil, r) {
				out = fmt.Appendf(out, `\u%04x`, unit)
			}
		}
		text = text[size:]
	}
	return out
}
