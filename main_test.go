package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/test/programs"
)

// TestMain checks that no goroutine is left behind. The tests wait for refreshes most of
// the time, so more run side by side than there are CPUs.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const goodKey = "tr_prod_0123456789abcdef"

// TestBadInput checks the exact message for each input that is refused at the start.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty, public := file("empty", "\n"), file("public", "pk_prod_0123456789")
	missing := filepath.Join(dir, "missing")
	for _, tc := range []struct {
		name, key string
		args      []string
		want      string
	}{
		{"unknown flag", goodKey, []string{"--nope"}, "--nope: unknown flag"},
		{"argument", goodKey, []string{"nope"}, "unexpected nope"},
		{"key in the wrong flag", goodKey, []string{"--web.listen-address=" + goodKey}, "--web.listen-address: " +
			`"tr_prod_…" has no port: want tr_prod_…:10210`},
		{
			"no key", "", nil,
			"no secret key: set TRIGGER_SECRET_KEY, or name a file with --trigger.secret-key-file (--demo needs none)",
		},
		{"key without prefix", "0123456789", nil, "TRIGGER_SECRET_KEY: the key does not start with tr_: want the " +
			"secret key from the dashboard's page of API keys"},
		{
			"public key", "pk_prod_0123456789", nil,
			"TRIGGER_SECRET_KEY: the key is a public one (pk_…): want the environment's secret key, tr_<env>_…",
		},
		{"personal access token", "tr_pat_0123456789", nil, "TRIGGER_SECRET_KEY: the key is a personal access " +
			"token (tr_pat_…), which is for the CLI: want an environment's secret key, tr_<env>_…"},
		{
			"quoted key", `"` + goodKey + `"`, nil,
			"TRIGGER_SECRET_KEY: the key has quotes around it: want the key alone, without them",
		},
		{"key with a control character", "tr_prod_01\x0134", nil, "TRIGGER_SECRET_KEY: the key has a space, a " +
			"control or a non-ASCII character in it: want a secret key, tr_<env>_…, and nothing else"},
		{"key of unknown kind", "tr_other_01234", nil, "--trigger.environment: missing; the key's prefix does not " +
			"tell (tr_dev_, tr_stg_, tr_prod_ and tr_preview_ do)"},
		{
			"preview key without branch", "tr_preview_01234", nil,
			"--trigger.preview-branch: missing; a key of a preview environment needs the name of a branch",
		},
		{"no key file", "", []string{"--trigger.secret-key-file=" + missing}, "--trigger.secret-key-file: open " +
			missing + ": no such file or directory"},
		{"empty key file", "", []string{"--trigger.secret-key-file=" + empty}, "--trigger.secret-key-file " +
			empty + ": the key is empty: want a secret key, tr_<env>_…"},
		{"public key in file", "", []string{"--trigger.secret-key-file=" + public}, "--trigger.secret-key-file " +
			public + ": the key is a public one (pk_…): want the environment's secret key, tr_<env>_…"},
		{
			"URL without scheme", goodKey,
			[]string{"--trigger.api-url=api.trigger.dev"},
			`--trigger.api-url: API URL "api.trigger.dev": want it to start with http:// or https://`,
		},
		{
			"URL that is none", goodKey,
			[]string{"--trigger.api-url=http://a b"},
			`--trigger.api-url: API URL "http://a b": not a URL: want http:// or https:// with a host`,
		},
		{
			"period", goodKey,
			[]string{"--tokens.period=1 month"},
			`--tokens.period: "1 month" is not a duration such as 30s, 5m, 1h or 1d`,
		},
		{"period of 0", goodKey, []string{"--tokens.period=0"}, `--tokens.period: "0" must be more than 0`},
		{"given twice", goodKey, []string{"--tags.limit=1", "--tags.limit=2"}, "flag 'tags.limit' cannot be repeated"},
		{
			"file and flag", "",
			[]string{"--config.file=" + missing, "--tags.limit=2"},
			"--tags.limit: not together with --config.file; set tags.limit there, for an environment or in defaults",
		},
		{
			"key and demo", "",
			[]string{"--demo", "--trigger.secret-key-file=" + missing},
			"--trigger.secret-key-file: not together with --demo; the demo has a key of its own",
		},
		{
			"file and demo", "",
			[]string{"--config.file=" + missing, "--demo"},
			"--demo: not together with --config.file; the demo has an environment of its own",
		},
		{"no file", "", []string{"--config.file=" + missing}, "--config.file: open " + missing +
			": no such file or directory"},
		{
			"endless file", "",
			[]string{"--config.file=/dev/zero"},
			"--config.file: read /dev/zero: has more than 16777216 bytes",
		},
		{
			"endless key file", "",
			[]string{"--trigger.secret-key-file=/dev/zero"},
			"--trigger.secret-key-file: read /dev/zero: has more than 65536 bytes",
		},
		{"no file to check", "", []string{"--config.check", "--config.file=" + missing}, "--config.file: open " +
			missing + ": no such file or directory"},
		{
			"within no period", goodKey,
			[]string{"--tokens.waiting-within-period"},
			"--tokens.waiting-within-period: has no effect without a period",
		},
		{
			"near timeout", goodKey,
			[]string{"--tokens.near-timeout=-5m"},
			`--tokens.near-timeout: "-5m" is not a duration such as 30s, 5m, 1h or 1d`,
		},
		{
			"stuck after", goodKey,
			[]string{"--tokens.stuck-after=soon"},
			`--tokens.stuck-after: "soon" is not a duration such as 30s, 5m, 1h or 1d`,
		},
		{
			"include", goodKey,
			[]string{"--tags.include=("},
			"--tags.include: \"(\" is not a regular expression: missing closing ): `(`",
		},
		{
			"exclude", goodKey,
			[]string{"--tags.exclude=*"},
			"--tags.exclude: \"*\" is not a regular expression: missing argument to repetition operator: `*`",
		},
		{
			"rewrite without =", goodKey,
			[]string{"--tags.rewrite=user"},
			`--tags.rewrite: "user" must be REGEX=REPLACEMENT, such as user:.*=user:*`,
		},
		{
			"rewrite", goodKey,
			[]string{"--tags.rewrite=[=x"},
			"--tags.rewrite: \"[\" is not a regular expression: missing closing ]: `[`",
		},
		{
			"rewrite to no UTF-8", goodKey,
			[]string{"--tags.rewrite=user=\xff"},
			`--tags.rewrite: "user=\xff" is not valid UTF-8`,
		},
		{
			"environment without UTF-8", goodKey,
			[]string{"--trigger.environment=\xff"},
			`--trigger.environment: "\xff" is not valid UTF-8`,
		},
		{
			"project without UTF-8", goodKey,
			[]string{"--trigger.project=a\xff"},
			`--trigger.project: "a\xff" is not valid UTF-8`,
		},
		{"limit", goodKey, []string{"--tags.limit=-1"}, `--tags.limit: "-1" must be a whole number from 0 to 1000000`},
		{
			"interval", goodKey,
			[]string{"--refresh.interval=1"},
			`--refresh.interval: "1" is not a duration such as 30s, 5m, 1h or 1d`,
		},
		{
			"short interval", goodKey,
			[]string{"--refresh.interval=10ms"},
			`--refresh.interval: "10ms" must be at least 1s`,
		},
		{
			"timeout", goodKey,
			[]string{"--refresh.timeout=x"},
			`--refresh.timeout: "x" is not a duration such as 30s, 5m, 1h or 1d`,
		},
		{
			"concurrency", goodKey,
			[]string{"--api.concurrency=0"},
			`--api.concurrency: "0" must be a whole number from 1 to 64`,
		},
		{
			"reserve", goodKey,
			[]string{"--api.reserve=1"},
			`--api.reserve: "1" must be a number from 0 to less than 1, such as 0.5`,
		},
		{
			"reserve and more", goodKey,
			[]string{"--api.reserve=0.5\nhalf"},
			`--api.reserve: "0.5\nhalf" must be a number from 0 to less than 1, such as 0.5`,
		},
		{
			"telemetry path", goodKey,
			[]string{"--web.telemetry-path=metrics"},
			`--web.telemetry-path: "metrics" must be a path such as /metrics that no other endpoint has`,
		},
		{
			"telemetry path with two slashes", goodKey,
			[]string{"--web.telemetry-path=//metrics"},
			`--web.telemetry-path: "//metrics" must be a path such as /metrics that no other endpoint has`,
		},
		{
			"telemetry path with dots", goodKey,
			[]string{"--web.telemetry-path=/a/../metrics"},
			`--web.telemetry-path: "/a/../metrics" must be a path such as /metrics that no other endpoint has`,
		},
		{
			"telemetry path with a query", goodKey,
			[]string{"--web.telemetry-path=/metrics?x"},
			`--web.telemetry-path: "/metrics?x" must be a path such as /metrics that no other endpoint has`,
		},
		{
			"telemetry path with a fragment", goodKey,
			[]string{"--web.telemetry-path=/metrics#x"},
			`--web.telemetry-path: "/metrics#x" must be a path such as /metrics that no other endpoint has`,
		},
		{
			"telemetry path with a pattern", goodKey,
			[]string{"--web.telemetry-path=/{x}"},
			`--web.telemetry-path: "/{x}" must be a path such as /metrics that no other endpoint has`,
		},
		{
			"telemetry path taken", goodKey,
			[]string{"--web.telemetry-path=/tokens"},
			`--web.telemetry-path: "/tokens" must be a path such as /metrics that no other endpoint has`,
		},
		{"web config", goodKey, []string{"--web.config.file=" + missing}, "--web.config.file: open " + missing +
			": no such file or directory"},
		{"log level", goodKey, []string{"--log.level=loud"}, `--log.level: "loud" must be debug, info, warn or error`},
		{"log format", goodKey, []string{"--log.format=xml"}, `--log.format: "xml" must be logfmt or json`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			getenv := func(name string) string {
				if name == "TRIGGER_SECRET_KEY" {
					return tc.key
				}
				return ""
			}
			var out bytes.Buffer
			err := run(t.Context(), tc.args, getenv, &out, &out)
			if err == nil {
				t.Fatal("accepted")
			}
			got := err.Error()
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if strings.Contains(got, "\n") || len(tc.key) > 9 && strings.Contains(got, tc.key[8:]) {
				t.Errorf("more than one line, or the key: %q", got)
			}
		})
	}
}

