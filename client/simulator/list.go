package simulator

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/btree"
)

func (e *Environment) route(r *http.Request) answer {
	now := e.sim.now()
	e.advance(now)
	switch {
	case e.opts.OldEngine:
		return jsonError(http.StatusInternalServerError, "Internal Server Error")
	case r.URL.Path == tokensPath && r.Method == http.MethodGet:
		q, refusal := parseQuery(r.URL.RawQuery, now)
		switch {
		case refusal != nil:
			return *refusal
		case q.fails:
			return jsonError(http.StatusInternalServerError, "Internal Server Error")
		}
		return e.list(q, now)
	case r.Method == http.MethodGet:
		if id, ok := strings.CutPrefix(r.URL.Path, tokensPath+"/"); ok && !strings.Contains(id, "/") {
			return e.retrieve(id, now)
		}
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
		// The service computes it this way: it is absent on a short page.
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
// more in its direction. It calls visit for each row that it reads.
func (q query) page(rows *btree.Map[string, *row], then time.Time, visit func(*row)) ([]*row, bool) {
	var page []*row
	more := false
	take := func(id string, r *row) bool {
		visit(r)
		switch {
		case id == q.before+q.after || !q.fits(r, r.statusAt(then)):
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
	// As "2006-01-02T15:04:05.000Z", but package time is several times faster at its own formats.
	b = t.UTC().AppendFormat(b, time.RFC3339)
	b = strconv.AppendInt(b[:len(b)-1], 1000+int64(t.Nanosecond()/1e6), 10)
	b[len(b)-4] = '.' // Instead of the 1 in front of three digits.
	return append(b, `Z"`...)
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
	if key := cmp.Or(r.RotatedKey, r.IdempotencyKey); key != "" {
		b = appendString(append(b, `,"idempotencyKey":`...), key)
	}
	b = appendTime(b, "idempotencyKeyExpiresAt", r.KeyExpiresAt)
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
