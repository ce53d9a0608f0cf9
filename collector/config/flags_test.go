package config_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"waitpoint_exporter/collector/config"
	"waitpoint_exporter/collector/config/access"

	"github.com/alecthomas/kingpin/v2"
)

// load returns the environments that flags and variables describe.
func load(args []string, variables map[string]string) ([]config.Environment, error) {
	app := kingpin.New("test", "").Terminate(nil)
	app.Flag("demo", "").Bool()
	flags := config.AddFlags(app)
	if err := config.Parse(app, args); err != nil {
		return nil, err
	}
	return flags.Load(func(name string) string { return variables[name] })
}

// TestFlagsAndFile checks that each flag is equivalent to its field in a file: flags,
// variables and a file give the same environment.
func TestFlagsAndFile(t *testing.T) {
	const secret = "tr_preview_0123456789"
	fromFile, err := config.ReadFile(write(t, "all.yml", `
environments:
  - name: here
    project: shop
    secret_key: `+secret+`
    api_url: http://localhost:3030
    preview_branch: feature/a
    dashboard_url: https://cloud.trigger.dev/orgs/o/projects/p/env/prod
    tokens: {period: 30d, waiting_within_period: true, near_timeout: [2m], stuck_after: [2h, 1d],
      expected_wait: [a=5m, 4h], require_tag: .+, ignore_tag: chat}
    tags: {include: a|b, exclude: c, rewrite: ["(user|org):.*=$1:*", b=c], limit: 7}
    refresh: {interval: 20s, timeout: 5s, max_staleness: 1h, verify_interval: 2d}
    api: {concurrency: 2, reserve: 0.25, share: 0.75}
`), getenv)
	if err != nil {
		t.Fatal(err)
	}
	args := strings.Fields("--trigger.environment=here --trigger.project=shop --tokens.period=30d " +
		"--tokens.waiting-within-period " +
		"--tokens.near-timeout=2m --tokens.stuck-after=1d --tokens.stuck-after=2h --tokens.expected-wait=a=5m " +
		"--tokens.expected-wait=4h " +
		"--tokens.require-tag=.+ --tokens.ignore-tag=chat --tags.include=a|b --tags.exclude=c " +
		"--tags.rewrite=(user|org):.*=$1:* --tags.rewrite=b=c " +
		"--tags.limit=7 --refresh.interval=20s --refresh.timeout=5s --refresh.max-staleness=1h " +
		"--refresh.verify-interval=2d " +
		"--api.concurrency=2 --api.reserve=0.25 --api.share=0.75")
	services := map[string]string{
		"trigger.api-url": "http://localhost:3030", "trigger.preview-branch": "feature/a",
		"trigger.dashboard-url": "https://cloud.trigger.dev/orgs/o/projects/p/env/prod",
	}
	variables := map[string]string{"TRIGGER_SECRET_KEY": secret}
	for name, value := range services {
		variables[strings.NewReplacer("trigger", "TRIGGER", ".", "_", "-", "_").Replace(strings.ToUpper(name))] = " " +
			value + "\r\n"
	}
	fromVariables, err := load(args, variables)
	if err != nil || !fromVariables[0].Equal(fromFile[0]) {
		t.Errorf("with variables: %v\n%+v\n%+v", err, fromVariables, fromFile)
	}
	for name, value := range services {
		args = append(args, "--"+name+"="+value)
	}
	// A flag takes precedence over its variable.
	for name := range variables {
		if name != "TRIGGER_SECRET_KEY" {
			variables[name] = "nonsense"
		}
	}
	if fromFlags, err := load(args, variables); err != nil || !fromFlags[0].Equal(fromFile[0]) {
		t.Errorf("with flags: %v\n%+v\n%+v", err, fromFlags, fromFile)
	}
	defaults, err := load(nil, map[string]string{"TRIGGER_SECRET_KEY": "tr_prod_0123456789\n", "TRIGGER_API_URL": "\n"})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := config.ReadFile(write(t, "plain.yml", "environments: [{name: prod, secret_key: tr_prod_0123456789}]"),
		getenv)
	if err != nil {
		t.Fatal(err)
	}
	plain[0].Key, defaults[0].Key = access.Key{}, access.Key{}
	if !defaults[0].Equal(plain[0]) {
		t.Errorf("by default:\n%+v\n%+v", defaults, plain)
	}
}

