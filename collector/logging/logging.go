// Package logging makes the program's logger. All log lines have the same form, also
// those of libraries that need a slog.Logger.
package logging

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	sloggokit "github.com/tjhop/slog-gokit"
)

// Flags are the level and format of the log.
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

// New returns the logger and a slog.Logger that writes the same lines, for libraries
// that need one. An error names the flag.
func (f *Flags) New(w io.Writer) (log.Logger, *slog.Logger, error) {
	lowest, err := level.Parse(f.level)
	if err != nil {
		return nil, nil, fmt.Errorf("--log.level: %q must be debug, info, warn or error", f.level)
	}
	if f.format != "logfmt" && f.format != "json" {
		return nil, nil, fmt.Errorf("--log.format: %q must be logfmt or json", f.format)
	}
	out := log.With(f.encoder(w), "ts", log.DefaultTimestampUTC)
	// The filter drops lines below the level, so the bridge need not know it.
	bridge := sloggokit.NewGoKitHandler(level.NewFilter(alike(out), level.Allow(lowest)), slog.LevelDebug)
	return level.NewFilter(log.With(out, "caller", log.Caller(5)), level.Allow(lowest)), slog.New(bridge), nil
}

func (f *Flags) encoder(w io.Writer) log.Logger {
	if f.format == "json" {
		return log.NewJSONLogger(log.NewSyncWriter(w))
	}
	return log.NewLogfmtLogger(log.NewSyncWriter(w))
}

// Fatal writes the error that ends the program: as a log line if the format is JSON,
// otherwise as a plain line, since the flags themselves may be wrong. Args are the
// command line's arguments.
func (f *Flags) Fatal(w io.Writer, program string, args []string, err error) {
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	// The flags after a wrong one were not parsed.
	if f.format != "json" && !strings.Contains(strings.Join(args, "="), "--log.format=json") {
		_, _ = fmt.Fprintf(w, "%s: error: %s\n", program, text) // There is nowhere to report a failure.
		return
	}
	f.format = "json"
	level.Error(log.With(f.encoder(w), "ts", log.DefaultTimestampUTC)).Log("msg", "fatal", "err", text)
}

// alike gives the bridge's lines the form of the others: the caller comes first, the only
// time is the logger's, and numbers are numbers in JSON.
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
		if i := slices.Index(pairs, any(slog.TimeKey)); i >= 0 {
			pairs = slices.Delete(pairs, i, i+2)
		}
		return next.Log(pairs...)
	})
}
