package web

import (
	_ "embed" // For the page's template.
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"waitpoint_exporter/collector/index"
)

const (
	// TokensPath is where the WAITING tokens behind the numbers are listed.
	TokensPath = "/tokens"
	// PageSize is how many tokens a page has at most.
	PageSize = 100
	// Lists being made at once; more are answered with 503.
	maxLists = 4
)

//go:embed tokens.html
var tokensHTML string

// list is an answer, as JSON and as what the page shows.
type list struct {
	// Total is how many tokens there are on all pages.
	Total int `json:"total"`
	// Tokens are a page of them, oldest first.
	Tokens []listed `json:"tokens"`
	// Next is a link to the next page, relative to this one; empty at the end.
	Next string `json:"next,omitempty"`
	// Environments are those asked for, with how good their pictures are.
	Environments []shown `json:"environments"`
}

// listed is one token. The fields are those that the service gives for free to
// look at; nothing that completes a token is among them.
type listed struct {
	Environment     string     `json:"environment"`
	Project         string     `json:"project,omitempty"`
	ID              string     `json:"id"`
	Tags            []string   `json:"tags"`
	CreatedAt       time.Time  `json:"createdAt"`
	TimeoutAt       *time.Time `json:"timeoutAt,omitempty"`
	AgeSeconds      float64    `json:"ageSeconds"`
	TimeLeftSeconds *float64   `json:"timeLeftSeconds,omitempty"`

	at position
}

// shown says how good an environment's picture is.
type shown struct {
	Environment string     `json:"environment"`
	Project     string     `json:"project,omitempty"`
	AsOf        *time.Time `json:"asOf,omitempty"`
	// Known is whether the WAITING tokens have been listed; Stale whether the
	// picture is too old for the metrics.
	Known bool `json:"known"`
	Stale bool `json:"stale"`
}

// tokens lists the WAITING tokens that the parameters pick.
func (s *server) tokens(w http.ResponseWriter, r *http.Request) {
	asJSON := wantsJSON(r)
	w.Header().Set("Vary", "Accept")
	w.Header().Set("Cache-Control", "no-store")
	select {
	case s.lists <- struct{}{}:
		defer func() { <-s.lists }()
	default:
		s.refuse(w, asJSON, query{}, &queryError{code: http.StatusServiceUnavailable, reason: "too many lists are asked for at once; try again"})
		return
	}
	q, err := parseQuery(r.URL.RawQuery)
	var l list
	now := s.opts.Now()
	if err == nil {
		l, err = s.list(q, now)
	}
	switch {
	case err != nil:
		s.refuse(w, asJSON, q, err)
	case asJSON:
		writeJSON(w, http.StatusOK, l)
	default:
		s.html(w, http.StatusOK, "tokens", s.tokensPage(q, l, now, ""))
	}
}

func (s *server) refuse(w http.ResponseWriter, asJSON bool, q query, err error) {
	code := http.StatusBadRequest
	if e, ok := errors.AsType[*queryError](err); ok {
		code = e.code
	}
	if asJSON {
		writeJSON(w, code, map[string]string{"error": err.Error()})
		return
	}
	s.html(w, code, "tokens", s.tokensPage(q, list{}, s.opts.Now(), err.Error()))
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // The client has gone; nothing to do about it.
}

// list picks from all environments. It keeps no more than a page of each.
func (s *server) list(q query, now time.Time) (list, error) {
	out := list{Tokens: []listed{}, Environments: []shown{}}
	var names, projects []string
	for _, e := range s.opts.Environments() {
		names, projects = append(names, e.Name), append(projects, e.Project)
		if q.environment != nil && *q.environment != e.Name || q.project != nil && *q.project != e.Project {
			continue
		}
		about := shown{Environment: e.Name, Project: e.Project}
		if snapshot := e.Source.Snapshot(); snapshot != nil && snapshot.Waiting {
			about.Known, about.AsOf, about.Stale = true, &snapshot.At, now.Sub(snapshot.At) > e.MaxStaleness
			out.take(e, snapshot, q, now)
		}
		out.Environments = append(out.Environments, about)
	}
	if len(out.Environments) == 0 {
		if q.environment != nil && !slices.Contains(names, *q.environment) {
			return out, bad("environment", "%q is not known; known are %q", *q.environment, unique(names))
		}
		if q.project != nil {
			return out, bad("project", "%q has no such environment; projects are %q", *q.project, unique(projects))
		}
	}
	slices.SortFunc(out.Tokens, func(a, b listed) int { return a.at.compare(b.at) })
	if len(out.Tokens) > PageSize {
		out.Tokens = out.Tokens[:PageSize]
		out.Next = q.link("after", out.Tokens[PageSize-1].at.String())
	}
	return out, nil
}

