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
	// So many answers are made at once; more would wait for the same processors,
	// and hold their memory meanwhile.
	makers = 2
	// So many requests are held at once, those that wait for their turn and those
	// whose client reads slowly; further ones are refused.
	maxHeld = 500
	// The memory that answers may take until they are sent. One that is larger by
	// itself has all of it.
	maxHeldBytes = 64 << 20
	// How long a request waits for its turn and for memory. It leaves half of the
	// server's time for an answer to send it.
	maxWait = 30 * time.Second
	// The largest memory that is kept to make the next answer in.
	maxScratch = 4 << 20
)

// Buffer returns a handler that has next make each answer whole in memory, a few
// at a time, and sends it then. A client that reads slowly so holds the bytes of
// its answer and nothing else: no turn, and no lock that next takes. Requests that
// wait for their turn and ask for the same share an answer, which is never one
// that was begun before they came; what next answers may depend on the method, the
// query, Accept and Accept-Encoding. How many requests are held and how much
// memory their answers take is bounded. Past the first bound, or where a wait for
// the second is too long, the answer is 503.
func Buffer(next http.Handler) http.Handler {
	b := &buffer{
		next: next, turns: make(chan *bytes.Buffer, makers), memory: semaphore.NewWeighted(maxHeldBytes),
		waiting: map[asked]*answer{},
	}
	for range makers {
		b.turns <- new(bytes.Buffer)
	}
	return b
}

type buffer struct {
	next http.Handler
	// Whoever has a turn has the memory to make an answer in.
	turns  chan *bytes.Buffer
	memory *semaphore.Weighted // Bytes of answers that are being sent.
	held   atomic.Int64        // Requests.

	mu      sync.Mutex
	waiting map[asked]*answer // Those that wait for their turn.
}

// asked is what an answer depends on.
type asked struct{ method, query, accept, encoding string }

// ServeHTTP implements http.Handler.
func (b *buffer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer b.held.Add(-1)
	if b.held.Add(1) > maxHeld {
		tooMany(w)
		return
	}
	a, err := b.answer(r)
	if err != nil {
		tooMany(w) // Or the client has gone, and nobody reads this.
		return
	}
	defer b.leave(a)
	maps.Copy(w.Header(), a.header)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.code)
	_, _ = w.Write(a.body) // The client has gone; nothing to do about it.
}

func tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.Error(w, "Too many requests are being answered; try again.", http.StatusServiceUnavailable)
}

// answer waits for an answer, which the caller leaves. It returns an error if the
// request ends before, or all takes too long.
func (b *buffer) answer(r *http.Request) (*answer, error) {
	ctx, cancel := context.WithTimeout(r.Context(), maxWait)
	defer cancel()
	what := asked{r.Method, r.URL.RawQuery, strings.Join(r.Header["Accept"], ","),
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
			// The client that was the first of them has gone: another is it now.
		}
		b.leave(a)
	}
	return nil, ctx.Err()
}

// join returns the answer that is to be made, and whether the caller makes it.
func (b *buffer) join(what asked) (a *answer, first bool) {
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

// begin makes the answer one that nobody joins any more.
func (b *buffer) begin(what asked) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.waiting, what)
}

// make waits for its turn, makes the answer and waits for the memory to keep it.
// If ctx ends before, the answer ends without being made.
func (b *buffer) make(ctx context.Context, what asked, a *answer, r *http.Request) {
	defer close(a.ended)
	var scratch *bytes.Buffer
	select {
	case <-ctx.Done():
		b.begin(what)
		return
	case scratch = <-b.turns:
		b.begin(what)
	}
	// Deferred, since next may panic.
	defer func() {
		scratch.Reset()
		b.turns <- scratch
	}()
	a.scratch = scratch
	// Others may wait for the answer when this client has gone.
	b.next.ServeHTTP(a, r.WithContext(context.WithoutCancel(ctx)))
	a.body, a.scratch = scratch.Bytes(), nil
	// The turn is kept meanwhile, so that those who wait have no memory but that of
	// their turns.
	if b.memory.Acquire(ctx, a.weight()) != nil {
		return
	}
	// The memory is not used again for another answer once it was given to a
	// client: HTTP/2 may still read it after a Write that has returned an error.
	if scratch.Cap() > maxScratch {
		scratch = new(bytes.Buffer)
	} else {
		a.body = bytes.Clone(a.body)
	}
	a.made = true
}

// An answer is an http.ResponseWriter that keeps what is written.
type answer struct {
	header  http.Header
	scratch *bytes.Buffer
	begun   bool
	code    int
	body    []byte

	ended chan struct{} // Closed when it is made, or will not be.
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
