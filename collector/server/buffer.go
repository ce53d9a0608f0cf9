package server

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// How many answers are made at once. More would compete for the same processors and
	// hold memory meanwhile.
	makers = 2
	// How many requests may be pending: waiting for their turn, or sending to a slow
	// client. Further ones get 503.
	maxHeld = 500
	// The memory for answers that are being sent. A single larger answer takes all of
	// it.
	maxHeldBytes = 64 << 20
	// How long a request waits for its turn and for memory: half of the server's time for
	// an answer, so that the other half is left to send it.
	maxWait = 30 * time.Second
	// The largest buffer that is kept for the next answer.
	maxScratch = 4 << 20
)

// Buffer returns a handler that lets next write each answer to memory, a few at a
// time, and then sends it. So a slow client holds the bytes of its answer, but no turn
// and no lock of next. Equal requests that wait for their turn share one answer, which
// never began before they arrived; next's answer may depend on method, query, Accept
// and Accept-Encoding only. The number of pending requests and the memory of answers
// are bounded: with too many requests, or after waiting too long, the answer is 503.
func Buffer(next http.Handler) http.Handler {
	b := &buffer{
		next: next, turns: make(chan *bytes.Buffer, makers), memory: semaphore.NewWeighted(maxHeldBytes),
		waiting: map[requestKey]*answer{},
	}
	for range makers {
		b.turns <- new(bytes.Buffer)
	}
	return b
}

type buffer struct {
	next http.Handler
	// A turn is the right to make an answer, and the buffer for it.
	turns  chan *bytes.Buffer
	memory *semaphore.Weighted // Bytes of answers being sent.
	held   atomic.Int64        // Pending requests.

	mu      sync.Mutex
	waiting map[requestKey]*answer // Answers that wait for their turn.
}

// requestKey is everything that an answer depends on.
type requestKey struct{ method, query, accept, encoding string }

// ServeHTTP implements http.Handler.
func (b *buffer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer b.held.Add(-1)
	if b.held.Add(1) > maxHeld {
		tooMany(w)
		return
	}
	a, err := b.answer(r)
	if err != nil {
		tooMany(w) // If the client has gone, nobody reads this.
		return
	}
	defer b.leave(a)
	maps.Copy(w.Header(), a.header)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.code)
	_, _ = w.Write(a.body) // The client has gone.
}

func tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.Error(w, "Too many requests; try again.", http.StatusServiceUnavailable)
}

// answer waits for an answer; the caller must leave it. It returns an error if the
// request ends first or the wait is too long.
func (b *buffer) answer(r *http.Request) (*answer, error) {
	ctx, cancel := context.WithTimeout(r.Context(), maxWait)
	defer cancel()
	what := requestKey{r.Method, r.URL.RawQuery, strings.Join(r.Header["Accept"], ","),
		strings.Join(r.Header["Accept-Encoding"], ",")}
	for ctx.Err() == nil {
		a, first := b.join(what)
		if first {
			b.make(ctx, what, a, r)
		}
		select {
		case <-ctx.Done():
		case <-a.ended:
			if a.made {
				return a, nil
			}
			// The client whose request made the answer has gone: join again.
		}
		b.leave(a)
	}
	return nil, ctx.Err()
}

// join returns the answer to wait for, and whether the caller has to make it.
func (b *buffer) join(what requestKey) (a *answer, first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a = b.waiting[what]
	if first = a == nil; first {
		a = &answer{header: http.Header{}, code: http.StatusOK, ended: make(chan struct{})}
		b.waiting[what] = a
	}
	a.users++
	return a, first
}

// leave ends the use of an answer; the last one frees its memory.
func (b *buffer) leave(a *answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.users--; a.users == 0 && a.made {
		b.memory.Release(a.weight())
	}
}

// begin closes the answer to further requests.
func (b *buffer) begin(what requestKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.waiting, what)
}

// make waits for its turn, makes the answer, and waits for the memory to keep it. If
// ctx ends first, the answer ends without being made.
func (b *buffer) make(ctx context.Context, what requestKey, a *answer, r *http.Request) {
	defer close(a.ended)
	var scratch *bytes.Buffer
	select {
	case <-ctx.Done():
		b.begin(what)
		return
	case scratch = <-b.turns:
		b.begin(what)
	}
	// Deferred because next may panic.
	defer func() {
		scratch.Reset()
		b.turns <- scratch
	}()
	a.scratch = scratch
	// Other requests may wait for the answer even if this client has gone.
	b.next.ServeHTTP(a, r.WithContext(context.WithoutCancel(ctx)))
	a.body, a.scratch = scratch.Bytes(), nil
	// Keep the turn while waiting, so that waiting answers need no memory beyond the
	// turns' buffers.
	if b.memory.Acquire(ctx, a.weight()) != nil {
		return
	}
	// Never reuse memory that was given to a client: HTTP/2 may still read it after a
	// Write that returned an error.
	if scratch.Cap() > maxScratch {
		scratch = new(bytes.Buffer)
	} else {
		a.body = bytes.Clone(a.body)
	}
	a.made = true
}

// An answer is an http.ResponseWriter that records.
type answer struct {
	header  http.Header
	scratch *bytes.Buffer
	begun   bool
	code    int
	body    []byte

	ended chan struct{} // Closed when it is made, or given up.
	made  bool
	users int
}

// weight is the memory that the answer takes.
func (a *answer) weight() int64 { return min(int64(len(a.body)), maxHeldBytes) }

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(code int) {
	if !a.begun {
		a.begun, a.code = true, code
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.begun = true
	return a.scratch.Write(p)
}
