// Package programs runs other programs in tests. It starts servers that end with the
// test, writes their files, and waits for conditions.
package programs

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Path returns the path of a program from an environment variable.
func Path(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("%s is not set; it says where the program is", variable)
	}
	return path
}

// Start runs a program until the test ends, with its log in dir. If the test failed,
// it shows the end of the log.
func Start(ctx context.Context, t *testing.T, dir, binary string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, filepath.Base(binary)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	// Programs end in reverse order of their start, so not with the test's context.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // It was ended by our signal.
		_ = log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s, the end of its log:\n%s", filepath.Base(binary), text[max(0, len(text)-4000):])
		}
	})
}

// Write writes a file in dir, creates the folders in its name, and returns its path.
func Write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Listen listens on a free loopback address until the test ends.
func Listen(ctx context.Context, t *testing.T) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// FreeAddress returns a loopback address on which nothing listens.
func FreeAddress(ctx context.Context, t *testing.T) string {
	t.Helper()
	l := Listen(ctx, t)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// WaitFor calls ask until it returns no error. It fails the test after a minute.
func WaitFor(ctx context.Context, t *testing.T, what string, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited for %s: %s", what, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Node runs the folder's check.mjs and returns its output. It first installs the
// packages in the lock file if necessary.
func Node(t *testing.T, dir string, env ...string) []byte {
	t.Helper()
	run := func(name string, args ...string) []byte {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
		out, err := cmd.Output()
		if err != nil {
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				t.Fatalf("%s %v: %v\n%s", name, args, err, exit.Stderr)
			}
			t.Fatalf("%s: %v: install Node.js and npm", name, err)
		}
		return out
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	}
	return run("node", "check.mjs")
}

// A Log is written by a program while a test reads it.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns what has been written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
