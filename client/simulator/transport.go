package simulator

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
)

// Transport returns a RoundTripper that calls the handler in memory, without sockets,
// so that it also works with a fake clock. Bodies are streamed, and a handler that
// aborts cuts the answer off. It requests and decompresses gzip as http.Transport does.
func Transport(h http.Handler) http.RoundTripper { return transport{h} }

type transport struct{ handler http.Handler }

// response is the handler's side of an exchange.
type response struct {
	header http.Header
	body   *io.PipeWriter
	begun  chan struct{} // Closed once status and header are fixed.
	sent   http.Header
	status int
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status, w.sent = status, w.header.Clone()
		close(w.begun)
	}
}

func (w *response) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

func (w *response) Flush() { w.WriteHeader(http.StatusOK) }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	in := r.Clone(ctx)
	in.RequestURI = r.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	unzip := in.Header.Get("Accept-Encoding") == ""
	if unzip {
		in.Header.Set("Accept-Encoding", "gzip")
	}
	reader, writer := io.Pipe()
	w := &response{header: http.Header{}, body: writer, begun: make(chan struct{})}
	aborted := make(chan struct{})
	go func() {
		defer func() {
			if v := recover(); v != nil {
				close(aborted)
				_ = writer.CloseWithError(io.ErrUnexpectedEOF)
			}
		}()
		t.handler.ServeHTTP(w, in)
		w.WriteHeader(http.StatusOK)
		// If ctx has ended, the handler may have returned early, with an incomplete
		// answer. If ctx has no error, this is a normal end.
		_ = writer.CloseWithError(ctx.Err())
	}()
	select {
	case <-ctx.Done():
		cancel()
		_ = reader.CloseWithError(context.Cause(ctx))
		return nil, ctx.Err()
	case <-aborted:
		select {
		case <-w.begun:
		default:
			cancel()
			return nil, io.EOF
		}
	case <-w.begun:
	}
	stop := context.AfterFunc(ctx, func() { _ = reader.CloseWithError(ctx.Err()) })
	out := &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, ContentLength: -1, Request: r,
		Body: &body{Reader: reader, close: func() { stop(); cancel(); _ = reader.CloseWithError(errClosed) }},
	}
	if unzip && w.sent.Get("Content-Encoding") == "gzip" {
		out.Header.Del("Content-Encoding")
		out.Uncompressed = true
		out.Body = &zipped{body: out.Body}
	}
	return out, nil
}

var errClosed = errors.New("the client has closed the body")

type body struct {
	io.Reader

	close func()
}

func (b *body) Close() error {
	b.close()
	return nil
}

// zipped decompresses gzip, starting at the first Read.
type zipped struct {
	body io.ReadCloser
	zr   *gzip.Reader
}

func (z *zipped) Read(b []byte) (int, error) {
	if z.zr == nil {
		zr, err := gzip.NewReader(z.body)
		if err != nil {
			return 0, err
		}
		z.zr = zr
	}
	return z.zr.Read(b)
}

func (z *zipped) Close() error { return z.body.Close() }
