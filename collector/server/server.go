// Package server serves HTTP. It limits how much memory and time a client may take, and
// how many scrapes are answered at once. It shuts down without dropping an accepted
// request.
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

// How often Drain checks whether requests have ended.
const drainPause = 5 * time.Millisecond

// A Server is an http.Server with a timeout for everything that a client does. It shuts
// down without dropping a request on an accepted connection: http.Server.Shutdown alone
// drops requests that it reads after the call.
type Server struct {
	*http.Server

	// Called before the first listener is served; may be nil.
	onListening func()

	mu        sync.Mutex
	refusing  bool
	listeners []net.Listener
	busy      map[net.Conn]struct{} // Connections with a request, or before their first one.
}

// New returns a Server. The time for an answer begins at the end of the request's
// header.
func New(handler http.Handler, logger *slog.Logger) *Server {
	s := &Server{busy: map[net.Conn]struct{}{}}
	s.Server = &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: log.New(errorLog{logger}, "", 0),
		BaseContext: s.listening, ConnState: s.record,
	}
	return s
}

// An errorLog receives http.Server's log. Clients cause most of its lines; a panic in a
// handler is our own fault.
type errorLog struct{ logger *slog.Logger }

func (l errorLog) Write(p []byte) (int, error) {
	switch text := strings.TrimSpace(string(p)); {
	case strings.HasPrefix(text, "http: panic serving"), strings.HasPrefix(text, "http2: panic serving"):
		l.logger.Error("handler panicked", "err", text)
	default:
		l.logger.Debug("request failed", "err", text)
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
		_ = l.Close() // Serve returns an error.
	case len(s.listeners) == 1 && s.onListening != nil:
		s.onListening()
	}
	return context.Background()
}

// record records whether a connection is busy, before it is served and at each change
// of state.
func (s *Server) record(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew, http.StateActive:
		s.busy[conn] = struct{}{}
	case http.StateIdle, http.StateHijacked, http.StateClosed:
		delete(s.busy, conn)
	}
}

// Refuse stops accepting connections. Serve then returns an error, once all accepted
// connections are known to Drain.
func (s *Server) Refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusing = true
	for _, l := range s.listeners {
		_ = l.Close() // Serve returns an error.
	}
}

// Drain waits until all requests are answered. Call it once Serve has returned after
// Refuse. When ctx ends, it cuts off the rest and returns an error.
func (s *Server) Drain(ctx context.Context) error {
	// From now on answers close their connections; idle ones are closed.
	s.SetKeepAlivesEnabled(false)
	ticker := time.NewTicker(drainPause)
	defer ticker.Stop()
	for s.anyBusy() && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	// HTTP/2 connections get a GOAWAY and end by themselves.
	err := s.Shutdown(ctx)
	if err != nil {
		_ = s.Close() // There is nothing else to do.
	}
	return err
}

func (s *Server) anyBusy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.busy) > 0
}
