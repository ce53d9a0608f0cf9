package client_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"waitpoint_exporter/client"
)

// allocated returns how much memory f allocates in total, including freed memory.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// wantPrintable checks that a text cannot affect a terminal.
func wantPrintable(t testing.TB, text string) {
	t.Helper()
	for _, r := range text {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			t.Errorf("%q has %U in it", text, r)
		}
	}
}

// TestBounds checks that each part of a page is accepted up to its bound. Beyond it the
// error names the place and quotes nothing, and little memory is used.
func TestBounds(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	tags := func(n int) []string { return strings.Split(strings.Repeat(",", n-1), ",") }
	many := func(n int) string {
		tokens := make([]any, n)
		for i := range tokens {
			tokens[i] = map[string]any{"id": strconv.Itoa(i), "status": "WAITING", "createdAt": "2026-11-23T08:19:59Z"}
		}
		return answer(map[string]any{"previous": "p"}, tokens...)
	}
	field := func(name string, value any) string {
		return answer(nil, token("a", nil), token("b", map[string]any{name: value}))
	}
	for _, tc := range []struct {
		name, body, want string
	}{
		{"tokens", many(1000), ""},
		{"too many tokens", many(1001), "over 1000 tokens"},
		{"a hundred times too many tokens", many(100_000), "over 1000 tokens"},
		{"id", field("id", long(1024)), ""},
		{
			"long id", field("id", long(1025)),
			"token 2 of the page: more than the service gives: id is longer than 1024 bytes",
		},
		{"id of 10 MB", field("id", long(10_000_000)), "id is longer than"},
		{"status", field("status", long(64)), ""},
		{"long status", field("status", long(65)), "status is longer than 64 bytes"},
		{"status of 1 MB", field("status", long(1_000_000)), "status is longer than"},
		{"tags", field("tags", tags(100)), ""},
		{"too many tags", field("tags", tags(101)), "token 2 of the page: more than the service gives: over 100 tags"},
		{"a million tags", field("tags", tags(1_000_000)), "over 100 tags"},
		{"tag", field("tags", []string{"", long(16 << 10)}), ""},
		{"long tag", field("tags", []string{"", long(16<<10 + 1)}), "tag 2 is longer than 16384 bytes"},
		{"tag of 10 MB", field("tags", []string{long(10_000_000)}), "tag 1 is longer than"},
		{"tag of 2 MB, escaped", field("tags", []string{strings.Repeat("\x01", 2_000_000)}), "tag 1 is longer than"},
		{"time of 1 MB", field("createdAt", long(1_000_000)), "createdAt is longer than 64 bytes"},
		{"name of 1 MB", field(long(1_000_000), 1), ""},
		{"cursor", body(long(1024), "a", "b"), ""},
		{"long cursor", body(long(1025), "a", "b"), "next is longer than 1024 bytes"},
		{"cursor of 1 MB", body(long(1_000_000), "a", "b"), "next is longer than"},
		{
			"long cursor back", answer(map[string]any{"previous": long(1025)}, token("a", nil)),
			"previous is longer than 1024 bytes",
		},
		{"deep", strings.Repeat("[", 100_000), "nested too deep"},
		{
			"deep and whole", `{"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `,"data":[]}`,
			"nested too deep",
		},
		{"deep objects", `{"data":[` + strings.Repeat(`{"a":`, 100_000), "nested too deep"},
		{"deep tags", `{"data":[{"tags":` + strings.Repeat("[", 100_000), "nested too deep"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClient(t, client.Options{APIURL: newServer(t, text(tc.body))})
			var (
				page client.Page
				err  error
			)
			used := allocated(func() { page, err = c.Pager(client.ListOptions{}).Next(t.Context()) })
			if used > 96<<20 {
				t.Errorf("%d MiB allocated", used>>20)
			}
			if tc.want == "" {
				if err != nil || len(page.Tokens) < 2 {
					t.Errorf("%d tokens, %v", len(page.Tokens), err)
				}
				return
			}
			wantReason(t, err, client.ReasonInvalidResponse)
			if !strings.Contains(err.Error(), tc.want) || len(err.Error()) > 300 {
				t.Errorf("%.300q, want one with %q", err, tc.want)
			}
		})
	}
}

// TestDecompressionIsBounded checks that decompressing a megabyte to a gigabyte stops at the bound,
// with any status.
func TestDecompressionIsBounded(t *testing.T) {
	var member bytes.Buffer
	w := gzip.NewWriter(&member)
	_, _ = w.Write(bytes.Repeat([]byte(" "), 16<<20))
	_ = w.Close()
	bomb := bytes.Repeat(member.Bytes(), 64) // A gzip stream may have many members.
	for status, want := range map[int]string{
		200: "over 16 MiB", 401: "401 Unauthorized", 500: "500 Internal Server Error", 302: "more than 5 redirects",
		204: "want 200",
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			c := newClient(t, client.Options{MaxAttempts: 1, APIURL: newServer(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				w.Header().Set("Location", r.URL.Path+"x?"+r.URL.RawQuery)
				w.WriteHeader(status)
				_, _ = w.Write(bomb)
			})})
			var err error
			if used := allocated(func() { _, err = collect(t, c, client.ListOptions{}) }); used > 96<<20 {
				t.Errorf("%d MiB allocated", used>>20)
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want one with %q", err, want)
			}
		})
	}
}

// flood writes begin, and then chunk until the connection is closed.
func flood(begin, chunk string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close() //nolint:errcheck // The connection is no longer used.
		_, err = io.WriteString(conn, begin)
		for chunk = strings.Repeat(chunk, 1+4096/len(chunk)); err == nil; {
			_, err = io.WriteString(conn, chunk)
		}
	}
}

// TestEndlessAnswers checks that reading an endless part outside of the body's data
// stops soon, with a reason.
func TestEndlessAnswers(t *testing.T) {
	const ok, chunked = "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, tc := range []struct {
		name, begin, chunk string
		reason             client.Reason
		want               string
	}{
		{"status line", "HTTP/1.1 200 ", "s3cr3t", "invalid_response", "header is too large"},
		{"headers", ok, "X-S3cr3t: s3cr3t\r\n", "invalid_response", "header is too large"},
		{"a header", ok + "X-S3cr3t: ", "s3cr3t", "invalid_response", "header is too large"},
		{"a header's name", ok, "s3cr3t", "invalid_response", "header is too large"},
		{"a header on many lines", ok + "X-S3cr3t: a\r\n", " s3cr3t\r\n", "invalid_response", "header is too large"},
		{"early hints", "", "HTTP/1.1 103 Early Hints\r\nLink: s3cr3t\r\n\r\n", "invalid_response", "header is too large"},
		{"continue", "", "HTTP/1.1 100 Continue\r\n\r\n", "invalid_response", "header is too large"},
		{"a chunk's length", chunked, "0", "network", "too long"},
		{"a chunk's extension", chunked + "1;", "s3cr3t", "network", "too long"},
		{"empty chunk lines", chunked, "\r\n", "network", "chunk"},
		{"chunks of a byte", chunked, "1;s3cr3t=s3cr3t-s3cr3t\r\n \r\n", "network", "non-data"},
		{"trailers", chunked + "0\r\n", "X-S3cr3t: s3cr3t\r\n", "network", "trailer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClient(t, client.Options{APIURL: newServer(t, flood(tc.begin, tc.chunk)), MaxAttempts: 1})
			var err error
			if used := allocated(func() { _, err = collect(t, c, client.ListOptions{}) }); used > 8<<20 {
				t.Errorf("%d MiB allocated", used>>20)
			}
			wantReason(t, err, tc.reason)
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want one with %q", err, tc.want)
			}
		})
	}
}

// TestSwitchingProtocols checks that an answer that switches the protocol is an error
// at once, although the server keeps the connection open.
func TestSwitchingProtocols(t *testing.T) {
	for name, head := range map[string]string{
		"asked for nothing": "HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"WebSocket":         "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"with a length":     "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 100\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			left := make(chan error, 1)
			c := newClient(t, client.Options{APIURL: newServer(t, func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					panic(err)
				}
				defer conn.Close() //nolint:errcheck // The connection is no longer used.
				_, _ = io.WriteString(conn, head+"s3cr3t")
				// Without a deadline a failing test would not end.
				_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
				_, err = conn.Read(make([]byte, 1))
				left <- err
			})})
			_, err := collect(t, c, client.ListOptions{})
			wantReason(t, err, client.ReasonInvalidResponse)
			if e := asError(t, err); e.Status != 101 || e.Attempts != 1 ||
				!strings.Contains(err.Error(), "not another protocol") {
				t.Errorf("%+v", e)
			}
			if err := <-left; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the client did not end the connection: %v", err)
			}
		})
	}
}

// TestTerminal checks that an error cannot affect a terminal, whatever the answer
// contains.
func TestTerminal(t *testing.T) {
	const nasty = "\x1b[31mred\x1b]0;title\x07\u009b31m\u202egnp\u2028\u2066\x7f\x08\r\ufeff\U000e0041"
	quoted := strings.NewReplacer("\x1b", `\u001b`, "\x07", `\u0007`, "\x08", `\b`, "\r", `\r`).Replace(nasty)
	head := strings.ReplaceAll(nasty, "\r", "")
	for name, h := range map[string]http.HandlerFunc{
		"reason":               raw("HTTP/1.1 500 " + head + "\r\n\r\n"),
		"status":               raw("HTTP/1.1 5\x1b0 OK\r\n\r\n"),
		"no status":            raw("HTTP/1.1 " + head + "\r\n\r\n"),
		"unknown status":       raw("HTTP/1.1 999 " + head + "\r\n\r\n"),
		"protocol":             raw("\x1b[31m/1.1 200 OK\r\n\r\n"),
		"header":               raw("HTTP/1.1 200 OK\r\nX-A: " + head + "\r\n\r\n"),
		"header's name":        raw("HTTP/1.1 200 OK\r\n" + head + ": a\r\n\r\n"),
		"location":             raw("HTTP/1.1 302 Found\r\nLocation: \x1b[31m\r\n\r\n"),
		"location, not ASCII":  raw("HTTP/1.1 302 Found\r\nLocation: http://\u202egnp/\r\n\r\n"),
		"content length":       raw("HTTP/1.1 200 OK\r\nContent-Length: \x1b[31m\r\n\r\n"),
		"transfer encoding":    raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: \x1b[31m\r\n\r\n"),
		"chunk":                raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\x1b[31m\r\n"),
		"the service's words":  status(400, quoted),
		"words that are bytes": status(400, "\x1b[31m\xff\xfe"),
		"body":                 text(head),
		"field":                text(answer(nil, token("a", map[string]any{nasty: nasty, "createdAt": nasty}))),
		"an id past its bound": text(answer(nil, token(strings.Repeat(nasty, 100), nil))),
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, client.Options{APIURL: newServer(t, h), MaxAttempts: 1})
			_, err := collect(t, c, client.ListOptions{})
			if err == nil {
				t.Fatal("no error")
			}
			wantPrintable(t, err.Error())
		})
	}
}

// TestSlowAnswerTimesOut checks that an answer times out if any part of it arrives at a byte a
// second.
func TestSlowAnswerTimesOut(t *testing.T) {
	for name, begin := range map[string]string{
		"status line":  "HTTP/1.1 200 ",
		"headers":      "HTTP/1.1 200 OK\r\nX-A: ",
		"body":         "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{",
		"chunk":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n{",
		"error's body": "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 100000\r\n\r\n{",
		"redirect":     "HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 100000\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var servers sync.WaitGroup
				serve := func(conn net.Conn) {
					defer conn.Close() //nolint:errcheck // The connection is no longer used.
					_, err := http.ReadRequest(bufio.NewReader(conn))
					if err == nil {
						_, err = io.WriteString(conn, begin)
					}
					for err == nil {
						time.Sleep(time.Second)
						_, err = io.WriteString(conn, " ")
					}
				}
				transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
					here, there := net.Pipe()
					servers.Go(func() { serve(there) })
					return here, nil
				}}
				c := newClient(t, client.Options{APIURL: "http://api.test", Transport: transport, MaxAttempts: 1})
				begun := time.Now()
				_, err := collect(t, c, client.ListOptions{})
				if want := 30 * time.Second; err == nil || time.Since(begun) != want {
					t.Errorf("%v, after %s, want %s", err, time.Since(begun), want)
				}
				transport.CloseIdleConnections()
				servers.Wait()
			})
		})
	}
}
