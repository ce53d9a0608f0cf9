package client

import (
	"io"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/klauspost/compress/gzip"
)

// longString is a JSON string that makes a decoder's buffer grow to its length.
//
//nolint:gochecknoglobals // Never changed, but no const because of the function call.
var longString = `"` + strings.Repeat(" ", 128<<10) + `"`

// maxKept is the largest buffer that is reused for the next answer.
const maxKept = 1 << 20

// workspace contains the buffers for reading an answer. They are wiped and reused for
// the next answer.
type workspace struct {
	zip    gzip.Reader
	zipped bool // Whether zip was used.
	json   jsontext.Decoder
	known  interner // Of tags and statuses.
}

// workspaces are those not in use, for any client. A sync.Pool would drop them at each
// garbage collection, and a new one costs more than a page.
//
//nolint:gochecknoglobals // See above.
var workspaces = make(chan *workspace, 4)

// borrow returns a workspace, to be returned with giveBack.
func borrow() *workspace {
	select {
	case w := <-workspaces:
		return w
	default:
	}
	w := new(workspace)
	// A buffer that grows leaves its smaller predecessor unwiped. So it grows now, while
	// it is empty, to more than a usual page needs.
	w.json.Reset(strings.NewReader(longString))
	_, _ = w.json.ReadValue() // Valid JSON, so no error.
	w.wipe()
	return w
}

func giveBack(w *workspace) {
	if w.wipe() <= maxKept {
		select {
		case workspaces <- w:
		default:
		}
	}
}

// unzip returns the decompressed body.
func (w *workspace) unzip(resp *http.Response) (io.Reader, error) {
	if !strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		return resp.Body, nil
	}
	w.zipped = true
	return &w.zip, w.zip.Reset(resp.Body)
}

// window is 32 KB of zeros, compressed. Reading it overwrites all data that a
// gzip.Reader keeps.
const window = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xed\xc1\x01\x01\x00\x00" +
	"\x00\x80\x90\xfe\xaf\xee\x08\x0a\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x18\xa6\xfc\x1f\x01\x00\x80\x00\x00"

// wipe overwrites what was read into the buffers, which contains callback URLs, and
// returns the size of the decoder's buffer.
func (w *workspace) wipe() int {
	// The decoder moves input only towards the start of its buffer.
	read := int(w.json.InputOffset()) + len(w.json.UnreadBuffer())
	w.json.Reset(strings.NewReader(""))
	buffer := w.json.UnreadBuffer() // Empty, with the capacity of all of it.
	size := cap(buffer)
	clear(buffer[:min(read, size)])
	if w.zipped {
		if w.zip.Reset(strings.NewReader(window)) == nil {
			_, _ = io.Copy(io.Discard, &w.zip)
		}
		_ = w.zip.Reset(strings.NewReader("")) // Releases the connection's body.
		w.zipped = false
	}
	return size
}
