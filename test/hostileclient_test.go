package test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sync/errgroup"

	"waitpoint_exporter/client/simulator"
)

// exchange sends a raw text while it reads answers, until the server closes the
// connection, and returns the answers' codes. An answer that is cut off, or a
// connection that is not closed in time, is an error.
func exchange(t *testing.T, address string, text io.Reader) ([]int, error) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		return nil, err
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(8 * time.Second)); err != nil {
		return nil, err
	}
	sending.Go(func() { _, _ = io.Copy(conn, text) }) // The server need not read all of it.
	var codes []int
	in := bufio.NewReader(conn)
	for {
		if _, err := in.Peek(1); errors.Is(err, os.ErrDeadlineExceeded) {
			return codes, err
		} else if err != nil { // EOF, or a reset because the server did not read everything.
			return codes, nil //nolint:nilerr // The end of the connection is expected.
		}
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			return codes, err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		if err = errors.Join(err, answer.Body.Close()); err != nil {
			return codes, err
		}
		codes = append(codes, answer.StatusCode)
	}
}

// endless is a reader that repeats its text without end.
type endless string

func (e endless) Read(p []byte) (int, error) {
	n := 0
	for n+len(e) <= len(p) {
		n += copy(p[n:], e)
	}
	return n, nil
}

// plain returns a request that closes the connection.
func plain(method, target string, header ...string) string {
	return method + " " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + strings.Join(append(header,
		"\r\n"), "\r\n")
}

type hostileRequest struct {
	name string
	text io.Reader
	want []int // Each answer is one of these.
	// The minimum number of answers. Zero: 1.
	answers int
}

