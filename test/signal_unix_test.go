//go:build unix

package test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSignalAtStart checks what a signal does while the configuration is loaded for the
// first time: SIGHUP nothing, the others end the program as they do later.
func TestSignalAtStart(t *testing.T) {
	for _, tc := range []struct {
		signal syscall.Signal
		ends   bool
	}{{syscall.SIGHUP, false}, {syscall.SIGTERM, true}, {syscall.SIGINT, true}} {
		t.Run(tc.signal.String(), func(t *testing.T) {
			key := filepath.Join(t.TempDir(), "key")
			if err := syscall.Mkfifo(key, 0o600); err != nil {
				t.Fatal(err)
			}
			p := launch(t, nil, "--trigger.secret-key-file="+key, "--trigger.api-url=http://127.0.0.1:1",
				"--web.listen-address=127.0.0.1:0")
			loading := make(chan *os.File, 1)
			go func() {
				pipe, err := os.OpenFile(key, os.O_WRONLY, 0) // Blocks until the program opens the key's file.
				if err != nil {
					t.Error(err)
				}
				loading <- pipe
			}()
			var pipe *os.File
			select {
			case pipe = <-loading:
			case <-p.ended:
				t.Fatalf("the program ended: %v: %s", p.err, p.logs)
			}
			defer func() { _ = pipe.Close() }()
			if err := p.cmd.Process.Signal(tc.signal); err != nil {
				t.Fatal(err)
			}
			if tc.ends {
				<-p.ended
				if code := p.cmd.ProcessState.ExitCode(); code != 0 || p.logs.String() != "" {
					t.Errorf("exit code %d: %s", code, p.logs)
				}
				return
			}
			_, _ = pipe.WriteString(goodKey) // It fails if the program has ended, which is shown below.
			_ = pipe.Close()
			for range 5000 {
				if strings.Contains(p.logs.String(), "Listening on") {
					return
				}
				select {
				case <-p.ended:
					t.Fatalf("the program ended: %v: %s", p.err, p.logs)
				case <-time.After(2 * time.Millisecond):
				}
			}
			t.Fatalf("the program does not listen: %s", p.logs)
		})
	}
}

// TestSignalAtCheck checks that a signal ends a check of a configuration that blocks.
func TestSignalAtCheck(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "config.yml")
			if err := syscall.Mkfifo(config, 0o600); err != nil {
				t.Fatal(err)
			}
			p := launch(t, nil, "--config.check", "--config.file="+config)
			pipe, err := os.OpenFile(config, os.O_WRONLY, 0) // Blocks until the program opens it.
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = pipe.Close() }()
			if err := p.cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			select {
			case <-p.ended:
			case <-time.After(10 * time.Second):
				t.Error("the check goes on")
			}
		})
	}
}
