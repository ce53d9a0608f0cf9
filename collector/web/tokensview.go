package web

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
)

// tokensView is what the page of tokens says. The template escapes all of it.
type tokensView struct {
	Now    moment
	Error  string
	Form   tokensForm
	Active []activeFilter
	// Warnings tell of environments whose tokens are not known or from a stale
	// picture, Picture how old the others' are.
	Warnings []string
	Picture  string
	// Known is set if the tokens of an environment are; Total, From and To say
	// where in the list the page is.
	Known                       bool
	Total, From, To             int
	Rows                        []tokenRow
	First, Previous, Next, JSON string
}

type tokensForm struct {
	Environments, Projects      []option
	Tag, Stuck, NearTimeout     string
	Untagged, Overdue, Lifelong bool
	Open                        bool
}

type option struct {
	Name     string
	Selected bool
}

// An activeFilter is said in words, with a link to the list without it.
type activeFilter struct{ Text, Without string }

type tokenRow struct {
	Environment, ID, Age, Left string
	Tags                       []tagLink
	Created, Timeout           moment
	HasTimeout, Overdue        bool
}

type tagLink struct{ Text, Link string }

// A moment is a time for machines and for people.
type moment struct{ Stamp, Text string }

func newMoment(t time.Time) moment {
	return moment{stamp(t).String(), t.UTC().Format("2006-01-02 15:04:05")}
}

func newTokensView(environments []Environment, l *listing, q *query, err error, now time.Time) tokensView {
	v := tokensView{Now: newMoment(now), Form: newTokensForm(environments, q)}
	if err != nil {
		v.Error, v.Form.Open = err.Error(), true
		return v
	}
	v.Active = activeFilters(q)
	v.Form.Open = len(v.Active) == 0
	v.describe(l, now)
	v.Total, v.From, v.To = l.total, l.earlier+1, l.earlier+len(l.entries)
	v.Previous, v.Next, v.JSON = l.previous(q), l.next(q), q.json()
	if l.earlier > 0 {
		v.First = q.link("", "")
	}
	for _, e := range l.entries {
		v.Rows = append(v.Rows, newTokenRow(e, q, now))
	}
	return v
}

// describe says how far the pictures can be trusted.
func (v *tokensView) describe(l *listing, now time.Time) {
	for _, p := range l.pictures {
		switch {
		case !p.known:
			v.Warnings = append(v.Warnings, fmt.Sprintf("The WAITING tokens of %s are not known yet, so none of them is listed here.", p.environment.Title()))
		case p.stale:
			v.Warnings = append(v.Warnings, fmt.Sprintf("The picture of %s is %s old, from %s UTC: too old for the metrics. Its tokens may have finished since, and newer ones are missing.",
				p.environment.Title(), human(p.snapshot.Age(now).Seconds()), newMoment(p.snapshot.At).Text))
		}
	}
	if oldest, ok := l.oldest(); ok {
		v.Known = true
		v.Picture = fmt.Sprintf("Listed %s ago", human(oldest.snapshot.Age(now).Seconds()))
		if len(l.pictures) > 1 {
			v.Picture += " or later"
		}
	}
}

func newTokensForm(environments []Environment, q *query) tokensForm {
	f := tokensForm{
		Tag: q.values.Get("tag"), Stuck: q.values.Get("stuck"), NearTimeout: q.values.Get("near_timeout"),
		Untagged: q.checked("untagged") || !q.form && q.values.Has("tag") && q.values.Get("tag") == "",
		Overdue:  q.checked("overdue"), Lifelong: q.checked("no_timeout"),
	}
	add := func(options []option, name, parameter string) []option {
		if slices.ContainsFunc(options, func(o option) bool { return o.Name == name }) {
			return options
		}
		return append(options, option{name, q.values.Get(parameter) == name})
	}
	for _, e := range environments {
		f.Environments = add(f.Environments, e.Name, "environment")
		if e.Project != "" {
			f.Projects = add(f.Projects, e.Project, "project")
		}
	}
	return f
}

func activeFilters(q *query) []activeFilter {
	var out []activeFilter
	add := func(name, text string) {
		out = append(out, activeFilter{text, q.without(name)})
	}
	if q.environment != nil {
		add("environment", "environment "+visible(*q.environment))
	}
	switch {
	case q.project == nil:
	case *q.project == "":
		add("project", "no project")
	default:
		add("project", "project "+visible(*q.project))
	}
	switch tag := q.selection.Tag; {
	case tag == nil:
	case *tag == "":
		add("tag", "without tags")
	default:
		add("tag", "tag "+visible(*tag))
	}
	if q.selection.Stuck != nil {
		add("stuck", "older than "+q.values.Get("stuck"))
	}
	if q.selection.NearTimeout != nil {
		add("near_timeout", "timeout within "+q.values.Get("near_timeout"))
	}
	if q.selection.Late {
		add("late", "late")
	}
	if q.selection.Overdue {
		add("overdue", "overdue")
	}
	if q.selection.WithoutTimeout {
		add("no_timeout", "no timeout")
	}
	return out
}

func newTokenRow(e entry, q *query, now time.Time) tokenRow {
	r := tokenRow{
		Environment: e.environment.Title(), ID: visible(e.ID),
		Created: newMoment(e.CreatedAt), Age: human(seconds(e.CreatedAt, now)), HasTimeout: !e.TimeoutAt.IsZero(),
	}
	for _, tag := range e.Tags {
		r.Tags = append(r.Tags, tagLink{visible(tag), q.link("tag", tag)})
	}
	if r.HasTimeout {
		r.Timeout, r.Left, r.Overdue = newMoment(e.TimeoutAt), human(math.Abs(seconds(now, e.TimeoutAt))), e.TimeoutAt.Before(now)
	}
	return r
}

// human returns seconds in the two largest units; 0 s if they are negative.
func human(seconds float64) string {
	s := max(0, int64(seconds))
	switch m, h := s/60, s/3600; {
	case m == 0:
		return fmt.Sprintf("%d s", s)
	case h == 0:
		return fmt.Sprintf("%d m %d s", m, s%60)
	case h < 24:
		return fmt.Sprintf("%d h %d m", h, m%60)
	default:
		return fmt.Sprintf("%d d %d h", h/24, h%24)
	}
}

// visible returns text with signs in place of what a browser would swallow or
// take for something else. Line breaks stay.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		const pictures = '␀' // Those of the ASCII control characters begin here.
		switch {
		case r == '\n' || r == unicode.ReplacementChar || !unicode.IsControl(r):
			return r
		case r < ' ':
			return pictures + r
		default:
			return unicode.ReplacementChar
		}
	}, text) // Map takes invalid UTF-8 for U+FFFD.
}
