package refresh_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The service of the random histories. It answers like package simulator, at a fraction
// of the cost. Each answer depends only on the query and the time, so a history is the
// same in each run. Each row contains all its future changes, so that a page can show
// the list at any time.

// A stored token.
type stored struct {
	id      string // Without its prefix.
	place   string // Its sort key: the list is in descending order of it.
	created time.Time
	timeout time.Time // Zero if there is none.
	status  string    // Its status when finished.
	tags    []string
	store   int // The database that holds it.
	// When it was written, when it finished and when it was deleted; never if it was
	// not.
	visible, finished, deleted time.Time
}

// never is later than everything in a history.
var never = time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)

// statusAt returns the token's status at a time; empty if it does not exist then.
func (s *stored) statusAt(then time.Time) string {
	switch {
	case s.visible.After(then), !s.deleted.After(then):
		return ""
	case s.finished.After(then):
		return "WAITING"
	}
	return s.status
}

// database is one environment of the model's service.
type database struct {
	mu   sync.Mutex
	rows []*stored // The highest place first.

	byCreation bool // The list is in order of createdAt, with another cursor.
	serial     int

	latency, jitter time.Duration
	lag             time.Duration // The maximum lag of a page.
	mishaps         []mishap
	pageSize        int // The maximum size of a page; zero for the requested size.

	size, refill int // The rate limit's bucket, refilled every 10 s.
	left         int
	refilled     time.Time
	production   float64 // Requests a second of others.
	owed         float64 // The fraction of a request that is due.

	requests, refused, productionRefused int

	// Since the exporter's start the top was answered with tokens, and a refresh succeeded after.
	shown, seen bool

	print func(...any)
}

// A mishap is a fault in some answers for some time.
type mishap struct {
	kind        string
	from, until time.Time
	share       float64 // Of the requests.
	amount      time.Duration
}

// chance returns a number from 0 to 1 that depends only on the request and the time.
func chance(now time.Time, query, salt string) float64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, query)
	_, _ = io.WriteString(h, salt)
	_, _ = io.WriteString(h, strconv.FormatInt(now.UnixNano(), 36))
	x := h.Sum64()
	x ^= x >> 31
	x *= 0x9e3779b97f4a7c15
	x ^= x >> 29
	return float64(x>>11) / (1 << 53)
}

// struck returns the mishap of these kinds that affects a request; nil if none does.
func (d *database) struck(now time.Time, query string, kinds ...string) *mishap {
	for i := range d.mishaps {
		m := &d.mishaps[i]
		if slices.Contains(kinds, m.kind) && !now.Before(m.from) && now.Before(m.until) && chance(now, query, m.kind) < m.share {
			return m
		}
	}
	return nil
}

func placeOf(byCreation bool, created time.Time, id string) string {
	if !byCreation {
		return id
	}
	ms := strconv.FormatInt(created.UnixMilli(), 10)
	return strings.Repeat("0", 14-len(ms)) + ms + "_" + id
}

// add stores tokens; d.mu is held.
func (d *database) add(tokens ...*stored) {
	for _, t := range tokens {
		t.place = placeOf(d.byCreation, t.created, t.id)
	}
	slices.SortFunc(tokens, func(a, b *stored) int { return cmp.Compare(b.place, a.place) })
	if len(tokens) == 1 {
		d.rows = slices.Insert(d.rows, d.find(tokens[0].place), tokens[0])
		return
	}
	d.rows = append(d.rows, tokens...)
	slices.SortFunc(d.rows, func(a, b *stored) int { return cmp.Compare(b.place, a.place) })
}

// find returns the index at which a place is, or would be inserted.
func (d *database) find(place string) int {
	i, _ := slices.BinarySearchFunc(d.rows, place, func(r *stored, place string) int { return cmp.Compare(place, r.place) })
	return i
}

// reorder changes the list's order to createdAt, from now on.
func (d *database) reorder() {
	d.byCreation = true
	for _, t := range d.rows {
		t.place = placeOf(true, t.created, t.id)
	}
	slices.SortFunc(d.rows, func(a, b *stored) int { return cmp.Compare(b.place, a.place) })
}

// newID returns an id as from a host whose clock is at.
func (d *database) newID(at time.Time) string {
	d.serial++
	serial := strconv.FormatInt(int64(d.serial%1e6+1e6), 10)[1:]
	return "c" + clock36(at) + serial + "ja7d"
}

