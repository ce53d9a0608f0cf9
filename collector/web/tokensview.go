package web

import (
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/prometheus/common/model"
)

// tokensView is the data of the page of tokens. The template escapes it.
type tokensView struct {
	page

	Now    time.Time
	Error  string
	Form   tokensForm
	Active []activeFilter
	// Warnings name environments whose tokens are unknown or stale; Age is the age of
	// the oldest snapshot shown.
	Warnings []string
	Age      time.Duration
	// Known is set if any environment's tokens are known; Total, From and To say where in
	// the list the page is.
	Known           bool
	Total, From, To int
	Rows            []tokenRow
	// Environments is set if the rows are from several environments, Expects if a rule
	// says how long tokens may wait.
	Environments, Expects bool
	Links                 tokensLinks

	query *query
}

// TagLink returns a link to the tokens with the tag.
func (v tokensView) TagLink(tag string) string { return v.query.link("tag", tag) }

// tokensLinks are links to other pages and orders of the same tokens; "" for none.
type tokensLinks struct{ First, Previous, Next, JSON, CSV, Sort, Reload string }

// A pager has the links to the neighbouring pages, shown above and below the list.
type pager struct {
	tokensLinks

	Name string
}

func (v tokensView) Above() pager { return pager{v.Links, "Pages, above the list"} }
func (v tokensView) Below() pager { return pager{v.Links, "Pages"} }

type tokensForm struct {
	Environments, Projects       []option
	Values                       url.Values // The query's parameters.
	Untagged, Late               bool
	Overdue, Lifelong, ByTimeout bool
	Refresh                      int
	Open                         bool
}

type option struct {
	Name     string
	Selected bool
}

// An activeFilter describes a filter, with a link to the list without it.
type activeFilter struct{ Text, Without string }

// tokenRow is a row of the table.
type tokenRow struct {
	entry

	Now time.Time
}

// Title is the environment's title.
func (r tokenRow) Title() string { return r.environment.Title() }

// Age is how long the token has waited, Left how long it has until its timeout,
// both in seconds.
func (r tokenRow) Age() float64  { return seconds(r.CreatedAt, r.Now) }
func (r tokenRow) Left() float64 { return seconds(r.Now, r.TimeoutAt) }

// Overdue reports whether the timeout has passed, Overrun how many seconds ago.
func (r tokenRow) Overdue() bool    { return !r.TimeoutAt.IsZero() && r.TimeoutAt.Before(r.Now) }
func (r tokenRow) Overrun() float64 { return -r.Left() }

// Expected is how long the token may wait, "" if no rule applies; LateBy how many
// seconds longer it has waited.
func (r tokenRow) Expected() string {
	if r.ExpectedWait == 0 {
		return ""
	}
	return model.Duration(r.ExpectedWait).String()
}
func (r tokenRow) Late() bool      { return r.IsLate(r.Now) }
func (r tokenRow) LateBy() float64 { return r.Age() - r.ExpectedWait.Seconds() }

func newTokensView(environments []Environment, l *listing, q *query, err error, now time.Time) tokensView {
	v := tokensView{
		page: page{Title: "WAITING tokens", Wide: true}, Now: now, Form: newTokensForm(environments, q), query: q,
	}
	if err != nil {
		v.Error, v.Form.Open = err.Error(), true
		return v
	}
	v.Refresh = q.refresh
	v.Active = activeFilters(q, len(v.Form.Projects) > 0)
	v.Form.Open = len(v.Active) == 0
	v.describe(l, now)
	v.Total, v.From, v.To = l.total, l.earlier+1, l.earlier+len(l.entries)
	v.Environments, v.Expects = len(l.snapshots) > 1, l.expects()
	v.Links = newTokensLinks(l, q)
	for _, e := range l.entries {
		v.Rows = append(v.Rows, tokenRow{e, now})
	}
	return v
}

func newTokensLinks(l *listing, q *query) tokensLinks {
	links := tokensLinks{
		Previous: l.previous(q), Next: l.next(q), JSON: q.as(formatJSON), CSV: q.as(formatCSV),
		Sort: q.link("sort", "timeout"), Reload: q.reload(defaultRefresh),
	}
	if l.earlier > 0 {
		links.First = q.link("after")
	}
	if q.byTimeout {
		links.Sort = q.link("sort")
	}
	if q.refresh > 0 {
		links.Reload = q.reload(0)
	}
	return links
}

// describe sets the warnings, and the age of the oldest known snapshot.
func (v *tokensView) describe(l *listing, now time.Time) {
	for _, s := range l.snapshots {
		if !s.Known {
			v.Warnings = append(v.Warnings, fmt.Sprintf("The WAITING tokens of %s are not known yet and not "+
				"listed here.", s.environment.Title()))
			continue
		}
		v.Known, v.Age = true, max(v.Age, s.Age(now))
		if s.Stale {
			v.Warnings = append(v.Warnings, fmt.Sprintf("The snapshot of %s is %s old, from %s UTC: too old for "+
				"the metrics. Tokens may have finished since, and newer ones are missing.",
				s.environment.Title(), human(s.Age(now).Seconds()), clock(s.At)))
		}
	}
}

func newTokensForm(environments []Environment, q *query) tokensForm {
	f := tokensForm{
		Values:   q.values,
		Untagged: q.checked("untagged") || q.values.Has("tag") && q.values.Get("tag") == "",
		Late:     q.checked("late"), Overdue: q.checked("overdue"), Lifelong: q.checked("no_timeout"),
		ByTimeout: q.byTimeout, Refresh: q.refresh,
	}
	add := func(options []option, name, parameter string) []option {
		if slices.ContainsFunc(options, func(o option) bool { return o.Name == name }) {
			return options
		}
		return append(options, option{name, q.values.Has(parameter) && q.values.Get(parameter) == name})
	}
	for _, e := range environments {
		f.Environments = add(f.Environments, e.Name, "environment")
		f.Projects = add(f.Projects, e.Project, "project")
	}
	if len(f.Projects) == 1 && f.Projects[0].Name == "" {
		f.Projects = nil
	}
	return f
}

// activeFilters describes the query's filters; projects is whether there are any.
func activeFilters(q *query, projects bool) []activeFilter {
	var out []activeFilter
	add := func(name, text string) {
		out = append(out, activeFilter{text, q.link(name)})
	}
	if q.environment != nil {
		add("environment", "environment "+textForPage(*q.environment))
	}
	switch {
	case q.project == nil || !projects:
	case *q.project == "":
		add("project", "no project")
	default:
		add("project", "project "+textForPage(*q.project))
	}
	switch tag := q.selection.Tag; {
	case tag == nil:
	case *tag == "":
		add("tag", "without tags")
	default:
		add("tag", "tag "+textForPage(*tag))
	}
	if q.id != "" {
		add("id", "id "+textForPage(q.id))
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
