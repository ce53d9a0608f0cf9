package refresh

import (
	"cmp"
	"slices"
	"time"

	"waitpoint_exporter/client"

	"github.com/tidwall/btree"
)

const (
	// topID is above every id: ids are valid UTF-8, which never has this byte.
	topID = "\xff"
	// A page with so many tokens below a boundary has passed it, even if it does not show
	// the boundary's own token. Fewer tokens may be out of order.
	passed = 8
)

// A list is what is known of one listing of the service, which is in descending order of
// id. It consists of pieces, one below the other. Each page becomes a piece, with the
// cursor that requests it again: a page that was fetched is never lost, and any piece can
// be requested at any time.
type list struct {
	pieces  btree.Map[string, *piece] // By above.
	gaps    btree.Map[string, *piece] // Those with a gap.
	places  map[string]*piece         // Those that are watched.
	cursors map[string]string         // The ids above the pieces, by cursor: each has its own.
	rests   []string                  // Pieces that were shortened by a page since they were last checked.
	size    int                       // Approximate size in bytes.

	statuses []client.Status // Of its tokens; nil for all.
}

// A boundary is a place in a list: right below the token with the id above, which was
// created at aboveAt. Cursor asks for the page from there on; it is empty at the top.
type boundary struct {
	above, cursor string
	aboveAt       time.Time
}

// A piece is the part of a list from its boundary down to the token that the next
// piece is named after.
type piece struct {
	boundary
	// Resume, if set, is the cursor to continue with after a page without tokens.
	resume string
	// Listed is when a page last showed the piece, and served the same by the
	// service's clock; zero if it was never listed.
	listed, served time.Time
	// Known is the highest id that the piece had then. Gap is whether there may be
	// unknown tokens above it.
	known string
	gap   bool
	// History is whether the gap is from before the first listing.
	history bool
	// High is the newest createdAt in the piece; changed is when a page last showed a
	// token that was not known.
	high, changed time.Time
	// Watched is whether new tokens appear here, as they do at the top; idle counts the
	// rounds since then in which they appeared only elsewhere.
	watched bool
	idle    int
	busy    bool

	// For loading: the createdAt at the end of the last piece as far as known, the time
	// span of the page above, whether a place to split the gap can be found, and whether it
	// is being requested.
	bound                 time.Time
	span                  time.Duration
	splittable, splitting bool
	doubts                int // Pages in this round that a second look contradicted.
}

func newList(now time.Time, statuses ...client.Status) *list {
	l := &list{places: map[string]*piece{}, cursors: map[string]string{}, statuses: statuses}
	l.set(&piece{boundary: boundary{above: topID, aboveAt: now}, gap: true, history: true, watched: true})
	return l
}

func (l *list) set(p *piece) {
	l.remove(p.above)
	l.pieces.Set(p.above, p)
	l.cursors[p.cursor] = p.above
	l.size += p.bytes()
	l.sort(p)
}

// sort adds a piece to the gaps and the places, or removes it from them.
func (l *list) sort(p *piece) {
	if p.gap {
		l.gaps.Set(p.above, p)
	} else {
		l.gaps.Delete(p.above)
	}
	if p.watched {
		l.places[p.above] = p
	} else {
		delete(l.places, p.above)
	}
}

func (l *list) remove(above string) {
	if p, ok := l.pieces.Delete(above); ok {
		l.size -= p.bytes()
		if l.cursors[p.cursor] == above {
			delete(l.cursors, p.cursor)
		}
		l.gaps.Delete(above)
		delete(l.places, above)
	}
}

func (p *piece) bytes() int { return 400 + 2*len(p.above) + len(p.cursor) }

// find returns the piece that has the id in it.
func (l *list) find(id string) (found *piece) {
	l.pieces.Ascend(id, func(above string, p *piece) bool {
		found = p
		return above == id
	})
	return found
}

// gapBelow reports whether there is a gap below an id: in its own piece, or further down.
func (l *list) gapBelow(id string) bool {
	if lowest, _, ok := l.gaps.Min(); ok && lowest <= id {
		return true
	}
	_, begins := l.pieces.Get(id)
	return !begins && l.find(id).gap
}

// next returns the piece below another; nil below the last.
func (l *list) next(above string) (found *piece) {
	l.pieces.Descend(above, func(id string, p *piece) bool {
		if id != above {
			found = p
		}
		return id == above
	})
	return found
}

