package web

import (
	_ "embed" // For the page's template.
	"encoding/json"
	"errors"
	"net/http"
)

// TokensPath is the path of the WAITING tokens behind the numbers.
const TokensPath = "/tokens"

// maxLists is the number of token pages that are worked out at once; further
// requests are answered with 503. A slow client holds up nobody: sending the
// answer does not count.
const maxLists = 8

//go:embed tokens.html
var tokensHTML string

// tokens serves the WAITING tokens, as a page and as JSON.
type tokens struct {
	server *server
	page   *page
	slots  chan struct{}
}

func newTokens(s *server) *tokens {
	return &tokens{s, newPage("tokens", tokensHTML, "'self'"), make(chan struct{}, maxLists)}
}

// ServeHTTP implements http.Handler.
func (p *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept")
	code, body := p.answer(h, r)
	w.WriteHeader(code)
	_, _ = w.Write(body) // The client has gone; nothing to do about it.
}

// answer works out an answer and sets its headers.
func (p *tokens) answer(h http.Header, r *http.Request) (code int, body []byte) {
	now, environments := p.server.opts.Now(), p.server.opts.Environments
	q, err := parseQuery(r.URL.RawQuery)
	if err == nil && q.form {
		h.Set("Location", q.canonical())
		return http.StatusSeeOther, nil
	}
	var found *listing
	if err == nil {
		select {
		case p.slots <- struct{}{}:
			defer func() { <-p.slots }()
			found, err = find(environments, &q, now, p.server.opts.MaxStaleness)
		default:
			h.Set("Retry-After", "1")
			err = &queryError{http.StatusServiceUnavailable, "", "too many lists of tokens are being made; try again"}
		}
	}
	code = http.StatusOK
	if wrong, ok := errors.AsType[*queryError](err); ok {
		code = wrong.code
	}
	if wantsJSON(r) {
		h.Set("Content-Type", "application/json")
		h.Set("X-Content-Type-Options", "nosniff")
		if err != nil {
			body, err = json.Marshal(newErrorJSON(err))
		} else {
			body, err = json.Marshal(newTokensJSON(found, &q, now))
		}
		body = append(body, '\n')
	} else {
		body, err = p.page.render(h, newTokensView(environments, found, &q, err, now))
	}
	if err != nil {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		return http.StatusInternalServerError, []byte("the answer cannot be rendered\n")
	}
	return code, body
}
