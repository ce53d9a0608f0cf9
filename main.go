// Waitpoint_exporter serves Prometheus metrics about Trigger.dev waitpoint
// tokens. This file declares the flags, wires the parts and handles signals;
// what the parts do is in the packages below.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector"
	"waitpoint_exporter/collector/config"
	"waitpoint_exporter/collector/refresh"
	"waitpoint_exporter/collector/web"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"
	sloggokit "github.com/tjhop/slog-gokit"
	"golang.org/x/sync/errgroup"
)

const (
	program = "waitpoint_exporter"
	// Scrapes past this many at once are answered with 503.
	maxScrapes = 40
	// How long requests under way may take to end once a signal came.
	shutdownTimeout = 30 * time.Second
	// The demo refreshes more often, so that one sees the numbers move.
	demoInterval = "5s"
)

func main() {
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

	flags := config.Flags{SecretKey: getenv("TRIGGER_SECRET_KEY")}
	str := func(name, help, value string) *kingpin.FlagClause { return app.Flag(name, help).Default(value) }
	demo := app.Flag("demo", "Serve a simulated environment instead of a real one.").Bool()
	str("trigger.api-url", "URL of the Trigger.dev API ($TRIGGER_API_URL).", "https://api.trigger.dev").Envar("TRIGGER_API_URL").StringVar(&flags.APIURL)
	str("trigger.secret-key-file", "File with the secret key, read again when it changes. Without it the key is taken from $TRIGGER_SECRET_KEY.", "").StringVar(&flags.SecretKeyFile)
	str("trigger.preview-branch", "Branch of a preview environment ($TRIGGER_PREVIEW_BRANCH).", "").Envar("TRIGGER_PREVIEW_BRANCH").StringVar(&flags.PreviewBranch)
	str("trigger.environment", "Value of the label environment. By default it follows from the key's prefix.", "").StringVar(&flags.Environment)
	str("trigger.project", "Value of the label project. By default there is no such label.", "").StringVar(&flags.Project)
	str("tokens.period", "Count only finished tokens that were created within this time, such as 30d. By default all count.", "").StringVar(&flags.Period)
	app.Flag("tokens.waiting-within-period", "Count only WAITING tokens that were created within the period, too.").BoolVar(&flags.WaitingWithinPeriod)
	app.Flag("tokens.near-timeout", "Count the WAITING tokens that time out within this time. Repeatable.").Default("5m", "1h").StringsVar(&flags.NearTimeout)
	app.Flag("tokens.stuck-after", "Count the WAITING tokens that were created longer ago than this. Repeatable.").Default("1h", "1d").StringsVar(&flags.StuckAfter)
	str("tags.include", "Regular expression of the tags to count by. By default all.", "").StringVar(&flags.TagsInclude)
	str("tags.exclude", "Regular expression of the tags not to count by. By default none.", "").StringVar(&flags.TagsExclude)
	app.Flag("tags.rewrite", "REGEX=REPLACEMENT for tags, such as (user|org):.*=$1:*. Repeatable; the first that matches counts.").StringsVar(&flags.TagsRewrite)
	str("tags.limit", "Number of tags that have series of their own, 0 for no limit.", "100").StringVar(&flags.TagsLimit)
	interval := app.Flag("refresh.interval", "Time between background refreshes. 1m, in the demo 5s.").String()
	str("refresh.timeout", "Timeout of one request.", "30s").StringVar(&flags.RefreshTimeout)
	str("refresh.max-staleness", "Age past which a picture is not served any more, but never under three intervals.", "10m").StringVar(&flags.RefreshMaxStaleness)
	str("refresh.verify-interval", "Time within which every token of the window is listed again.", "1d").StringVar(&flags.RefreshVerifyInterval)
	str("api.concurrency", "Requests at once while the history is loaded.", "4").StringVar(&flags.Concurrency)
	str("api.reserve", "Share of the environment's rate limit that is always left to its other users.", "0.5").StringVar(&flags.Reserve)
	path := str("web.telemetry-path", "Path of the metrics.", "/metrics").String()
	logLevel := str("log.level", "Lowest level that is logged: debug, info, warn or error.", "info").String()
	logFormat := str("log.format", "Format of the log: logfmt or json.", "logfmt").String()
	webFlags := kingpinflag.AddFlags(app, ":10210")
	if _, err := app.Parse(args); ended {
		return nil
	} else if err != nil {
		return err
	}

	logger, slogger, err := newLoggers(stderr, *logLevel, *logFormat)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(*path, "/") || strings.ContainsAny(*path, "{}? ") || slices.Contains([]string{web.HealthyPath, web.ReadyPath, web.TokensPath}, *path) {
		return fmt.Errorf("--web.telemetry-path: %q must be a path such as /metrics that no other endpoint has", *path)
	}
	if err := toolkit.Validate(*webFlags.WebConfigFile); err != nil {
		return fmt.Errorf("--web.config.file: %w", err)
	}
	flags.RefreshInterval = "1m"
	var transport http.RoundTripper
	if *demo {
		flags.RefreshInterval, flags.SecretKey, flags.SecretKeyFile = demoInterval, demoKey, ""
		transport = simulator.Transport(demoService())
	}
	if *interval != "" {
		flags.RefreshInterval = *interval
	}
	env, err := flags.Read()
	if err != nil {
		return err
	}
	environment, registry, err := newEnvironment(env, transport, logger)
	if err != nil {
		return err
	}

	own := newRegistry()
	gatherers := prometheus.Gatherers{own, registry}
	handler := web.New(web.Options{
		Environments: []web.Environment{{Name: env.Name, Project: env.Project, Source: environment}},
		MetricsPath:  *path,
		Metrics: promhttp.HandlerFor(gatherers, promhttp.HandlerOpts{
			EnableOpenMetrics: true, MaxRequestsInFlight: maxScrapes, ErrorLog: slog.NewLogLogger(slogger.Handler(), slog.LevelError),
		}),
		Version:      version.Info(),
		MaxStaleness: env.Refresh.Staleness(),
	})
	level.Info(logger).Log("msg", "starting", "version", version.Info(), "environment", env.Name, "demo", *demo)
	return serve(ctx, handler, webFlags, environment, logger, slogger)
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

// newEnvironment wires what one environment needs. Its metrics have a registry
// of their own, since only some environments have the label project.
func newEnvironment(env config.Environment, transport http.RoundTripper, logger log.Logger) (*refresh.Environment, *prometheus.Registry, error) {
	registry := prometheus.NewRegistry()
	metrics := refresh.NewMetrics(prometheus.WrapRegistererWith(collector.Labels(env.Name, env.Project), registry))
	api, err := client.New(client.Options{
		APIURL: env.APIURL, Key: env.Key.Get, PreviewBranch: env.PreviewBranch, Transport: transport,
		Timeout: env.Refresh.Timeout, Limiter: refresh.NewLimiter(env.API.Reserve, time.Now), Observe: metrics.Attempt,
		UserAgent: program + "/" + version.Version,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("--trigger.api-url: %w", err)
	}
	environment := refresh.New(api, refresh.Options{
		Interval: env.Refresh.Interval, MaxStaleness: env.Refresh.Staleness(), VerifyInterval: env.Refresh.VerifyInterval,
		Concurrency: env.API.Concurrency, Period: env.Tokens.Period, WaitingWithinPeriod: env.Tokens.WaitingWithinPeriod,
		Tags: env.Tags, Metrics: metrics, Logger: log.With(logger, "environment", env.Name),
	})
	registry.MustRegister(collector.New(environment, collector.Options{
		Environment: env.Name, Project: env.Project, NearTimeout: env.Tokens.NearTimeout, StuckAfter: env.Tokens.StuckAfter,
		Period: env.Tokens.Period, MaxStaleness: env.Refresh.Staleness(),
	}))
	return environment, registry, nil
}

// newRegistry returns the registry of what every exporter has.
func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector(program),
	)
	factory := promauto.With(registry)
	factory.NewGauge(prometheus.GaugeOpts{
		Name: program + "_config_last_reload_successful", Help: "Whether the last attempt to load the configuration succeeded.",
	}).Set(1)
	factory.NewGauge(prometheus.GaugeOpts{
		Name: program + "_config_last_reload_success_timestamp_seconds", Help: "When the configuration was last loaded, in Unix seconds.",
	}).SetToCurrentTime()
	return registry
}

