package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"go.uber.org/goleak"

	"waitpoint_exporter/collector/server"
	"waitpoint_exporter/test/size"
)

// maker answers with a body of its own kind for each request, and counts how many
// answers it makes at once.
type maker struct {
	size       int
	now, most  atomic.Int64
	beforehand func()
}

func (m *maker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := m.now.Add(1)
	defer m.now.Add(-1)
	for most := m.most.Load(); n > most; most = m.most.Load() {
		m.most.CompareAndSwap(most, n)
	}
	if m.beforehand != nil {
		m.beforehand()
	}
	w.Header().Set("Content-Type", "text/plain")
	body := m.body(r.URL.RawQuery)
	for len(body) > 0 { // In pieces, as the encoder writes.
		n := min(len(body), 10_000)
		_, _ = w.Write(body[:n])
		body = body[n:]
	}
}

func (m *maker) body(kind string) []byte {
	sum := sha256.Sum256([]byte(kind))
	return bytes.Repeat(sum[:], m.size/len(sum))
}

// begin requests the metrics over a connection with a small receive buffer, reads the
// first byte of the answer, and returns a reader of the rest.
func begin(t *testing.T, address, query string) *bufio.Reader {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := errors.Join(conn.(*net.TCPConn).SetReadBuffer(32<<10),
		conn.SetDeadline(time.Now().Add(30*time.Second))); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "GET /?%s HTTP/1.1\r\nHost: x\r\n\r\n", query); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReaderSize(conn, 16)
	if _, err := r.Peek(1); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestBufferUnderLoad checks that two hundred concurrent scrapes, beside fifty clients
// that read a byte at a time, all get their own complete answer; that no more answers
// are made at once than there are turns; and that goroutines and memory are released.
func TestBufferUnderLoad(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	const slow, fast = 50, 200
	m := &maker{size: size.Of(192<<10, 512<<10)}
	handler := server.Buffer(m)
	srv, full := httptest.NewServer(handler), httptest.NewUnstartedServer(handler)
	// So that a client that does not read blocks the server.
	full.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			_ = c.(*net.TCPConn).SetWriteBuffer(32 << 10)
		}
	}
	full.Start()
	defer srv.Close()
	defer full.Close()
	before := heap()

	var clients []*bufio.Reader
	for i := range slow {
		clients = append(clients, begin(t, full.Listener.Addr().String(), fmt.Sprintf("slow-%d", i)))
	}
	// Each client has the first byte of its answer. Most of the answer is not sent yet.
	if n := m.now.Load(); n != 0 {
		t.Errorf("%d answers are being made for clients that read slowly", n)
	}
	ctx, stop := context.WithCancel(t.Context())
	var dripping, scraping sync.WaitGroup
	for i, r := range clients {
		dripping.Go(func() {
			var got bytes.Buffer
			for ctx.Err() == nil {
				b, err := r.ReadByte()
				if err != nil {
					t.Errorf("slow client %d, after %d bytes: %v", i, got.Len(), err)
					return
				}
				got.WriteByte(b)
				time.Sleep(time.Millisecond)
			}
			answer, err := http.ReadResponse(bufio.NewReader(io.MultiReader(&got, r)), nil)
			if err != nil {
				t.Errorf("slow client %d: %v", i, err)
				return
			}
			defer func() { _ = answer.Body.Close() }()
			if body, err := io.ReadAll(answer.Body); err != nil ||
				!bytes.Equal(body, m.body(fmt.Sprintf("slow-%d", i))) {
				t.Errorf("slow client %d: %d bytes that are not its answer, %v", i, len(body), err)
			}
		})
	}
	client := srv.Client()
	for i := range fast {
		scraping.Go(func() {
			kind := fmt.Sprintf("fast-%d", i)
			code, body, err := fetch(ctx, client, srv.URL+"/?"+kind)
			if err != nil || code != http.StatusOK || !bytes.Equal(body, m.body(kind)) {
				t.Errorf("scrape %d: %d, %d bytes, %v", i, code, len(body), err)
			}
		})
	}
	scraping.Wait()
	stop()
	dripping.Wait()
	if most := m.most.Load(); most > 2 {
		t.Errorf("%d answers were made at once", most)
	}
	clear(clients)
	client.CloseIdleConnections()
	srv.Close()
	full.Close()
	// The memory for two answers may be kept.
	if after := heap(); after > before+16<<20 {
		t.Errorf("%d MiB more are in use than before", (after-before)>>20)
	}
}

