package server

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
)

const (
	// How many answers are made at once. More would compete for the same processors.
	maxMakers = 2
	// How many requests may be pending: waiting for their turn, or sending to a slow
	// client. Further ones get 503.
	maxHeld = 500
	// The memory for answers of pending requests. A single larger answer takes all of
	// it.
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
// A request reserves memory for the largest of the recent answers. With too many
// requests, or after waiting too long, the answer is 503.
func Buffer(next http.Handler) http.Handler {
	return &buffer{
		next: next, held: semaphore.NewWeighted(maxHeld), memory: semaphore.NewWeighted(maxHeldBytes),
		makers: semaphore.NewWeighted(maxMakers),
	}
}

type buffer struct {
	next                 http.Handler
	held, memory, makers *semaphore.Weighted
	waiting              singleflight.Group // Answers that wait for their turn.
	largest              atomic.Int64       // Bytes of the largest recent answer; it falls with each smaller one.
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
	size := min(b.largest.Load(), maxHeldBytes)
	if b.memory.Acquire(ctx, size) != nil {
		tooMany(w)
		return
	}
	defer b.memory.Release(size)
	a := b.answer(ctx, r)
	if a == nil {
		tooMany(w) // If the client has gone, nobody reads this.
		return
	}
	maps.Copy(w.Header(), a.header)
	w.Header().Set("Content-Length", strconv.Itoa(a.body.Len()))
	w.WriteHeader(cmp.Or(a.code, http.StatusOK))
	_, _ = w.Write(a.body.Bytes()) // It only fails if the client has gone.
}

func tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, "Too many requests; try again.", http.StatusServiceUnavailable)
}

// answer returns the answer that equal requests share, or nil if ctx ends first.
func (b *buffer) answer(ctx context.Context, r *http.Request) *answer {
	key := strings.Join([]string{
		r.Method, r.URL.RawQuery, strings.Join(r.Header["Accept"], ","), strings.Join(r.Header["Accept-Encoding"], ","),
	}, "\n")
	for ctx.Err() == nil {
		made, err, _ := b.waiting.Do(key, func() (any, error) {
			if err := b.makers.Acquire(ctx, 1); err != nil {
				return nil, err
			}
			defer b.makers.Release(1)
			b.waiting.Forget(key) // Requests from now on get the next answer.
			a := &answer{header: http.Header{}}
			// Others may wait for the answer when this client has gone.
			b.next.ServeHTTP(a, r.WithContext(context.WithoutCancel(ctx)))
			// Of two concurrent stores one may be lost; the next answer repeats it.
			b.largest.Store(max(b.largest.Load()*7/8, int64(a.body.Len())))
			return a, nil
		})
		if err == nil {
			return made.(*answer) //nolint:forcetypeassert // It is what the function returns.
		}
		// The client whose request made the answer has gone: try again.
	}
	return nil
}

// answer is an http.ResponseWriter that writes to memory.
type answer struct {
	header http.Header
	code   int // Zero until the answer has begun.
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(code int) {
	a.code = cmp.Or(a.code, code)
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}
