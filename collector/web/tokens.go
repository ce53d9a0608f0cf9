package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// TokensPath is the path of the list of WAITING tokens.
const TokensPath = "/tokens"

// maxLists is the maximum number of lists that are made at once; further requests get
// 503. Sending does not count, so a slow client delays nobody.
const maxLists = 8

// tokens serves the WAITING tokens, as a page, as JSON and as CSV.
type tokens struct {
	server *server
	slots  chan struct{}
}

func newTokens(s *server) *tokens { return &tokens{s, make(chan struct{}, maxLists)} }

// ServeHTTP implements http.Handler.
func (p *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept")
	now, environments := p.server.opts.Now(), p.server.opts.Environments()
	q, err := parseQuery(r.URL.RawQuery)
	if err == nil {
		q.format = formatOf(r)
	}
	if err == nil && q.form {
		h.Set("Location", q.canonical())
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	var l *listing
	if err == nil {
		select {
		case p.slots <- struct{}{}:
			func() {
				defer func() { <-p.slots }()
				if l, err = find(environments, &q, now); err == nil && q.format == formatCSV && len(l.unknown()) > 0 {
					// A CSV file cannot show that tokens are missing.
					err = &queryError{http.StatusServiceUnavailable, "", "the WAITING tokens are not known yet: " +
						strings.Join(l.unknown(), ", ")}
				}
			}()
		default:
			h.Set("Retry-After", "1")
			err = &queryError{http.StatusServiceUnavailable, "", "too many requests for lists at once; try again"}
		}
	}
	code := http.StatusOK
	if wrong, ok := errors.AsType[*queryError](err); ok {
		code = wrong.code
	}
	switch format := formatOf(r); {
	case format == formatHTML:
		p.server.pages.write(w, code, "tokens", newTokensView(environments, l, &q, err, now))
	case err != nil && format == formatCSV:
		text(w, code, err.Error()+"\n")
	case err != nil:
		writeJSON(w, code, newErrorJSON(err))
	case format == formatCSV:
		writeCSV(w, l)
	default:
		writeJSON(w, code, newTokensJSON(l, &q, now))
	}
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	b, err := json.Marshal(v)
	if err != nil {
		return // Our own types always marshal.
	}
	_, _ = w.Write(append(escapeForTerminal(b), '\n')) // It only fails if the client has gone.
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
