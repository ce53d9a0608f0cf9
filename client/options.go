// Which tokens to list: every query parameter of the service, checked before it
// is sent. Against a parameter that it cannot read the service does one of two
// things: it refuses (400, 431), or lists everything without a word.

package client

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// What the service takes (measured, service 4.5.12).
const (
	maxPageSize = 100
	// This keeps the request line clear of the roughly 16 KB at which the
	// service answers 431.
	maxQuery = 15 * 1000
	// With the three decimals that the service's own times have.
	timeLayout = "2006-01-02T15:04:05.000Z"
)

// ListOptions choose which tokens are listed. The zero value lists all of them,
// newest first, 100 a page.
type ListOptions struct {
	// PageSize is how many tokens to ask for at once, 1 to 100. Zero: 100.
	PageSize int
	// After starts the walk behind a cursor that an earlier page gave as Next.
	// A cursor stays good when its token leaves the filter.
	After string
	// Before walks the other way, to newer tokens, from a cursor that an earlier
	// page gave as Previous. Not together with After. Within a page the order
	// stays newest first.
	Before string
	// Statuses lists only tokens of these statuses. The service filters by
	// one of them, or by COMPLETED with TIMED_OUT; a list that has WAITING
	// and another would return everything, and is refused.
	Statuses []Status
	// IdempotencyKey lists only tokens created with this key, also those whose
	// key has been rotated away since.
	IdempotencyKey string
	// Tags lists only tokens that have at least one of these tags, exactly. A
	// tag that has a comma in it, or is empty, cannot be asked for.
	Tags []string
	// Period lists only tokens created within the last Period, by the service's
	// clock. Whole seconds. Not together with From or To.
	Period time.Duration
	// From and To bound createdAt, both included, in whole milliseconds. Zero: no
	// bound.
	From, To time.Time
}

// Validate returns an error that names the first option which the service would
// refuse (400, 431) or, worse, ignore without a word. Nothing of the
// idempotency key is in it. A Pager calls it before its first request.
func (o ListOptions) Validate() error {
	switch {
	case o.PageSize < 0 || o.PageSize > maxPageSize:
		return fmt.Errorf("page size %d: want 1 to %d, or 0 for %d", o.PageSize, maxPageSize, maxPageSize)
	case o.After != "" && o.Before != "":
		return errors.New("both after and before a cursor: want one of them")
	case !sendable(o.After) || !sendable(o.Before):
		return errors.New("cursor: not valid UTF-8, or with a NUL")
	case !sendable(o.IdempotencyKey):
		return errors.New("idempotency key: not valid UTF-8, or with a NUL")
	}
	for _, check := range []func() error{o.validateStatuses, o.validateTags, o.validateTimes} {
		if err := check(); err != nil {
			return err
		}
	}
	if n := len(o.query().Encode()); n > maxQuery {
		return fmt.Errorf("query of %d bytes: the service takes requests of about 16 KB; ask for fewer tags at once", n)
	}
	return nil
}

func (o ListOptions) validateStatuses() error {
	for _, s := range o.Statuses {
		if !s.Known() {
			return fmt.Errorf("status %q: want %s, %s or %s", s, StatusWaiting, StatusCompleted, StatusTimedOut)
		}
	}
	statuses := o.statuses()
	if len(statuses) > 1 && slices.Contains(statuses, StatusWaiting) {
		return fmt.Errorf("status %s with another: the service would ignore the filter; ask for each, or for none",
			StatusWaiting)
	}
	return nil
}

func (o ListOptions) validateTags() error {
	for _, tag := range o.Tags {
		switch {
		case tag == "":
			return errors.New("empty tag: the service cannot filter by it")
		case strings.Contains(tag, ","):
			return fmt.Errorf("tag %q: the service would read the comma as two tags", tag)
		case !sendable(tag):
			return fmt.Errorf("tag %q: not valid UTF-8, or with a NUL", tag)
		}
	}
	return nil
}

func (o ListOptions) validateTimes() error {
	switch {
	case o.Period < 0:
		return fmt.Errorf("period %s: want more than 0", o.Period)
	case o.Period%time.Second != 0:
		return fmt.Errorf("period %s: want whole seconds", o.Period)
	case o.Period > 0 && (!o.From.IsZero() || !o.To.IsZero()):
		return errors.New("period with from or to: want one or the other")
	}
	for _, t := range []time.Time{o.From, o.To} {
		// From may be rounded up to the next millisecond.
		if t = t.UTC(); !t.IsZero() && (t.Year() < 1 || t.Add(time.Millisecond-1).Year() > 9999) {
			return fmt.Errorf("time in the year %d: want 1 to 9999", t.Year())
		}
	}
	if !o.From.IsZero() && !o.To.IsZero() && o.From.After(o.To) {
		return fmt.Errorf("from %s is after to %s", o.From.UTC().Format(timeLayout), o.To.UTC().Format(timeLayout))
	}
	return nil
}

// sendable refuses what would reach the service as something else, or make it
// fail: its database knows no NUL.
func sendable(s string) bool {
	return utf8.ValidString(s) && !strings.Contains(s, "\x00")
}

// statuses returns the asked statuses, each once, in a copy.
func (o ListOptions) statuses() []Status {
	statuses := slices.Clone(o.Statuses)
	slices.Sort(statuses)
	return slices.Compact(statuses)
}

func (o ListOptions) pageSize() int {
	if o.PageSize == 0 {
		return maxPageSize
	}
	return o.PageSize
}

// query returns the parameters of the first request.
func (o ListOptions) query() url.Values {
	q := url.Values{"page[size]": {strconv.Itoa(o.pageSize())}}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("page[after]", o.After)
	set("page[before]", o.Before)
	set("filter[idempotencyKey]", o.IdempotencyKey)
	set("filter[tags]", strings.Join(o.Tags, ","))
	statuses := make([]string, 0, len(o.Statuses))
	for _, s := range o.statuses() {
		statuses = append(statuses, string(s))
	}
	set("filter[status]", strings.Join(statuses, ","))
	if o.Period > 0 {
		// A unit that the service reads as one expects: to it, 1M is a minute and 60
		// is 60 ms.
		set("filter[createdAt][period]", strconv.FormatInt(int64(o.Period/time.Second), 10)+"s")
	}
	if !o.From.IsZero() {
		// The service's times are whole milliseconds: rounding up keeps out what
		// lies before From.
		from := o.From.UTC().Truncate(time.Millisecond)
		if from.Before(o.From) {
			from = from.Add(time.Millisecond)
		}
		set("filter[createdAt][from]", from.Format(timeLayout))
	}
	if !o.To.IsZero() {
		set("filter[createdAt][to]", o.To.UTC().Truncate(time.Millisecond).Format(timeLayout))
	}
	return q
}
