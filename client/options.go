// ListOptions cover every query parameter of the service. They are validated before
// they are sent, because the service refuses parameters that it cannot read (400, 431)
// or, worse, ignores them.

package client

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits and time format of the service (measured, 4.5.12).
const (
	maxPageSize = 100
	maxQuery    = 15 * 1000 // The service answers 431 to requests of about 16 KB.
	timeLayout  = "2006-01-02T15:04:05.000Z"
)

// ListOptions select the tokens that are listed. The zero value lists all tokens,
// newest first, 100 a page.
type ListOptions struct {
	// PageSize is the number of tokens in a page, 1 to 100. Zero: 100.
	PageSize int
	// After starts the listing after this cursor, a page's Next. The cursor stays valid
	// when its token no longer matches the filter.
	After string
	// Before lists in the other direction, to newer tokens, from this cursor, a page's
	// Previous. Within a page the order stays newest first. Not together with After.
	Before string
	// Statuses selects tokens with these statuses. The service filters by one status, or
	// by COMPLETED and TIMED_OUT together. Validate refuses WAITING with another status,
	// for which the service would return all tokens.
	Statuses []Status
	// IdempotencyKey selects tokens created with this key, even if it was rotated since.
	IdempotencyKey string
	// Tags selects tokens that have at least one of these tags. The service cannot
	// filter by the empty tag or one with a comma.
	Tags []string
	// Period selects tokens created within the last Period by the service's clock, in
	// whole seconds. Not together with From or To.
	Period time.Duration
	// From and To bound createdAt, both included, in whole milliseconds. Zero: no
	// bound.
	From, To time.Time
}

// Validate returns an error that names the first option that the service would
// refuse or ignore. It does not contain the idempotency key. A Pager calls Validate
// before its first request.
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
	if err := cmp.Or(o.validateStatuses(), o.validateTags(), o.validateTimes()); err != nil {
		return err
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
	another := func(s Status) bool { return s != StatusWaiting }
	if slices.Contains(o.Statuses, StatusWaiting) && slices.ContainsFunc(o.Statuses, another) {
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

// sendable reports whether s reaches the service unchanged and does not make it fail.
// Its database refuses NUL.
func sendable(s string) bool {
	return utf8.ValidString(s) && !strings.Contains(s, "\x00")
}

// query returns the parameters of the first page's request.
func (o ListOptions) query() url.Values {
	q := url.Values{"page[size]": {strconv.Itoa(cmp.Or(o.PageSize, maxPageSize))}}
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
	for _, s := range o.Statuses {
		statuses = append(statuses, string(s))
	}
	slices.Sort(statuses)
	set("filter[status]", strings.Join(slices.Compact(statuses), ","))
	if o.Period > 0 {
		// In seconds, because the service reads 1M as a minute and 60 as 60 ms.
		set("filter[createdAt][period]", strconv.FormatInt(int64(o.Period/time.Second), 10)+"s")
	}
	if !o.From.IsZero() {
		// Rounded up to whole milliseconds, to leave out tokens created before From. Format
		// rounds down.
		set("filter[createdAt][from]", o.From.UTC().Add(time.Millisecond-1).Format(timeLayout))
	}
	if !o.To.IsZero() {
		set("filter[createdAt][to]", o.To.UTC().Format(timeLayout))
	}
	return q
}
