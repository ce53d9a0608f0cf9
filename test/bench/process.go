package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// A process is a program under measurement.
type process struct {
	url     string
	started time.Time
	cmd     *exec.Cmd
	http    *http.Client
}

func (b *bench) start(ctx context.Context, env []string, name string, args ...string) *process {
	p := &process{cmd: exec.CommandContext(ctx, name, args...), http: &http.Client{Timeout: 30 * time.Second}}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = b.stderr
	p.cmd.Dir = b.peer
	p.started = time.Now()
	return p
}

// simulator starts the service and waits until it has created its tokens.
func (b *bench) simulator(ctx context.Context, s service) (*process, error) {
	p := b.start(ctx, nil, b.self, s.args()...)
	if _, err := p.cmd.StdinPipe(); err != nil { // Closed if this process ends, which ends the service.
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("the simulator gives no address: %w", err)
	}
	p.url = strings.TrimSpace(line)
	return p, nil
}

// exporterOf starts the exporter for a service, which is nil if the arguments name it.
func (b *bench) exporterOf(ctx context.Context, api *process, args ...string) (*process, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	var env []string
	if api != nil {
		env = []string{"TRIGGER_SECRET_KEY=" + key, "TRIGGER_API_URL=" + api.url}
	}
	p := b.start(ctx, env, b.exporter,
		append([]string{"--web.listen-address=" + address, "--log.level=warn"}, args...)...)
	p.url = "http://" + address
	return p, p.cmd.Start()
}

// peerOf starts the SDK peer for a service.
func (b *bench) peerOf(ctx context.Context, api *process, interval time.Duration) (*process, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(address, ":")
	p := b.start(ctx, []string{
		"TRIGGER_SECRET_KEY=" + key, "TRIGGER_API_URL=" + api.url, "PEER_PORT=" + port,
		"PEER_INTERVAL_MS=" + strconv.FormatInt(interval.Milliseconds(), 10),
	}, "node", "peer.mjs")
	p.url = "http://" + address
	return p, p.cmd.Start()
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// stop ends the process and waits for it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait() // It was ended by a signal.
}

// usage is the CPU time and the peak resident memory in bytes so far.
type usage struct {
	cpu  time.Duration
	peak uint64
}

func (p *process) usage() (usage, error) {
	proc, err := procfs.NewProc(p.cmd.Process.Pid)
	if err != nil {
		return usage{}, err
	}
	stat, err := proc.Stat()
	if err != nil {
		return usage{}, err
	}
	status, err := proc.NewStatus()
	return usage{time.Duration(stat.CPUTime() * float64(time.Second)), status.VmHWM}, err
}

func (p *process) get(ctx context.Context, path string, header http.Header) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	r.Header = header
	a, err := p.http.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer a.Body.Close() //nolint:errcheck // It was only read.
	body, err := io.ReadAll(a.Body)
	return a.StatusCode, string(body), err
}

func (p *process) stats(ctx context.Context) (stats, error) {
	var s stats
	_, body, err := p.get(ctx, statsPath, http.Header{})
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(body), &s)
}

// until requests a path every pause until ok accepts the answer, and returns the time
// since the start of the process.
func (p *process) until(
	ctx context.Context, path string, pause time.Duration, ok func(code int, body string) bool,
) (time.Duration, error) {
	for time.Since(p.started) < 10*time.Minute {
		if code, body, err := p.get(ctx, path, http.Header{}); err == nil && ok(code, body) {
			return time.Since(p.started), nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(pause):
		}
	}
	return 0, fmt.Errorf("%s: not as awaited within ten minutes", path)
}