// TestPortInUse checks that the message names the flag.
func TestPortInUse(t *testing.T) {
	l := programs.Listen(t.Context(), t)
	err := run(
		t.Context(),
		[]string{"--demo", "--web.listen-address=" + l.Addr().String()},
		func(string) string { return "" },
		io.Discard,
		io.Discard,
	)
	if err == nil || !strings.HasPrefix(err.Error(), "--web.listen-address: listen tcp") {
		t.Errorf("error %v", err)
	}
}

// TestNoSocket checks that the message names the flag that requests a socket.
func TestNoSocket(t *testing.T) {
	err := run(
		t.Context(),
		[]string{"--demo", "--web.systemd-socket"},
		func(string) string { return "" },
		io.Discard,
		io.Discard,
	)
	if err == nil || !strings.HasPrefix(err.Error(), "--web.systemd-socket: ") {
		t.Errorf("error %v", err)
	}
}

// TestDemo runs the whole program against its simulated service.
func TestDemo(t *testing.T) {
	address := programs.FreeAddress(t.Context(), t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	var logs bytes.Buffer
	go func() {
		done <- run(ctx, []string{"--demo", "--log.level=debug", "--web.listen-address=" + address},
			func(string) string { return "" }, io.Discard, &logs)
	}()
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	get := func(path, accept string) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", accept)
		answer, err := client.Do(r)
		if err != nil {
			return ""
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			return ""
		}
		return string(body)
	}
	var pages strings.Builder
	for !strings.Contains(pages.String(), `triggerdev_waitpoint_history_loaded{environment="demo"} 1`) {
		pages.WriteString(get("/metrics", ""))
		select {
		case err := <-done:
			t.Fatalf("the program ended: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	openMetrics := get("/metrics", "application/openmetrics-text; version=1.0.0")
	if !strings.HasSuffix(openMetrics, "# EOF\n") {
		t.Error("OpenMetrics is not served when asked for")
	}
	if page := get("/", ""); !strings.Contains(page, ">demo<") || !strings.Contains(page, "up to date") ||
		!strings.Contains(page, "This is a demo") {
		t.Errorf("the landing page does not show the environment's state: %s", page)
	}
	for _, path := range []string{"/-/healthy", "/-/ready", "/", "/tokens", "/tokens?format=json", "/nope"} {
		pages.WriteString(get(path, ""))
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("after the signal: %v", err)
	}
	all := pages.String() + openMetrics + logs.String()
	for _, secret := range []string{"tr_prod_demo", "/callback/", "idem-", `"approved"`} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is in the pages or the log", secret)
		}
	}
}

// TestSecrets runs the program at debug level with every kind of fault, and checks
// that it shows no secret.
func TestSecrets(t *testing.T) {
	const key = "tr_prod_sEcReTsEcReTsEcReT"
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a redirect was followed to another host, with the header %q", r.Header.Get("Authorization"))
	}))
	t.Cleanup(elsewhere.Close)
	leak := fmt.Sprintf(`{"error":"no access for %s to http://x/callback/abc"}`, key)
	kinds := []simulator.Fault{
		{Kind: simulator.FaultStatus, Status: 400, Body: leak},
		{Kind: simulator.FaultStatus, Status: 401, Body: leak},
		{Kind: simulator.FaultStatus, Status: 403, Body: leak},
		{Kind: simulator.FaultStatus, Status: 500, Body: leak},
		{Kind: simulator.FaultRedirect, Header: http.Header{"Location": {elsewhere.URL + "/?key=" + key}}},
		{
			Kind: simulator.FaultBody,
			Body: `{"data":[{"id":1,"url":"http://x/callback/abc","idempotencyKey":"idem-1"}]}`,
		},
	}
	for kind := simulator.FaultHang; kind <= simulator.FaultNulls; kind++ {
		if kind != simulator.FaultRedirect {
			kinds = append(kinds, simulator.Fault{Kind: kind})
		}
	}
	// Each fault needs a refresh, and a refresh takes a second.
	for kinds := range slices.Chunk(kinds, 6) {
		t.Run(fmt.Sprint("from ", kinds[0].Kind, " on"), func(t *testing.T) {
			t.Parallel()
			leakNothing(t, key, kinds)
		})
	}
}

