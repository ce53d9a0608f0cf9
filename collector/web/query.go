package web

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/munnerz/goautoneg"
	"github.com/prometheus/common/model"

	"waitpoint_exporter/collector/index"
)

// maxQuery is the longest query string that is read. Ten of the longest possible
// tags, percent-encoded, fit.
const maxQuery = 16 << 10

// A query is a parsed request for tokens. Each parameter may be given once. Nothing is
// guessed: a malformed parameter is a *queryError.
type query struct {
	Values url.Values
	// Environment and project are nil for any.
	environment, project *string
	selection            index.Selection
	id                   string // The only token to list; "" for all.
	ByTimeout            bool   // Soonest timeout first, instead of oldest first.
	Refresh              int    // Seconds after which the browser reloads; 0 for never.
	format               string // Of the answer.
	// After is the last token before the page, before the first one after it; at most
	// one is set.
	after, before *position
	// Form is set if the page's own form sent the query.
	form bool
}

// A queryError says which parameter of a query is wrong, and why.
type queryError struct {
	code              int
	parameter, reason string
}

func (e *queryError) Error() string {
	if e.parameter == "" {
		return e.reason
	}
	return "parameter " + e.parameter + ": " + e.reason
}

func bad(parameter, format string, args ...any) *queryError {
	return &queryError{http.StatusBadRequest, parameter, fmt.Sprintf(format, args...)}
}

// Formats of an answer.
const (
	formatHTML = "html"
	formatJSON = "json"
	formatCSV  = "csv"
)

func isFormat(text string) bool { return text == formatHTML || text == formatJSON || text == formatCSV }

// formatOf returns the format of the answer. It parses only the format, so that errors
// in other parameters also have the right format.
func formatOf(r *http.Request) string {
	if len(r.URL.RawQuery) <= maxQuery {
		if format := r.URL.Query().Get("format"); isFormat(format) {
			return format
		}
	}
	accepted := goautoneg.Negotiate(strings.Join(r.Header.Values("Accept"), ","),
		[]string{"text/html", "application/json", "text/csv"})
	_, format, _ := strings.Cut(accepted, "/") // Formats have the names of subtypes.
	return cmp.Or(format, formatHTML)
}

// parseQuery parses a request's query. On an error the query still has the format, and all
// that could be parsed, so that the form shows it.
func parseQuery(r *http.Request) (query, error) {
	q, raw := query{format: formatOf(r)}, r.URL.RawQuery
	if len(raw) > maxQuery {
		return q, &queryError{http.StatusRequestURITooLong, "", fmt.Sprintf("the query has %d bytes; at most %d "+
			"are allowed", len(raw), maxQuery)}
	}
	var err error
	if q.Values, err = url.ParseQuery(raw); err != nil {
		return q, bad("", "the query cannot be parsed: %s", err)
	}
	if q.form = q.Values.Has("form"); q.form {
		q.readForm()
	}
	for _, name := range slices.Sorted(maps.Keys(q.Values)) {
		values := q.Values[name]
		wrong := q.set(name, values[0])
		if len(values) > 1 {
			wrong = bad(name, "given %d times; may be given once", len(values))
		}
		if err == nil {
			err = wrong
		}
	}
	switch {
	case err != nil:
		return q, err
	case q.after != nil && q.before != nil:
		return q, bad("before", "not together with after")
	case q.format == formatCSV && q.after != nil:
		return q, bad("after", "not together with CSV, which has all tokens in one answer")
	case q.format == formatCSV && q.before != nil:
		return q, bad("before", "not together with CSV, which has all tokens in one answer")
	}
	return q, nil
}

// set parses one parameter.
func (q *query) set(name, value string) error {
	var err error
	switch name {
	case "environment":
		q.environment = &value
	case "project":
		q.project = &value
	case "tag":
		q.selection.Tag = &value
	case "stuck":
		q.selection.Stuck, err = parseDuration(name, value)
	case "near_timeout":
		q.selection.NearTimeout, err = parseDuration(name, value)
	case "overdue":
		q.selection.Overdue, err = parseBool(name, value)
	case "late":
		q.selection.Late, err = parseBool(name, value)
	case "no_timeout":
		q.selection.WithoutTimeout, err = parseBool(name, value)
	case "after":
		q.after, err = parsePosition(name, value)
	case "before":
		q.before, err = parsePosition(name, value)
	case "id":
		q.id = strings.TrimSpace(value)
		if q.id == "" {
			err = bad(name, "is empty; want the id of a token")
		}
	case "sort":
		q.ByTimeout = value == "timeout"
		if value != "timeout" && value != "created" {
			err = bad(name, "%q is neither created nor timeout", value)
		}
	case "refresh":
		q.Refresh, err = parseRefresh(name, value)
	case "format":
		if !isFormat(value) {
			err = bad(name, "%q is none of html, json and csv", value)
		}
	case "form":
	case "untagged":
		err = q.setUntagged(value)
	default:
		err = bad(name, "there is no such parameter; the parameters are environment, project, tag, id, stuck, "+
			"near_timeout, late, overdue, no_timeout, sort, refresh, format, after and before")
	}
	return err
}

