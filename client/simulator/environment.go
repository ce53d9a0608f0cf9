package simulator

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Environment is one environment's tokens and rate limit. Its methods are safe
// for concurrent use.
type Environment struct {
	sim  *Simulator
	opts EnvironmentOptions

	left           int
	refilled       time.Time
	count, refused int

	rows    []*row // In descending order of internal id.
	waiting []*row // Those that may wait, in the same order.
	byID    map[string]*row
	serial  uint64
	live    *live
}

// A Token is a row, as the service would store it. Zero times are absent.
type Token struct {
	// ID is the friendly id, made if empty.
	ID, Status                        string
	Tags                              []string
	CreatedAt, TimeoutAt, CompletedAt time.Time
	IdempotencyKey, Output            string
	// VisibleAt is when the row was really written, zero for CreatedAt.
	// FinishedAt is when it really became finished, zero for CompletedAt.
	VisibleAt, FinishedAt time.Time
}

const (
	prefix    = "waitpoint_"
	waiting   = "WAITING"
	completed = "COMPLETED"
	timedOut  = "TIMED_OUT"
)

type row struct {
	Token
	id string // Internal.
}

// statusAt is the row's status as a replica shows it that is as of then; empty
// before it existed.
func (r *row) statusAt(then time.Time) string {
	switch {
	case r.VisibleAt.After(then):
		return ""
	case r.Status != waiting && !r.FinishedAt.After(then):
		return r.Status
	}
	return waiting
}

func descending(a, b *row) int { return cmp.Compare(b.id, a.id) }

// Add adds tokens and returns their friendly ids.
func (e *Environment) Add(tokens ...Token) []string {
	e.sim.mu.Lock()
	defer e.sim.mu.Unlock()
	ids := make([]string, len(tokens))
	for i, t := range tokens {
		ids[i] = e.add(t).ID
	}
	e.sort()
	return ids
}

// add appends a row; sort must follow.
func (e *Environment) add(t Token) *row {
	if t.ID == "" {
		t.ID = prefix + e.cuid(t.CreatedAt)
	}
	if t.Status == "" {
		t.Status = waiting
	}
	if t.VisibleAt.IsZero() {
		t.VisibleAt = t.CreatedAt
	}
	if t.FinishedAt.IsZero() {
		t.FinishedAt = t.CompletedAt
	}
	t.CreatedAt, t.TimeoutAt, t.CompletedAt = milli(t.CreatedAt), milli(t.TimeoutAt), milli(t.CompletedAt)
	r := &row{Token: t, id: strings.TrimPrefix(t.ID, prefix)}
	e.rows = append(e.rows, r)
	if t.Status == waiting || t.FinishedAt.After(e.sim.now().Add(-e.opts.Lag)) {
		e.waiting = append(e.waiting, r)
	}
	e.byID[t.ID] = r
	return r
}

func milli(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

func (e *Environment) sort() {
	slices.SortFunc(e.rows, descending)
	slices.SortFunc(e.waiting, descending)
}

// cuid makes an internal id as the service's hosts do: a clock, then a counter.
func (e *Environment) cuid(at time.Time) string {
	e.serial++
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, e.serial, e.opts.Key, e.opts.Branch)
	tail := strconv.FormatUint(h.Sum64()|1<<63, 36)
	clock := fmt.Sprintf("%08s", strconv.FormatInt(max(at.UnixMilli(), 0), 36))
	counter := strconv.FormatUint(36*36*36*36+e.serial%(36*36*36*36), 36)[1:]
	return "c" + clock[len(clock)-8:] + counter + "ja7d" + tail[:8]
}

// Finish gives a token its outcome, now.
func (e *Environment) Finish(id, status string) {
	e.sim.mu.Lock()
	defer e.sim.mu.Unlock()
	now := e.sim.now()
	if r := e.byID[id]; r != nil && r.statusAt(now) == waiting {
		r.Status, r.CompletedAt, r.FinishedAt = status, milli(now), now
	}
}

// Delete removes a token, which the service never does by itself.
func (e *Environment) Delete(id string) {
	e.sim.mu.Lock()
	defer e.sim.mu.Unlock()
	same := func(r *row) bool { return r.ID == id }
	e.rows = slices.DeleteFunc(e.rows, same)
	e.waiting = slices.DeleteFunc(e.waiting, same)
	delete(e.byID, id)
}

// Tokens returns the truth as of now, newest id first. The caller owns it.
func (e *Environment) Tokens() []Token {
	e.sim.mu.Lock()
	defer e.sim.mu.Unlock()
	now := e.sim.now()
	e.advance(now)
	out := make([]Token, 0, len(e.rows))
	for _, r := range e.rows {
		status := r.statusAt(now)
		if status == "" {
			continue
		}
		t := r.Token
		t.Status, t.Tags = status, slices.Clone(r.Tags)
		if status == waiting {
			t.CompletedAt = time.Time{}
		}
		out = append(out, t)
	}
	return out
}
