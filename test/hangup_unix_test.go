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

// TestHangupAtStart checks that a SIGHUP while the configuration is loaded for the first
// time does not end the program.
func TestHangupAtStart(t *testing.T) {
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
	select {
	case pipe := <-loading:
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		_, _ = pipe.WriteString(goodKey) // It fails if the program has ended, which is shown below.
		_ = pipe.Close()
	case <-p.ended:
		t.Fatalf("the program ended: %v: %s", p.err, p.logs)
	}
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
}
