package test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/test/size"
)

var kills = flag.Int("kills", size.Of(3, 10), "how often TestKill kills the program")

// teams are the tags of the tokens.
var teams = []string{"team:growth", "team:legal", "team:payments"}

func newEnvironment(t *testing.T) (*simulator.Environment, *httptest.Server) {
	t.Helper()
	service := simulator.New(simulator.Options{Seed: 1})
	environment := service.Environment(simulator.EnvironmentOptions{
		Key:   goodKey,
		Limit: simulator.Limit{Size: 1 << 20, Refill: 1 << 20},
	})
	environment.Populate(simulator.Population{
		Seed: 1, Tokens: 1500, Waiting: 300,
		Tags: func(rng *rand.Rand) []string { return []string{teams[rng.IntN(len(teams))]} },
	})
	server := httptest.NewServer(service)
	t.Cleanup(server.Close)
	return environment, server
}

// change changes the environment: some tokens finish, some are created.
func change(environment *simulator.Environment, rng *rand.Rand) {
	for _, token := range environment.Tokens() {
		if token.Status == "WAITING" && rng.IntN(50) == 0 {
			environment.Finish(token.ID, []string{"COMPLETED", "TIMED_OUT"}[rng.IntN(2)])
		}
	}
	for range rng.IntN(10) {
		environment.Add(simulator.Token{CreatedAt: time.Now(), Tags: []string{teams[rng.IntN(len(teams))]}})
	}
}

// truth recounts the environment and returns the samples that the metrics must have.
func truth(environment *simulator.Environment) []string {
	counts := map[string]int{}
	without := 0
	for _, status := range []string{"WAITING", "COMPLETED", "TIMED_OUT"} {
		counts[`triggerdev_waitpoint_tokens{environment="prod",status="`+status+`"}`] = 0
	}
	for _, token := range environment.Tokens() {
		counts[`triggerdev_waitpoint_tokens{environment="prod",status="`+token.Status+`"}`]++
		counts[`triggerdev_waitpoint_tagged_tokens{environment="prod",status="`+token.Status+`",tag="`+token.Tags[0]+`"}`]++
		if token.Status == "WAITING" && token.TimeoutAt.IsZero() {
			without++
		}
	}
	counts[`triggerdev_waitpoint_tokens_without_timeout{environment="prod"}`] = without
	var out []string
	for series, n := range counts {
		out = append(out, fmt.Sprintf("\n%s %d\n", series, n))
	}
	return out
}

// TestKill kills the program at random times during its start, its first listing and
// later, while tokens change. The next process must have correct counts again, and no
// file may be left behind.
func TestKill(t *testing.T) {
	environment, api := newEnvironment(t)
	arguments := []string{"--trigger.api-url=" + api.URL, "--refresh.interval=1s"}
	env := []string{"TRIGGER_SECRET_KEY=" + goodKey}
	client := newClient(t)
	kill := func(p *process) {
		t.Helper()
		if err := p.cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		<-p.ended
		if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			t.Errorf("it ended by itself: %s: %s", p.cmd.ProcessState, p.logs)
		}
		left, err := os.ReadDir(p.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range left {
			t.Errorf("%s is left behind", file.Name())
		}
	}
	begun := time.Now()
	for cycle := range *kills {
		rng := rand.New(rand.NewPCG(uint64(cycle), 4))
		p := launch(t, env, append(arguments, "--web.listen-address=127.0.0.1:0")...)
		time.Sleep(time.Duration(rng.Int64N(int64(80 * time.Millisecond))))
		change(environment, rng)
		kill(p)
		p = startProcess(t, env, arguments...)
		p.await(t, client, truth(environment)...)
		kill(p)
	}
	t.Logf("%d restarts after %d kills, %s each", *kills, 2**kills,
		(time.Since(begun) / time.Duration(*kills)).Round(time.Millisecond))
}

// refused reports whether the program had not accepted the connection. The kernel
// refuses or resets such a connection, while an accepted one would just end.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// TestTerminate checks that a program that gets SIGTERM while fifty clients scrape
// answers each request that it has begun to read, then ends with code 0.
func TestTerminate(t *testing.T) {
	environment, api := newEnvironment(t)
	p := startProcess(t, []string{"TRIGGER_SECRET_KEY=" + goodKey}, "--trigger.api-url="+api.URL)
	client := newClient(t)
	p.await(t, client, truth(environment)...)

	// Each connection sends half of a request now, and the rest after the signal. The
	// program accepts them before those of the scrapers.
	begun := make([]net.Conn, 20)
	for i := range begun {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		begun[i] = conn
		if _, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHo"); err != nil {
			t.Fatal(err)
		}
	}
	var answers atomic.Int64
	var scraping sync.WaitGroup
	for i := range 50 {
		scraper := newClient(t)
		scraper.Transport.(*http.Transport).DisableKeepAlives = i%2 == 0
		scraping.Go(func() {
			for {
				code, body, err := p.get(context.WithoutCancel(t.Context()), scraper, "/metrics")
				if refused(err) {
					return
				}
				if err != nil || code != http.StatusOK || !strings.Contains(body, "\nwaitpoint_exporter_build_info{") {
					t.Errorf("scraper %d: %d, %d bytes, %v", i, code, len(body), err)
					return
				}
				answers.Add(1)
			}
		})
	}
	for answers.Load() < 200 {
		time.Sleep(time.Millisecond)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	scraping.Wait() // Each scraper ends when it is refused.
	for i, conn := range begun {
		if _, err := io.WriteString(conn, "st: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if body, err := read(bufio.NewReader(conn)); err != nil || !strings.Contains(body,
			"\nwaitpoint_exporter_build_info{") {
			t.Errorf("request %d, begun before the signal: %d bytes, %v", i, len(body), err)
		}
	}
	<-p.ended
	if p.err != nil || !strings.Contains(p.logs.String(), "msg=stopped") || strings.Contains(p.logs.String(),
		"cut off") {
		t.Errorf("%v: %s", p.err, p.logs)
	}
	t.Logf("%d scrapes, none cut off", answers.Load())
}

// read returns the body of an answer with status 200.
func read(in *bufio.Reader) (string, error) {
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	return string(body), errors.Join(err, answer.Body.Close())
}