// heap returns the bytes in use.
func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // Pools need a second.
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func fetch(ctx context.Context, client *http.Client, url string) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, body, err
}

func request(ctx context.Context) *http.Request {
	return httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", http.NoBody)
}

// another returns a request that shares its answer with no other.
func another(ctx context.Context, i int) *http.Request {
	return httptest.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("/metrics?%d", i), http.NoBody)
}

// TestBufferRequests checks the limit of pending requests: 500 are answered however
// long they wait, and one more is refused at once. If the client goes while a request
// waits for its turn, no answer is made.
func TestBufferRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		var made atomic.Int64
		h := server.Buffer(&maker{size: 1000, beforehand: func() { <-open; made.Add(1) }})
		impatient, leave := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		answers := make([]*httptest.ResponseRecorder, 500)
		for i := range answers {
			answers[i] = httptest.NewRecorder()
			waiting.Go(func() { h.ServeHTTP(answers[i], another(t.Context(), i%200)) })
		}
		synctest.Wait()
		refused := httptest.NewRecorder()
		h.ServeHTTP(refused, request(t.Context()))
		if refused.Code != http.StatusServiceUnavailable ||
			refused.Body.String() != "Too many requests; try again.\n" ||
			refused.Header().Get("Retry-After") != "1" {
			t.Errorf("the 501st: %d %q %v", refused.Code, refused.Body, refused.Header())
		}
		close(open)
		waiting.Wait()
		for i, w := range answers {
			if w.Code != http.StatusOK || w.Body.Len() == 0 {
				t.Fatalf("request %d of 500: %d %q", i, w.Code, w.Body)
			}
		}

		open = make(chan struct{})
		made.Store(0)
		for i := range 2 {
			waiting.Go(func() { h.ServeHTTP(httptest.NewRecorder(), another(t.Context(), i)) })
		}
		synctest.Wait()
		for i := range 100 {
			waiting.Go(func() { h.ServeHTTP(httptest.NewRecorder(), another(impatient, i%50)) })
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		close(open)
		waiting.Wait()
		if n := made.Load(); n != 2 {
			t.Errorf("%d answers were made, for 2 clients that were still there", n)
		}
	})
}

// stuckWriter is a client that reads nothing until the test allows it.
type stuckWriter struct {
	*httptest.ResponseRecorder

	read <-chan struct{}
}

func (w stuckWriter) Write(p []byte) (int, error) {
	<-w.read
	return len(p), nil
}

// TestBufferMemory checks the limit of memory for answers that clients do not read:
// beyond 64 MiB a request waits until others have read, and is refused if they do not.
// A single larger answer is served.
func TestBufferMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 8 << 20
		h := server.Buffer(&maker{size: size})
		read := make(chan struct{})
		var stuck sync.WaitGroup
		for i := range 8 {
			stuck.Go(func() { h.ServeHTTP(stuckWriter{httptest.NewRecorder(), read}, another(t.Context(), i)) })
		}
		synctest.Wait()
		ask := func() []*httptest.ResponseRecorder {
			var waiting sync.WaitGroup
			answers := make([]*httptest.ResponseRecorder, 20)
			for i := range answers {
				answers[i] = httptest.NewRecorder()
				waiting.Go(func() { h.ServeHTTP(answers[i], another(t.Context(), i)) })
			}
			waiting.Wait()
			return answers
		}
		for i, w := range ask() {
			if w.Code != http.StatusServiceUnavailable {
				t.Errorf("request %d, with all memory held: %d", i, w.Code)
			}
		}
		if held := heap(); held > 150<<20 {
			t.Errorf("%d MiB are in use", held>>20)
		}
		time.AfterFunc(29*time.Second, func() { close(read) })
		for i, w := range ask() {
			if w.Code != http.StatusOK || w.Body.Len() != size {
				t.Errorf("request %d, with memory free after 29 s: %d, %d bytes", i, w.Code, w.Body.Len())
			}
		}
		stuck.Wait()
	})
	w := httptest.NewRecorder()
	server.Buffer(&maker{size: 65 << 20}).ServeHTTP(w, request(t.Context()))
	if w.Code != http.StatusOK || w.Body.Len() != 65<<20 {
		t.Errorf("a large answer: %d, %d bytes", w.Code, w.Body.Len())
	}
}

