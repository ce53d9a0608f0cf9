// Waitpoint_exporter serves Prometheus metrics about Trigger.dev waitpoint
// tokens. This file declares the flags, wires the parts and handles signals;
// what the parts do is in the packages below.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/config"
	"waitpoint_exporter/collector/manager"
	"waitpoint_exporter/collector/server"
	"waitpoint_exporter/collector/web"
	runbook "waitpoint_exporter/deploy/prometheus"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/version"
	sloggokit "github.com/tjhop/slog-gokit"
	"golang.org/x/sync/errgroup"
)

const (
	program = "waitpoint_exporter"
	// The demo refreshes more often, so that one sees the numbers move.
	demoInterval = "5s"
)

// gcPercent trades a little CPU for memory, as Prometheus itself does: a picture
// lives long, and each refresh leaves little behind. GOGC overrides it.
const gcPercent = 75

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	// What a server sends unasked, which may be the rest of an answer with callback
	// URLs in it, is quoted there by net/http, and nothing else keeps it silent.
	stdlog.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the default action is back: a second ends the
	// process at once.
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "%s: error: %s\n", program, strings.ReplaceAll(err.Error(), "\n", " "))
		os.Exit(1)
	}
}

// run is the program. It returns nil once ctx has ended and all is shut down,
// or an error that names the flag or variable that is wrong.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	app := kingpin.New(program, "Prometheus exporter for Trigger.dev waitpoint tokens.")
	app.Version(version.Print(program)).UsageWriter(stdout).ErrorWriter(stderr)
	app.HelpFlag.Short('h')
	ended := false // By --help or --version.
	app.Terminate(func(int) { ended = true })
	str := func(name, help, value string) *kingpin.FlagClause { return app.Flag(name, help).Default(value) }

	own := environmentFlags{app: app, values: map[string]*[]string{}, given: map[string]*bool{}}
	demo := app.Flag("demo", "Serve a simulated environment instead of a real one.").Bool()
	configFile := app.Flag("config.file", "File that describes the environments, in place of the flags of a single one.").String()
	check := app.Flag("config.check", "Check the configuration and exit.").Bool()
	own.flag("trigger.api-url", "URL of the Trigger.dev API.").Envar("TRIGGER_API_URL")
	own.flag("trigger.secret-key-file", "File with the secret key, read again when it changes. Without it the key is taken from $TRIGGER_SECRET_KEY.")
	own.flag("trigger.preview-branch", "Branch of a preview environment.").Envar("TRIGGER_PREVIEW_BRANCH")
	own.flag("trigger.dashboard-url", "The environment's page in Trigger.dev's dashboard, as in a browser's address bar: https://cloud.trigger.dev/orgs/ORG/projects/PROJECT/env/ENV.").Envar("TRIGGER_DASHBOARD_URL")
	own.flag("trigger.environment", "Value of the label environment. By default it follows from the key's prefix.")
	own.flag("trigger.project", "Value of the label project. By default there is no such label.")
	own.flag("tokens.period", "Count only finished tokens that were created within this time, such as 30d. By default all count.")
	waitingWithinPeriod := own.boolean("tokens.waiting-within-period", "Count only WAITING tokens that were created within the period, too.")
	own.flag("tokens.near-timeout", "Count the WAITING tokens that time out within this time. Repeatable.")
	own.flag("tokens.stuck-after", "Count the WAITING tokens that were created longer ago than this. Repeatable.")
	own.flag("tokens.expected-wait", "[REGEX=]DURATION: a token is late past the duration of the first rule one of whose tags matches; without REGEX it is for every token. Repeatable.")
	own.flag("tokens.require-tag", "Regular expression; only tokens with a matching tag count.")
	own.flag("tokens.ignore-tag", "Regular expression; tokens with a matching tag do not count.")
	own.flag("tags.include", "Regular expression of the tags to count by. By default all.")
	own.flag("tags.exclude", "Regular expression of the tags not to count by. By default none.")
	own.flag("tags.rewrite", "REGEX=REPLACEMENT for tags, such as (user|org):.*=$1:*. Repeatable; the first that matches counts.")
	own.flag("tags.limit", "Number of tags that have series of their own, 0 for no limit.")
	own.flag("refresh.interval", "Time between background refreshes; 5s in the demo.")
	own.flag("refresh.timeout", "Timeout of one request.")
	own.flag("refresh.max-staleness", "Age past which a picture is not served any more, but never under three intervals.")
	own.flag("refresh.verify-interval", "Time within which every token of the window is listed again.")
	own.flag("api.concurrency", "Requests at once while the history is loaded.")
	own.flag("api.share", "Share of what the rate limit refills that refreshes may use in the long run.")
	own.flag("api.reserve", "Share of the environment's rate limit that is always left to its other users.")
	logLevel := str("log.level", "Lowest level that is logged: debug, info, warn or error.", "info").String()
	logFormat := str("log.format", "Format of the log: logfmt or json.", "logfmt").String()
	serving := server.AddFlags(app)
	if _, err := app.Parse(args); ended {
		return nil
	} else if err != nil {
		return err
	}

	logger, slogger, err := newLoggers(stderr, *logLevel, *logFormat)
	if err != nil {
		return err
	}
	if err := serving.Check(web.Paths()...); err != nil {
		return err
	}
	if err := own.check(*demo, *configFile); err != nil {
		return err
	}
	var transport http.RoundTripper
	secretKey := getenv("TRIGGER_SECRET_KEY")
	flags := own.read(*waitingWithinPeriod)
	if *demo {
		var service http.Handler
		service, secretKey = simulator.Demo()
		transport = simulator.Transport(service)
		if !*own.given["refresh.interval"] {
			flags["refresh.interval"] = []string{demoInterval}
		}
	}
	read := func() ([]config.Environment, error) {
		if *configFile != "" {
			return config.ReadFile(*configFile, getenv)
		}
		env, err := flags.Read(secretKey)
		return []config.Environment{env}, err
	}
	if *check {
		environments, err := read()
		if err == nil {
			var names []string
			for _, e := range environments {
				names = append(names, e.Title())
			}
			_, err = fmt.Fprintf(stdout, "The configuration is good. Environments: %s\n", strings.Join(names, ", "))
		}
		return configError(*configFile, err)
	}

	registry := newRegistry(serving.ExternalURL.String())
	environments := manager.New(ctx, manager.Options{
		Registry: registry, Logger: logger, UserAgent: program + "/" + version.Version, Transport: transport,
	})
	reloader := manager.NewReloader(environments, read)
	if err := reloader.Load(); err != nil { //nolint:contextcheck // The manager has ctx for its environments.
		return configError(*configFile, err)
	}
	defer environments.Stop()
	// Compressing a scrape of many environments costs more than gathering it, so
	// it is done by the faster of the two libraries, at the level made for speed.
	compress, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed))
	if err != nil {
		return err
	}
	options := web.Options{
		Environments: environments.Environments, MetricsPath: serving.MetricsPath,
		// Outermost, so that what waits for a slow client is compressed already.
		Metrics: server.Buffer(compress(promhttp.HandlerFor(environments, promhttp.HandlerOpts{
			EnableOpenMetrics: true, DisableCompression: true, ErrorLog: slog.NewLogLogger(slogger.Handler(), slog.LevelError),
		}))),
		Version: version.Info(), Runbook: runbook.Markdown,
	}
	if serving.EnableLifecycle {
		options.Reload = reloader.Reload
	}
	level.Info(logger).Log("msg", "starting", "version", version.Info(), "environments", len(environments.Environments()), "demo", *demo)

	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
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

