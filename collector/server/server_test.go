package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/collector/server"
)

const getRoot = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// endless is a reader that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// pipes is a net.Listener in memory, so that connections are on the fake clock.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// dial connects and returns the client's end.
func (l *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	return ours
}

// large writes an answer too large for all buffers on the way.
var large = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 10<<20)) })

// TestSlowClients checks when the server ends the connection of a client that sends
// or reads a byte a second, or nothing.
func TestSlowClients(t *testing.T) {
	drip := func(conn net.Conn, text io.Reader) {
		b := make([]byte, 1)
		for {
			if _, err := text.Read(b); err != nil {
				return
			}
			if _, err := conn.Write(b); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}
	for name, tc := range map[string]struct {
		client func(net.Conn)
		want   time.Duration
	}{
		"sends nothing": {func(net.Conn) {}, 10 * time.Second},
		"sends a header slowly": {func(c net.Conn) {
			drip(c, io.MultiReader(strings.NewReader("GET / HTTP/1.1\r\nX: "), endless{}))
		}, 10 * time.Second},
		"sends a body slowly": {func(c net.Conn) {
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
			drip(c, endless{})
		}, 30 * time.Second},
		"asks for nothing further": {
			func(c net.Conn) {
				_, _ = io.WriteString(c,
					"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
			},
			2 * time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipes()
				srv := server.New(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
				go func() { _ = srv.Serve(l) }()
				defer func() { _ = srv.Close() }()
				conn, begun := l.dial(), time.Now()
				var sending sync.WaitGroup
				sending.Go(func() { tc.client(conn) })
				defer sending.Wait()
				_, err := io.Copy(io.Discard, conn)
				if took := time.Since(begun).Round(time.Second); took != tc.want {
					t.Errorf("the connection ended after %s, want %s: %v", took, tc.want, err)
				}
				_ = conn.Close()
			})
		})
	}
	t.Run("reads slowly", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newPipes()
			srv := server.New(large, slog.New(slog.DiscardHandler))
			go func() { _ = srv.Serve(l) }()
			defer func() { _ = srv.Close() }()
			conn, begun := l.dial(), time.Now()
			_, err := io.WriteString(conn, getRoot)
			for b := make([]byte, 1); err == nil; time.Sleep(time.Second) {
				_, err = conn.Read(b)
			}
			if took := time.Since(begun); took < time.Minute || took > time.Minute+2*time.Second {
				t.Errorf("the connection ended after %s, want a minute: %v", took, err)
			}
			_ = conn.Close()
		})
	})
}

// TestDrain checks that after the shutdown begins, a request under way, one of which
// half was sent, and one on a connection that was just opened get their whole answer;
// and that idle connections do not delay the shutdown.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		srv := server.New(large, slog.New(slog.DiscardHandler))
		serving := make(chan error)
		go func() { serving <- srv.Serve(l) }()
		texts := []string{getRoot, "GET / HTTP/1.1\r\nHo", "", getRoot}
		conns := make([]net.Conn, len(texts))
		for i, text := range texts {
			conns[i] = l.dial()
			if _, err := io.WriteString(conns[i], text); err != nil {
				t.Fatal(err)
			}
		}
		idle := conns[3]
		if n, err := io.CopyN(io.Discard, idle, 10<<20); err != nil {
			t.Fatal(n, err)
		}
		for answered := false; !answered; { // The rest of its header.
			_ = idle.SetReadDeadline(time.Now().Add(time.Second))
			_, err := io.Copy(io.Discard, idle)
			answered = err != nil
		}
		begun := time.Now()
		srv.Refuse()
		if err := <-serving; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		drained := make(chan error)
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		go func() { drained <- srv.Drain(ctx) }()
		time.Sleep(4 * time.Second)
		for i, conn := range conns[:3] {
			if _, err := io.WriteString(conn, getRoot[len(texts[i]):]); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
			if n, _ := io.Copy(io.Discard, conn); n < 10<<20 {
				t.Errorf("connection %d: cut off after %d bytes", i, n)
			}
			_ = conn.Close()
		}
		if err, took := <-drained, time.Since(begun); err != nil || took > 5*time.Second {
			t.Errorf("ended after %s: %v", took, err)
		}
		_ = idle.Close()
	})
}

// TestDrainIsBounded checks that a client that does not read its answer is cut off at
// the timeout, and that a server that is shut down before it starts does not start.
func TestDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		srv := server.New(large, slog.New(slog.DiscardHandler))
		serving := make(chan error)
		go func() { serving <- srv.Serve(l) }()
		conn, begun := l.dial(), time.Now()
		if _, err := io.WriteString(conn, getRoot); err != nil {
			t.Fatal(err)
		}
		srv.Refuse()
		if err := <-serving; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		if err := srv.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(begun); took != 25*time.Second {
			t.Errorf("ended after %s", took)
		}
		if n, _ := io.Copy(io.Discard, conn); n > 1<<20 {
			t.Errorf("%d bytes came after the end", n)
		}
		_ = conn.Close()

		late := server.New(large, slog.New(slog.DiscardHandler))
		late.Refuse()
		if err := late.Serve(newPipes()); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

// TestDrainHTTP2 checks that an idle HTTP/2 connection does not delay the shutdown, and
// that a request on another one is answered.
func TestDrainHTTP2(t *testing.T) {
	begun, answer := make(chan struct{}), make(chan struct{})
	srv := server.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-answer
		}
		_, _ = io.WriteString(w, "whole")
	}), slog.New(slog.DiscardHandler))
	test := httptest.NewUnstartedServer(nil)
	test.Config, test.EnableHTTP2 = srv.Server, true
	test.StartTLS()
	defer test.Close()
	idle, busy := test.Client(), &http.Client{Transport: test.Client().Transport.(*http.Transport).Clone()}
	defer busy.CloseIdleConnections()
	if code, body, err := fetch(t.Context(), idle, test.URL); err != nil || code != http.StatusOK {
		t.Fatal(code, string(body), err)
	}
	whole := make(chan error)
	go func() {
		code, body, err := fetch(t.Context(), busy, test.URL+"/slow")
		if code != http.StatusOK || string(body) != "whole" {
			err = errors.Join(err, fmt.Errorf("%d %q", code, body))
		}
		whole <- err
	}()
	<-begun
	srv.Refuse()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	drained := make(chan error)
	go func() { drained <- srv.Drain(ctx) }()
	close(answer)
	if err := <-whole; err != nil {
		t.Errorf("the request under way: %v", err)
	}
	if err := <-drained; err != nil {
		t.Errorf("it does not end: %v", err)
	}
}

// TestServerLog checks that a panic is logged as an error, and that clients' errors are
// not.
func TestServerLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for text, want := range map[string]string{
			getRoot:                             "level=ERROR",
			"GET / HTTP/1.1\r\nX: \x00\r\n\r\n": "",
		} {
			var logs bytes.Buffer
			l := newPipes()
			srv := server.New(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") }),
				slog.New(slog.NewTextHandler(&logs, nil)))
			serving := make(chan error)
			go func() { serving <- srv.Serve(l) }()
			conn := l.dial()
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, conn)
			_ = srv.Close()
			if err := <-serving; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
			if got := logs.String(); !strings.Contains(got, want) || want == "" && got != "" {
				t.Errorf("%q: the log says %q, want %q", text, got, want)
			}
			_ = conn.Close()
		}
	})
}