func hostileRequests() []hostileRequest {
	var out []hostileRequest
	add := func(name, text string, want ...int) {
		out = append(out, hostileRequest{name: name, text: strings.NewReader(text), want: want})
	}
	// Headers.
	add("a header of 1 MB", plain("GET", "/metrics", "X: "+strings.Repeat("x", 1<<20)), 431)
	add("50,000 headers", plain("GET", "/metrics", strings.TrimSuffix(strings.Repeat("X: y\r\n", 50_000), "\r\n")), 431)
	add("a header without end", "GET / HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 1<<20), 431)
	add("no colon", plain("GET", "/", "nonsense"), 400)
	add("NUL in a header", plain("GET", "/", "X: a\x00b"), 400)
	add("folded header", plain("GET", "/", "X: a", " b"), 200, 400)
	add("two lengths", plain("POST", "/-/reload", "Content-Length: 1", "Content-Length: 2")+"ab", 400)
	add("length and chunks", plain("POST", "/-/reload", "Content-Length: 4",
		"Transfer-Encoding: chunked")+"0\r\n\r\n", 400, 403)
	add("a negative length", plain("POST", "/-/reload", "Content-Length: -1"), 400)
	add("chunks that are none", plain("POST", "/-/reload", "Transfer-Encoding: chunked")+"zz\r\n", 400, 403)
	add("an unknown coding", plain("GET", "/metrics", "Transfer-Encoding: gzip, x"), 400, 501)
	add("an expectation", plain("POST", "/-/reload", "Expect: 100-continue", "Content-Length: 1000000"), 403)
	add("Accept of 60 KB", plain("GET", "/metrics", "Accept: "+strings.Repeat("text/plain;q=0.1,", 60<<10/17)), 200)
	add("Accept-Encoding of 60 KB", plain("GET", "/metrics", "Accept-Encoding: "+strings.Repeat("gzip;q=0.1,",
		60<<10/11)), 200)
	add("Accept that is nonsense", plain("GET", "/tokens", "Accept: ;;;,,,/;q=NaN,\xff"), 200)
	// Paths.
	for _, target := range []string{
		"//metrics", "/../etc/passwd", "/metrics/%2e%2e", "/metrics/..%2f..%2fetc/passwd", "/-/../",
		"/-/../metrics", "/./tokens", "/%00",
		"/metrics%00", "/metrics/", "/tokens/x", `/..\..\x`, "/" + strings.Repeat("x", 60<<10),
		strings.Repeat("/..", 20<<10),
		"http://elsewhere/metrics", "/metrics#x", "/%6detrics", "/metrics;x=y",
	} {
		add("path "+target[:min(len(target), 30)], plain("GET", target), 200, 301, 307, 404)
	}
	for _, target := range []string{"/\x00", "/metrics\x00", "/%zz", "/%", "metrics", "", "*", "http://[::1/", "/ x"} {
		add(fmt.Sprintf("path %q", target), plain("GET", target), 400)
	}
	add("a path of 1 MB", plain("GET", "/"+strings.Repeat("x", 1<<20)), 431)
	// Methods.
	for _, target := range []string{
		"/metrics", "/", "/tokens", "/runbook", "/-/healthy", "/-/ready", "/-/reload",
		"/nope",
	} {
		for _, method := range []string{
			"POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "OPTIONS", "PROPFIND",
			"get", "M-SEARCH",
		} {
			want := 405
			switch {
			case target == "/nope":
				want = 404
			case target == "/-/reload" && (method == "POST" || method == "PUT"):
				want = 403
			}
			add(method+" "+target, plain(method, target), want)
		}
	}
	add("CONNECT elsewhere", plain("CONNECT", "example.org:443"), 400, 404, 405)
	add("OPTIONS of the server", plain("OPTIONS", "*"), 200)
	add("a method that is none", plain("GE T", "/"), 400)
	// Parameters.
	flood := strings.Repeat("&x=1", 100_000)
	for _, query := range []string{
		strings.Repeat("stuck=1h&", 1500), "stuck=1h&stuck=1h", "stuck=-1h", "stuck=99999999999999999999h",
		"stuck=1e9h", "near_timeout=-5m",
		"near_timeout=NaN", "overdue=2", "overdue=-1", "after=99999999999999999999,a,b,c", "after=1,2",
		"before=,,,", "after=1,%zz,b,c", "tag=%zz",
		"tag=%", "%zz=1", "format=xml", "format=json&stuck=%00", "x;y=1", "environment=%00", "nope=1",
	} {
		add("query "+query[:min(len(query), 30)], plain("GET", "/tokens?"+query), 400)
		add("query as JSON "+query[:min(len(query), 30)], plain("GET", "/tokens?"+query,
			"Accept: application/json"), 400)
	}
	for _, query := range []string{
		"after=-9223372036854775808,a,b,c", "before=9223372036854775807,a,b,c", "stuck=0s", "stuck=290y",
		"near_timeout=290y", "tag=%00%ff",
		"tag=" + strings.Repeat("x", 15<<10), "",
	} {
		add("query "+query[:min(len(query), 30)], plain("GET", "/tokens?"+query), 200)
	}
	add("a query of 40 KB", plain("GET", "/tokens?x="+strings.Repeat("x", 40<<10)), 414)
	add("100,000 parameters", plain("GET", "/tokens?"+flood), 431)
	add("a query of 1 MB", plain("GET", "/tokens?"+strings.Repeat("x", 1<<20)), 431)
	add("names by the thousand", plain("GET", "/metrics?"+strings.Repeat("name[]=up&", 5000)), 200)
	// Bodies.
	for _, target := range []string{"/metrics", "/-/reload"} {
		for method, want := range map[string][]int{"GET": {200, 405}, "POST": {403, 405}} {
			out = append(out, hostileRequest{
				name: method + " " + target + " with a body that never ends",
				want: want, text: io.MultiReader(
					strings.NewReader(plain(method, target, "Transfer-Encoding: chunked")), endless("5\r\nhello\r\n")),
			})
		}
	}
	add("a body that is shorter", plain("POST", "/-/reload", "Content-Length: 5")+"a", 403)
	// Protocols.
	const pair = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /tokens?nope HTTP/1.1\r\nHost: x\r\n\r\n"
	out = append(out, hostileRequest{name: "pipelined", text: strings.NewReader(strings.Repeat(pair, 50) +
		plain("GET", "/")), want: []int{200, 400}, answers: 101})
	add("HTTP/1.0", "GET /metrics HTTP/1.0\r\n\r\n", 200)
	add("HTTP/1.1 without Host", "GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n", 400)
	add("two Hosts", plain("GET", "/", "Host: y"), 400)
	add("a Host that is none", "GET / HTTP/1.1\r\nHost: a b\x7f\r\nConnection: close\r\n\r\n", 400)
	add("HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 400)
	add("an upgrade", plain("GET", "/metrics", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), 200)
	add("HTTP/9.9", "GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505)
	add("HTTP/0.9", "GET /\r\n\r\n", 400)
	add("TLS", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"+strings.Repeat("\x00", 160)+"\r\n\r\n", 400)
	add("nothing but line ends", strings.Repeat("\r\n", 100), 400)
	return out
}

// TestHostileClient sends invalid and excessive requests to the built program, while
// other clients do not finish their header or do not read. Each answer must be complete
// and have an expected code. No handler may panic, memory must stay bounded, and the
// program must still answer afterwards.
func TestHostileClient(t *testing.T) {
	t.Parallel()
	const key = "tr_prod_0123456789"
	service := simulator.New(simulator.Options{Seed: 1})
	service.Environment(simulator.EnvironmentOptions{Key: key}).Populate(simulator.Population{
		Seed: 1, Tokens: 2000,
		Waiting: 500, Odd: true,
	})
	api := httptest.NewServer(service)
	defer api.Close()
	p := startProcess(t, []string{"TRIGGER_SECRET_KEY=" + key}, "--trigger.api-url="+api.URL, "--log.level=debug")
	client := newClient(t)
	p.await(t, client, `history_loaded{environment="prod"} 1`)

	// These connections stay open during the whole test.
	for i := range 200 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		text := "GET /metrics HTTP/1.1\r\nHost: x\r\nX: sl"
		if i%4 == 0 {
			text = strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 10) // Its answers are never read.
			if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
	}
	var answered atomic.Int64
	var sending errgroup.Group
	sending.SetLimit(8)
	for _, r := range hostileRequests() {
		sending.Go(func() error {
			codes, err := exchange(t, p.address, r.text)
			if err != nil || len(codes) < max(1, r.answers) {
				t.Errorf("%s: answers %v, %v", r.name, codes, err)
			}
			for _, code := range codes {
				if !slices.Contains(r.want, code) {
					t.Errorf("%s: %d, want one of %v", r.name, code, r.want)
				}
			}
			answered.Add(int64(len(codes)))
			return nil
		})
	}
	_ = sending.Wait() // Errors have been reported.
	for _, path := range []string{"/metrics", "/tokens", "/", "/-/healthy", "/-/ready", "/runbook"} {
		if code, body, err := p.get(t.Context(), client, path); err != nil || code != http.StatusOK || body == "" {
			t.Errorf("%s afterwards: %d %q, %v", path, code, body, err)
		}
	}
	if logs := p.logs.String(); strings.Contains(logs, "panic") || strings.Contains(logs, "superfluous") {
		t.Errorf("the log has a panic: %s", logs)
	}
	if proc, err := procfs.NewProc(p.cmd.Process.Pid); err == nil { // On Linux.
		status, err := proc.NewStatus()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d answers; %d MiB at the peak", answered.Load(), status.VmHWM>>20)
		if status.VmHWM > 160<<20 {
			t.Errorf("%d MiB at the peak", status.VmHWM>>20)
		}
	}
}