// serve runs the refreshes and the server until ctx ends; then it lets requests
// under way end before it returns.
func serve(ctx context.Context, handler http.Handler, webFlags *toolkit.FlagConfig, environment *refresh.Environment, logger log.Logger, slogger *slog.Logger) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(slogger.Handler(), slog.LevelDebug),
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return environment.Run(groupCtx) })
	group.Go(func() error {
		if err := toolkit.ListenAndServe(server, webFlags, slogger); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("--web.listen-address: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-groupCtx.Done()
		level.Info(logger).Log("msg", "stopping")
		// The server outlives ctx, which has ended.
		timeout, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		return server.Shutdown(timeout)
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	level.Info(logger).Log("msg", "stopped")
	return nil
}

// demoKey opens the simulated environment of the demo, and nothing else.
const demoKey = "tr_prod_demo"

// demoService is a simulated API with a month of history that goes on.
func demoService() http.Handler {
	service := simulator.New(simulator.Options{Seed: 1, Latency: 20 * time.Millisecond})
	environment := service.Environment(simulator.EnvironmentOptions{Key: demoKey})
	environment.Populate(simulator.Population{Seed: 1, Tokens: 20_000, Waiting: 150, Span: 30 * 24 * time.Hour})
	environment.Live(simulator.Rates{Seed: 2, PerSecond: 1, MeanWait: 5 * time.Minute})
	return service
}
