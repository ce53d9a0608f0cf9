package simulator

import (
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// query is a parsed query of a listing.
type query struct {
	size          int
	after, before string
	statuses      []string // Empty for all.
	tags          []string
	key           string
	from, to      *time.Time // Both included; nil for none.
	// The database refuses the query: it has a text with NUL, or a year that is not
	// written with four digits.
	fails bool
}

// detail describes an error in one parameter.
type detail map[string]any

func issue(parameter, code, message string, more detail) detail {
	d := detail{"code": code, "message": message, "path": []string{parameter}}
	maps.Copy(d, more)
	return d
}

// parameters parses a query as browsers and Node.js do: it accepts any text, and the
// last value of a repeated name counts.
func parameters(raw string) map[string]string {
	out := map[string]string{}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair != "" {
			name, value, _ := strings.Cut(pair, "=")
			out[unescape(name)] = unescape(value)
		}
	}
	return out
}

var escaped = regexp.MustCompile("%[0-9A-Fa-f]{2}")

func unescape(s string) string {
	s = escaped.ReplaceAllStringFunc(strings.ReplaceAll(s, "+", " "), func(hex string) string {
		n, _ := strconv.ParseUint(hex[1:], 16, 8)
		return string([]byte{byte(n)})
	})
	return strings.ToValidUTF8(s, "\ufffd")
}

// parseQuery parses a query, or returns a refusal that lists all its errors.
func parseQuery(raw string, now time.Time) (query, *answer) {
	values := parameters(raw)
	q := query{
		size: 25, after: values["page[after]"], before: values["page[before]"], key: values["filter[idempotencyKey]"],
	}
	var details []detail
	if text, ok := values["page[size]"]; ok {
		var wrong []detail
		q.size, wrong = pageSize(text)
		details = append(details, wrong...)
	}
	details = append(details, q.readStatuses(values["filter[status]"])...)
	if text := values["filter[tags]"]; text != "" {
		q.tags = strings.Split(text, ",")
	}
	details = append(details, q.readTimes(values, now)...)
	if details != nil {
		body, _ := json.Marshal(map[string]any{"error": "Query Error", "details": details})
		a := jsonAnswer(http.StatusBadRequest, body)
		return q, &a
	}
	if q.before != "" {
		q.after = ""
	}
	texts := append([]string{q.after, q.before, q.key}, q.tags...)
	q.fails = q.fails || slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, "\x00") })
	return q, nil
}

func (q *query) readStatuses(text string) []detail {
	if text == "" {
		return nil
	}
	q.statuses = strings.Split(text, ",")
	var unknown []string
	for _, s := range q.statuses {
		if s != waiting && s != completed && s != timedOut {
			unknown = append(unknown, s)
		}
	}
	if unknown != nil {
		return []detail{issue("filter[status]", "custom", "Invalid status values: "+strings.Join(unknown, ", "), nil)}
	}
	slices.Sort(q.statuses)
	q.statuses = slices.Compact(q.statuses)
	if len(q.statuses) > 1 && slices.Contains(q.statuses, waiting) {
		q.statuses = nil // Measured: the service returns all tokens.
	}
	return nil
}

func (q *query) readTimes(values map[string]string, now time.Time) (details []detail) {
	for _, bound := range []struct {
		name string
		to   **time.Time
	}{{"filter[createdAt][from]", &q.from}, {"filter[createdAt][to]", &q.to}} {
		text, ok := values[bound.name]
		if !ok {
			continue
		}
		at, ok := instant(text)
		if !ok {
			details = append(details, issue(bound.name, "invalid_date", "Invalid date", nil))
		}
		*bound.to = &at
		q.fails = q.fails || ok && !fourDigits(at)
	}
	if ms, ok := period(values["filter[createdAt][period]"]); ok {
		at, ok := date(float64(now.UnixMilli()) - ms)
		q.fails = q.fails || !ok || !fourDigits(at)
		if q.from == nil || at.After(*q.from) {
			q.from = &at
		}
	}
	return details
}

