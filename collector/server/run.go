package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	toolkit "github.com/prometheus/exporter-toolkit/web"
)

// How long pending requests may take after ctx has ended. Kubernetes kills the process
// after 30 s. This is less, so that the end is logged.
const shutdownTimeout = 25 * time.Second

// Route returns a handler that serves h below the route prefix. The paths atRoot, for
// machines, are also served without the prefix. The root redirects to the prefix, unless
// it is one of them.
func (f *Flags) Route(h http.Handler, atRoot ...string) http.Handler {
	if f.RoutePrefix == "/" {
		return h
	}
	mux := http.NewServeMux()
	mux.Handle(f.RoutePrefix+"/", http.StripPrefix(f.RoutePrefix, h))
	root := http.RedirectHandler(f.RoutePrefix+"/", http.StatusFound)
	for _, path := range atRoot {
		if path == "/" {
			root = h
		} else {
			mux.Handle(path, h)
		}
	}
	mux.Handle("/{$}", root)
	return mux
}

// Run serves until ctx ends, then waits for pending requests and returns nil. An error
// names the flag that causes it. If $NOTIFY_SOCKET is set, Run notifies the service
// manager when it listens and when it begins to stop.
func (f *Flags) Run(ctx context.Context, handler http.Handler, logger log.Logger, slogger *slog.Logger) error {
	server := New(handler, slogger)
	server.onListening = func() { notify(daemon.SdNotifyReady, logger) }
	stop := func() {
		level.Info(logger).Log("msg", "stopping")
		notify(daemon.SdNotifyStopping, logger)
		server.Refuse()
	}
	notEnded := context.AfterFunc(ctx, stop)
	if err := toolkit.ListenAndServe(server.Server, f.toolkit, slogger); notEnded() {
		stop()
		name := "--web.listen-address"
		if *f.toolkit.WebSystemdSocket {
			name = "--web.systemd-socket"
		}
		if toolkit.Validate(*f.toolkit.WebConfigFile) != nil {
			name = "--web.config.file" // It was good when the flags were checked.
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	// The server outlives ctx, which has ended.
	timeout, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Drain(timeout); err != nil {
		level.Warn(logger).Log("msg", "requests cut off at shutdown", "after", shutdownTimeout, "err", err)
	}
	level.Info(logger).Log("msg", "stopped")
	return nil
}

// notify sends a state to the service manager, if $NOTIFY_SOCKET is set.
func notify(state string, logger log.Logger) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		level.Warn(logger).Log("msg", "service manager not notified", "state", state, "err", err)
	}
}
