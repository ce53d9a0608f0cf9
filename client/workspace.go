package client

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// roomy is a JSON string as long as a decoder's buffer is from the start.
//
//nolint:gochecknoglobals // A constant, but for the function.
var roomy = `"` + strings.Repeat(" ", 128<<10) + `"`

// maxKept keeps a buffer that an odd answer blew up from living on.
const maxKept = 1 << 20

// workspace is what reading an answer needs and does not hand out. It is kept from
// one answer to the next, with nothing of the answer in it.
type workspace struct {
	zip   gzip.Reader
	json  jsontext.Decoder
	known interner
}

// borrow returns a workspace, which goes back by giveBack.
func (c *Client) borrow() *workspace {
	if w, ok := c.workspaces.Get().(*workspace); ok {
		return w
	}
	w := new(workspace)
	// A buffer that grows leaves its smaller ones behind, unwiped: it grows now,
	// with nothing in it, to where a token of a usual page never takes it.
	w.json.Reset(strings.NewReader(roomy))
	_, _ = w.json.ReadValue() // It is a string.
	w.wipe()
	return w
}

func (c *Client) giveBack(w *workspace) {
	if w.wipe() <= maxKept {
		c.workspaces.Put(w)
	}
}

// unzip returns the body as it was before compression.
func (w *workspace) unzip(resp *http.Response) (io.Reader, error) {
	if !strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		return resp.Body, nil
	}
	return &w.zip, w.zip.Reset(resp.Body)
}

// window is 32 KB of zeros, compressed: as much as a gzip.Reader remembers.
const window = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xed\xc1\x01\x01\x00\x00" +
	"\x00\x80\x90\xfe\xaf\xee\x08\x0a\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x18\xa6\xfc\x1f\x01\x00\x80\x00\x00"

// wipe overwrites what the answer left in the buffers, callback URLs among it. It
// returns the size of the decoder's.
func (w *workspace) wipe() int {
	var all wiper
	w.json.Reset(&all)
	w.json.PeekKind() // The wiper is given the whole buffer.
	if w.zip.Reset(strings.NewReader(window)) == nil {
		_, _ = io.Copy(io.Discard, &w.zip)
	}
	_ = w.zip.Reset(strings.NewReader("")) // It lets go of the connection's body.
	return int(all)
}

// wiper clears what it should read into, and remembers how much that was.
type wiper int

func (w *wiper) Read(p []byte) (int, error) {
	clear(p)
	*w = wiper(len(p))
	return 0, io.EOF
}