// leakNothing runs the program with the given kinds of fault and checks that it shows no
// secret.
func leakNothing(t *testing.T, key string, kinds []simulator.Fault) {
	t.Helper()
	service := simulator.New(simulator.Options{Seed: 1})
	environment := service.Environment(simulator.EnvironmentOptions{Key: key})
	environment.Populate(simulator.Population{Seed: 1, Tokens: 500, Waiting: 150, Odd: true})
	api := httptest.NewServer(service)
	defer api.Close()
	for _, f := range kinds {
		f.Times = 1
		service.Inject(f)
	}

	address := programs.FreeAddress(t.Context(), t)
	getenv := func(name string) string { return map[string]string{"TRIGGER_SECRET_KEY": key}[name] }
	ctx, cancel := context.WithCancel(t.Context())
	var logs bytes.Buffer
	done := make(chan error)
	go func() {
		done <- run(ctx, []string{
			"--log.level=debug", "--refresh.interval=1s", "--refresh.timeout=1s", "--trigger.api-url=" + api.URL,
			"--web.listen-address=" + address,
		}, getenv, io.Discard, &logs)
	}()
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	var pages strings.Builder
	// Each fault affects one request. After all of them the snapshot becomes complete.
	for !strings.Contains(pages.String(), `triggerdev_waitpoint_history_loaded{environment="prod"} 1`) ||
		len(service.Requests()) < len(kinds)+8 {
		for _, path := range []string{"/metrics", "/", "/tokens", "/tokens?format=json", "/-/ready"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if answer, err := client.Do(r); err == nil {
				_, _ = io.Copy(&pages, answer.Body)
				_ = answer.Body.Close()
			}
		}
		select {
		case err := <-done:
			t.Fatalf("the program ended: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if kinds[0].Status > 0 && !strings.Contains(logs.String(), "no access for") {
		t.Error("the log says nothing of the faults, so the test shows nothing")
	}
	for _, secret := range []string{key, "sEcReT", "/callback/", "idem-", `{\"approved`} {
		if i := strings.Index(pages.String()+logs.String(), secret); i >= 0 {
			t.Errorf("%q leaves the process: %.200q", secret, (pages.String() + logs.String())[max(0, i-100):])
		}
	}
}

// TestReload runs the program with a file of three environments, one of which has a
// revoked key, and reloads it by SIGHUP and by POST.
func TestReload(t *testing.T) {
	service := simulator.New(simulator.Options{Seed: 1})
	for i, name := range []string{"dev", "prod"} {
		service.Environment(simulator.EnvironmentOptions{Key: "tr_" + name + "_0123456789"}).Populate(
			simulator.Population{Seed: 1, Tokens: 300, Waiting: 10 * (i + 1)})
	}
	api := httptest.NewServer(service)
	defer api.Close()
	path := filepath.Join(t.TempDir(), "config.yml")
	put := func(text string) {
		if err := os.WriteFile(path, []byte("defaults: {api_url: \""+api.URL+"\", refresh: {interval: "+
			"1s}}\nenvironments:\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const dev, prod, revoked = "  - {name: dev, secret_key: tr_dev_0123456789}\n",
		"  - {name: prod, project: shop, secret_key: tr_prod_0123456789}\n",
		"  - {name: staging, secret_key: tr_stg_revoked}\n"
	put(dev + prod + revoked)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--config.check", "--config.file=" + path}, os.Getenv, &out,
		io.Discard); err != nil ||
		!strings.HasPrefix(out.String(),
			"The configuration is good. Environments:\ndev: "+api.URL+", window all, interval 1s\nshop/prod: ") {
		t.Errorf("--config.check: %q, %v", out.String(), err)
	}

	address := programs.FreeAddress(t.Context(), t)
	ctx, cancel := context.WithCancel(t.Context())
	var logs programs.Log
	done := make(chan error)
	go func() {
		done <- run(ctx, []string{"--config.file=" + path, "--web.enable-lifecycle", "--web.listen-address=" +
			address}, os.Getenv, io.Discard, &logs)
	}()
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	ask := func(method, path string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			return 0, err.Error()
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	await := func(path string, wants ...string) {
		t.Helper()
		var body string
		for range 200 {
			_, body = ask(http.MethodGet, path)
			missing := false
			for _, want := range wants {
				missing = missing || !strings.Contains(body, want)
			}
			if !missing {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("%s never has %q:\n%s", path, wants, body)
	}

	await("/metrics",
		`triggerdev_waitpoint_tokens{environment="dev",status="WAITING"} 10`,
		`triggerdev_waitpoint_tokens{environment="prod",project="shop",status="WAITING"} 20`,
		`triggerdev_waitpoint_up{environment="staging"} 0`, `triggerdev_waitpoint_up{environment="dev"} 1`,
		`triggerdev_waitpoint_refresh_errors_total{environment="staging",reason="auth"} `,
		"waitpoint_exporter_config_last_reload_successful 1")
	if code, body := ask(http.MethodGet, "/-/ready"); code != 503 ||
		body != "WAITING tokens are not known yet: staging\n" {
		t.Errorf("/-/ready: %d %q", code, body)
	}
	await("/", ">shop/prod<", ">staging<", ">refresh failed<", ">up to date<")

	put(dev + "  - {name: prod}\n")
	want := path + ":4: secret_key_file: missing"
	if code, body := ask(http.MethodPost, "/-/reload"); code != 500 || !strings.Contains(body, want) {
		t.Errorf("a broken file: %d %q, want %q", code, body, want)
	}
	if !strings.Contains(logs.String(), want) {
		t.Errorf("the log does not say %q", want)
	}
	await(
		"/metrics",
		"waitpoint_exporter_config_last_reload_successful 0",
		`triggerdev_waitpoint_up{environment="dev"} 1`,
		`environment="prod"`,
	)

	put(dev + prod)
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	await("/metrics", "waitpoint_exporter_config_last_reload_successful 1")
	await("/-/ready", "waitpoint_exporter is ready.")
	if _, body := ask(http.MethodGet, "/metrics"); strings.Contains(body, "staging") {
		t.Error("the removed environment still has series")
	}
	put(prod)
	if code, body := ask(http.MethodPost, "/-/reload"); code != 200 {
		t.Errorf("a good file: %d %q", code, body)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if strings.Contains(logs.String(), "_0123456789") || strings.Contains(logs.String(), "tr_stg_revoked") {
		t.Error("a key is in the log")
	}
}

// TestSameKey checks that --config.check warns of a key that two environments have, and
// shows no part of it.
func TestSameKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yml")
	if err := os.WriteFile(path, []byte("environments: [{name: a, secret_key: "+goodKey+
		"}, {name: b, project: shop, secret_key: "+goodKey+"}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, logs bytes.Buffer
	if err := run(t.Context(), []string{"--config.check", "--config.file=" + path}, os.Getenv, &out, &logs); err != nil {
		t.Fatal(err)
	}
	if want := `level=warn msg="two environments have the same key, so sums count their tokens twice" ` +
		"first=a second=shop/b\n"; !strings.HasSuffix(logs.String(), want) || strings.Count(logs.String(), "\n") != 1 {
		t.Errorf("got %s, want one line with %s", &logs, want)
	}
	if strings.Contains(out.String()+logs.String(), goodKey[len("tr_prod_"):]) {
		t.Error("the key is shown")
	}
}

// TestReadmeFlags compares the README's table of flags with --help, in both directions:
// names, defaults, environment variables, and which may be repeated.
func TestReadmeFlags(t *testing.T) {
	type flag struct {
		Defaults, Variables string
		Repeatable          bool
	}
	quoted := regexp.MustCompile("`([^`]*)`")
	var help bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, os.Getenv, &help, io.Discard); err != nil {
		t.Fatal(err)
	}
	want := map[string]flag{}
	for _, text := range regexp.MustCompile(`(?m)^ {2,6}(?:-h, )?--`).Split(help.String(), -1)[1:] {
		text = strings.Join(strings.Fields(text), " ")
		first, rest, _ := strings.Cut(text, " ")
		name, initial, _ := strings.Cut(strings.TrimPrefix(first, "[no-]"), "=")
		f := flag{Defaults: strings.Trim(initial, `"`), Repeatable: strings.HasPrefix(rest, "... ")}
		if strings.HasPrefix(initial, "<") {
			_, f.Defaults, _ = strings.Cut(strings.TrimSuffix(rest, " by default."), "Repeatable; ")
			f.Defaults = strings.ReplaceAll(f.Defaults, " and ", ", ")
		}
		f.Variables = strings.Join(regexp.MustCompile(`\$[A-Z_]+`).FindAllString(rest, -1), ", ")
		want[name] = f
	}
	delete(want, "help")
	delete(want, "version")
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## Flags\n")
	section, _, _ = strings.Cut(section, "\n#")
	got := map[string]flag{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`--.*) \\| (.*) \\| (.*)\\|$").FindAllStringSubmatch(section, -1) {
		names := quoted.FindAllStringSubmatch(row[1], -1)
		initial := quoted.FindAllStringSubmatch(regexp.MustCompile("^(?:`[^`]*`(?:, )?)*").FindString(row[2]), -1)
		var variables []string
		for _, v := range quoted.FindAllStringSubmatch(row[3], -1) {
			variables = append(variables, "$"+v[1])
		}
		for i, n := range names {
			own := initial
			if len(names) > 1 && len(initial) == len(names) {
				own = initial[i : i+1]
			}
			var defaults []string
			for _, d := range own {
				defaults = append(defaults, d[1])
			}
			name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(n[1], "--"), "[no-]"), "=")
			got[name] = flag{
				strings.Join(defaults, ", "), strings.Join(variables, ", "), strings.Contains(row[1], "(repeat)"),
			}
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the README (-help +README):\n%s", d)
	}
}
