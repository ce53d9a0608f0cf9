package simulator

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/btree"
)

// Environment is one environment's tokens and rate limit. Its methods are safe
// for concurrent use.
type Environment struct {
	sim  *Simulator
	opts EnvironmentOptions

	bucket         *bucket
	count, refused int

	rows    btree.Map[string, *row] // By internal id.
	waiting btree.Map[string, *row] // Rows that may be WAITING; listings remove the finished ones they find.
	serial  uint64
	live    *live
}

// A Token is a row, as the service would store it. Zero times are absent.
type Token struct {
	// ID is the friendly id, generated if empty.
	ID, Status                        string
	Tags                              []string
	CreatedAt, TimeoutAt, CompletedAt time.Time
	IdempotencyKey, Output            string
	// RotatedKey is the idempotency key before its rotation, which replaced it by a
	// random one, IdempotencyKey. Both find the token; answers show RotatedKey.
	RotatedKey string
	// KeyExpiresAt is when the idempotency key expires.
	KeyExpiresAt time.Time
	// VisibleAt is the true time at which the row was written; zero: CreatedAt.
	// FinishedAt is the true time at which it finished; zero: CompletedAt.
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

// statusAt returns the row's status in a replica that shows the state at the given
// time. It is empty before the row existed.
func (r *row) statusAt(then time.Time) string {
	switch {
	case r.VisibleAt.After(then):
		return ""
	case r.Status != waiting && !r.FinishedAt.After(then):
		return r.Status
	}
	return waiting
}

// Add adds tokens and returns their friendly ids.
func (e *Environment) Add(tokens ...Token) []string {
	e.sim.mu.Lock()
	defer e.sim.mu.Unlock()
	ids := make([]string, len(tokens))
	for i, t := range tokens {
		ids[i] = e.add(t).ID
	}
	return ids
}

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
	e.rows.Set(r.id, r)
	if !r.settled(e.seen(e.sim.now())) {
		e.waiting.Set(r.id, r)
	}
	return r
}

func milli(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

// seen returns the earliest time whose state a replica may still show.
func (e *Environment) seen(now time.Time) time.Time { return now.Add(-e.opts.Lag) }

// settled reports whether no state from then on shows the row as WAITING.
func (r *row) settled(then time.Time) bool {
	return r.Status != waiting && !r.FinishedAt.After(then) && !r.VisibleAt.After(then)
}

func (e *Environment) find(id string) *row {
	r, _ := e.rows.Get(strings.TrimPrefix(id, prefix))
	return r
}

// cuid returns an internal id like the service's: a clock, then a counter.
func (e *Environment) cuid(at time.Time) string {
	e.serial++
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, e.serial, e.opts.Key, e.opts.Branch)
	tail := strconv.FormatUint(h.Sum64()|1<<63, 36)
	clock := fmt.Sprintf("%08s", strconv.FormatInt(max(at.UnixMilli(), 0), 36))
	counter := strconv.FormatUint(36*36*36*36+e.serial%(36*36*36*36), 36)[1:]
	return "c" + clock[len(clock)-8:] + counter + "ja7d" + tail[:8]
}

// Finish sets the final status of a WAITING token, now.
func (e *Environment) Finish(id, status string) {
	e.sim.mu.Lock()
	defer e.sim.mu.Unlock()
	now := e.sim.now()
	if r := e.find(id); r != nil && r.statusAt(now) == waiting {
		r.Status, r.CompletedAt, r.FinishedAt = status, milli(now), now
	}
}

// Delete removes a token, which the service never does by itself.
func (e *Environment) Delete(id string) {
	e.sim.mu.Lock()
	defer e.sim.mu.Unlock()
	internal := strings.TrimPrefix(id, prefix)
	e.rows.Delete(internal)
	e.waiting.Delete(internal)
}

// Tokens returns the true state of all tokens now, newest id first. The caller owns it.
func (e *Environment) Tokens() []Token {
	e.sim.mu.Lock()
	defer e.sim.mu.Unlock()
	now := e.sim.now()
	e.advance(now)
	out := make([]Token, 0, e.rows.Len())
	e.rows.Reverse(func(_ string, r *row) bool {
		status := r.statusAt(now)
		if status == "" {
			return true
		}
		t := r.Token
		t.Status, t.Tags = status, slices.Clone(r.Tags)
		if status == waiting {
			t.CompletedAt = time.Time{}
		}
		out = append(out, t)
		return true
	})
	return out
}