// TestBufferBurst checks that a burst of large answers after small ones takes no more
// memory than allowed, and that an answer takes it once, however many requests share it.
func TestBufferBurst(t *testing.T) {
	for name, tc := range map[string]struct{ kinds, want int }{
		"each its own": {60, 64 / 4},
		"all the same": {1, 60},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &maker{size: 1 << 10, beforehand: func() { time.Sleep(time.Millisecond) }}
				h := server.Buffer(m)
				h.ServeHTTP(httptest.NewRecorder(), request(t.Context()))
				m.size = 4<<20 - 1<<10
				var sending atomic.Int64
				read := make(chan struct{})
				var stuck sync.WaitGroup
				for range 2 { // They take all turns, so that the others wait.
					stuck.Go(func() { h.ServeHTTP(httptest.NewRecorder(), another(t.Context(), -1)) })
				}
				for i := range 60 {
					stuck.Go(func() {
						w := httptest.NewRecorder()
						h.ServeHTTP(counted{stuckWriter{w, read}, &sending}, another(t.Context(), i%tc.kinds))
					})
				}
				time.Sleep(time.Second)
				if n := int(sending.Load()); n < tc.want/2 || n > tc.want {
					t.Errorf("%d clients are being sent 4 MiB each, want up to %d", n, tc.want)
				}
				close(read)
				stuck.Wait()
				if n := sending.Load(); n != 60 {
					t.Errorf("%d of 60 were answered", n)
				}
			})
		})
	}
}

// counted counts the answers that are being sent.
type counted struct {
	stuckWriter

	sending *atomic.Int64
}

func (w counted) Write(p []byte) (int, error) {
	w.sending.Add(1)
	return w.stuckWriter.Write(p)
}

// TestBufferShares checks that equal waiting requests share one answer, even if the
// client of the first goes and some read slowly; that different requests, and those
// that came after the answer began, do not share it; and that its memory is released in
// the end.
func TestBufferShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open chan struct{}
		var mu sync.Mutex
		made := map[string]int{}
		h := server.Buffer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			what := r.Method + " " + r.URL.RawQuery + " " + r.Header.Get(
				"Accept",
			) + " " + r.Header.Get(
				"Accept-Encoding",
			)
			made[what]++
			n := made[what]
			wait := open
			mu.Unlock()
			<-wait
			_, _ = fmt.Fprintf(w, "%s, number %d", what, n)
			_, _ = w.Write(make([]byte, 1<<20))
		}))
		read := make(chan struct{})
		changes := []func(*http.Request){
			func(r *http.Request) { r.Method = http.MethodHead },
			func(r *http.Request) { r.Header.Set("Accept", "text/plain") },
			func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip") },
		}
		for round := range 21 { // So often that the 4 MiB of each round would exceed the limit if they were kept.
			clear(made)
			open = make(chan struct{})
			var running sync.WaitGroup
			for i := range 2 { // They take all turns.
				running.Go(func() { h.ServeHTTP(httptest.NewRecorder(), another(t.Context(), i)) })
			}
			synctest.Wait()
			impatient, leave := context.WithCancel(t.Context())
			running.Go(func() { h.ServeHTTP(httptest.NewRecorder(), request(impatient)) })
			synctest.Wait()
			answers := make([]*httptest.ResponseRecorder, 20)
			for i := range answers {
				answers[i] = httptest.NewRecorder()
				running.Go(func() { h.ServeHTTP(answers[i], request(t.Context())) })
			}
			running.Go(func() { h.ServeHTTP(stuckWriter{httptest.NewRecorder(), read}, request(t.Context())) })
			other := request(t.Context())
			changes[round%len(changes)](other)
			running.Go(func() { h.ServeHTTP(httptest.NewRecorder(), other) })
			synctest.Wait()
			leave()
			synctest.Wait()
			before := open
			mu.Lock()
			open = make(chan struct{})
			mu.Unlock()
			close(before) // The two end, and the two kinds of answers begin.
			synctest.Wait()
			late := httptest.NewRecorder()
			running.Go(func() { h.ServeHTTP(late, request(t.Context())) })
			synctest.Wait()
			close(open)
			synctest.Wait()
			if len(made) != 4 || made["GET   "] != 2 {
				t.Fatalf("made: %v", made)
			}
			for i, w := range answers {
				if !strings.HasPrefix(w.Body.String(), "GET   , number 1") {
					t.Fatalf("request %d: %d %.30q", i, w.Code, w.Body)
				}
			}
			if !strings.HasPrefix(late.Body.String(), "GET   , number 2") {
				t.Fatalf("a request that came when the answer was begun: %d %.30q", late.Code, late.Body)
			}
			close(read)
			running.Wait()
			read = make(chan struct{})
		}
	})
}

