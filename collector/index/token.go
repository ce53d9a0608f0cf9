package index

import (
	"math"
	"slices"
	"time"

	"waitpoint_exporter/client"
)

// A Token is a WAITING token. It is immutable.
type Token struct {
	ID string
	// Tags are the token's tags as the service has them; CountedAs are the
	// labels under which it counts, before folding.
	Tags, CountedAs []string
	// CreatedAt and TimeoutAt are in UTC; TimeoutAt is zero if there is none.
	CreatedAt, TimeoutAt time.Time
	// ExpectedWait is how long the token may wait; zero if no rule says so.
	ExpectedWait time.Duration

	created, timeout int64 // Milliseconds.
}

func newToken(t *client.Token, countedAs []string, expected time.Duration) *Token {
	tags := countedAs // Most tokens count under the tags that they have.
	if !slices.Equal(tags, t.Tags) {
		tags = slices.Clone(t.Tags)
	}
	token := &Token{
		ID: t.ID, Tags: tags, CountedAs: countedAs,
		CreatedAt: t.CreatedAt, TimeoutAt: t.TimeoutAt, ExpectedWait: expected,
		created: t.CreatedAt.UnixMilli(), timeout: none,
	}
	if !t.TimeoutAt.IsZero() {
		token.timeout = t.TimeoutAt.UnixMilli()
	}
	return token
}

// size is roughly how many bytes the token takes, its share of a snapshot's
// groups included.
func (t *Token) size() int {
	n := 256 + len(t.ID)
	for _, tag := range t.Tags {
		n += 96 + len(tag)
	}
	return n
}

// Times of tokens are whole milliseconds, as the service gives them. A time that
// is not is rounded so that comparing it gives the same result: down by UnixMilli, up by
// ceilMilli.

func ceilMilli(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		ms++
	}
	return ms
}

// Milliseconds returns when the token was created and when it times out, in Unix
// milliseconds; the latter is the greatest there is if it never does.
func (t *Token) Milliseconds() (created, timeout int64) {
	if t.timeout == none {
		return t.created, math.MaxInt64
	}
	return t.created, t.timeout
}
