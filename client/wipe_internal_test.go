package client

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestWiped holds that neither the buffer that a page was read into nor that of
// an idle connection keeps the page.
func TestWiped(t *testing.T) {
	const secret = "callback/0123456789"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"data":[{"id":"a","status":"WAITING","createdAt":"2026-01-01T00:00:00Z","url":"http://x/`+secret+`"}],"pagination":{}}`)
	}))
	defer server.Close()
	c, err := New(Options{APIURL: server.URL, Key: func() (string, error) { return "tr_dev_0", nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	for range 100 { // A pool may lose what it is given.
		page, err := c.Pager(ListOptions{}).Next(t.Context())
		if err != nil || len(page.Tokens) != 1 {
			t.Fatal(page, err)
		}
		if w, ok := c.workspaces.Get().(*workspace); ok {
			if body := w.body[:cap(w.body)]; len(body) == 0 || bytes.Contains(body, []byte(secret)) {
				t.Errorf("a buffer of %d bytes keeps the page", len(body))
			}
			break
		}
	}

	mine, its := net.Pipe()
	defer its.Close() //nolint:errcheck // It has been read.
	go func() {
		_, _ = io.WriteString(its, "ab")
		_ = its.Close()
	}()
	buffer := []byte("0123456789")
	if n, err := (wiping{mine}).Read(buffer); n != 2 || err != nil || string(buffer) != "ab\x00\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("Read: %d, %v, %q", n, err, buffer)
	}
}
