//go:build unix

package config_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"waitpoint_exporter/collector/config"
	"waitpoint_exporter/collector/config/access"
)

const piped = "tr_prod_sk_0123456789"

// pipe makes a named pipe.
func pipe(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// deliver writes to a pipe once it has a reader.
func deliver(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0); err != nil {
		t.Error(err)
	}
}

// release ends a read that is under way.
func release(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0) // This never blocks.
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Error(err)
	}
}

// TestKeyBlocks checks that a key file that blocks causes an error with its name, and
// that any number of attempts leaves only one goroutine behind.
func TestKeyBlocks(t *testing.T) {
	path := pipe(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	key := access.Key{File: path, From: "secret_key_file"}
	late, over := key.Source(t.Context(), time.Millisecond), key.Source(ended, time.Hour)
	before := runtime.NumGoroutine()
	for range 50 {
		if _, err := late(); err == nil || !strings.Contains(err.Error(),
			"secret_key_file: read "+path+": neither end of line nor end of file came within 1ms") {
			t.Fatal(err)
		}
		if _, err := over(); err == nil {
			t.Fatal("no error")
		}
	}
	// One, and those that timers and other tests may have now.
	if after := runtime.NumGoroutine(); after > before+10 {
		t.Errorf("%d goroutines, %d before", after, before)
	}
	deliver(t, path, piped)
	if got, err := key.Get(); got != piped || err != nil {
		t.Errorf("%q, %v once somebody writes", got, err)
	}
	release(t, path)
}

// TestKeyFileReplaced checks that a file that blocks is not waited for once another one
// has replaced it, and that the one that blocked no longer counts.
func TestKeyFileReplaced(t *testing.T) {
	const late = "tr_prod_sk_9876543210"
	for name, source := range map[string]func(path string) (string, error){
		"a key": func(path string) (string, error) {
			return access.Key{File: path, From: "secret_key_file"}.Source(t.Context(), 300*time.Millisecond)()
		},
		"a configuration": func(path string) (string, error) {
			read := make(chan error, 1)
			var content []byte
			go func() {
				var err error
				content, err = access.ReadFile(path)
				read <- err
			}()
			select {
			case err := <-read:
				return string(content), err
			case <-time.After(300 * time.Millisecond):
				return "", context.DeadlineExceeded
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := pipe(t)
			if got, err := source(path); err == nil {
				t.Fatalf("%q from a pipe without a writer", got)
			}
			old := path + ".old"
			if err := os.Rename(path, old); err != nil {
				t.Fatal(err)
			}
			if _, err := source(path); err == nil || !strings.Contains(err.Error(), "no such file") {
				t.Errorf("%v without the file", err)
			}
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := source(path); err == nil {
				t.Fatalf("%q from another pipe without a writer", got)
			}
			release(t, old)
			if err := os.Rename(write(t, "new", piped), path+".new"); err != nil {
				t.Fatal(err)
			}
			blocked := path + ".blocked"
			if err := os.Rename(path, blocked); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if got, err := source(path); got != piped || err != nil {
					t.Fatalf("%q, %v from the file that replaced it", got, err)
				}
			}
			deliver(t, blocked, late)
			if got, err := source(path); got != piped || err != nil {
				t.Errorf("%q, %v after the pipe delivered its own", got, err)
			}
		})
	}
}

// TestPipeReplaced checks that what a pipe delivers does not count once another one, which
// blocks too, has replaced it.
func TestPipeReplaced(t *testing.T) {
	path := pipe(t)
	source := access.Key{File: path, From: "secret_key_file"}.Source(t.Context(), 300*time.Millisecond)
	old := path + ".old"
	for range 2 {
		if got, err := source(); err == nil {
			t.Fatalf("%q from a pipe without a writer", got)
		}
		if _, err := os.Stat(old); err == nil {
			break
		}
		if err := errors.Join(os.Rename(path, old), syscall.Mkfifo(path, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	deliver(t, old, "tr_prod_sk_9876543210")
	if got, err := source(); err == nil {
		t.Errorf("%q from the pipe that was replaced", got)
	}
	deliver(t, path, piped)
	if got, err := source(); got != piped || err != nil {
		t.Errorf("%q, %v from the pipe that replaced it", got, err)
	}
}

// TestKeyPipeStaysOpen checks that the error for a key without an end does not say that
// nothing came.
func TestKeyPipeStaysOpen(t *testing.T) {
	path := pipe(t)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(piped); err != nil {
		t.Fatal(err)
	}
	key := access.Key{File: path, From: "secret_key_file"}
	_, err = key.Source(t.Context(), 50*time.Millisecond)()
	if want := "neither end of line nor end of file came within 50ms: a pipe without a writer or with one " +
		"that keeps it open, or a mount that hangs"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want an error with %q", err, want)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestKeyPipe checks that a pipe works like a file, however often its writer repeats
// the key.
func TestKeyPipe(t *testing.T) {
	for name, text := range map[string]string{
		"no end of line": piped, "a line": piped + "\n",
		"two writers at once": piped + "\n" + piped + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := pipe(t)
			key := access.Key{File: path, From: "secret_key_file"}
			go deliver(t, path, text)
			for range 3 {
				if got, err := key.Get(); got != piped || err != nil {
					t.Fatalf("%q, %v", got, err)
				}
			}
			const next = "tr_prod_sk_9876543210"
			go deliver(t, path, next)
			for got := ""; got != next; {
				var err error
				if got, err = key.Get(); got != next && got != piped || err != nil {
					t.Fatalf("%q, %v", got, err)
				}
			}
			release(t, path)
		})
	}
}

// TestTransportBlocks checks that a request waits for files of certificates and headers
// that block only until its context ends.
func TestTransportBlocks(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	for name, settings := range map[string]string{
		"a CA":     "tls_config: {ca_file: %s}",
		"a header": "tls_config: {insecure_skip_verify: true}, http_headers: {X-Who: {files: [%s]}}",
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, "file", ca)
			if name == "a header" {
				path = write(t, "file", "me")
			}
			text := "environments: [{name: a, secret_key: " + piped + ", " + fmt.Sprintf(settings, path) + "}]\n"
			environments, err := config.ReadFile(write(t, "config.yml", text), os.Getenv)
			if err != nil {
				t.Fatal(err)
			}
			transport, err := access.Transport(t.Context(), environments[0].HTTP)
			if err != nil {
				t.Fatal(err)
			}
			get := func(ctx context.Context) error {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := transport.RoundTrip(req)
				if err == nil {
					err = resp.Body.Close()
				}
				return err
			}
			if err := get(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(pipe(t), path); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			if err := get(ctx); err == nil || !strings.Contains(err.Error(), "read "+path+": context deadline exceeded") {
				t.Errorf("%v with a file that blocks", err)
			}
			release(t, path)
		})
	}
}