// topGap returns the topmost gap of the history, or among the new tokens; nil if there is
// none.
func (l *list) topGap(ofHistory bool) (top *piece) {
	l.gaps.Reverse(func(_ string, p *piece) bool {
		if p.history == ofHistory {
			top = p
		}
		return top == nil
	})
	return top
}

// A sight is a page and how it was requested.
type sight struct {
	boundary // Where the page begins.
	page     client.Page
	at       time.Time       // When it was requested.
	from     time.Time       // Its filter on createdAt; zero for none.
	fresh    bool            // A token on it was not known before.
	created  map[string]bool // The tokens on it that count as created.
	ends     int             // How many pages before it ended the list in the same place.
	alive    bool            // Since those pages the top has shown tokens.
	most     int             // Its requested size if another page was repeated; zero otherwise.
}

// served is when the page was made, by the service's clock if that is known.
func (s sight) served() time.Time { return cmp.Or(s.page.Date, s.at) }

// looksAgain reports whether an end of the list that is in doubt takes another look, and
// counts it: one more, or two if the page is empty, since two empty pages may both be wrong.
func (s *sight) looksAgain() bool {
	if s.ends > 1 || s.ends == 1 && len(s.page.Tokens) > 0 {
		return false
	}
	s.ends++
	return true
}

// inOrder reports whether the page is in descending order of id, below its boundary.
func (s sight) inOrder() bool {
	above := s.above
	for _, t := range s.page.Tokens {
		if t.ID >= above {
			return false
		}
		above = t.ID
	}
	return true
}

// ordered is like inOrder, but for a page anywhere in the list.
func (s sight) ordered() bool { return sight{boundary: boundary{above: topID}, page: s.page}.inOrder() }

// cover records a page that is in order. It returns the id at which the page ends; empty
// for the end of the list.
func (l *list) cover(s sight) string {
	tokens := s.page.Tokens
	p, ok := l.pieces.Get(s.above)
	if !ok {
		// While this page was requested, its piece became part of another one.
		whole := *l.find(s.above)
		whole.boundary, whole.watched, whole.busy, whole.resume = s.boundary, false, false, ""
		p = &whole
		l.set(p)
	}
	lo := s.reach()
	if lo == s.above {
		p.resume = s.page.Next
		return lo
	}
	if lo != "" {
		l.leave(s, lo)
	}
	s.fresh = s.fresh || p.listed.IsZero()
	var high time.Time
	for _, t := range tokens {
		if t.CreatedAt.After(high) {
			high = t.CreatedAt
		}
	}
	covered := append(l.between(s.above, lo), p)
	changed := slices.MaxFunc(covered, func(a, b *piece) int { return a.changed.Compare(b.changed) }).changed
	if s.fresh {
		changed = s.at
	}
	for _, q := range covered {
		if q != p && !q.watched {
			l.remove(q.above) // It is part of p now. A watched place stays.
			continue
		}
		q.listed, q.served, q.high, q.changed = s.at, s.served(), high, changed
		q.gap, q.history, q.known = false, false, ""
		if i := slices.IndexFunc(tokens, func(t client.Token) bool { return t.ID < q.above }); i >= 0 {
			q.known = tokens[i].ID
		}
		l.sort(q)
	}
	p.resume = ""
	return lo
}

// between returns the pieces that begin below the first id and above the second.
func (l *list) between(above, lo string) []*piece {
	var out []*piece
	l.pieces.Descend(above, func(id string, p *piece) bool {
		if lo < id && id < above {
			out = append(out, p)
		}
		return id > lo
	})
	return out
}

// reach returns the id down to which a page covers the list.
func (s sight) reach() string {
	switch n := len(s.page.Tokens); {
	case s.page.Next == "":
		return ""
	case n == 0:
		return s.above
	default:
		return s.page.Tokens[n-1].ID
	}
}

// sure returns how many of a page's tokens are certainly in order. If a page shows only a
// few tokens below a boundary, and not the boundary's own token, those few may be out of
// order. No cursor begins right above them, so the page is requested again, short enough
// to end there.
func (l *list) sure(s sight) int {
	tokens := s.page.Tokens
	if s.page.Next == "" || s.most > 0 && len(tokens) > s.most {
		return len(tokens) // It is the last one, or the service gives no shorter ones.
	}
	for _, p := range l.between(s.above, s.reach()) {
		// The last token is not above the boundary.
		above := slices.IndexFunc(tokens, func(t client.Token) bool { return t.ID <= p.above })
		if above > 0 && tokens[above].ID != p.above && len(tokens)-above < passed {
			return above
		}
	}
	return len(tokens)
}

