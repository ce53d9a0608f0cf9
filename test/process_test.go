// Package test runs the built program as a process, because its behaviour with signals,
// sockets, files and clients is visible only from outside.
package test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"waitpoint_exporter/test/programs"
)

const (
	program = "waitpoint_exporter"
	goodKey = "tr_prod_0123456789abcdef"
)

// TestMain checks that no goroutine is left behind, and removes the binary. The tests
// wait for programs most of the time, so more run side by side than there are CPUs.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(binaryDir)
		os.Exit(code)
	}))
}

var binaryDir string

// binary builds the program, once for all tests that run it as a process.
var binary = sync.OnceValues(func() (string, error) {
	var err error
	if binaryDir, err = os.MkdirTemp("", program); err != nil {
		return "", err
	}
	return build(binaryDir)
})

// build builds the program in dir, without what only debuggers need.
func build(dir string, args ...string) (string, error) {
	path := filepath.Join(dir, program)
	args = append(append([]string{"build", "-ldflags=-w", "-o", path}, args...), "waitpoint_exporter")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil { //nolint:noctx // Ends by itself.
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
}

// A process is a running instance of the built program.
type process struct {
	cmd     *exec.Cmd
	address string
	// Dir is its working directory and the directory of its temporary files.
	dir  string
	logs *programs.Log
	// Ended is closed after it has ended, with the result in err.
	ended chan struct{}
	err   error
}

// startProcess runs the built program on a free loopback port, in an empty directory and
// with only env in its environment. It ends with the test.
func startProcess(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := launch(t, env, append([]string{"--web.listen-address=127.0.0.1:0"}, args...)...)
	listening := regexp.MustCompile(`msg="Listening on" address=(\S+)`)
	for range 5000 {
		if m := listening.FindStringSubmatch(p.logs.String()); m != nil {
			p.address = m[1]
			return p
		}
		select {
		case <-p.ended:
			t.Fatalf("the program ended: %v: %s", p.err, p.logs)
		case <-time.After(2 * time.Millisecond):
		}
	}
	t.Fatalf("the program does not listen: %s", p.logs)
	return nil
}

// launch runs the built program without waiting for it to listen.
func launch(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{dir: t.TempDir(), logs: new(programs.Log), ended: make(chan struct{})}
	p.cmd = exec.CommandContext(t.Context(), path, args...)
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = p.dir, append([]string{"TMPDIR=" + p.dir}, env...), p.logs
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() { <-p.ended })
	return p
}

// get requests a path and returns the answer's code and body.
func (p *process) get(ctx context.Context, client *http.Client, path string) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body), errors.Join(err, answer.Body.Close())
}

// await requests the metrics until they contain all texts.
func (p *process) await(t *testing.T, client *http.Client, texts ...string) {
	t.Helper()
	var body string
	var err error
	for range 5000 {
		missing := false
		_, body, err = p.get(t.Context(), client, "/metrics")
		for _, want := range texts {
			missing = missing || !strings.Contains(body, want)
		}
		if err == nil && !missing {
			return
		}
		select {
		case <-p.ended:
			t.Fatalf("the program ended: %v: %s", p.err, p.logs)
		case <-time.After(2 * time.Millisecond):
		}
	}
	t.Fatalf("the metrics never have %q: %v: %s", texts, err, body)
}

// newClient returns a client that leaves no connection behind.
func newClient(t *testing.T) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 300}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