func configError(file string, err error) error {
	if err != nil && file != "" {
		return fmt.Errorf("--config.file: %w", err)
	}
	return err
}

// environmentFlags are those that describe a single environment.
type environmentFlags struct {
	app    *kingpin.Application
	values map[string]*[]string
	given  map[string]*bool
}

// flag declares a flag; its default is that of the configuration file's field.
func (f environmentFlags) flag(name, help string) *kingpin.FlagClause {
	clause := f.app.Flag(name, help).Default(config.FlagDefault(name)...)
	f.given[name] = new(bool)
	f.values[name] = clause.IsSetByUser(f.given[name]).Strings()
	return clause
}

func (f environmentFlags) boolean(name, help string) *bool {
	f.given[name] = new(bool)
	return f.app.Flag(name, help).IsSetByUser(f.given[name]).Bool()
}

// check refuses what contradicts a configuration file or the demo.
func (f environmentFlags) check(demo bool, file string) error {
	if demo && *f.given["trigger.secret-key-file"] {
		return errors.New("--trigger.secret-key-file: not together with --demo; the demo has a key of its own")
	}
	if file == "" {
		return nil
	}
	if demo {
		return errors.New("--demo: not together with --config.file; the demo has an environment of its own")
	}
	for _, name := range slices.Sorted(maps.Keys(f.given)) {
		if *f.given[name] {
			return fmt.Errorf("--%s: not together with --config.file; set it there, for an environment or in defaults", name)
		}
	}
	return nil
}

func (f environmentFlags) read(waitingWithinPeriod bool) config.Flags {
	flags := config.Flags{"tokens.waiting-within-period": {strconv.FormatBool(waitingWithinPeriod)}}
	for name, values := range f.values {
		flags[name] = *values
	}
	return flags
}

// newLoggers returns the logger and, for the parts that want one, a
// slog.Logger that writes the same way.
func newLoggers(w io.Writer, lowest, format string) (log.Logger, *slog.Logger, error) {
	var out log.Logger
	switch format {
	case "logfmt":
		out = log.NewLogfmtLogger(log.NewSyncWriter(w))
	case "json":
		out = log.NewJSONLogger(log.NewSyncWriter(w))
	default:
		return nil, nil, fmt.Errorf("--log.format: %q must be logfmt or json", format)
	}
	value, err := level.Parse(lowest)
	if err != nil {
		return nil, nil, fmt.Errorf("--log.level: %q must be debug, info, warn or error", lowest)
	}
	var slogLevel slog.Level
	if err := slogLevel.UnmarshalText([]byte(lowest)); err != nil {
		return nil, nil, fmt.Errorf("--log.level: %w", err)
	}
	// The bridge adds a time and a caller of its own.
	slogger := slog.New(sloggokit.NewGoKitHandler(level.NewFilter(out, level.Allow(value)), slogLevel))
	out = log.With(out, "ts", log.DefaultTimestampUTC, "caller", log.Caller(5))
	return level.NewFilter(out, level.Allow(value)), slogger, nil
}

// newRegistry returns the registry of what every exporter has, and of what links
// in alerts begin with.
func newRegistry(externalURL string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	promauto.With(registry).NewGauge(prometheus.GaugeOpts{
		Name: "waitpoint_exporter_web_info", Help: "Constant 1; external_url is where users reach the exporter's pages.",
		ConstLabels: prometheus.Labels{"external_url": externalURL},
	}).Set(1)
	registry.MustRegister(
		newGoRuntime(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector(program),
	)
	return registry
}
