package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/sync/errgroup"
)

// How long requests under way may take to end once ctx has ended. Under the 30 s
// after which Kubernetes kills, so that the end is still logged.
const shutdownTimeout = 25 * time.Second

// Route returns a handler that serves h below the route prefix. What machines ask
// for, the paths atRoot, is served without the prefix too, and the root leads to
// the prefix.
func (f *Flags) Route(h http.Handler, atRoot ...string) http.Handler {
	if f.RoutePrefix == "/" {
		return h
	}
	mux := http.NewServeMux()
	mux.Handle(f.RoutePrefix+"/", http.StripPrefix(f.RoutePrefix, h))
	for _, path := range atRoot {
		mux.Handle(path, h)
	}
	mux.Handle("/{$}", http.RedirectHandler(f.RoutePrefix+"/", http.StatusFound))
	return mux
}

// Run serves until ctx ends; then it lets requests under way end before it
// returns nil. An error names the flag that is the cause. Where a service manager
// has asked for it by $NOTIFY_SOCKET, Run tells it once every address is listened
// on, and again when stopping begins.
func (f *Flags) Run(ctx context.Context, handler http.Handler, logger log.Logger, slogger *slog.Logger) error {
	server := New(handler, slogger)
	server.onListening = func() { notify(daemon.SdNotifyReady, logger) }
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		<-groupCtx.Done()
		level.Info(logger).Log("msg", "stopping")
		notify(daemon.SdNotifyStopping, logger)
		server.Refuse()
		return nil
	})
	group.Go(func() error {
		if err := toolkit.ListenAndServe(server.Server, f.toolkit, slogger); ctx.Err() == nil {
			name := "--web.listen-address"
			if *f.toolkit.WebSystemdSocket {
				name = "--web.systemd-socket"
			}
			return fmt.Errorf("%s: %w", name, err)
		}
		// The server outlives ctx, which has ended.
		timeout, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := server.Drain(timeout); err != nil {
			level.Warn(logger).Log("msg", "requests that do not end are cut off", "after", shutdownTimeout, "err", err)
		}
		return nil
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	level.Info(logger).Log("msg", "stopped")
	return nil
}

// notify tells the service manager of a state, if it wants to know.
func notify(state string, logger log.Logger) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		level.Warn(logger).Log("msg", "service manager not notified", "state", state, "err", err)
	}
}
