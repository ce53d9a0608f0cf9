package test

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"waitpoint_exporter/test/programs"
)

// notifications listens like a service manager. It returns the environment variable
// that requests notifications, and a function that returns the next one, "" if there is
// none.
func notifications(t *testing.T) (env string, next func(wait time.Duration) string) {
	t.Helper()
	address := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return "NOTIFY_SOCKET=" + address.Name, func(wait time.Duration) string {
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		message := make([]byte, 1024)
		n, err := conn.Read(message)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		return string(message[:n])
	}
}

// TestNotify checks that a service manager is notified of readiness when every address
// answers, and of the shutdown when it begins.
func TestNotify(t *testing.T) {
	env, next := notifications(t)
	var args []string
	var addresses []string
	for range 2 {
		address := programs.FreeAddress(t.Context(), t)
		addresses = append(addresses, address)
		args = append(args, "--web.listen-address="+address)
	}
	p := launch(t, []string{env}, append(args, "--demo")...)
	if got := next(20 * time.Second); got != "READY=1" {
		t.Fatalf("first notification %q: %s", got, p.logs)
	}
	client := newClient(t)
	for _, p.address = range addresses {
		if code, _, err := p.get(t.Context(), client, "/-/healthy"); code != http.StatusOK || err != nil {
			t.Errorf("ready, but %s answers %d, %v", p.address, code, err)
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := next(20 * time.Second); got != "STOPPING=1" {
		t.Errorf("second notification %q", got)
	}
	if <-p.ended; p.err != nil {
		t.Errorf("the program ended with %v", p.err)
	}
}

// TestNotReady checks that the program never reports readiness if it cannot listen on
// every address.
func TestNotReady(t *testing.T) {
	env, next := notifications(t)
	taken := programs.Listen(t.Context(), t)
	p := launch(t, []string{env}, "--demo", "--web.listen-address=127.0.0.1:0",
		"--web.listen-address="+taken.Addr().String())
	if <-p.ended; p.err == nil {
		t.Error("the program ends without an error")
	}
	for message := next(100 * time.Millisecond); message != ""; message = next(100 * time.Millisecond) {
		if message == "READY=1" {
			t.Errorf("ready: %s", p.logs)
		}
	}
}
