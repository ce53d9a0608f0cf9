package web

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// tokensView is the data of the page of tokens. The template escapes it.
type tokensView struct {
	page

	Now   time.Time
	Query *query
	Error string
	// Environments and Projects are the choices of the form, each once. Without any
	// configured project there are none.
	Environments, Projects []string
	Active                 []activeFilter
	// Warnings name environments whose tokens are unknown or stale; Age is the age of
	// the oldest snapshot shown.
	Warnings []string
	Age      time.Duration
	// Known is set if any environment's tokens are known; Total, From and To say where in
	// the list the page is.
	Known           bool
	Total, From, To int
	Rows            []entry
	// Several is set if the rows are from several environments, Expects if a rule says how
	// long tokens may wait.
	Several, Expects bool
	// First, Previous and Next are links to other pages of the same tokens; "" for none.
	First, Previous, Next string
}

// An activeFilter describes a filter, with a link to the list without it.
type activeFilter struct{ Text, Without string }

func newTokensView(environments []Environment, l *listing, q *query, err error, now time.Time) tokensView {
	v := tokensView{page: page{Title: "WAITING tokens", Wide: true}, Now: now, Query: q}
	for _, e := range environments {
		v.Environments, v.Projects = addOnce(v.Environments, e.Name), addOnce(v.Projects, e.Project)
	}
	if slices.Equal(v.Projects, []string{""}) {
		v.Projects = nil
	}
	if err != nil {
		v.Error = err.Error()
		if busy, ok := errors.AsType[*queryError](err); ok && busy.code == http.StatusServiceUnavailable {
			v.Refresh = q.Refresh // It passes, so the page goes on reloading.
		}
		return v
	}
	v.Refresh = q.Refresh
	v.Active = activeFilters(q, len(v.Projects) > 0)
	v.describe(l)
	v.Total, v.From, v.To, v.Rows = l.total, l.earlier+1, l.earlier+len(l.entries), l.entries
	v.Several, v.Expects = len(l.snapshots) > 1, slices.ContainsFunc(l.snapshots, snapshot.Expects)
	v.Previous, v.Next = l.previous(q), l.next(q)
	if l.earlier > 0 {
		v.First = q.Link("after")
	}
	return v
}

func addOnce(list []string, name string) []string {
	if slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}

// describe sets the warnings, and the age of the oldest known snapshot.
func (v *tokensView) describe(l *listing) {
	for _, s := range l.snapshots {
		if !s.Known {
			v.Warnings = append(v.Warnings, fmt.Sprintf("The WAITING tokens of %s are not known yet and not "+
				"listed here.", s.Title()))
			continue
		}
		v.Known, v.Age = true, max(v.Age, s.Age())
		if s.Stale {
			v.Warnings = append(v.Warnings, fmt.Sprintf("The snapshot of %s is %s old, from %s UTC: too old for "+
				"the metrics. Tokens may have finished since, and newer ones are missing.",
				s.Title(), human(s.Age().Seconds()), clock(s.At)))
		}
	}
}

// activeFilters describes the query's filters; projects is whether there are any.
func activeFilters(q *query, projects bool) []activeFilter {
	value := func(name string) string { return textForPage(q.Values.Get(name)) }
	project, tag := "project "+value("project"), "tag "+value("tag")
	if q.Is("project", "") {
		project = "no project"
	}
	if q.Is("tag", "") {
		tag = "without tags"
	}
	var out []activeFilter
	for _, f := range []struct {
		active     bool
		name, text string
	}{
		{q.environment != nil, "environment", "environment " + value("environment")},
		{q.project != nil && projects, "project", project},
		{q.selection.Tag != nil, "tag", tag},
		{q.id != "", "id", "id " + textForPage(q.id)},
		{q.selection.Stuck != nil, "stuck", "older than " + value("stuck")},
		{q.selection.NearTimeout != nil, "near_timeout", "timeout within " + value("near_timeout")},
		{q.selection.Late, "late", "late"},
		{q.selection.Overdue, "overdue", "overdue"},
		{q.selection.WithoutTimeout, "no_timeout", "no timeout"},
	} {
		if f.active {
			out = append(out, activeFilter{f.text, q.Link(f.name)})
		}
	}
	return out
}