// TestVariables checks that an error in a variable names the variable.
func TestVariables(t *testing.T) {
	for name, want := range map[string]string{
		"TRIGGER_API_URL":        `TRIGGER_API_URL: API URL "?": not a URL`,
		"TRIGGER_PREVIEW_BRANCH": "TRIGGER_PREVIEW_BRANCH: preview branch",
		"TRIGGER_DASHBOARD_URL":  "TRIGGER_DASHBOARD_URL: not a URL",
	} {
		value := map[string]string{"TRIGGER_PREVIEW_BRANCH": "a\nb"}[name]
		if value == "" {
			value = "example.com\n"
		}
		want = strings.Replace(want, `"?": not a URL`, `"example.com": want it to start with`, 1)
		_, err := load(nil, map[string]string{"TRIGGER_SECRET_KEY": "tr_prod_0123456789", name: value})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestVariablesAndFile checks that a variable with a setting is refused beside a file, which
// would ignore it, and send a key for one server to another.
func TestVariablesAndFile(t *testing.T) {
	arg := "--config.file=" + write(t, "config.yml", "environments: [{name: prod, secret_key_env: TRIGGER_SECRET_KEY}]\n")
	for name, want := range map[string]string{
		"TRIGGER_API_URL": "TRIGGER_API_URL: not together with --config.file; set api_url there, " +
			"for an environment or in defaults",
		"TRIGGER_PREVIEW_BRANCH": "TRIGGER_PREVIEW_BRANCH: not together with --config.file; set preview_branch there, " +
			"for an environment",
		"TRIGGER_DASHBOARD_URL": "TRIGGER_DASHBOARD_URL: not together with --config.file; set dashboard_url there, " +
			"for an environment",
	} {
		for value, want := range map[string]string{"http://a": want, " \n": "<nil>"} {
			_, err := load([]string{arg}, map[string]string{"TRIGGER_SECRET_KEY": "tr_prod_0123456789", name: value})
			if got := fmt.Sprint(err); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
	}
}

// TestLongDurations checks that no duration is long enough for a multiple of it to
// overflow.
func TestLongDurations(t *testing.T) {
	for _, flag := range []string{
		"tokens.period", "tokens.near-timeout", "tokens.stuck-after", "tokens.expected-wait", "refresh.interval",
		"refresh.timeout", "refresh.max-staleness", "refresh.verify-interval",
	} {
		t.Run(flag, func(t *testing.T) {
			variables := map[string]string{"TRIGGER_SECRET_KEY": "tr_prod_0123456789"}
			got, err := load([]string{"--" + flag + "=10y"}, variables)
			if err != nil {
				t.Fatal(err)
			}
			const year = 365 * 24 * time.Hour
			if got := got[0].Refresh.Staleness(); got < 0 || got > 30*year {
				t.Errorf("staleness %s", got)
			}
			for _, text := range []string{"3651d", "100y", "300y"} {
				_, err := load([]string{"--" + flag + "=" + text}, variables)
				if want := fmt.Sprintf("--%s: %q must be at most 10y", flag, text); err == nil || err.Error() != want {
					t.Errorf("got  %v\nwant %s", err, want)
				}
			}
		})
	}
}

// TestUnknownFlag checks the exact message for an unknown flag.
func TestUnknownFlag(t *testing.T) {
	for arg, want := range map[string]string{
		"--nope":                   "--nope: unknown flag",
		"--tokens.near_timeout=5m": "--tokens.near_timeout: unknown flag; did you mean --tokens.near-timeout?",
		"--token.period=1d":        "--token.period: unknown flag; did you mean --tokens.period?",
		"--period=1d":              "--period: unknown flag; did you mean --tokens.period?",
		"--tokens.stuck=1d":        "--tokens.stuck: unknown flag; did you mean --tokens.stuck-after?",
		"--no-tokens.period":       "unknown long flag '--no-tokens.period'",
		"--no-tokens.waiting-in-period": "--no-tokens.waiting-in-period: unknown flag; did you mean " +
			"--tokens.waiting-within-period?",
		"--config-file=x": "--config-file: unknown flag; did you mean --config.file?",
		"-x":              "unknown short flag '-x'",
	} {
		if _, err := load([]string{arg}, nil); err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", arg, err, want)
		}
	}
}

// TestMisplacedKey checks that no error about a key in the wrong place shows the key.
func TestMisplacedKey(t *testing.T) {
	const (
		key  = "tr_prod_0123456789"
		is   = "this looks like a key itself; want "
		name = "the value of a label"
	)
	for _, tc := range []struct{ variable, arg, want string }{
		{"", key, "unexpected tr_prod_…"},
		{"", "--" + key, "--tr_prod_…: unknown flag"},
		{"", "--" + key + "=x", "--tr_prod_…: unknown flag"},
		{"", "@" + key, `failed to open arguments file "tr_prod_…": open tr_prod_…: no such file or directory`},
		{"", "--config.file=" + key, "--config.file: open tr_prod_…: no such file or directory"},
		{"", "--trigger.secret-key-file=" + key, "--trigger.secret-key-file: " + is + "the name of a file"},
		{"", "--trigger.environment=" + key, "--trigger.environment: " + is + name},
		{"", "--trigger.project=" + key, "--trigger.project: " + is + name},
		{"", "--trigger.preview-branch=" + key, "--trigger.preview-branch: " + is + "the name of a branch"},
		{"", "--trigger.api-url=https://" + key, "--trigger.api-url: API URL: has a key in it: " +
			"want none, the key is an option of its own"},
		{"", "--refresh.interval=" + key, `--refresh.interval: "tr_prod_…" is not a duration such as 30s, 5m, 1h or 1d`},
		{"TRIGGER_API_URL", "", `TRIGGER_API_URL: API URL "tr_prod_…": want it to start with http:// or https://`},
		{"TRIGGER_PREVIEW_BRANCH", "", "TRIGGER_PREVIEW_BRANCH: " + is + "the name of a branch"},
	} {
		t.Run(tc.variable+tc.arg, func(t *testing.T) {
			variables := map[string]string{"TRIGGER_SECRET_KEY": "https://api.trigger.dev", tc.variable: key}
			_, err := load(slices.DeleteFunc([]string{tc.arg}, func(arg string) bool { return arg == "" }), variables)
			if err == nil || err.Error() != tc.want {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}

// TestNamesLikeKeys checks that names that only begin like a key are accepted.
func TestNamesLikeKeys(t *testing.T) {
	for _, flag := range []string{"project=", "environment=", "preview-branch=", "api-url=http://x/"} {
		for _, name := range []string{"tr_shop", "pk_team", "tr_production"} {
			arg := "--trigger." + flag + name
			if _, err := load([]string{arg}, map[string]string{"TRIGGER_SECRET_KEY": "tr_prod_0123456789"}); err != nil {
				t.Errorf("%s: %v", arg, err)
			}
		}
	}
}

// TestHelp checks that only flags that may be repeated are shown as such, and that each
// flag is shown with its default or a placeholder.
func TestHelp(t *testing.T) {
	app := kingpin.New("test", "").Terminate(nil)
	var help bytes.Buffer
	app.UsageWriter(&help)
	config.AddFlags(app)
	app.Usage(nil)
	var repeated []string
	for _, m := range regexp.MustCompile(`--(\S+)=.* \.\.\.`).FindAllStringSubmatch(help.String(), -1) {
		repeated = append(repeated, m[1])
	}
	text := strings.Join(strings.Fields(help.String()), " ")
	for _, flag := range app.Model().Flags {
		values := flag.Default
		if len(values) < 2 {
			continue
		}
		last := len(values) - 1
		want := "; " + strings.Join(values[:last], ", ") + " and " + values[last] + " by default."
		if _, shown, _ := strings.Cut(text, "--"+flag.Name+"=<"); !strings.Contains(strings.Split(shown, " --")[0], want) {
			t.Errorf("--%s: no %q in\n%s", flag.Name, want, help.String())
		}
	}
	want := "tokens.near-timeout tokens.stuck-after tokens.expected-wait tags.rewrite"
	if got := strings.Join(repeated, " "); got != want {
		t.Errorf("repeated are %s", got)
	}
	for _, want := range []string{
		"--trigger.api-url=https://api.trigger.dev", "($TRIGGER_API_URL)", "--trigger.secret-key-file=<path>",
		"--[no-]tokens.waiting-within-period ",
		"--tokens.period=<duration>", "--tags.limit=100 ", "--tokens.stuck-after=<duration> ...",
	} {
		if !strings.Contains(help.String(), want) {
			t.Errorf("no %q in\n%s", want, help.String())
		}
	}
}

// TestDemo checks the demo's own settings, and that flags override them.
func TestDemo(t *testing.T) {
	for _, tc := range []struct {
		args, name string
		interval   time.Duration
	}{
		{"", "demo", 5 * time.Second},
		{"--refresh.interval=1m --trigger.environment=mine", "mine", time.Minute},
	} {
		app := kingpin.New("test", "").Terminate(nil)
		flags := config.AddFlags(app)
		if err := config.Parse(app, strings.Fields(tc.args)); err != nil {
			t.Fatal(err)
		}
		if err := flags.Demo("tr_prod_demo"); err != nil {
			t.Fatal(err)
		}
		got, err := flags.Load(func(string) string { return "of another" })
		if err != nil || got[0].Name != tc.name || got[0].Refresh.Interval != tc.interval ||
			got[0].Key.Value != "tr_prod_demo" {
			t.Errorf("%s: %v, %+v", tc.args, err, got)
		}
	}
}

// TestDemoRefuses checks that no flag is ignored because the demo has its own.
func TestDemoRefuses(t *testing.T) {
	for arg, want := range map[string]string{
		"--config.file=x":             "--demo: not together with --config.file; the demo has an environment of its own",
		"--trigger.secret-key-file=x": "--trigger.secret-key-file: not together with --demo; the demo has a key of its own",
		"--trigger.api-url=http://x":  "--trigger.api-url: not together with --demo; the demo has a service of its own",
	} {
		app := kingpin.New("test", "").Terminate(nil)
		flags := config.AddFlags(app)
		if err := config.Parse(app, []string{arg}); err != nil {
			t.Fatal(err)
		}
		if err := flags.Demo("tr_prod_demo"); err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", arg, err, want)
		}
	}
}

// TestLoadAgain checks that a name derived from the key changes when the key's file is
// replaced.
func TestLoadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	app := kingpin.New("test", "").Terminate(nil)
	flags := config.AddFlags(app)
	if err := config.Parse(app, []string{"--trigger.secret-key-file=" + path}); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"tr_prod_0123456789": "prod", "tr_stg_0123456789": "staging"} {
		if err := os.WriteFile(path, []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := flags.Load(os.Getenv); err != nil || got[0].Name != want {
			t.Errorf("%s, %v", got[0].Name, err)
		}
	}
}

// misplaced returns the text with a key put in at a place, and the key's secret part. An
// escape before it would make it another text, so the place after a backslash is moved.
func misplaced(text string, at uint) (string, string) {
	const secret = "MISPLACED9876"
	i := int(at % uint(len(text)+1))
	for i > 0 && text[i-1] == '\\' {
		i--
	}
	return text[:i] + "tr_stg_" + secret + text[i:], secret
}

// FuzzFlags checks that any flags are refused in one line that names the flag and
// contains no key, wherever one is, or result in an environment that can run.
func FuzzFlags(f *testing.F) {
	for _, seed := range []string{
		"--tokens.period=30d\n--tokens.near-timeout=5m", "--tags.rewrite=(a)=$1\n--tags.limit=0",
		"--no-tokens.waiting-within-period",
		"--tokens.expected-wait=a=5m\n--tokens.expected-wait=1d", "--trigger.api-url=http://[::1]:3030/x",
		"--refresh.interval=1s\n--refresh.interval=2s",
		"--trigger.dashboard-url=https://c/orgs/o/projects/p/env/e", "--trigger.preview-branch=a b", "--api.reserve=NaN",
		"--api.share=1e-400", "-h", "--", "@x",
		"--tokens.stuck-after=7d\n--tokens.stuck-after=1w", "--config.check", "--nope", "--tags.include=\xff",
		"--trigger.environment=\xff", "--tokens.stuck-afer=1d",
	} {
		for at := range len(seed) + 1 {
			f.Add(seed, uint(at))
		}
	}
	const key = "tr_prod_0123456789"
	split := func(joined string) (args []string) {
		for arg := range strings.SplitSeq(joined, "\n") {
			// Files depend on the machine, and help ends the process.
			if (strings.HasPrefix(arg, "-") || strings.HasPrefix(arg, "tr_")) && !strings.Contains(arg, "file") &&
				!strings.Contains(arg, "help") && !strings.HasPrefix(arg, "-h") {
				args = append(args, arg)
			}
		}
		return args
	}
	f.Fuzz(func(t *testing.T, joined string, at uint) {
		wrong, secret := misplaced(joined, at)
		if _, err := load(split(wrong), map[string]string{"TRIGGER_SECRET_KEY": key}); err != nil &&
			strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", split(wrong), err)
		}
		args := split(joined)
		got, err := load(args, map[string]string{"TRIGGER_SECRET_KEY": key})
		if err != nil {
			if strings.Contains(err.Error(), key) {
				t.Errorf("%q: %v", args, err)
			}
			return
		}
		e := got[0]
		if e.Name == "" || e.APIURL == "" || e.Refresh.Interval < time.Second || e.Refresh.Timeout <= 0 ||
			e.Refresh.VerifyInterval <= 0 ||
			e.API.Concurrency < 1 || !(e.API.Reserve >= 0 && e.API.Reserve < 1) || !(e.API.Share > 0 && e.API.Share <= 1) ||
			e.Tags.Limit < 0 {
			t.Errorf("%q: %+v", args, e)
		}
		if _, err := access.Transport(t.Context(), e.HTTP); err != nil {
			t.Error(err)
		}
	})
}
