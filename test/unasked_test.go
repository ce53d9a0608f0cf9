package test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestUnaskedAnswer checks that data that a server sends after the end of an answer is
// not in the log, although net/http logs it.
func TestUnaskedAnswer(t *testing.T) {
	t.Parallel()
	const page = `{"data":[],"pagination":{}}`
	asked := make(chan struct{}, 100)
	begun := sync.OnceValue(time.Now) // The time of the first request.
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if time.Since(begun()) < 900*time.Millisecond || r.URL.Query().Has("filter[status]") {
			_, _ = io.WriteString(w, page) // The first listing: more requests follow at once.
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(page), page)
		time.Sleep(50 * time.Millisecond) // The connection is idle then.
		_, _ = io.WriteString(conn, `{"url":"https://api/callback/s3cr3t"}`)
		_ = conn.Close()
		asked <- struct{}{}
	}))
	defer api.Close()
	p := startProcess(t, []string{"TRIGGER_SECRET_KEY=" + goodKey}, "--refresh.interval=1s", "--log.level=debug",
		"--trigger.api-url="+api.URL)
	for range 3 { // Another request may be sent before a connection is idle.
		<-asked
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	if logs := p.logs.String(); strings.Contains(logs, "s3cr3t") || !strings.Contains(logs, "history is loaded") {
		t.Errorf("the log has what was not asked for, or nothing: %s", logs)
	}
}
