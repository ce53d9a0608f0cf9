// An answer is a page, or says why there is none. Bodies are bounded after
// decompression.

package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const (
	// This bounds a page, after decompression. A page of 100 tokens has 39 KB
	// without outputs.
	maxBody = 16 << 20
	// This bounds what is read of other answers.
	maxErrorBody = 64 << 10
)

// Answers that are not what the service gives.
var (
	errTooLarge = fmt.Errorf("the answer's body is over %d MiB", maxBody>>20)
	errHTML     = errors.New("the answer is an HTML page, not JSON: " +
		"check that the API URL is the API's and not a dashboard's or a proxy's")
	errOtherStatus = errors.New("want 200: check that the API URL is that of a Trigger.dev server")
	errSwitching   = errors.New("want 200, not another protocol: check that the API URL is that of a Trigger.dev server")
)

// interpret reads the answer's page. Its error is an *Error unless the body broke
// off.
func (c *Client) interpret(resp *http.Response, r request) (wirePage, error) {
	switch {
	case resp.StatusCode == http.StatusOK:
		return c.readPage(resp)
	case resp.StatusCode == http.StatusSwitchingProtocols:
		// Its body is the connection, which may never end and which the request's
		// timeout does not close.
		return wirePage{}, fail(ReasonInvalidResponse, errSwitching)
	case statusReason(resp.StatusCode) == ReasonInvalidResponse:
		return wirePage{}, fail(ReasonInvalidResponse, errOtherStatus)
	}
	return wirePage{}, c.refusal(resp, r)
}

func (c *Client) readPage(resp *http.Response) (wirePage, error) {
	if resp.ContentLength > maxBody {
		return wirePage{}, fail(ReasonInvalidResponse, errTooLarge)
	}
	w := c.borrow()
	defer c.giveBack(w)
	plain, err := w.unzip(resp)
	if err != nil {
		return wirePage{}, err
	}
	b := &body{r: plain, left: maxBody}
	page, err := w.decodePage(b)
	switch {
	case errors.Is(b.err, errTooLarge):
		err = fail(ReasonInvalidResponse, errTooLarge)
	case b.err != nil:
		return wirePage{}, b.err
	case errors.Is(err, errEarlyEnd) && plain == resp.Body && resp.Close && resp.ContentLength < 0:
		// Nothing but the connection's end marks that of such a body.
		return wirePage{}, io.ErrUnexpectedEOF
	case err != nil && (b.html || isHTML(resp)):
		err = fail(ReasonInvalidResponse, errHTML)
	case err != nil:
		err = fail(ReasonInvalidResponse, err)
	}
	return page, err
}

// body is what is read of an answer, up to a bound.
type body struct {
	r    io.Reader
	left int
	// Err is what reading failed with. Nil at the end.
	err error
	// HTML is whether it began as such a page does.
	html, begun bool
}

// Read fills p, however little comes at once: what a decoder does for each piece
// may cost as much as all that it has not done with.
func (b *body) Read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = b.r.Read(p[n:])
		n += more
	}
	if start := bytes.TrimSpace(p[:n]); !b.begun && len(start) > 0 {
		b.begun, b.html = true, start[0] == '<'
	}
	if b.left -= n; b.left < 0 {
		n, err = 0, errTooLarge
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

func isHTML(resp *http.Response) bool {
	return strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html")
}

// refusal says why the request was refused, and by whom: the service has JSON of
// its own with each, and everything else comes from what stands in between.
func (c *Client) refusal(resp *http.Response, r request) *Error {
	e := &Error{Reason: statusReason(resp.StatusCode)}
	if words := c.readMessage(resp); words != "" {
		e.Message = redact(words, r.secrets()...)
		e.Advice = statusAdvice(resp.StatusCode, e.Message, r.key, c.options.PreviewBranch)
		return e
	}
	e.Advice, e.Err = strangerAdvice(resp)
	return e
}

// readMessage returns the service's own words on a refused request, if there are
// any. A body that cannot be read does not change what the status said.
func (c *Client) readMessage(resp *http.Response) string {
	w := c.borrow()
	defer c.giveBack(w)
	plain, err := w.unzip(resp)
	if err != nil {
		return ""
	}
	content, err := io.ReadAll(io.LimitReader(plain, maxErrorBody))
	if err != nil {
		return ""
	}
	var refused struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(content, &refused) != nil {
		return ""
	}
	return refused.Error
}