func fourDigits(t time.Time) bool { return t.Year() >= 0 && t.Year() <= 9999 }

func pageSize(text string) (size int, details []detail) {
	wrong := func(code, message string, more detail) {
		details = append(details, issue("page[size]", code, message, more))
	}
	n, ok := number(text)
	if !ok {
		wrong("invalid_type", "Expected number, received nan", detail{"expected": "number", "received": "nan"})
		return 0, details
	}
	if n != math.Trunc(n) || math.IsInf(n, 0) {
		wrong("invalid_type", "Expected integer, received float", detail{"expected": "integer", "received": "float"})
	}
	bound := func(inclusive bool, name string, value int) detail {
		return detail{name: value, "type": "number", "inclusive": inclusive, "exact": false}
	}
	if n <= 0 {
		wrong("too_small", "Number must be greater than 0", bound(false, "minimum", 0))
	}
	if n < 1 {
		wrong("too_small", "Number must be greater than or equal to 1", bound(true, "minimum", 1))
	}
	if n > 100 {
		wrong("too_big", "Number must be less than or equal to 100", bound(true, "maximum", 100))
	}
	return int(n), details
}

var (
	decimal  = regexp.MustCompile(`^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$`)
	prefixed = regexp.MustCompile(`^0([xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)$`)
)

// number parses a text as JavaScript's Number does.
func number(text string) (float64, bool) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return 0, true
	case strings.TrimLeft(text, "+-") == "Infinity" && len(text) < 10:
		n, err := strconv.ParseFloat(text, 64)
		return n, err == nil
	case decimal.MatchString(text):
		n, _ := strconv.ParseFloat(text, 64) // Infinite if it is out of range.
		return n, true
	case prefixed.MatchString(text):
		n, err := strconv.ParseUint(text, 0, 64)
		return float64(n), err == nil
	}
	return 0, false
}

// date returns the time ms milliseconds after 1970 if JavaScript can represent it.
func date(ms float64) (time.Time, bool) {
	if math.Abs(ms) > 8.64e15 || math.IsNaN(ms) {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(ms)).UTC(), true
}

var (
	// The forms of dates that begin with a year, as V8 reads them: that of ECMAScript,
	// and what else people write. The groups are the same.
	isoDate = regexp.MustCompile(`^([+-]\d{6}|\d{4})(?:-(\d\d)(?:-(\d\d))?)?` +
		`(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(?:Z|([+-])(\d\d):?(\d\d))?)?$`)
	looseDate = regexp.MustCompile(`^(\d{4,6})[-/](\d{1,2})[-/](\d{1,2})` +
		`(?: (\d{1,2}):(\d\d)(?::(\d\d)(?:\.(\d+))?)?)?(?: ?(?:Z|UTC|GMT)|([+-])(\d\d):?(\d\d))?$`)
)

// dates returns the other date layouts that JavaScript parses and people write.
func dates() []string {
	return []string{
		time.RFC1123, time.RFC1123Z, time.ANSIC, "Mon Jan 2 2006 15:04:05 GMT-0700",
		"1/2/2006", "Jan 2, 2006", "Jan 2 2006", "2 Jan 2006", "January 2, 2006", "2 January 2006",
	}
}

// instant parses epoch milliseconds or a date, as the service does: Number first, then
// new Date.
func instant(text string) (time.Time, bool) {
	if ms, ok := number(text); ok {
		return date(ms)
	}
	text = strings.TrimSpace(text)
	upper := strings.ToUpper(text)
	m := isoDate.FindStringSubmatch(upper)
	if m == nil {
		m = looseDate.FindStringSubmatch(upper)
	}
	if m != nil {
		return fields(m)
	}
	for _, layout := range dates() {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC().Truncate(time.Millisecond), true
		}
	}
	return time.Time{}, false
}

