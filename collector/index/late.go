package index

import (
	"regexp"
	"slices"
	"time"
)

// An ExpectedWait is how long a token may wait that has a tag which Match
// matches, whole; nil matches every token. Of several rules the first one counts.
type ExpectedWait struct {
	Match *regexp.Regexp
	Wait  time.Duration
}

// expected returns how long a token with the given tags may wait; 0 if no rule
// says so. Rules see the tags as the token has them.
func (o Options) expected(raw []string) time.Duration {
	for _, rule := range o.ExpectedWait {
		if rule.Match == nil || slices.ContainsFunc(raw, rule.Match.MatchString) {
			return rule.Wait
		}
	}
	return 0
}

// deadline returns the last millisecond in which the token is not late.
func (t *Token) deadline() int64 {
	if t.ExpectedWait == 0 {
		return none
	}
	return t.created + t.ExpectedWait.Milliseconds()
}

// IsLate reports whether the token has waited for longer than is expected of it.
func (t *Token) IsLate(now time.Time) bool {
	return t.ExpectedWait != 0 && t.deadline() < ceilMilli(now)
}

// Expects reports whether any token is expected to wait for a limited time.
func (s *Snapshot) Expects() bool { return len(s.opts.ExpectedWait) > 0 }
