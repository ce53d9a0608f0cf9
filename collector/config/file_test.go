package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"waitpoint_exporter/collector/config"
	"waitpoint_exporter/collector/index"

	"github.com/prometheus/common/model"
)

func getenv(name string) string {
	return map[string]string{"KEY": "tr_prod_0123456789", "STAGING_KEY": "tr_stg_0123456789"}[name]
}

// TestBadFiles checks the exact message for each testdata/bad-*.yml. The message is the
// file's first line, with FILE for its path and DIR for its folder.
func TestBadFiles(t *testing.T) {
	paths, err := filepath.Glob("testdata/bad-*.yml")
	if err != nil || len(paths) < 50 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want, _, _ := strings.Cut(strings.TrimPrefix(string(content), "# "), "\n")
			_, err = config.ReadFile(path, getenv)
			if err == nil {
				t.Fatal("it is accepted")
			}
			got := strings.NewReplacer(path, "FILE", filepath.Dir(path), "DIR").Replace(err.Error())
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if strings.Contains(got, "0123456789") || strings.Contains(got, "hunter2") {
				t.Errorf("the message holds a secret: %s", got)
			}
		})
	}
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFile checks how defaults and environments are combined.
func TestFile(t *testing.T) {
	path := write(t, "good.yml", `
defaults: &defaults
  api_url: https://trigger.example.com
  proxy_url: http://user:hunter2@proxy.example.com:3128
  tokens: {period: 30d, near_timeout: [168h, 1h, 5m], ignore_tag: chat.*, expected_wait: [webhook.*=5m, 4h]}
  tags:
    rewrite: ["user:.*=user:*"]
  refresh:
  api: {concurrency: 2}
environments:
  - name: prod
    project: shop
    secret_key_env: KEY
    dashboard_url: https://cloud.trigger.dev/orgs/o/projects/p/env/prod/?x#y
    api: {reserve: 0.75}
  - name: staging
    secret_key: tr_stg_0123456789
    api_url: http://localhost:3030
    proxy_url:
    tokens:
      period: 1d
      waiting_within_period: true
      stuck_after: []
    tags: {limit: 5}
`)
	got, err := config.ReadFile(path, getenv)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatalf("%d environments, want 2", len(got))
	}
	prod, staging := got[0], got[1]
	thresholds := func(texts ...string) (out []config.Threshold) {
		for _, text := range texts {
			d, err := model.ParseDuration(text)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, config.Threshold{Text: text, Duration: time.Duration(d)})
		}
		return out
	}
	for what, pair := range map[string][2]any{
		"project":              {prod.Title(), "shop/prod"},
		"no project":           {staging.Title(), "staging"},
		"url from defaults":    {prod.APIURL, "https://trigger.example.com"},
		"own url":              {staging.APIURL, "http://localhost:3030"},
		"proxy":                {prod.HTTP.ProxyURL.Host, "proxy.example.com:3128"},
		"period from defaults": {prod.Tokens.Period, 30 * 24 * time.Hour},
		"own period":           {staging.Tokens.Period, 24 * time.Hour},
		"thresholds":           {prod.Tokens.NearTimeout, thresholds("5m", "1h", "168h")},
		"no thresholds":        {len(staging.Tokens.StuckAfter), 0},
		"built-in thresholds":  {prod.Tokens.StuckAfter, thresholds("1h", "1d", "7d")},
		"dashboard":            {prod.DashboardURL, "https://cloud.trigger.dev/orgs/o/projects/p/env/prod"},
		"first expected wait":  {prod.Tokens.ExpectedWait[0].Match.MatchString("webhook:1"), true},
		"other expected wait":  {prod.Tokens.ExpectedWait[1], index.ExpectedWait{Wait: 4 * time.Hour}},
		"ignored tags": {
			[2]bool{prod.Tags.Ignore.MatchString("chat:1"), prod.Tags.Require == nil},
			[2]bool{true, true},
		},
		"rewrite": {len(staging.Tags.Rewrite), 1},
		"limit":   {[2]int{prod.Tags.Limit, staging.Tags.Limit}, [2]int{100, 5}},
		"api":     {prod.API, config.API{Concurrency: 2, Reserve: 0.75, Share: 0.25}},
		"refresh": {prod.Refresh, config.Refresh{
			Interval: time.Minute, Timeout: 30 * time.Second,
			MaxStaleness: 10 * time.Minute, VerifyInterval: 24 * time.Hour,
		}},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: got %v, want %v", what, pair[0], pair[1])
		}
	}
	if key, err := staging.Key.Get(); err != nil || key != "tr_stg_0123456789" {
		t.Errorf("the key is %v, %v", key, err)
	}
	if text := fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(text, "0123456789") ||
		strings.Contains(text, "hunter2") {
		t.Errorf("printing shows a secret: %s", text)
	}
}

