// Waitpoint_exporter serves Prometheus metrics about Trigger.dev waitpoint tokens.
//
// This file wires the packages together and handles signals. docs/architecture.md says
// what each package does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"waitpoint_exporter/client"
	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/config"
	"waitpoint_exporter/collector/logging"
	"waitpoint_exporter/collector/manager"
	"waitpoint_exporter/collector/server"
	"waitpoint_exporter/collector/web"
	runbook "waitpoint_exporter/deploy/prometheus"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/version"
	"golang.org/x/sync/errgroup"
)

const program = "waitpoint_exporter"

// gcPercent trades a little CPU for memory: most of the heap lives long, and refreshes
// leave little garbage. GOGC overrides it.
const gcPercent = 40

// Exit codes. A restart does not help against wrong usage or configuration, so the
// systemd unit does not restart after exitUsage.
const (
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	// net/http logs unsolicited data from a server there, which may be the rest of an
	// answer with callback URLs.
	stdlog.SetOutput(io.Discard)
	setVersion()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	if f, ok := errors.AsType[fatal](err); ok {
		f.logs.Fatal(os.Stderr, program, os.Args[1:], f.error)
		os.Exit(f.code)
	}
}

// A fatal error ends the program with an exit code.
type fatal struct {
	error

	code int
	logs *logging.Flags
}

// run is the program. It returns nil once ctx has ended and everything is shut down, or
// a fatal error that names the flag or variable that is wrong.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) (err error) {
	app := kingpin.New(program, "Prometheus exporter for Trigger.dev waitpoint tokens.")
	app.Version(version.Print(program)).UsageWriter(stdout).ErrorWriter(stderr)
	app.HelpFlag.Short('h')
	ended := false // By --help or --version.
	app.Terminate(func(int) { ended = true })
	demo := app.Flag("demo", "Serve a simulated environment instead of a real one.").Bool()
	settings, logs, serving := config.AddFlags(app), logging.AddFlags(app), server.AddFlags(app)
	code := exitUsage
	defer func() {
		if err != nil {
			err = fatal{client.HideKeys(err), code, logs}
		}
	}()
	err = config.Parse(app, args)
	if ended {
		return nil
	}
	if err != nil {
		return err
	}
	logger, slogger, err := logs.New(stderr)
	if err != nil {
		return err
	}
	if err := serving.Check(web.Paths()...); err != nil {
		return err
	}
	if serving.HealthCheck {
		code = exitFailure
		return serving.AskHealth(ctx, web.HealthyPath)
	}
	var transport http.RoundTripper
	if *demo {
		service, key := simulator.Demo()
		if err := settings.Demo(key); err != nil {
			return err
		}
		transport = simulator.Transport(service)
	}
	var summaries []string                         // Of the environments loaded last.
	load := func() ([]config.Environment, error) { //nolint:contextcheck // File reads have their own timeout.
		environments, err := settings.Load(getenv)
		if err == nil {
			summaries = config.Summaries(environments)
			warnTwins(environments, logger)
		}
		return environments, err
	}
	if settings.Check {
		signal.Reset(os.Interrupt, syscall.SIGTERM) // They end the check at once, also if a file blocks.
		if _, err := load(); err != nil {
			return err
		}
		_, err := fmt.Fprintf(stdout, "The configuration is good. Environments:\n%s\n", strings.Join(summaries, "\n"))
		return err
	}

	// From now on a SIGHUP does not end the program.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	registry := newRegistry(serving.ExternalURL.String())
	environments := manager.New(ctx, manager.Options{
		Registry: registry, Logger: logger, UserAgent: program + "/" + version.Version, Transport: transport,
	})
	reloader := manager.NewReloader(environments, load)
	defer environments.Stop()
	err = reloader.Load() //nolint:contextcheck // The manager has ctx for its environments.
	if ctx.Err() != nil {
		return nil // A signal during the start is no error.
	}
	if err != nil {
		return err
	}
	code = exitFailure
	// Compressing a scrape of many environments costs more than gathering it, so use the
	// faster library, at its fastest level.
	compress, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed))
	if err != nil {
		return err
	}
	options := web.Options{
		Environments: environments.Environments, MetricsPath: serving.MetricsPath,
		// Buffer is outermost, so that it keeps compressed answers for slow clients.
		Metrics: server.Buffer(compress(promhttp.HandlerFor(environments, promhttp.HandlerOpts{
			EnableOpenMetrics: true, DisableCompression: true, ErrorLog: slog.NewLogLogger(slogger.Handler(),
				slog.LevelError),
		}))),
		Version: version.Version, Build: "Revision " + version.GetRevision(), Demo: *demo, Runbook: runbook.Markdown,
	}
	if serving.EnableLifecycle {
		options.Reload = reloader.Reload
	}
	level.Info(logger).Log("msg", "starting", "version", version.Version, "revision", version.GetRevision(),
		"environments", strings.Join(summaries, "; "), "listen", serving.Listening())
	if *demo {
		level.Warn(logger).Log("msg", "THIS IS A DEMO: all tokens are simulated, none are from Trigger.dev")
	}

	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		reloader.ReloadOn(groupCtx, hangups)
		return nil
	})
	group.Go(func() error {
		handler := serving.Route(web.New(options), serving.MetricsPath, web.HealthyPath, web.ReadyPath)
		return serving.Run(groupCtx, handler, logger, slogger)
	})
	return group.Wait()
}

// warnTwins logs which environments have the same tokens.
func warnTwins(environments []config.Environment, logger log.Logger) {
	for _, pair := range config.Twins(environments) {
		level.Warn(logger).Log("msg", "two environments have the same key, so sums count their tokens twice",
			"first", pair[0].Title(), "second", pair[1].Title())
	}
}