// leave makes a piece of the part below a page that the page did not reach.
func (l *list) leave(s sight, lo string) {
	if p, ok := l.pieces.Get(lo); ok {
		if p.cursor != s.page.Next {
			l.remove(lo)
			p.cursor = s.page.Next
			l.set(p)
		}
		return
	}
	rest := *l.find(lo)
	tokens := s.page.Tokens
	last := tokens[len(tokens)-1]
	rest.boundary = boundary{above: lo, cursor: s.page.Next, aboveAt: last.CreatedAt}
	rest.resume, rest.watched, rest.busy = "", false, false
	rest.gap = s.created[lo] || rest.listed.IsZero() || lo > rest.known
	rest.history = rest.history && rest.gap
	if s.created[lo] && lo <= rest.known {
		rest.known = "" // New tokens appeared below known ones.
	}
	rest.span = tokens[0].CreatedAt.Sub(last.CreatedAt)
	if rest.high.After(last.CreatedAt) {
		rest.high = last.CreatedAt // The order of ids is the order of their host's clock.
	}
	if s.fresh {
		rest.changed = s.at // The replica may lack tokens just below, too.
	}
	rest.splittable, rest.splitting, rest.doubts = true, false, 0
	l.set(&rest)
	if !rest.gap {
		l.rests = append(l.rests, lo)
	}
}

// repeat returns a request for a page again, with another size.
func (l *list) repeat(s sight, size int, take func(sight) error) *request {
	return &request{
		sight: sight{boundary: s.boundary, from: s.from, ends: s.ends, alive: s.alive, most: size},
		opts:  client.ListOptions{Statuses: l.statuses, After: s.cursor, From: s.from, PageSize: size},
		take:  take,
	}
}

// reserve marks a request's piece as busy until it has ended, although it is sent later.
func (l *list) reserve(r *request) *request {
	if p, ok := l.pieces.Get(r.above); ok {
		p.busy, r.busy = true, &p.busy
	}
	return r
}

// taken reports whether the page's next cursor belongs to another place. One of the two
// is wrong, so the boundary of the other place is forgotten.
func (l *list) taken(page client.Page) bool {
	above, ok := l.cursors[page.Next]
	n := len(page.Tokens)
	if !ok || page.Next == "" || n == 0 || above == page.Tokens[n-1].ID {
		return false
	}
	l.join(above)
	return true
}

// split adds a boundary to a gap, below a token that was found by createdAt. It reports
// whether the token was in a gap.
func (l *list) split(t client.Token, cursor string) bool {
	p := l.find(t.ID)
	if _, ok := l.pieces.Get(t.ID); ok || !p.gap || t.ID <= p.known {
		return false
	}
	l.set(&piece{
		boundary: boundary{above: t.ID, cursor: cursor, aboveAt: t.CreatedAt},
		bound:    p.bound, listed: p.listed, served: p.served, known: p.known, gap: true, history: p.history,
		high: p.high, changed: p.changed,
	})
	p.known = t.ID
	return true
}

// join forgets a boundary whose cursor leads to another place. Its piece becomes part of
// the one above.
func (l *list) join(above string) {
	p, ok := l.pieces.Get(above)
	if !ok || above == topID {
		return
	}
	l.remove(above)
	q := l.find(above)
	q.listed, q.gap, q.history, q.known = p.listed, true, p.history, p.known
	l.sort(q)
}

// watch has a place listed as often as the top, and reports whether a piece begins there.
// Its tokens may not all be known.
func (l *list) watch(above string) bool {
	p, ok := l.pieces.Get(above)
	if ok {
		p.watched, p.idle, p.known = true, 0, ""
		l.sort(p)
	}
	return ok
}

// oldest returns when the least recently listed piece was listed; false if one never was.
func (l *list) oldest() (time.Time, bool) {
	var oldest time.Time
	whole := true
	l.pieces.Scan(func(_ string, p *piece) bool {
		whole = !p.listed.IsZero()
		if whole && (oldest.IsZero() || p.listed.Before(oldest)) {
			oldest = p.listed
		}
		return whole
	})
	return oldest, whole
}

// settled reports whether the last page of the piece showed all tokens that can be in it:
// it came at least the slack, the time a new token may take to appear, after the newest.
func (p *piece) settled(slack time.Duration) bool {
	high := p.high
	if p.aboveAt.After(high) {
		high = p.aboveAt // A replica may have lacked tokens just below the one above.
	}
	return p.served.Sub(high) >= slack || p.listed.Sub(p.changed) >= slack
}
