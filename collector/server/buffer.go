package server

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// How many answers are made at once. More would compete for the same processors.
	maxMakers = 2
	// How many requests may be pending: waiting for their turn, or sending to a slow
	// client. Further ones get 503.
	maxHeld = 500
	// The memory for answers that are being sent. A single larger answer takes all of it.
	maxHeldBytes = 64 << 20
	// How long a request waits for memory and for its turn: half of the server's
	// WriteTimeout, so that the other half is left for sending.
	maxWait = 30 * time.Second
)

// Buffer returns a handler that lets next write each answer to memory, two at a time,
// and then sends it. So a slow client takes memory, but delays no other request and
// holds no lock of next. Equal requests that wait for their turn share one answer,
// which begins after they have arrived. Next's answer may only depend on method, query,
// Accept and Accept-Encoding.
//
// An answer takes memory until it is sent to all who share it. It gets it before it gives
// up its turn, so there is never more than that memory and two answers being made. With
// too many requests, or after waiting too long, the answer is 503.
func Buffer(next http.Handler) http.Handler {
	return &buffer{
		next: next, held: semaphore.NewWeighted(maxHeld), memory: semaphore.NewWeighted(maxHeldBytes),
		makers: semaphore.NewWeighted(maxMakers), waiting: map[string]*answer{},
	}
}

type buffer struct {
	next                 http.Handler
	held, memory, makers *semaphore.Weighted

	mu      sync.Mutex
	waiting map[string]*answer // Answers that wait for their turn.
}

// ServeHTTP implements http.Handler.
func (b *buffer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !b.held.TryAcquire(1) {
		tooMany(w)
		return
	}
	defer b.held.Release(1)
	ctx, cancel := context.WithTimeout(r.Context(), maxWait)
	defer cancel()
	a := b.answer(ctx, r)
	if a == nil {
		tooMany(w) // If the client has gone, nobody reads this.
		return
	}
	defer b.leave(a)
	maps.Copy(w.Header(), a.header)
	w.Header().Set("Content-Length", strconv.Itoa(a.body.Len()))
	w.WriteHeader(cmp.Or(a.code, http.StatusOK))
	_, _ = w.Write(a.body.Bytes()) // It only fails if the client has gone.
}

func tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, "Too many requests; try again.", http.StatusServiceUnavailable)
}

// answer returns the answer that equal requests share, or nil if ctx ends first. The caller
// has to leave it.
func (b *buffer) answer(ctx context.Context, r *http.Request) *answer {
	key := strings.Join([]string{
		r.Method, r.URL.RawQuery, strings.Join(r.Header["Accept"], ","), strings.Join(r.Header["Accept-Encoding"], ","),
	}, "\n")
	for ctx.Err() == nil {
		b.mu.Lock()
		a, shared := b.waiting[key]
		if !shared {
			a = &answer{header: http.Header{}, ended: make(chan struct{})}
			b.waiting[key] = a
		}
		a.users++
		b.mu.Unlock()
		if !shared {
			b.fill(ctx, a, r, key)
		}
		select {
		case <-a.ended:
			if a.made {
				return a
			}
			// The client whose request made the answer has gone: try again.
		case <-ctx.Done():
		}
		b.leave(a)
	}
	return nil
}

// fill makes the answer and acquires its memory, unless ctx ends while it waits.
func (b *buffer) fill(ctx context.Context, a *answer, r *http.Request, key string) {
	defer close(a.ended)
	err := b.makers.Acquire(ctx, 1)
	b.mu.Lock()
	delete(b.waiting, key) // Requests from now on get the next answer.
	b.mu.Unlock()
	if err != nil {
		return
	}
	defer b.makers.Release(1)
	// Others may wait for the answer when this client has gone.
	b.next.ServeHTTP(a, r.WithContext(context.WithoutCancel(ctx)))
	size := min(int64(a.body.Cap()), maxHeldBytes)
	if b.memory.TryAcquire(size) || b.memory.Acquire(ctx, size) == nil {
		a.size, a.made = size, true
	}
}

// leave releases the answer's memory with the last user.
func (b *buffer) leave(a *answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.users--; a.users == 0 {
		b.memory.Release(a.size)
	}
}

// answer is an http.ResponseWriter that writes to memory.
type answer struct {
	header http.Header
	code   int // Zero until the answer has begun.
	body   bytes.Buffer

	users int           // Requests that share it; buffer.mu is held.
	ended chan struct{} // Closed once the answer is made, or is not going to be.
	made  bool
	size  int64 // Of its memory.
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(code int) {
	a.code = cmp.Or(a.code, code)
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}
