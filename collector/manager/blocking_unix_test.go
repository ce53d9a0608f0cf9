//go:build unix

package manager_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/config"
	"waitpoint_exporter/collector/config/access"
	"waitpoint_exporter/collector/manager"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
)

// TestKeyFileBlocks checks that a refresh with a key file that blocks sets up to 0 with
// a reason, and that the file delays neither a reload nor the shutdown.
func TestKeyFileBlocks(t *testing.T) {
	service := simulator.New(simulator.Options{})
	service.Environment(simulator.EnvironmentOptions{Key: key("a")})
	failures := make(chan string, 100)
	m := manager.New(t.Context(), manager.Options{
		Registry: prometheus.NewRegistry(), Transport: plain{simulator.Transport(service)},
		// A warning follows the metrics; a request that failed is logged for debugging before.
		Logger: level.NewFilter(log.LoggerFunc(func(pairs ...any) error {
			for i, v := range pairs {
				if err, ok := v.(error); ok && pairs[i-1] == "err" {
					failures <- err.Error()
				}
			}
			return nil
		}), level.AllowWarn()),
	})
	folder := t.TempDir()
	path := filepath.Join(folder, "key")
	if err := os.WriteFile(path, []byte(key("a")), 0o600); err != nil {
		t.Fatal(err)
	}
	env := config.Environment{
		Name:   "a",
		APIURL: "http://api.test",
		Key:    access.Key{File: path, From: "secret_key_file"},
	}
	env.Refresh = config.Refresh{
		Interval:       10 * time.Millisecond,
		Timeout:        10 * time.Millisecond,
		MaxStaleness:   time.Minute,
		VerifyInterval: time.Hour,
	}
	env.API = config.API{Concurrency: 1, Share: 1}
	slow := env // It is still waiting for its key when it is stopped.
	slow.Name, slow.Refresh.Timeout = "b", time.Hour
	if err := m.Apply([]config.Environment{env, slow}); err != nil {
		t.Fatal(err)
	}
	blocked := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(blocked, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(blocked, path); err != nil {
		t.Fatal(err)
	}
	for text := range failures {
		if strings.Contains(text, "read the key: secret_key_file: read "+path+": neither end of line nor "+
			"end of file came within 10ms") {
			break
		}
	}
	if got := samples(t, m, "a"); got["waitpoint_up"] != 0 || got["waitpoint_refresh_errors_total auth"] == 0 {
		t.Errorf("with a key file that blocks: %v", got)
	}
	if err := m.Apply([]config.Environment{slow}); err != nil {
		t.Error(err)
	}
	m.Stop()
	f, err := os.OpenFile(path, os.O_RDWR, 0) // Ends the read that still blocks.
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestReloadBlocks checks that a configuration file that blocks does not delay the
// shutdown, which is no refusal of the file.
func TestReloadBlocks(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := manager.New(ctx, manager.Options{
		Registry: prometheus.NewRegistry(), Logger: log.LoggerFunc(func(line ...any) error {
			t.Errorf("logged: %v", line)
			return nil
		}),
	})
	blocks := make(chan struct{})
	defer close(blocks)
	reading := make(chan struct{}, 1)
	good := true
	reloader := manager.NewReloader(m, func() ([]config.Environment, error) {
		if good {
			return nil, nil
		}
		select {
		case reading <- struct{}{}:
		default:
			t.Error("two reads at once")
		}
		<-blocks
		return nil, nil
	})
	if err := reloader.Load(); err != nil {
		t.Fatal(err)
	}
	good = false
	go func() {
		<-reading
		cancel()
	}()
	if err := reloader.Reload(); err == nil {
		t.Error("loaded")
	}
	reading <- struct{}{} // Nobody takes it: there is to be no other read.
	if err := reloader.Reload(); err == nil {
		t.Error("loaded after the end")
	}
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "waitpoint_exporter_config_last_reload_successful" && f.GetMetric()[0].GetGauge().GetValue() != 1 {
			t.Error("the gauge says that the configuration was refused")
		}
	}
}
