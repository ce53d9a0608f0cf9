package web

import (
	"slices"
	"strings"
	"time"

	"waitpoint_exporter/collector/index"
)

// pageSize is the number of tokens on a page.
const pageSize = 100

// An entry is a token of a page.
type entry struct {
	*index.Token

	environment *Environment
}

func place(t *index.Token, e *Environment) position {
	return position{t.CreatedAt.UnixMilli(), t.ID, e.Project, e.Name}
}

// A listing is one page of the tokens that a query asks for.
type listing struct {
	pictures []picture
	// Total counts all that the query asks for; earlier those ahead of the page.
	total, earlier int
	entries        []entry
}

// A picture is what is known of one environment that a query asks for.
type picture struct {
	environment *Environment
	snapshot    *index.Snapshot
	// Known is set once the WAITING tokens have been listed whole; until then
	// none is shown. Stale is set where the metrics hide the picture for its age.
	known, stale bool
}

// find returns the page that the query asks for as of now, or an error if it
// asks for an environment that there is not.
func find(environments []Environment, q *query, now time.Time) (*listing, error) {
	pictures, err := choose(environments, q, now)
	if err != nil {
		return nil, err
	}
	return list(pictures, q, now), nil
}

// choose returns the pictures of the environments that the query asks for, or
// an error if there is no such environment.
func choose(environments []Environment, q *query, now time.Time) ([]picture, error) {
	var out []picture
	var known, names []string
	for i := range environments {
		e := &environments[i]
		known, names = append(known, e.Title()), append(names, e.Name)
		if (q.environment != nil && *q.environment != e.Name) || (q.project != nil && *q.project != e.Project) {
			continue
		}
		p := picture{environment: e, snapshot: e.Source.Snapshot()}
		if p.snapshot != nil && p.snapshot.Waiting {
			p.known, p.stale = true, !p.snapshot.Fresh(now, e.MaxStaleness)
		}
		out = append(out, p)
	}
	all := strings.Join(known, ", ")
	switch {
	case len(out) > 0 || (q.environment == nil && q.project == nil):
		return out, nil
	case q.environment != nil && !slices.Contains(names, *q.environment):
		return nil, bad("environment", "there is no %q; there are: %s", *q.environment, all)
	case q.environment != nil:
		return nil, bad("project", "%q has no environment %q; there are: %s", *q.project, *q.environment, all)
	default:
		return nil, bad("project", "there is no %q; there are: %s", *q.project, all)
	}
}

// list returns the page that the query asks for as of now. It walks each
// picture's tokens once and holds on to a few pages of them at most, however
// many there are.
func list(pictures []picture, q *query, now time.Time) *listing {
	l := &listing{pictures: pictures}
	for _, p := range pictures {
		if p.known {
			l.add(p, q, now)
		}
	}
	slices.SortFunc(l.entries, func(a, b entry) int {
		return place(a.Token, a.environment).compare(place(b.Token, b.environment))
	})
	if q.before == nil {
		l.entries = l.entries[:min(len(l.entries), pageSize)]
		return l
	}
	l.entries = l.entries[max(0, len(l.entries)-pageSize):]
	if l.earlier -= len(l.entries); l.earlier == 0 && len(l.entries) < pageSize {
		// Tokens have finished, so that the first page begins later now.
		first := *q
		first.before = nil
		return list(pictures, &first, now)
	}
	return l
}

// add takes in one environment's share: the first page behind q.after, or the
// last one ahead of q.before.
func (l *listing) add(p picture, q *query, now time.Time) {
	var own []entry
	passed := q.after == nil && q.before == nil // The tokens lie behind the position asked for.
	for t := range p.snapshot.Select(q.selection, now) {
		l.total++
		if !passed {
			at := place(t, p.environment)
			if q.after != nil {
				passed = at.compare(*q.after) > 0
			} else {
				passed = at.compare(*q.before) >= 0
			}
			if !passed {
				l.earlier++
			}
		}
		switch {
		case q.before != nil && !passed:
			if len(own) == 2*pageSize {
				own = own[:copy(own, own[pageSize:])]
			}
			own = append(own, entry{t, p.environment})
		case q.before == nil && passed && len(own) < pageSize:
			own = append(own, entry{t, p.environment})
		}
	}
	l.entries = append(l.entries, own...)
}

// last reports whether no token comes behind the page.
func (l *listing) last() bool { return l.earlier+len(l.entries) >= l.total }

// next and previous return links to the neighbouring pages, "" where there is
// none.
func (l *listing) next(q *query) string {
	if len(l.entries) == 0 || l.last() {
		return ""
	}
	e := l.entries[len(l.entries)-1]
	return q.link("after", place(e.Token, e.environment).String())
}

func (l *listing) previous(q *query) string {
	if len(l.entries) == 0 || l.earlier == 0 {
		return ""
	}
	return q.link("before", place(l.entries[0].Token, l.entries[0].environment).String())
}

// complete reports whether every picture is known and recent.
func (l *listing) complete() bool {
	return !slices.ContainsFunc(l.pictures, func(p picture) bool { return !p.known || p.stale })
}

// oldest returns the picture that was listed the longest ago of those that the
// page shows, false if it shows none.
func (l *listing) oldest() (picture, bool) {
	shown := slices.DeleteFunc(slices.Clone(l.pictures), func(p picture) bool { return !p.known })
	if len(shown) == 0 {
		return picture{}, false
	}
	return slices.MinFunc(shown, func(a, b picture) int { return a.snapshot.At.Compare(b.snapshot.At) }), true
}
