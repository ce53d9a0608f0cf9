package client

import "time"

// Status is the state of a token. WAITING becomes COMPLETED or TIMED_OUT, which are
// final. An unknown status is returned as the service gave it.
type Status string

// The statuses of the service (4.5.12). The last two are finished.
const (
	StatusWaiting   Status = "WAITING"
	StatusCompleted Status = "COMPLETED"
	StatusTimedOut  Status = "TIMED_OUT"
)

// Known reports whether the status is WAITING, COMPLETED or TIMED_OUT.
func (s Status) Known() bool {
	return s == StatusWaiting || s == StatusCompleted || s == StatusTimedOut
}

// Token is a waitpoint token. Times are in UTC, in milliseconds; zero means none.
//
// A token's callback URL, idempotency key and output are never read: whoever has
// the URL can complete the token.
type Token struct {
	// ID is the friendly id, waitpoint_….
	ID string
	// Status is never empty.
	Status Status
	// Tags are as the service lists them: up to 10 of up to 128 characters, with any
	// characters, duplicates and the empty string. Nil if there are none. The slice
	// belongs to the caller.
	Tags []string
	// CreatedAt is always set.
	CreatedAt time.Time
	// TimeoutAt never changes. Zero if the token has no timeout, which is the default.
	TimeoutAt time.Time
	// CompletedAt is when the token was completed or timed out. It can be zero for a
	// COMPLETED token, and before TimeoutAt for a TIMED_OUT one that was forced in the
	// dashboard.
	CompletedAt time.Time
}