// newShapeID returns an id that sorts below all ids of the usual shape.
func (d *database) newShapeID(at time.Time) string {
	d.serial++
	return "0" + clock36(at) + strconv.FormatInt(int64(d.serial%1e6+1e6), 10)[1:] + "n"
}

func clock36(at time.Time) string {
	text := strconv.FormatInt(max(at.UnixMilli(), 0), 36)
	return strings.Repeat("0", max(0, 9-len(text))) + text
}

// RoundTrip implements http.RoundTripper.
func (d *database) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	raw := r.URL.RawQuery
	wait := d.latency + time.Duration(chance(began, raw, "latency")*float64(d.jitter+time.Microsecond))
	d.mu.Lock()
	if m := d.struck(began, raw, "slow"); m != nil {
		wait += m.amount
	}
	hangs := d.struck(began, raw, "hang") != nil
	d.mu.Unlock()
	if hangs {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if err := elapse(r.Context(), wait/2); err != nil {
		return nil, err
	}
	status, body, err := d.answer(r, time.Now())
	if d.print != nil {
		query, _ := url.QueryUnescape(raw)
		d.print(began.Format("15:04:05.000"), query, status, err)
	}
	if err != nil {
		return nil, err
	}
	header := d.headers(r.URL.RawQuery, time.Now())
	if err := elapse(r.Context(), wait-wait/2); err != nil {
		return nil, err
	}
	resp := &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Request: r,
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
	}
	if m := d.struckNow(raw, "cut"); m != nil && status == http.StatusOK {
		resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), broken{}))
	}
	return resp, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func (d *database) struckNow(query string, kinds ...string) *mishap {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.struck(time.Now(), query, kinds...)
}

