package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/btree"
)

// query is what a listing asks for.
type query struct {
	size          int
	after, before string
	statuses      []string // Empty for all.
	tags          []string
	key           string
	from, to      time.Time // Both included; zero for none.
	nothing       bool      // An empty filter that nothing fits.
}

type detail map[string]any

func refuse(details ...detail) *answer {
	body, _ := json.Marshal(map[string]any{"error": "Query Error", "details": details})
	a := jsonAnswer(http.StatusBadRequest, body)
	return &a
}

// last is the value that counts of a parameter that may be repeated.
func last(q url.Values, name string) (string, bool) {
	values, ok := q[name]
	if !ok || len(values) == 0 {
		return "", false
	}
	return values[len(values)-1], true
}

func parseQuery(values url.Values, now time.Time) (query, *answer) {
	q := query{size: 25}
	if text, ok := last(values, "page[size]"); ok {
		size, details := pageSize(text)
		if details != nil {
			return q, refuse(details...)
		}
		q.size = size
	}
	q.after, _ = last(values, "page[after]")
	q.before, _ = last(values, "page[before]")
	if text, _ := last(values, "filter[status]"); text != "" {
		q.statuses = strings.Split(text, ",")
		var unknown []string
		for _, s := range q.statuses {
			if s != waiting && s != completed && s != timedOut {
				unknown = append(unknown, s)
			}
		}
		if unknown != nil {
			return q, refuse(detail{"code": "custom", "message": "Invalid status values: " + strings.Join(unknown, ", "), "path": []string{"filter[status]"}})
		}
		if slices.Contains(q.statuses, waiting) && slices.ContainsFunc(q.statuses, func(s string) bool { return s != waiting }) {
			q.statuses = nil // Measured: everything comes back.
		}
	}
	if text, _ := last(values, "filter[tags]"); text != "" {
		q.tags = strings.Split(text, ",")
	}
	q.key, _ = last(values, "filter[idempotencyKey]")
	q.times(values, now)
	return q, nil
}

func (q *query) times(values url.Values, now time.Time) {
	if text, ok := last(values, "filter[createdAt][from]"); ok {
		q.from, _ = instant(text)
	}
	if text, ok := last(values, "filter[createdAt][to]"); ok {
		if q.to, ok = instant(text); !ok {
			q.nothing = true
		}
	}
	if text, ok := last(values, "filter[createdAt][period]"); ok {
		if d, ok := period(text); ok {
			q.from = now.Add(-d)
		}
	}
}

func pageSize(text string) (int, []detail) {
	path := []string{"page[size]"}
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	switch {
	case strings.TrimSpace(text) == "":
		n = 0
	case err != nil:
		return 0, []detail{{"code": "invalid_type", "expected": "number", "received": "nan", "message": "Expected number, received nan", "path": path}}
	}
	if n != float64(int(n)) {
		return 0, []detail{{"code": "invalid_type", "expected": "integer", "received": "float", "message": "Expected integer, received float", "path": path}}
	}
	var details []detail
	if n <= 0 {
		details = append(details, detail{"code": "too_small", "minimum": 0, "type": "number", "inclusive": false, "exact": false, "message": "Number must be greater than 0", "path": path})
	}
	if n < 1 {
		details = append(details, detail{"code": "too_small", "minimum": 1, "type": "number", "inclusive": true, "exact": false, "message": "Number must be greater than or equal to 1", "path": path})
	}
	if n > 100 {
		details = append(details, detail{"code": "too_big", "maximum": 100, "type": "number", "inclusive": true, "exact": false, "message": "Number must be less than or equal to 100", "path": path})
	}
	return int(n), details
}

// instant reads ISO 8601 or epoch milliseconds.
func instant(text string) (time.Time, bool) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.UnixMilli(ms), true
	}
	t, err := time.Parse(time.RFC3339, text)
	return t, err == nil
}

var periodPattern = regexp.MustCompile(`^(\d+)([a-zA-Z]*)$`)

// period reads one as the service does: without a unit it is in milliseconds,
// and M is a minute.
func period(text string) (time.Duration, bool) {
	m := periodPattern.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	units := map[string]time.Duration{
		"": time.Millisecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute,
		"h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "y": 365 * 24 * time.Hour,
	}
	unit, ok := units[strings.ToLower(m[2])]
	n, err := strconv.ParseInt(m[1], 10, 32)
	return time.Duration(n) * unit, ok && err == nil
}

func (q query) fits(r *row, status string) bool {
	return status != "" &&
		(q.statuses == nil || slices.Contains(q.statuses, status)) &&
		(q.tags == nil || slices.ContainsFunc(q.tags, func(t string) bool { return slices.Contains(r.Tags, t) })) &&
		(q.key == "" || q.key == r.IdempotencyKey) &&
		(q.from.IsZero() || !r.CreatedAt.Before(q.from)) &&
		(q.to.IsZero() || !r.CreatedAt.After(q.to)) && !q.nothing
}

