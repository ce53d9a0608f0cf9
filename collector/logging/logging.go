// Package logging makes the program's logger. All lines have one shape, those of
// libraries that want a slog.Logger too.
package logging

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	sloggokit "github.com/tjhop/slog-gokit"
)

// Flags say what is logged, and how.
type Flags struct{ level, format string }

// AddFlags declares the flags that begin with --log.
func AddFlags(app *kingpin.Application) *Flags {
	f := &Flags{}
	app.Flag("log.level", "Lowest level that is logged: debug, info, warn or error.").Default("info").
		HintOptions("debug", "info", "warn", "error").StringVar(&f.level)
	app.Flag("log.format", "Format of the log: logfmt or json.").Default("logfmt").
		HintOptions("logfmt", "json").StringVar(&f.format)
	return f
}

// New returns the logger and, for the parts that want one, a slog.Logger that
// writes the same way. An error names the flag that is the cause.
func (f *Flags) New(w io.Writer) (log.Logger, *slog.Logger, error) {
	lowest, err := level.Parse(f.level)
	if err != nil {
		return nil, nil, fmt.Errorf("--log.level: %q must be debug, info, warn or error", f.level)
	}
	if f.format != "logfmt" && f.format != "json" {
		return nil, nil, fmt.Errorf("--log.format: %q must be logfmt or json", f.format)
	}
	var slogLevel slog.Level
	if err := slogLevel.UnmarshalText([]byte(f.level)); err != nil {
		return nil, nil, fmt.Errorf("--log.level: %w", err)
	}
	out := log.With(f.encoder(w), "ts", log.DefaultTimestampUTC)
	bridge := sloggokit.NewGoKitHandler(level.NewFilter(alike(out), level.Allow(lowest)), slogLevel)
	return level.NewFilter(log.With(out, "caller", log.Caller(5)), level.Allow(lowest)), slog.New(timeless{bridge}), nil
}

func (f *Flags) encoder(w io.Writer) log.Logger {
	if f.format == "json" {
		return log.NewJSONLogger(log.NewSyncWriter(w))
	}
	return log.NewLogfmtLogger(log.NewSyncWriter(w))
}

// Fatal writes why the program ends: a line of the log where that is JSON, else one
// for people, since flags may be what is wrong. Args are those of the command line.
func (f *Flags) Fatal(w io.Writer, program string, args []string, err error) {
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	// What follows a flag that is wrong is not parsed.
	if f.format != "json" && !slices.Contains(args, "--log.format=json") {
		_, _ = fmt.Fprintf(w, "%s: error: %s\n", program, text) // Nowhere is left to say that it fails.
		return
	}
	f.format = "json"
	level.Error(log.With(f.encoder(w), "ts", log.DefaultTimestampUTC)).Log("msg", "the program ends", "err", text)
}

// alike makes what the bridge writes like other lines: the caller comes first, and
// a number is one in JSON too.
func alike(next log.Logger) log.Logger {
	return log.LoggerFunc(func(pairs ...any) error {
		for i, v := range pairs {
			if v, ok := v.(slog.Value); ok {
				pairs[i] = v.Any()
			}
		}
		if len(pairs) >= 4 && pairs[2] == any("caller") {
			pairs[0], pairs[1], pairs[2], pairs[3] = pairs[2], pairs[3], pairs[0], pairs[1]
		}
		return next.Log(pairs...)
	})
}

// timeless has no times of records: the logger adds its own, in its own form.
type timeless struct{ slog.Handler }

// Handle implements slog.Handler.
func (h timeless) Handle(ctx context.Context, r slog.Record) error {
	r.Time = time.Time{}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h timeless) WithAttrs(attrs []slog.Attr) slog.Handler {
	return timeless{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h timeless) WithGroup(name string) slog.Handler { return timeless{h.Handler.WithGroup(name)} }
