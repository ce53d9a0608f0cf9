package logging_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"testing"

	"waitpoint_exporter/collector/logging"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log/level"
)

func parse(t *testing.T, args ...string) *logging.Flags {
	t.Helper()
	app := kingpin.New("test", "").Terminate(nil)
	flags := logging.AddFlags(app)
	if _, err := app.Parse(args); err != nil {
		t.Fatal(err)
	}
	return flags
}

// TestShape checks that lines of both loggers have the same fields in the same order,
// and that neither writes lines below the level.
func TestShape(t *testing.T) {
	for format, shape := range map[string]string{
		"logfmt": `^ts=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z caller=logging_test.go:\d+ level=warn msg=hello a=1\n$`,
		"json":   `^\{"a":1,"caller":"logging_test.go:\d+","level":"warn","msg":"hello","ts":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"\}\n$`,
	} {
		var out bytes.Buffer
		logger, slogger, err := parse(t, "--log.format="+format, "--log.level=warn").New(&out)
		if err != nil {
			t.Fatal(err)
		}
		for name, write := range map[string]func(){
			"go-kit": func() {
				level.Info(logger).Log("msg", "hello")
				level.Warn(logger).Log("msg", "hello", "a", 1)
			},
			"slog": func() {
				slogger.Info("hello")
				slogger.With("a", 1).Warn("hello")
			},
		} {
			out.Reset()
			write()
			if !regexp.MustCompile(shape).MatchString(out.String()) {
				t.Errorf("%s, %s: %s", format, name, out.String())
			}
		}
	}
}

// TestFatal checks that the fatal error is in the log's format, on one line, even if
// the flag for the format follows the wrong flag.
func TestFatal(t *testing.T) {
	var out bytes.Buffer
	wrong := errors.New("a\nb")
	parse(t).Fatal(&out, "program", []string{"--nope"}, wrong)
	if out.String() != "program: error: a b\n" {
		t.Errorf("logfmt: %q", out.String())
	}
	for _, tc := range []struct{ parsed, args []string }{
		{[]string{"--log.format=json"}, []string{"--log.format=json", "--nope"}},
		{nil, []string{"--nope", "--log.format=json"}},
		{nil, []string{"--nope", "--log.format", "json"}},
	} {
		out.Reset()
		parse(t, tc.parsed...).Fatal(&out, "program", tc.args, wrong)
		var line struct{ TS, Level, Msg, Err string }
		if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.TS == "" || line.Level != "error" ||
			line.Msg == "" ||
			line.Err != "a b" {
			t.Errorf("json: %v, %q", err, out.String())
		}
	}
}