// fields returns the time that the groups of a form give. A day that the month does not
// have is one of the next month, as 24:00 is of the next day.
func fields(m []string) (time.Time, bool) {
	n := [11]int{2: 1, 3: 1}
	for i, text := range m[1:] {
		if i != 6 && i != 7 && text != "" {
			n[i+1], _ = strconv.Atoi(text)
		}
	}
	n[7], _ = strconv.Atoi((m[7] + "000")[:3]) // Milliseconds.
	midnight := n[4] == 24 && n[5]+n[6]+n[7] == 0
	if m[1] == "-000000" || n[2] < 1 || n[2] > 12 || n[3] < 1 || n[3] > 31 || n[4] > 23 && !midnight ||
		n[5] > 59 || n[6] > 59 || n[9] > 23 || n[10] > 59 {
		return time.Time{}, false
	}
	ahead := time.Duration(n[9])*time.Hour + time.Duration(n[10])*time.Minute
	if m[8] == "-" {
		ahead = -ahead
	}
	t := time.Date(n[1], time.Month(n[2]), n[3], n[4], n[5], n[6], n[7]*1_000_000, time.UTC).Add(-ahead)
	return date(float64(t.UnixMilli()))
}

var (
	separated = regexp.MustCompile(`(\d)[ _,](\d)`)
	durations = regexp.MustCompile(`((?:\d{1,16}(?:\.\d{1,16})?|\.\d{1,16})(?:[eE][-+]?\d{1,4})?)\s?(\pL{0,14})`)
)

// unit is a unit of a period.
type unit struct {
	names string
	ms    float64
}

// units returns the units of a period, the largest first.
func units() []unit {
	return []unit{
		{"year yr y", 365.25 * 86_400_000},
		{"month mo mth", 365.25 * 86_400_000 / 12},
		{"week wk w", 7 * 86_400_000},
		{"day d", 86_400_000},
		{"hour hr h", 3_600_000},
		{"minute min m", 60_000},
		{"second sec s", 1000},
		{"millisecond millisec ms", 1},
		{"microsecond microsec us µs", 1e-3},
		{"nanosecond nanosec ns", 1e-6},
	}
}

// milliseconds returns the length of a unit, 0 if there is none of that name.
func milliseconds(name string) float64 {
	for _, u := range units() {
		if slices.Contains(strings.Fields(u.names), name) {
			return u.ms
		}
	}
	return 0
}

// smaller returns the length of the next smaller unit, or ms if there is none.
func smaller(ms float64) float64 {
	for _, u := range units() {
		if u.ms < ms {
			return u.ms
		}
	}
	return ms
}

// period parses a period as the service does and returns it in milliseconds. A number
// without a unit is in milliseconds, or in the next smaller unit if it follows another
// one. M is a minute. Unknown units are ignored. It is false if nothing is left.
func period(text string) (ms float64, ok bool) {
	last := 0.0
	for _, m := range durations.FindAllStringSubmatch(separated.ReplaceAllString(text, "$1$2"), -1) {
		name := strings.ToLower(m[2])
		each := milliseconds(name)
		switch {
		case name == "" && last > 0:
			each = smaller(last)
		case name == "":
			each = 1
		case each == 0:
			each = milliseconds(strings.TrimSuffix(name, "s"))
		}
		if last = each; each > 0 {
			n, _ := strconv.ParseFloat(m[1], 64)
			ms, ok = ms+n*each, true
		}
	}
	if strings.HasPrefix(text, "-") {
		ms = -ms
	}
	return ms, ok
}

func (q query) fits(r *row, status string) bool {
	return status != "" &&
		(q.statuses == nil || slices.Contains(q.statuses, status)) &&
		(q.tags == nil || slices.ContainsFunc(q.tags, func(t string) bool { return slices.Contains(r.Tags, t) })) &&
		(q.key == "" || q.key == r.IdempotencyKey || q.key == r.RotatedKey) &&
		(q.from == nil || !r.CreatedAt.Before(*q.from)) &&
		(q.to == nil || !r.CreatedAt.After(*q.to))
}
