package test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"waitpoint_exporter/test/programs"
)

// TestExit checks how the program ends. The code for wrong usage or configuration, where
// a restart does not help, differs from other failures, and the reason is in the log's
// format.
func TestExit(t *testing.T) {
	t.Parallel()
	taken := programs.Listen(t.Context(), t).Addr().String()
	running := startProcess(t, nil, "--demo")
	const text, inJSON = "waitpoint_exporter: error: ", "--log.format=json"
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"unknown flag":          {[]string{"--nope"}, 2, "--nope: unknown flag"},
		"unknown flag, in JSON": {[]string{"--nope", inJSON}, 2, "--nope: unknown flag"},
		"no key":                {[]string{inJSON}, 2, "no secret key: "},
		"log":                   {[]string{"--log.level=loud"}, 2, "--log.level: "},
		"address": {
			[]string{"--demo", "--web.listen-address="},
			2,
			`--web.listen-address: "" is not HOST:PORT`,
		},
		"file": {[]string{"--config.file=nope.yml"}, 2, "--config.file: open nope.yml: "},
		"file that is only checked": {
			[]string{"--config.check", "--config.file=nope.yml", inJSON},
			2,
			"--config.file: open nope.yml: ",
		},
		"address taken": {
			[]string{"--demo", "--web.listen-address=" + taken, "--log.level=error"},
			1,
			"--web.listen-address: listen tcp ",
		},
		"healthy": {[]string{"--web.health-check", "--web.listen-address=" + running.address}, 0, ""},
		"not healthy": {
			[]string{"--web.health-check", "--web.listen-address=127.0.0.1:1", inJSON},
			1,
			"get http://127.0.0.1:1/-/healthy: ",
		},
		"version": {[]string{"--version"}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := launch(t, nil, tc.args...)
			<-p.ended
			got := p.logs.String()
			if code := p.cmd.ProcessState.ExitCode(); code != tc.code {
				t.Errorf("exit code %d, want %d: %s", code, tc.code, got)
			}
			reason, ok := strings.CutPrefix(got, text)
			if strings.Contains(strings.Join(tc.args, " "), inJSON) {
				var line struct{ TS, Level, Err string }
				ok = json.Unmarshal([]byte(got), &line) == nil && line.TS != "" && line.Level == "error"
				reason = line.Err
			}
			if tc.want != "" && (!ok || !strings.HasPrefix(reason, tc.want)) || tc.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestStart checks that one line logs the environments, their settings and the listen
// address, and that all lines have the same format.
func TestStart(t *testing.T) {
	t.Parallel()
	p := startProcess(t, []string{"TRIGGER_SECRET_KEY=" + goodKey + "\n", "TRIGGER_API_URL= http://127.0.0.1:1\n"},
		"--tokens.period=30d", "--trigger.project=shop", "--refresh.interval=2m")
	lines := strings.Split(strings.TrimSpace(p.logs.String()), "\n")
	shape := regexp.MustCompile(`^ts=\S+Z caller=\S+\.go:\d+ level=(debug|info|warn|error) msg=`)
	for _, line := range lines {
		if !shape.MatchString(line) {
			t.Errorf("another shape: %s", line)
		}
	}
	start := regexp.MustCompile(`msg=starting version=\S+ revision=\S+ environments="shop/prod: http://127.0.0.1:1, window 30d, interval 2m" listen=127.0.0.1:0$`)
	if !start.MatchString(lines[0]) {
		t.Errorf("the first line is %s", lines[0])
	}
	if strings.Contains(p.logs.String(), "DEMO") {
		t.Error("it says that it is a demo")
	}
	if _, page, err := p.get(t.Context(), newClient(t), "/"); err != nil || strings.Contains(page, "demo") {
		t.Errorf("its page does: %v", err)
	}
}

// TestDemoSaysSo checks that the log and each page say that this is a demo.
func TestDemoSaysSo(t *testing.T) {
	t.Parallel()
	p := startProcess(t, nil, "--demo")
	if !regexp.MustCompile(`level=warn msg="THIS IS A DEMO: `).MatchString(p.logs.String()) {
		t.Errorf("the log does not: %s", p.logs)
	}
	for _, path := range []string{"/", "/tokens", "/runbook"} {
		if _, page, err := p.get(t.Context(), newClient(t), path); err != nil || !strings.Contains(page,
			"This is a demo.") {
			t.Errorf("%s does not: %v", path, err)
		}
	}
}
