package manager

import (
	"context"
	"os"
	"sync"

	"waitpoint_exporter/collector/config"

	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// A Reloader reads the configuration and applies it to its Manager, one reload at a
// time. A bad configuration is refused, and the last one stays in use.
type Reloader struct {
	manager   *Manager
	read      func() ([]config.Environment, error)
	succeeded prometheus.Gauge
	at        prometheus.Gauge

	mu sync.Mutex
}

// NewReloader returns a Reloader that reads the configuration with read. Its metrics
// are in the manager's registry, so a Manager can have only one Reloader.
func NewReloader(m *Manager, read func() ([]config.Environment, error)) *Reloader {
	factory := promauto.With(m.opts.Registry)
	return &Reloader{
		manager: m, read: read,
		succeeded: factory.NewGauge(prometheus.GaugeOpts{
			Name: "waitpoint_exporter_config_last_reload_successful",
			Help: "Whether the last attempt to load the configuration succeeded.",
		}),
		at: factory.NewGauge(prometheus.GaugeOpts{
			Name: "waitpoint_exporter_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration was last loaded, in Unix seconds.",
		}),
	}
}

// Load loads the configuration without logging whether that succeeded. Once the manager's
// context has ended it reads nothing, and a read under way is not waited for: the context's
// error is returned, and the metrics stay as they are.
func (r *Reloader) Load() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx := r.manager.ctx
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var environments []config.Environment
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		environments, err = r.read()
	}()
	select { // A file that blocks does not delay the shutdown.
	case <-ctx.Done():
		return ctx.Err()
	case <-done:
	}
	if err == nil {
		err = r.manager.Apply(environments)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		r.succeeded.Set(0)
		return err
	}
	r.succeeded.Set(1)
	r.at.SetToCurrentTime()
	return nil
}

// Reload loads the configuration and logs the result, unless the manager's context ends.
func (r *Reloader) Reload() error {
	logger := r.manager.opts.Logger
	err := r.Load()
	if err == nil {
		level.Info(logger).Log("msg", "configuration reloaded", "environments", len(r.manager.Environments()))
	} else if r.manager.ctx.Err() == nil {
		level.Error(logger).Log("msg", "configuration reload refused, keeping the last one", "err", err)
	}
	return err
}

// ReloadOn reloads on each signal until ctx ends.
func (r *Reloader) ReloadOn(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			_ = r.Reload() //nolint:contextcheck // Reload has logged the error; environments outlive the signal.
		}
	}
}
