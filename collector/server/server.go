// Package server serves: what a client may hold, and for how long, how many scrapes
// are answered at once, and how serving ends without dropping a request.
package server

import (
	"context"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// How often Drain looks whether requests have ended.
const drainPause = 5 * time.Millisecond

// A Server is an http.Server on which no client, however slow, holds a connection
// for ever, and that ends without dropping a request it has taken up. By itself
// http.Server.Shutdown drops those that it reads after it was called.
type Server struct {
	*http.Server

	// If set, it is called when the first listener is about to be served.
	onListening func()

	mu        sync.Mutex
	refusing  bool
	listeners []net.Listener
	busy      map[net.Conn]struct{} // Those that have sent, or may send, a request that is to be answered.
}

// New returns a Server. Each answer has its time from the end of the
// request's header on.
func New(handler http.Handler, logger *slog.Logger) *Server {
	s := &Server{busy: map[net.Conn]struct{}{}}
	s.Server = &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: log.New(errorLog{logger}, "", 0),
		BaseContext: s.listening, ConnState: s.changed,
	}
	return s
}

// An errorLog takes what http.Server has to say. Clients cause most of it; that a
// handler has panicked is our own fault.
type errorLog struct{ logger *slog.Logger }

func (l errorLog) Write(p []byte) (int, error) {
	switch text := strings.TrimSpace(string(p)); {
	case strings.HasPrefix(text, "http: panic serving"), strings.HasPrefix(text, "http2: panic serving"):
		l.logger.Error("a request has made its handler panic", "err", text)
	default:
		l.logger.Debug("a request has failed", "err", text)
	}
	return len(p), nil
}

// listening is called for each listener before it is served.
func (s *Server) listening(l net.Listener) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners = append(s.listeners, l)
	switch {
	case s.refusing:
		_ = l.Close() // What Serve returns is awaited.
	case len(s.listeners) == 1 && s.onListening != nil:
		s.onListening()
	}
	return context.Background()
}

// changed is called before a connection is served, and whenever its state changes.
func (s *Server) changed(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew, http.StateActive:
		s.busy[conn] = struct{}{}
	case http.StateIdle, http.StateHijacked, http.StateClosed:
		delete(s.busy, conn)
	}
}

// Refuse takes up no further connection. Serve returns an error then, once those
// that were taken up before are known to Drain.
func (s *Server) Refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusing = true
	for _, l := range s.listeners {
		_ = l.Close() // What Serve returns is awaited.
	}
}

// Drain is called once Serve has returned after Refuse. It returns when each
// request that was taken up is answered, or cuts off those that are left and
// returns an error when ctx ends.
func (s *Server) Drain(ctx context.Context) error {
	// Answers end their connections from now on, and idle ones are closed.
	s.SetKeepAlivesEnabled(false)
	ticker := time.NewTicker(drainPause)
	defer ticker.Stop()
	for s.anyBusy() && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	// Connections of HTTP/2 are told, and end by themselves.
	err := s.Shutdown(ctx)
	if err != nil {
		_ = s.Close() // Nothing is left to do about it.
	}
	return err
}

func (s *Server) anyBusy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.busy) > 0
}