func unique(values []string) []string {
	values = slices.Clone(values)
	slices.Sort(values)
	return slices.Compact(values)
}

// take counts the tokens of one environment and adds those of the page, and one
// more if there is one.
func (l *list) take(e Environment, snapshot *index.Snapshot, q query, now time.Time) {
	taken := 0
	for t := range snapshot.Select(q.selection, now) {
		l.Total++
		if taken > PageSize {
			continue
		}
		at := position{t.CreatedAt.UnixMilli(), t.ID, e.Project, e.Name}
		if q.after != nil && at.compare(*q.after) <= 0 {
			continue
		}
		taken++
		token := listed{
			Environment: e.Name, Project: e.Project, ID: t.ID, Tags: t.Tags, CreatedAt: t.CreatedAt,
			AgeSeconds: now.Sub(t.CreatedAt).Seconds(), at: at,
		}
		if token.Tags == nil {
			token.Tags = []string{}
		}
		if !t.TimeoutAt.IsZero() {
			left := t.TimeoutAt.Sub(now).Seconds()
			token.TimeoutAt, token.TimeLeftSeconds = &t.TimeoutAt, &left
		}
		l.Tokens = append(l.Tokens, token)
	}
}

// tokensPage is what the template shows.
type tokensPage struct {
	list

	Error                                      string
	Environment, Project, Tag, Stuck, Near     string
	Overdue, NoTimeout, HasProjects, Continued bool
	EnvironmentNames, ProjectNames             []string
	JSON, First                                string
	now                                        time.Time
}

func (s *server) tokensPage(q query, l list, now time.Time, problem string) tokensPage {
	p := tokensPage{list: l, Error: problem, now: now, Continued: q.after != nil, First: pageLink(nil)}
	for _, e := range s.opts.Environments() {
		p.EnvironmentNames, p.ProjectNames = append(p.EnvironmentNames, e.Name), append(p.ProjectNames, e.Project)
	}
	p.EnvironmentNames, p.ProjectNames = unique(p.EnvironmentNames), unique(p.ProjectNames)
	p.HasProjects = len(p.ProjectNames) > 1 || len(p.ProjectNames) == 1 && p.ProjectNames[0] != ""
	p.Environment, p.Project, p.Tag = q.values.Get("environment"), q.values.Get("project"), q.values.Get("tag")
	p.Stuck, p.Near = q.values.Get("stuck"), q.values.Get("near_timeout")
	p.Overdue, p.NoTimeout = q.selection.Overdue, q.selection.WithoutTimeout
	if q.values != nil {
		p.JSON = q.link("format", "json")
	}
	return p
}

// Age says how long ago a token was created.
func (p tokensPage) Age(t listed) string { return inWords(p.now.Sub(t.CreatedAt)) }

// Left says how long a token has until it times out.
func (p tokensPage) Left(t listed) string {
	switch {
	case t.TimeoutAt == nil:
		return "no timeout"
	case p.IsOverdue(t):
		return "overdue by " + inWords(p.now.Sub(*t.TimeoutAt))
	}
	return inWords(t.TimeoutAt.Sub(p.now))
}

// IsOverdue is whether a token's timeout has passed.
func (p tokensPage) IsOverdue(t listed) bool { return t.TimeoutAt != nil && t.TimeoutAt.Before(p.now) }

// Iso is a time for machines.
func (p tokensPage) Iso(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Clock is a time for people, in UTC.
func (p tokensPage) Clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// PictureAge says how old an environment's picture is.
func (p tokensPage) PictureAge(e shown) string { return inWords(p.now.Sub(*e.AsOf)) }

// inWords is a duration in its two largest units.
func inWords(d time.Duration) string {
	d = max(0, d.Truncate(time.Second))
	type part struct {
		name string
		n    int
	}
	parts := []part{
		{"d", int(d / (24 * time.Hour))},
		{"h", int(d / time.Hour % 24)},
		{"m", int(d / time.Minute % 60)},
		{"s", int(d / time.Second % 60)},
	}
	i := slices.IndexFunc(parts, func(p part) bool { return p.n > 0 })
	if i < 0 {
		return "0 s"
	}
	text := strconv.Itoa(parts[i].n) + " " + parts[i].name
	if i+1 < len(parts) && parts[i+1].n > 0 {
		text += " " + strconv.Itoa(parts[i+1].n) + " " + parts[i+1].name
	}
	return text
}
