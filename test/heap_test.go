package test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/test/programs"
	"waitpoint_exporter/test/size"
)

// TestHeap runs the program with a service over HTTPS whose answers are complete, cut
// off, endless or refusals, and then searches its heap. It must contain no callback URL,
// idempotency key or output, and the key only in the buffers that send it.
func TestHeap(t *testing.T) {
	t.Parallel()
	dumping, err := buildDumping(t)
	if err != nil {
		t.Fatal(err)
	}
	for name, http2 := range size.Of(map[string]bool{"HTTP2": true}, map[string]bool{"HTTP1": false, "HTTP2": true}) {
		t.Run(name, func(t *testing.T) { testHeap(t, dumping, http2) })
	}
}

// buildDumping builds the program with an additional file that dumps the heap at a signal.
func buildDumping(t *testing.T) (string, error) {
	file, err := filepath.Abs("testdata/heapdump.go")
	if err != nil {
		return "", err
	}
	added, err := filepath.Abs("../heapdump.go")
	if err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {added: file}})
	if err != nil {
		return "", err
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		return "", err
	}
	return build(dir, "-overlay="+filepath.Join(dir, "overlay.json"))
}

func testHeap(t *testing.T, dumping string, http2 bool) {
	const key = "tr_prod_sEcReTsEcReTsEcReT"
	service := simulator.New(simulator.Options{Seed: 1})
	environment := service.Environment(simulator.EnvironmentOptions{Key: key})
	environment.Populate(simulator.Population{Seed: 1, Tokens: 3000, Waiting: 300, Odd: true})
	for kind := simulator.FaultStatus; kind <= simulator.FaultNulls; kind++ {
		f := simulator.Fault{Kind: kind, Times: 1}
		switch kind { //nolint:exhaustive // The others need no more fields.
		case simulator.FaultStatus:
			f.Status, f.Body = http.StatusInternalServerError,
				`{"error":"no access for `+key+` to http://x/callback/abc"}`
		case simulator.FaultBody:
			f.Body = `{"data":[{"id":"a","url":"http://x/callback/abc","idempotencyKey":"idem-1234567"`
		case simulator.FaultRedirect:
			f.Header = http.Header{"Location": {"/elsewhere"}}
		}
		service.Inject(f)
	}
	secrets := regexp.MustCompile(`callback/[0-9a-f]+|idem-[0-9]+|approved\\*":`)
	seen := map[string]bool{}
	var answering sync.RWMutex
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answering.RLock()
		defer answering.RUnlock()
		// Compress all answers for which gzip is requested, including short ones.
		compressed := strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
		r.Header.Del("Accept-Encoding")
		if compressed {
			z := &zippingWriter{ResponseWriter: w, zip: gzip.NewWriter(w)}
			defer z.zip.Close() //nolint:errcheck // The client may have disconnected.
			w = z
		}
		service.ServeHTTP(w, r)
	}))
	api.EnableHTTP2 = http2
	api.StartTLS()
	defer api.Close()

	dump, trusted := filepath.Join(t.TempDir(), "heap"), filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})
	if err := os.WriteFile(trusted, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), dumping, "--log.level=debug", "--refresh.interval=1s",
		"--refresh.timeout=1s",
		"--web.listen-address=127.0.0.1:0", "--trigger.api-url="+api.URL)
	// Asynchronous preemption would save a goroutine's registers in memory, with the
	// data that it was copying.
	child.Env = append(os.Environ(), "HEAP_DUMP="+dump, "SSL_CERT_FILE="+trusted, "GODEBUG=asyncpreemptoff=1",
		"TRIGGER_SECRET_KEY="+key)
	logs := new(programs.Log)
	child.Stdout, child.Stderr = logs, logs
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	for !strings.Contains(logs.String(), "refresh succeeded again") || !strings.Contains(logs.String(),
		"history is loaded") {
		time.Sleep(50 * time.Millisecond)
		if t.Context().Err() != nil || strings.Contains(logs.String(), program+": error") {
			t.Fatal(logs.String())
		}
	}
	// An answer that is being read is in the heap, so stop answering.
	answering.Lock()
	defer answering.Unlock()
	time.Sleep(300 * time.Millisecond)
	if err := child.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	programs.WaitFor(t.Context(), t, "the heap's dump", func() error {
		if !strings.Contains(logs.String(), "heap is dumped") {
			return errors.New("the log does not tell of it")
		}
		return nil
	})
	heap, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	ids := 0
	for _, token := range environment.Tokens() {
		if bytes.Contains(heap, []byte(token.ID)) {
			ids++
		}
	}
	if ids < 300 {
		t.Fatalf("only %d ids are in the heap: this is not the heap of the program", ids)
	}
	for _, m := range secrets.FindAllIndex(heap, -1) {
		if what := string(heap[m[0]:m[1]]); !seen[what] {
			seen[what] = true
			t.Errorf("%q is in the heap: %.200q", what, heap[max(0, m[0]-100):m[1]])
		}
	}
	sent := 0
	for _, m := range regexp.MustCompile(key).FindAllIndex(heap, -1) {
		switch before := heap[:m[0]]; {
		case bytes.HasSuffix(before, []byte("TRIGGER_SECRET_KEY=")):
		case bytes.HasSuffix(before, []byte("er ")): // "Bearer " in a connection's send buffer.
			sent++
		case inSendBuffer(before): // The rest of a longer earlier request.
			sent++
		default:
			t.Errorf("the key is in the heap: %.200q", heap[max(0, m[0]-100):m[1]])
		}
	}
	if sent > 20 {
		t.Errorf("the key is in the heap %d times: more than its connections account for", sent)
	}
}

// inSendBuffer reports whether before ends inside a connection's send buffer of 4 KB,
// after the beginning of a request.
func inSendBuffer(before []byte) bool {
	buffer := before[max(0, len(before)-4096):]
	return bytes.Contains(buffer, []byte("GET /api/v1/waitpoints/tokens?")) && bytes.Contains(buffer,
		[]byte(" HTTP/1.1\r\nHost: "))
}

// zippingWriter compresses a handler's answer.
type zippingWriter struct {
	http.ResponseWriter

	zip   *gzip.Writer
	begun bool
}

func (z *zippingWriter) WriteHeader(status int) {
	z.begun = true
	z.Header().Del("Content-Length")
	z.Header().Set("Content-Encoding", "gzip")
	z.ResponseWriter.WriteHeader(status)
}

func (z *zippingWriter) Write(b []byte) (int, error) {
	if !z.begun {
		z.WriteHeader(http.StatusOK)
	}
	return z.zip.Write(b)
}

func (z *zippingWriter) Flush() {
	_ = z.zip.Flush()
	_ = http.NewResponseController(z.ResponseWriter).Flush()
}