// TestEmptyFields checks that an empty field of an environment has the default, whatever
// the defaults for all environments say.
func TestEmptyFields(t *testing.T) {
	got, err := config.ReadFile(write(t, "empty.yml", `
defaults:
  api_url: http://api.test
  proxy_url: http://proxy.test
  no_proxy: a.test
  http_headers: {x: {values: [a]}}
  tokens: {period: 30d, near_timeout: [2m], stuck_after: [2h], expected_wait: [4h], ignore_tag: chat}
  refresh: {interval: 5m}
  tls_config: {insecure_skip_verify: true}
environments:
  - name: empty
    secret_key_env: KEY
    api_url:
    proxy_url: ~
    no_proxy:
    http_headers:
    tokens: {period: , near_timeout: null, stuck_after: , expected_wait: , ignore_tag: }
    refresh: {interval: }
    tls_config: {insecure_skip_verify: }
  - name: kept
    secret_key_env: KEY
    tokens:
`), getenv)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := config.ReadFile(write(t, "plain.yml", "environments: [{name: empty, secret_key_env: KEY}]"), getenv)
	if err != nil {
		t.Fatal(err)
	}
	if !got[0].Equal(plain[0]) {
		t.Errorf("empty fields:\ngot  %+v\nwant %+v", got[0], plain[0])
	}
	if tokens := got[1].Tokens; tokens.Period != 30*24*time.Hour || len(tokens.StuckAfter) != 1 {
		t.Errorf("an empty section: %+v", tokens)
	}
}

// TestAliases checks that an alias may replace any value, at any depth.
func TestAliases(t *testing.T) {
	got, err := config.ReadFile(write(t, "aliases.yml", `
defaults:
  tls_config: {server_name: &host trigger.example.com}
  tokens: {near_timeout: &times [&hour 1h, 2h]}
environments:
  - name: prod
    secret_key_env: KEY
    tls_config: {server_name: *host, insecure_skip_verify: true}
    tokens: {near_timeout: *times, stuck_after: [*hour]}
  - {&key name: *key, secret_key_env: KEY}
`), getenv)
	if err != nil || len(got) != 2 {
		t.Fatal(err)
	}
	if tls := got[0].HTTP.TLSConfig; tls.ServerName != "trigger.example.com" || !tls.InsecureSkipVerify {
		t.Errorf("TLS: %+v", tls)
	}
	if tokens := got[0].Tokens; len(tokens.NearTimeout) != 2 || tokens.NearTimeout[1].Text != "2h" ||
		len(tokens.StuckAfter) != 1 {
		t.Errorf("thresholds: %+v", tokens)
	}
	if got[1].Name != "name" {
		t.Errorf("a key's alias: %q", got[1].Name)
	}
}

