// An answer contains a page or a refusal. Bodies are bounded after decompression.

package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
)

const (
	// A page of 100 tokens has 39 KB without outputs.
	maxBody      = 16 << 20
	maxErrorBody = 64 << 10 // Of other answers.
)

var errTooLarge = fmt.Errorf("the answer's body is over %d MiB", maxBody>>20)

// interpret returns the answer's page, or an error, which is an *Error unless the
// connection failed.
func (c *Client) interpret(resp *http.Response, r request) (wirePage, error) {
	switch {
	case resp.StatusCode == http.StatusOK:
		return c.readPage(resp)
	case resp.StatusCode == http.StatusSwitchingProtocols:
		// The body is the connection itself, which the request's timeout does not close.
		return wirePage{}, c.fail(ReasonInvalidResponse, errors.New("want 200, not another protocol: "+
			"check that the API URL is that of a Trigger.dev server"))
	case statusReason(resp.StatusCode) == ReasonInvalidResponse:
		return wirePage{}, c.fail(ReasonInvalidResponse,
			errors.New("want 200: check that the API URL is that of a Trigger.dev server"))
	}
	return wirePage{}, c.refusal(resp, r)
}

func (c *Client) readPage(resp *http.Response) (wirePage, error) {
	if resp.ContentLength > maxBody {
		return wirePage{}, c.fail(ReasonInvalidResponse, errTooLarge)
	}
	w := borrow()
	defer giveBack(w)
	plain, err := w.unzip(resp)
	if err != nil {
		return wirePage{}, err
	}
	b := &body{r: plain, left: maxBody}
	page, err := w.decodePage(b)
	switch {
	case errors.Is(b.err, errTooLarge):
		err = c.fail(ReasonInvalidResponse, errTooLarge)
	case b.err != nil:
		return wirePage{}, b.err
	case errors.Is(err, errEarlyEnd) && plain == resp.Body && resp.Close && resp.ContentLength < 0:
		// Such a body ends when its connection closes, so it may have been cut off.
		return wirePage{}, io.ErrUnexpectedEOF
	case err != nil && (b.html || isHTML(resp)):
		err = c.fail(ReasonInvalidResponse, errors.New("the answer is an HTML page, not JSON: "+
			"check that the API URL is the API's and not a dashboard's or a proxy's"))
	case err != nil:
		err = c.fail(ReasonInvalidResponse, err)
	}
	return page, err
}

// body reads an answer's body up to a bound.
type body struct {
	r           io.Reader
	left        int
	err         error // Read error other than io.EOF.
	html, begun bool  // Begins like HTML; has a first non-space byte.
}

// Read fills p, even from small pieces, because the decoder may scan all unfinished
// input again after each Read.
func (b *body) Read(p []byte) (n int, err error) {
	if b.left < 0 {
		b.err = errTooLarge
		return 0, b.err
	}
	p = p[:min(len(p), b.left+1)]
	for n < len(p) && err == nil {
		var more int
		more, err = b.r.Read(p[n:])
		n += more
	}
	if start := bytes.TrimSpace(bytes.TrimPrefix(p[:n], []byte("\ufeff"))); !b.begun && len(start) > 0 {
		b.begun, b.html = true, start[0] == '<'
	}
	b.left -= n
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

func isHTML(resp *http.Response) bool {
	return strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html")
}

// unreadField matches names of fields that are never read out of an answer. A message with
// one may quote the field's value. What looks like a URL is removed from all messages.
var unreadField = regexp.MustCompile(`(?i)idempotency|output`)

// refusal returns the error for a refused request.
func (c *Client) refusal(resp *http.Response, r request) *Error {
	e := c.fail(statusReason(resp.StatusCode), nil)
	refused := readRefusal(resp)
	e.Message = redact(refused.Error, r.key, r.idempotency)
	if c.byService(resp, refused) {
		e.Advice = statusAdvice(resp.StatusCode, e.Message, r.key, c.options.PreviewBranch)
	} else {
		e.Advice, e.Err = strangerAdvice(resp, e.Message)
	}
	if unreadField.MatchString(refused.Error) {
		e.Message = "<redacted>"
	}
	return e
}

// wireRefusal is the content of the service's refusals that is read.
type wireRefusal struct {
	Error string `json:"error"` // The message. Not empty.
	Type  string `json:"type"`
}

// readRefusal returns the content of a refusal. It is empty if the body is other than
// the service's, or cannot be read.
func readRefusal(resp *http.Response) wireRefusal {
	w := borrow()
	defer giveBack(w)
	plain, err := w.unzip(resp)
	if err != nil {
		return wireRefusal{}
	}
	var refused wireRefusal
	content, err := io.ReadAll(io.LimitReader(plain, maxErrorBody))
	if err != nil || json.Unmarshal(content, &refused) != nil {
		return wireRefusal{}
	}
	return refused
}