// TestBufferIsUnseen checks that an answer is the same with Buffer and without, except
// for the header with its length.
func TestBufferIsUnseen(t *testing.T) {
	inner := http.NewServeMux()
	inner.Handle("/long", &maker{size: 100_000})
	inner.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<p>short") })
	inner.HandleFunc("/empty", func(http.ResponseWriter, *http.Request) {})
	inner.HandleFunc("/error", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not gathered", http.StatusInternalServerError)
	})
	compress, err := gzhttp.NewWrapper()
	if err != nil {
		t.Fatal(err)
	}
	servers := [2]*httptest.Server{
		httptest.NewServer(compress(inner)),
		httptest.NewServer(server.Buffer(compress(inner))),
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	for _, srv := range servers {
		defer srv.Close()
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		for _, path := range []string{"/long", "/short", "/empty", "/error", "/nope"} {
			for _, encoding := range []string{"", "gzip", "zstd, gzip", "br"} {
				var texts [2]string
				for i, srv := range servers {
					r, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, http.NoBody)
					if err != nil {
						t.Fatal(err)
					}
					r.Header.Set("Accept-Encoding", encoding)
					answer, err := transport.RoundTrip(r)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(answer.Body)
					_ = answer.Body.Close()
					if i == 1 && method == http.MethodGet && answer.ContentLength != int64(len(body)) {
						t.Errorf(
							"%s %s %q: length %d, but %d bytes",
							method,
							path,
							encoding,
							answer.ContentLength,
							len(body),
						)
					}
					answer.Header.Del("Content-Length")
					answer.Header.Del("Date")
					if method == http.MethodHead {
						answer.Header.Del("Content-Type") // Guessed from the body, which only one of the two has.
					}
					texts[i] = fmt.Sprint(answer.StatusCode, answer.Header, err, len(body), sha256.Sum256(body))
				}
				if texts[0] != texts[1] {
					t.Errorf("%s %s %q:\nwithout %s\nwith    %s", method, path, encoding, texts[0], texts[1])
				}
			}
		}
	}
}

// TestBufferPanic checks that a panic gives back its turn, and that the next answer
// contains nothing of the failed one.
func TestBufferPanic(t *testing.T) {
	h := server.Buffer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.Path)
		if r.URL.Path == "/panic" {
			panic(http.ErrAbortHandler)
		}
	}))
	for range 10 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is swallowed")
				}
			}()
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/panic",
				http.NoBody))
		}()
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request(t.Context()))
	if w.Code != http.StatusOK || strings.TrimSpace(w.Body.String()) != "/metrics" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}