func (e *Environment) route(r *http.Request) answer {
	now := e.sim.now()
	e.advance(now)
	switch {
	case e.opts.OldEngine:
		return jsonError(http.StatusInternalServerError, "Internal Server Error")
	case r.URL.Path == tokensPath && r.Method == http.MethodGet:
		q, refusal := parseQuery(r.URL.Query(), now)
		if refusal != nil {
			return *refusal
		}
		return e.list(q, now)
	case strings.HasPrefix(r.URL.Path, tokensPath+"/") && r.Method == http.MethodGet:
		return e.retrieve(strings.TrimPrefix(r.URL.Path, tokensPath+"/"), now)
	}
	return jsonError(http.StatusNotFound, "Not found")
}

func (e *Environment) list(q query, now time.Time) answer {
	then := now
	if e.opts.Lag > 0 {
		then = now.Add(-time.Duration(e.sim.rng.Int64N(int64(e.opts.Lag) + 1)))
	}
	rows, settled := &e.rows, []string(nil)
	seen := e.seen(now)
	visit := func(*row) {}
	if len(q.statuses) == 1 && q.statuses[0] == waiting {
		rows = &e.waiting
		visit = func(r *row) {
			if r.settled(seen) {
				settled = append(settled, r.id)
			}
		}
	}
	page, more := q.page(rows, then, visit)
	for _, id := range settled {
		e.waiting.Delete(id)
	}
	pagination := map[string]string{}
	set := func(name string, i int) {
		if i >= 0 && i < len(page) {
			pagination[name] = page[i].id
		}
	}
	switch {
	case q.before != "":
		if more {
			set("previous", 0)
		}
		// As the service computes it: absent on a short page.
		set("next", q.size-1)
	default:
		if q.after != "" {
			set("previous", 0)
		}
		if more {
			set("next", len(page)-1)
		}
	}
	body := append(make([]byte, 0, 400*len(page)+64), `{"data":[`...)
	for i, r := range page {
		if i > 0 {
			body = append(body, ',')
		}
		body = r.appendJSON(body, r.statusAt(then))
	}
	body = append(body, `],"pagination":`...)
	tail, _ := json.Marshal(pagination)
	return jsonAnswer(http.StatusOK, append(append(body, tail...), '}'))
}

// page returns the rows of a page in descending order, and whether there are
// more in its direction. It shows each row that it comes by to visit.
func (q query) page(rows *btree.Map[string, *row], then time.Time, visit func(*row)) ([]*row, bool) {
	var page []*row
	more := false
	take := func(id string, r *row) bool {
		visit(r)
		switch {
		case id == q.before || id == q.after || !q.fits(r, r.statusAt(then)):
		case len(page) == q.size:
			more = true
		default:
			page = append(page, r)
		}
		return !more
	}
	switch {
	case q.before != "":
		rows.Ascend(q.before, take)
		slices.Reverse(page)
	case q.after != "":
		rows.Descend(q.after, take)
	default:
		rows.Reverse(take)
	}
	return page, more
}

const timeFormat = "2006-01-02T15:04:05.000Z"

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			text, _ := json.Marshal(s)
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

func appendTime(b []byte, name string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = append(append(append(b, `,"`...), name...), `":"`...)
	return append(t.UTC().AppendFormat(b, timeFormat), '"')
}

func (r *row) callback() string {
	sum := sha256.Sum256([]byte(r.ID))
	return "http://localhost:3030" + tokensPath + "/" + r.ID + "/callback/" + hex.EncodeToString(sum[:])
}

func (r *row) appendJSON(b []byte, status string) []byte {
	b = appendString(append(b, `{"id":`...), r.ID)
	b = appendString(append(b, `,"url":`...), r.callback())
	b = appendString(append(b, `,"status":`...), status)
	if status != waiting {
		b = appendTime(b, "completedAt", r.CompletedAt)
	}
	b = appendTime(b, "timeoutAt", r.TimeoutAt)
	b = appendTime(b, "completedAfter", r.TimeoutAt)
	if r.IdempotencyKey != "" {
		b = appendString(append(b, `,"idempotencyKey":`...), r.IdempotencyKey)
	}
	b = append(b, `,"tags":[`...)
	tags := slices.Clone(r.Tags)
	slices.Sort(tags)
	for i, tag := range tags {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, tag)
	}
	b = append(b, ']')
	return append(appendTime(b, "createdAt", r.CreatedAt), '}')
}

func (e *Environment) retrieve(id string, now time.Time) answer {
	r := e.find(id)
	if r == nil || r.statusAt(now) == "" {
		return jsonError(http.StatusInternalServerError, "Internal Server Error") // Not 404.
	}
	status := r.statusAt(now)
	b := appendString([]byte(`{"id":`), r.ID)
	b = appendString(append(b, `,"type":"MANUAL","url":`...), r.callback())
	b = appendString(append(b, `,"status":`...), status)
	if status != waiting && r.Output != "" {
		b = appendString(append(b, `,"output":`...), r.Output)
	}
	b = append(b, `,"outputType":"application/json","outputIsError":`...)
	b = strconv.AppendBool(b, status == timedOut)
	b = appendTime(b, "timeoutAt", r.TimeoutAt)
	b = appendTime(b, "completedAfter", r.TimeoutAt)
	if status != waiting {
		b = appendTime(b, "completedAt", r.CompletedAt)
	}
	b = append(appendTime(b, "createdAt", r.CreatedAt), `,"tags":[`...)
	for i, tag := range r.Tags {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, tag)
	}
	return jsonAnswer(http.StatusOK, append(b, `]}`...))
}