// TestMerge checks that merge keys and fields that begin with x- work as in other
// tools: a mapping's own fields count first, then the first merged mapping's.
func TestMerge(t *testing.T) {
	got, err := config.ReadFile(write(t, "merge.yml", `
x-names: {anything: [at, all]}
x-slow: &slow
  refresh: {interval: 5m, timeout: 1m}
  api_url: http://slow.test
x-all: &all
  <<: *slow
  tokens: {period: 30d}
  tags: {limit: 5}
defaults:
  x-unused: ${NOTHING}
  refresh: {verify_interval: 2d}
environments:
  - {name: one, secret_key_env: KEY, <<: *all, tags: {limit: 7}}
  - name: two
    secret_key_env: KEY
    tokens: {x-note: y}
    <<: [{tags: {limit: 9}, tokens: {period: 1d}}, *all]
`), getenv)
	if err != nil || len(got) != 2 {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	for i, want := range []struct {
		period time.Duration
		limit  int
	}{{30 * day, 7}, {0, 9}} {
		e := got[i]
		if e.APIURL != "http://slow.test" || e.Tokens.Period != want.period || e.Tags.Limit != want.limit ||
			e.Refresh != (config.Refresh{
				Interval: 5 * time.Minute, Timeout: time.Minute, MaxStaleness: 10 * time.Minute,
				VerifyInterval: 2 * day,
			}) {
			t.Errorf("%s: %+v", e.Name, e)
		}
	}
}

// TestEqual checks that any setting makes environments unequal, but not the place in
// the file.
func TestEqual(t *testing.T) {
	const base = "environments:\n  - name: prod\n    secret_key_env: KEY\n"
	read := func(content string) config.Environment {
		got, err := config.ReadFile(write(t, "a.yml", content), getenv)
		if err != nil {
			t.Fatal(err)
		}
		return got[0]
	}
	first := read(base + "    tags: {include: \"a.*\"}\n    tls_config: {insecure_skip_verify: true}\n")
	if moved := read("# Moved.\n" + base +
		"    tags: {include: \"a.*\"}\n    tls_config: {insecure_skip_verify: true}\n"); !first.Equal(moved) {
		t.Error("the same at another line is taken for another")
	}
	for _, more := range []string{
		"    tags: {include: \"b.*\"}\n    tls_config: {insecure_skip_verify: true}\n",
		"    tags: {include: \"a.*\"}\n",
		"    project: x\n    tags: {include: \"a.*\"}\n    tls_config: {insecure_skip_verify: true}\n",
	} {
		if first.Equal(read(base + more)) {
			t.Errorf("not taken for another:\n%s", more)
		}
	}
}

// TestDistinct checks that environments with different labels are accepted, also if
// their titles are the same.
func TestDistinct(t *testing.T) {
	for reason, labels := range map[string][2]string{
		"names":             {"name: a", "name: b"},
		"projects":          {"{project: a, name: c}", "{project: b, name: c}"},
		"a project or none": {"name: c", "{project: a, name: c}"},
		"slash in a name":   {"{project: a, name: b/c}", "{project: a/b, name: c}"},
		"slash for project": {"name: a/b", "{project: a, name: b}"},
	} {
		t.Run(reason, func(t *testing.T) {
			var content strings.Builder
			content.WriteString("x-key: &key {secret_key_env: KEY}\nenvironments:\n")
			for _, text := range labels {
				fmt.Fprintf(&content, "  - {<<: *key, %s}\n", strings.Trim(text, "{}"))
			}
			got, err := config.ReadFile(write(t, "two.yml", content.String()), getenv)
			if err != nil || len(got) != 2 {
				t.Errorf("%d environments, %v", len(got), err)
			}
		})
	}
}

// uncommented matches the example's fields that are in comments.
var uncommented = regexp.MustCompile(`(?m)^( *)# (( *)[a-z_]+: .*|tls_config:)$`)

// TestExample loads the example file, as it is and with the fields in its comments.
func TestExample(t *testing.T) {
	content, err := os.ReadFile("../../deploy/waitpoint_exporter.yml")
	if err != nil {
		t.Fatal(err)
	}
	env := func(name string) string {
		return map[string]string{"SHOP_STAGING_KEY": "tr_stg_0123456789", "SHOP_PREVIEW_KEY": "tr_preview_0123456789"}[name]
	}
	shown := uncommented.ReplaceAllString(string(content), "$1$2")
	// These exclude each other, or need files.
	for _, line := range []string{
		"    secret_key_env: SHOP_PROD_KEY", "    secret_key: tr_prod_sk_…",
		"    ca_file: ca.pem", "    cert_file: client.pem", "    key_file: client.key",
	} {
		if !strings.Contains(shown, line+"\n") {
			t.Errorf("the example does not show %q", line)
		}
		shown = strings.Replace(shown, line+"\n", "", 1)
	}
	for name, text := range map[string]string{"as it is": string(content), "all that it shows": shown} {
		path := write(t, "example.yml", text)
		keys := filepath.Join(filepath.Dir(path), "keys")
		if err := os.Mkdir(keys, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(keys, "shop-prod"), []byte("tr_prod_0123456789\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := config.ReadFile(path, env)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if len(got) != 3 || got[0].Tokens.Period != 30*24*time.Hour || got[1].Refresh.Interval != 5*time.Minute ||
			got[2].PreviewBranch != "feature/checkout" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for _, field := range []string{
		"min_version", "include", "no_proxy", "reserve", "verify_interval",
		"waiting_within_period",
	} {
		if !regexp.MustCompile(`(?m)^ *` + field + `:`).MatchString(shown) {
			t.Errorf("the example does not show %s", field)
		}
	}
}

// TestManifests loads the files in the Kubernetes manifests, with keys in place of the
// Secret's.
func TestManifests(t *testing.T) {
	for _, folder := range []string{"base", "overlays/production"} {
		content, err := os.ReadFile("../../deploy/kubernetes/" + folder + "/waitpoint_exporter.yml")
		if err != nil {
			t.Fatal(err)
		}
		const mounted = "/var/run/secrets/waitpoint_exporter/"
		if !strings.Contains(string(content), "secret_key_file: "+mounted) {
			t.Errorf("%s: no key in %s", folder, mounted)
		}
		path := write(t, "config.yml", strings.ReplaceAll(string(content), mounted, ""))
		for _, name := range []string{"prod", "shop-prod", "shop-staging"} {
			if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), []byte("tr_prod_0123456789"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := config.ReadFile(path, os.Getenv); err != nil {
			t.Errorf("%s: %v", folder, err)
		}
	}
}

// TestReadme loads the example of the README.
func TestReadme(t *testing.T) {
	content, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(content), "## Many environments")
	_, text, _ = strings.Cut(text, "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	text = strings.Replace(text, "secret_key_file: keys/shop-prod", "secret_key_env: KEY", 1)
	got, err := config.ReadFile(write(t, "readme.yml", text), func(string) string { return "tr_prod_0123456789" })
	if err != nil || len(got) != 2 || got[0].Title() != "shop/prod" {
		t.Errorf("%v, %v", got, err)
	}
}

// TestSummaries checks that summaries, which a terminal shows, are printable lines.
func TestSummaries(t *testing.T) {
	got, err := config.ReadFile(write(t, "a.yml", `environments:
  - {name: "a\e[31m\n\u202eb", secret_key_env: KEY}
  - {name: "é \\", project: "\"p\"", secret_key_env: KEY}
`), getenv)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`"a\x1b[31m\n\u202eb: https://api.trigger.dev, window all, interval 1m"`,
		`"p"/é \: https://api.trigger.dev, window all, interval 1m`,
	}
	if lines := config.Summaries(got); !reflect.DeepEqual(lines, want) {
		t.Errorf("got  %q\nwant %q", lines, want)
	}
}

// TestTwins checks which environments are said to have the same tokens.
func TestTwins(t *testing.T) {
	const one = "{name: a, secret_key: tr_preview_1, preview_branch: x, api_url: http://api}"
	for name, tc := range map[string]struct{ others, want string }{
		"another key":      {"{name: b, secret_key: tr_preview_2, preview_branch: x, api_url: http://api}", ""},
		"another branch":   {"{name: b, secret_key: tr_preview_1, preview_branch: y, api_url: http://api}", ""},
		"another server":   {"{name: b, secret_key: tr_preview_1, preview_branch: x, api_url: http://other}", ""},
		"all the same":     {"{name: b, secret_key: tr_preview_1, preview_branch: x, api_url: http://api/}", "a s/b"},
		"key from a file":  {"{name: b, secret_key_file: FILE, preview_branch: x, api_url: http://api}", "a s/b"},
		"key from outside": {"{name: b, secret_key_env: ONE, preview_branch: x, api_url: http://api}", "a s/b"},
		"three": {
			"{name: b, secret_key: tr_preview_1, preview_branch: x, api_url: http://api}, " +
				"{name: c, secret_key: tr_preview_1, preview_branch: x, api_url: http://api}", "a s/b, a c",
		},
	} {
		t.Run(name, func(t *testing.T) {
			others := strings.ReplaceAll(tc.others, "FILE", write(t, "key", "tr_preview_1\n"))
			others = strings.Replace(others, "name: b", "name: b, project: s", 1)
			environments, err := config.ReadFile(write(t, "c.yml", "environments: ["+one+", "+others+"]"),
				func(string) string { return "tr_preview_1" })
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, pair := range config.Twins(environments) {
				got = append(got, pair[0].Title()+" "+pair[1].Title())
			}
			if got := strings.Join(got, ", "); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