// readForm makes the form's fields those of a link: empty ones are left out, and a project
// loses the = that it begins with, since there are tokens without a project.
func (q *query) readForm() {
	for name, v := range q.Values {
		if len(v) == 1 && v[0] == "" {
			delete(q.Values, name)
		} else if name == "project" {
			v[0] = strings.TrimPrefix(v[0], "=")
		}
	}
}

// setUntagged parses the form's checkbox for tag=""; an empty tag field means any tag.
func (q *query) setUntagged(value string) error {
	on, err := parseBool("untagged", value)
	switch {
	case err != nil:
		return err
	case !q.form:
		return bad("untagged", "is for the page's form only; tag= selects the tokens without tags")
	case on && q.Values.Get("tag") != "":
		return bad("untagged", "a token without tags cannot have the tag %q", q.Values.Get("tag"))
	case on:
		q.selection.Tag = new(string)
	}
	return nil
}

// canonical turns the form's query into the equivalent one of a link, and returns that link.
func (q *query) canonical() string {
	delete(q.Values, "form")
	delete(q.Values, "untagged")
	if !q.ByTimeout {
		delete(q.Values, "sort")
	}
	if q.selection.Tag != nil {
		q.Values.Set("tag", *q.selection.Tag)
	}
	return pageLink(q.Values)
}

// Link returns a link to the first page with one parameter set, or without it if no value
// is given.
func (q *query) Link(name string, value ...string) string {
	return q.with(name, value, "after", "before")
}

// Reload returns a link to the same page, reloaded by the browser at this interval in
// seconds; none for never.
func (q *query) Reload(seconds ...string) string { return q.with("refresh", seconds) }

// JSON returns a link to the same page as JSON, CSV one to all of its tokens as CSV.
func (q *query) JSON() string { return q.with("format", []string{formatJSON}, "refresh") }

func (q *query) CSV() string {
	return q.with("format", []string{formatCSV}, "refresh", "after", "before")
}

// with returns a link with one parameter set, or without it if no value is given, and
// without some others.
func (q *query) with(name string, value []string, others ...string) string {
	values := maps.Clone(q.Values)
	for _, other := range append(others, name) {
		delete(values, other)
	}
	if len(value) > 0 {
		values[name] = value
	}
	return pageLink(values)
}

// Is reports whether a parameter is given and has the value.
func (q *query) Is(name, value string) bool { return q.Values.Has(name) && q.Values.Get(name) == value }

// Checked reports whether a boolean parameter is set, even if another one is wrong.
func (q *query) Checked(name string) bool {
	yes, _ := parseBool(name, q.Values.Get(name))
	return yes && q.Values.Has(name)
}

// pageLink returns a relative link, which works behind a proxy that adds a prefix.
func pageLink(values url.Values) string {
	link := strings.TrimPrefix(TokensPath, "/")
	if len(values) > 0 {
		link += "?" + values.Encode()
	}
	return link
}

func parseDuration(name, value string) (*time.Duration, error) {
	d, err := model.ParseDuration(value)
	switch {
	case err != nil && strings.HasSuffix(err.Error(), "out of range"): // Of a time.Duration.
		return nil, bad(name, "%q must be at most 292y", value)
	case err != nil:
		return nil, bad(name, "%q is not a duration such as 30s, 5m, 1h or 1d", value)
	}
	return (*time.Duration)(&d), nil
}

func parseBool(name, value string) (bool, error) {
	switch value {
	case "", "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, bad(name, "%q is none of 1, true, 0 and false", value)
}

// The interval at which a browser may reload a page, in seconds.
const (
	shortestRefresh = 5
	longestRefresh  = 24 * 60 * 60
)

func parseRefresh(name, value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < shortestRefresh || n > longestRefresh {
		return 0, bad(name, "%q is not a number of seconds from %d to %d", value, shortestRefresh, longestRefresh)
	}
	return n, nil
}

// key returns the token's first sort key for the query's order.
func (q *query) key(t *index.Token) int64 {
	created, timeout := t.Milliseconds()
	if q.ByTimeout {
		return timeout
	}
	return created
}

// A position is a place in the order of all tokens: by createdAt or timeoutAt, then by
// id, then by environment. It does not depend on which tokens exist.
type position struct {
	key                      int64 // Milliseconds; the maximum if there is no timeout.
	id, project, environment string
}

func (p position) String() string {
	return strings.Join([]string{
		strconv.FormatInt(p.key, 10), url.QueryEscape(p.id), url.QueryEscape(p.project),
		url.QueryEscape(p.environment),
	}, ",")
}

func parsePosition(name, value string) (*position, error) {
	parts := strings.Split(value, ",")
	key, err := strconv.ParseInt(parts[0], 10, 64)
	for i := 1; i < len(parts) && err == nil; i++ {
		parts[i], err = url.QueryUnescape(parts[i])
	}
	if err != nil || len(parts) != 4 {
		return nil, bad(name, "%q is not from a link of this page", value)
	}
	return &position{key, parts[1], parts[2], parts[3]}, nil
}
