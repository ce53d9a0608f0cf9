package web

import (
	"cmp"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"waitpoint_exporter/collector/index"
)

// pageSize is the number of tokens on a page.
const pageSize = 100

// An entry is a token on a page. It is small, since many are compared for a page.
type entry struct {
	*index.Token

	from *snapshot
	key  int64
}

// place returns the entry's position in the order of its listing.
func (e *entry) place() position {
	return position{e.key, e.ID, e.from.Project, e.from.Name}
}

// compare compares keys first: they nearly always differ.
func (e *entry) compare(o *position) int {
	if e.key != o.key {
		return cmp.Compare(e.key, o.key)
	}
	return cmp.Or(cmp.Compare(e.ID, o.id), cmp.Compare(e.from.Project, o.project),
		cmp.Compare(e.from.Name, o.environment))
}

// Title is the environment's title.
func (e entry) Title() string { return e.from.Title() }

// Age is how long the token has waited, Left how long it has until its timeout,
// both in seconds.
func (e entry) Age() float64  { return seconds(e.CreatedAt, e.from.Now) }
func (e entry) Left() float64 { return seconds(e.from.Now, e.TimeoutAt) }

// Overdue reports whether the timeout has passed, Overrun how many seconds ago.
func (e entry) Overdue() bool    { return !e.TimeoutAt.IsZero() && e.TimeoutAt.Before(e.from.Now) }
func (e entry) Overrun() float64 { return -e.Left() }

// Expected is how long the token may wait, "" if no rule applies; LateBy how many
// seconds longer it has waited.
func (e entry) Expected() string {
	if e.ExpectedWait == 0 {
		return ""
	}
	return model.Duration(e.ExpectedWait).String()
}
func (e entry) Late() bool      { return e.IsLate(e.from.Now) }
func (e entry) LateBy() float64 { return e.Age() - e.ExpectedWait.Seconds() }

// Dashboard returns a link to the token's page in Trigger.dev's dashboard, "" if its
// URL is not configured.
func (e entry) Dashboard() string {
	if e.from.DashboardURL == "" {
		return ""
	}
	return e.from.DashboardURL + "/waitpoints/tokens/" + url.PathEscape(e.ID)
}

// A listing is one page of the tokens that a query selects.
type listing struct {
	snapshots []snapshot
	// Total is the number of selected tokens, earlier the number on the previous pages.
	total, earlier int
	entries        []entry
}

// A snapshot is the snapshot of one environment, as of now.
type snapshot struct {
	*Environment
	*index.Snapshot

	Now time.Time
	// Known is set once all WAITING tokens have been listed; until then no token is
	// shown. Stale is set if the snapshot is too old for the metrics.
	Known, Stale bool
}

// look returns the environment's snapshot as of now.
func look(e *Environment, now time.Time) snapshot {
	s := e.Source.Snapshot()
	known := s != nil && s.Waiting
	return snapshot{e, s, now, known, known && !s.Fresh(now, e.MaxStaleness)}
}

// Expects reports whether the environment has rules for how long its tokens may wait.
func (s snapshot) Expects() bool { return s.Known && s.Snapshot.Expects() }

// Age is the age of a known snapshot.
func (s snapshot) Age() time.Duration { return s.Snapshot.Age(s.Now) }

// choose returns the snapshots of the environments that the query selects, or an error
// if there is none.
func choose(environments []Environment, q *query, now time.Time) ([]snapshot, error) {
	var out []snapshot
	var names, projects []string
	for i := range environments {
		e := &environments[i]
		projects = append(projects, e.Project)
		if q.project != nil && *q.project != e.Project {
			continue
		}
		names = append(names, e.Name)
		if q.environment == nil || *q.environment == e.Name {
			out = append(out, look(e, now))
		}
	}
	switch {
	case len(out) > 0 || (q.environment == nil && q.project == nil):
		return out, nil
	case q.project == nil:
		return nil, bad("environment", "there is no %q; there are: %s", *q.environment, quoted(names))
	case len(names) == 0:
		return nil, bad("project", "there is no %q; there are: %s", *q.project, quoted(projects))
	default:
		return nil, bad("project", "%q has no environment %q; there are: %s", *q.project, *q.environment, quoted(names))
	}
}

// quoted lists the values that a parameter may have, each once.
func quoted(values []string) string {
	for i, v := range values {
		values[i] = strconv.Quote(v)
	}
	slices.Sort(values)
	return strings.Join(slices.Compact(values), ", ")
}

// list returns the page that the query selects. It walks each snapshot's
// tokens once and keeps at most two pages of them, or all for CSV.
func list(snapshots []snapshot, q *query) *listing {
	l := &listing{snapshots: snapshots}
	c := chooser{most: pageSize, last: q.before != nil}
	if q.format == formatCSV {
		c.most = math.MaxInt / 2
	}
	for i := range snapshots {
		if snapshots[i].Known {
			l.add(&snapshots[i], q, &c)
		}
	}
	c.cut()
	l.entries = c.kept
	if q.before == nil {
		return l
	}
	if l.earlier -= len(l.entries); l.earlier == 0 && len(l.entries) < pageSize {
		// Tokens have finished, and too few are left before this place: show the first
		// page.
		first := *q
		first.before = nil
		return list(snapshots, &first)
	}
	return l
}

// add adds one environment's tokens after q.after, or before q.before.
func (l *listing) add(s *snapshot, q *query, c *chooser) {
	for t := range s.Select(q.selection, s.Now) {
		if q.id != "" && t.ID != q.id {
			continue
		}
		l.total++
		e := entry{t, s, q.key(t)}
		switch {
		case q.after != nil && e.compare(q.after) <= 0:
			l.earlier++
			continue
		case q.before != nil && e.compare(q.before) >= 0:
			continue
		case q.before != nil:
			l.earlier++
		}
		c.offer(e)
	}
}

// A chooser keeps the first entries that are offered, or the last ones if last is set.
// It keeps up to most entries.
type chooser struct {
	most int
	last bool
	kept []entry // Up to twice as many, so that sorting is rare.
	// Bound is the place that further entries must precede, or follow; nil before the
	// first cut.
	bound *position
}

func (c *chooser) offer(e entry) {
	if c.bound != nil && (e.compare(c.bound) > 0) != c.last {
		return
	}
	if c.kept = append(c.kept, e); len(c.kept) >= 2*c.most {
		c.cut()
	}
}

// cut sorts the kept entries and drops the surplus.
func (c *chooser) cut() {
	order := func(a, b entry) int { return a.compare(new(b.place())) }
	if !slices.IsSortedFunc(c.kept, order) {
		slices.SortFunc(c.kept, order)
	}
	switch {
	case len(c.kept) < c.most:
	case c.last:
		c.kept = c.kept[:copy(c.kept, c.kept[len(c.kept)-c.most:])]
		c.bound = new(c.kept[0].place())
	default:
		c.kept = c.kept[:c.most]
		c.bound = new(c.kept[c.most-1].place())
	}
}

// next and previous return links to the neighbouring pages, "" if there is none.
func (l *listing) next(q *query) string {
	if l.earlier+len(l.entries) >= l.total {
		return ""
	}
	return q.Link("after", l.entries[len(l.entries)-1].place().String())
}

func (l *listing) previous(q *query) string {
	if len(l.entries) == 0 || l.earlier == 0 {
		return ""
	}
	return q.Link("before", l.entries[0].place().String())
}

// unknown returns the titles of the environments whose tokens are not known.
func (l *listing) unknown() []string {
	var out []string
	for _, s := range l.snapshots {
		if !s.Known {
			out = append(out, s.Title())
		}
	}
	return out
}