func elapse(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

const refillEvery = 10 * time.Second

// draw refills the bucket and subtracts production's requests, up to now; d.mu is held.
func (d *database) draw(now time.Time) {
	for d.refilled.Add(refillEvery).Before(now) {
		d.owed += d.production * refillEvery.Seconds()
		d.produce()
		d.left = min(d.size, d.left+d.refill)
		d.refilled = d.refilled.Add(refillEvery)
	}
}

func (d *database) produce() {
	n := int(d.owed)
	d.owed -= float64(n)
	if n > d.left {
		d.productionRefused += n - d.left
		n = d.left
	}
	d.left -= n
}

func (d *database) headers(raw string, now time.Time) http.Header {
	d.mu.Lock()
	defer d.mu.Unlock()
	date := now
	if m := d.struck(now, raw, "date"); m != nil {
		date = date.Add(m.amount)
	}
	return http.Header{
		"Content-Type":          {"application/json; charset=utf-8"},
		"Date":                  {date.UTC().Format(http.TimeFormat)},
		"X-Ratelimit-Limit":     {strconv.Itoa(d.size)},
		"X-Ratelimit-Remaining": {strconv.Itoa(d.left)},
		"X-Ratelimit-Reset":     {strconv.FormatInt(d.refilled.Add(refillEvery).UnixMilli(), 10)},
	}
}

var errDropped = errors.New("the connection was ended")

// answer returns the answer to a request at a time.
func (d *database) answer(r *http.Request, now time.Time) (int, []byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	raw := r.URL.RawQuery
	d.requests++
	if m := d.struck(now, raw, "drop", "500", "401", "503", "html"); m != nil {
		switch m.kind {
		case "drop":
			return 0, nil, errDropped
		case "html":
			return http.StatusOK, []byte("<!DOCTYPE html><html>Sign in</html>"), nil
		}
		status, _ := strconv.Atoi(m.kind)
		return status, []byte(`{"error":"no"}`), nil
	}
	d.draw(now)
	if d.left <= 0 {
		d.refused++
		return http.StatusTooManyRequests, []byte(`{"error":"Rate Limit Exceeded"}`), nil
	}
	d.left--
	// Nothing from the start on would be an environment without tokens.
	if d.struck(now, raw, "empty") != nil || d.seen && d.struck(now, raw, "nothing") != nil ||
		r.URL.Query().Get("filter[status]") == "WAITING" && d.struck(now, raw, "no waiting") != nil {
		return http.StatusOK, []byte(`{"data":[],"pagination":{}}`), nil
	}
	return http.StatusOK, d.list(r.URL.Query(), raw, now), nil
}

// look returns the time as of which a page shows each of the two stores.
func (d *database) look(raw string, now time.Time) (then [2]time.Time) {
	behind := time.Duration(chance(now, raw, "lag") * float64(d.lag))
	then = [2]time.Time{now.Add(-behind), now.Add(-behind)}
	for i := range d.mishaps {
		m := &d.mishaps[i]
		if now.Before(m.from) || !now.Before(m.until) || chance(now, raw, m.kind) >= m.share {
			continue
		}
		switch m.kind {
		case "stuck": // Since the mishap began.
			then = [2]time.Time{m.from, m.from}
		case "behind":
			then = [2]time.Time{now.Add(-m.amount), now.Add(-m.amount)}
		case "store behind":
			then[1] = now.Add(-m.amount)
		}
	}
	return then
}

func (d *database) list(q url.Values, raw string, now time.Time) []byte {
	size, _ := strconv.Atoi(q.Get("page[size]"))
	size = cmp.Or(size, 25)
	if d.pageSize > 0 {
		size = min(size, d.pageSize)
	}
	if m := d.struck(now, raw, "short"); m != nil {
		size = max(1, int(float64(size)*chance(now, raw, "how short")))
	}
	const layout = "2006-01-02T15:04:05.000Z"
	from, _ := time.Parse(layout, q.Get("filter[createdAt][from]"))
	to, err := time.Parse(layout, q.Get("filter[createdAt][to]"))
	if err != nil {
		to = never
	}
	only := q.Get("filter[status]")
	then := d.look(raw, now)
	i := 0
	if after := q.Get("page[after]"); after != "" {
		i = d.after(after)
	}
	var page []*stored
	more := false
	for ; i < len(d.rows); i++ {
		t := d.rows[i]
		status := t.statusAt(then[t.store])
		if status == "" || !strings.Contains(only, status) && only != "" || t.created.Before(from) || t.created.After(to) {
			continue
		}
		if more = len(page) == size; more {
			break
		}
		page = append(page, t)
	}
	if d.struck(now, raw, "end") != nil {
		page, more = page[:int(float64(len(page))*chance(now, raw, "where"))], false
	}
	d.disorder(page, raw, now)
	if len(page) > 0 && len(q) == 1 { // It has only a size.
		d.shown = true
	}
	body := append(make([]byte, 0, 240*len(page)+64), `{"data":[`...)
	for i, t := range page {
		if i > 0 {
			body = append(body, ',')
		}
		body = t.append(body, t.statusAt(then[t.store]))
	}
	body = append(body, `],"pagination":{`...)
	if more {
		body = append(append(append(body, `"next":"`...), page[len(page)-1].place...), '"')
	}
	return append(body, "}}"...)
}

// after returns the index of the first row below a cursor. A cursor from the order by
// id leads to its token's current place.
func (d *database) after(cursor string) int {
	if d.byCreation && !strings.Contains(cursor, "_") {
		i := slices.IndexFunc(d.rows, func(t *stored) bool { return t.id == cursor })
		return i + 1
	}
	i := d.find(cursor)
	if i < len(d.rows) && d.rows[i].place == cursor {
		i++
	}
	return i
}

// disorder swaps two tokens of a page.
func (d *database) disorder(page []*stored, raw string, now time.Time) {
	if d.struck(now, raw, "disorder") == nil || len(page) < 3 {
		return
	}
	i := int(chance(now, raw, "where") * float64(len(page)-2))
	page[i], page[i+1] = page[i+1], page[i]
}

func (s *stored) append(b []byte, status string) []byte {
	const layout = `"2006-01-02T15:04:05.000Z"`
	b = append(append(b, `{"id":"waitpoint_`...), s.id...)
	b = append(append(append(b, `","status":"`...), status...), '"')
	if status != "WAITING" {
		b = s.finished.UTC().AppendFormat(append(b, `,"completedAt":`...), layout)
	}
	if !s.timeout.IsZero() {
		b = s.timeout.UTC().AppendFormat(append(b, `,"timeoutAt":`...), layout)
	}
	b = append(b, `,"tags":[`...)
	for i, tag := range s.tags {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), tag...), '"')
	}
	return append(s.created.UTC().AppendFormat(append(b, `],"createdAt":`...), layout), '}')
}
