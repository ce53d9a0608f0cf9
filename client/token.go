// What a token is, as far as this package reads it.

package client

import "time"

// Status is where a token stands. WAITING becomes COMPLETED or TIMED_OUT once,
// and finally. A status that this package does not know is carried through as
// the service wrote it.
type Status string

// The statuses of the service (4.5.12). The last two are finished.
const (
	StatusWaiting   Status = "WAITING"
	StatusCompleted Status = "COMPLETED"
	StatusTimedOut  Status = "TIMED_OUT"
)

// Known reports whether the status is one of the three above.
func (s Status) Known() bool {
	return s == StatusWaiting || s == StatusCompleted || s == StatusTimedOut
}

// Token is one waitpoint token. Times are in UTC and have millisecond
// precision; a zero time means that the service gave none.
//
// The callback URL, the idempotency key and the output of a token are never read
// out of the answer: the first completes the token without any key.
type Token struct {
	// ID is the friendly id, waitpoint_….
	ID string
	// Status is never empty.
	Status Status
	// Tags are as the service lists them: up to 10 of up to 128 characters, any
	// characters at all, the empty string and doubles among them (measured,
	// service 4.5.12). Nil if there are none. The slice belongs to whoever got
	// the token.
	Tags []string
	// CreatedAt is always set.
	CreatedAt time.Time
	// TimeoutAt never changes. Zero if the token has no timeout: the service has
	// no default one.
	TimeoutAt time.Time
	// CompletedAt is when the token was completed or timed out. It can be zero on
	// a COMPLETED token, and lie before TimeoutAt on a TIMED_OUT one that was
	// forced in the dashboard.
	CompletedAt time.Time
}
