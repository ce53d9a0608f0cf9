package client_test

import (
	"context"
	"sync"
	"sync/atomic"

	"waitpoint_exporter/client"
)

// countingLimiter allows all requests, or refuses them with err.
type countingLimiter struct {
	waits, dones atomic.Int64
	err          error
}

func (l *countingLimiter) Wait(context.Context) error {
	l.waits.Add(1)
	return l.err
}

func (l *countingLimiter) Done(client.Attempt) { l.dones.Add(1) }

// stringSet is a set for concurrent use.
type stringSet struct {
	mu  sync.Mutex
	set map[string]bool
}

func (s *stringSet) add(v string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		s.set = map[string]bool{}
	}
	s.set[v] = true
}

func (s *stringSet) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.set)
}
