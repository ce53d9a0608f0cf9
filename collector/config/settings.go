package config

import (
	"context"
	"fmt"
	"strings"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/config/access"
	"waitpoint_exporter/collector/config/notation"
)

// A setting is one field of an environment's configuration.
type setting struct {
	// The names in a file, on the command line and as an environment variable. The last
	// two may be empty.
	field, flag, variable string
	help                  string   // The flag's help, or why the field is refused.
	initial               []string // The default.
	shown                 string   // The placeholder in the flag's help; empty for the default.
	own                   bool     // Whether it belongs to one environment and not to defaults.
	value
}

// both returns a setting that is a flag and a field.
func both(field, flag string, v value, help string, initial ...string) *setting {
	return &setting{field: field, flag: flag, value: v, help: help, initial: initial}
}

// inFile returns a setting that is only a field.
func inFile(field string, v value, initial ...string) *setting {
	return &setting{field: field, value: v, initial: initial}
}

func refused(field, why string) *setting { return &setting{field: field, help: why} }

func (s *setting) as(shown string) *setting    { s.shown = shown; return s }
func (s *setting) or(variable string) *setting { s.variable = variable; return s }
func (s *setting) owned() *setting             { s.own = true; return s }

// refused reports whether the field is refused, for the reason in help.
func (s *setting) refused() bool { return s.set == nil && s.decode == nil }

// A draft is an environment while its settings are read.
type draft struct {
	Environment

	keyVariable string // The variable with the key, if a file names one.
	settings    []*setting
	// Place returns where the user set a field, for errors.
	place func(field string) string
}

// newDraft returns a draft with the default of each setting. Names of files are
// relative to the folder.
func newDraft(folder string) *draft {
	const authorization = "the header Authorization holds the secret key and nothing else"
	d := &draft{}
	tls, file := &d.HTTP.TLSConfig, notation.Path(folder)
	d.settings = []*setting{
		both("api_url", "trigger.api-url", single(&d.APIURL, notation.APIURL),
			"URL of the Trigger.dev API.", "https://api.trigger.dev").or("TRIGGER_API_URL"),
		both("secret_key_file", "trigger.secret-key-file", single(&d.Key.File, file),
			"File with the secret key, read again when it changes. "+
				"Without it the key is taken from $TRIGGER_SECRET_KEY.").as("<path>").owned(),
		inFile("secret_key_env", single(&d.keyVariable, notation.Plain("the name of an environment variable"))).owned(),
		inFile("secret_key", single(&d.Key.Value, plain)).owned(),
		both("preview_branch", "trigger.preview-branch", single(&d.PreviewBranch, notation.PreviewBranch),
			"Branch of a preview environment.").as("<branch>").or("TRIGGER_PREVIEW_BRANCH").owned(),
		both("name", "trigger.environment", single(&d.Name, notation.Label),
			"Value of the label environment. By default it follows from the key's prefix.").as("<name>").owned(),
		both("project", "trigger.project", single(&d.Project, notation.Label),
			"Value of the label project. By default there is no such label.").as("<name>").owned(),
		both("dashboard_url", "trigger.dashboard-url", single(&d.DashboardURL, notation.DashboardURL),
			"The environment's page in Trigger.dev's dashboard, as in a browser's address bar: "+
				"https://cloud.trigger.dev/orgs/ORG/projects/PROJECT/env/ENV.").
			as("<URL>").or("TRIGGER_DASHBOARD_URL").owned(),
		both("tokens.period", "tokens.period", single(&d.Tokens.Period, notation.Duration),
			"Count only finished tokens that were created within this time, such as 30d. By default all count.").
			as("<duration>"),
		both("tokens.waiting_within_period", "tokens.waiting-within-period", toggle(&d.Tokens.WaitingWithinPeriod),
			"Count only WAITING tokens that were created within the period, too."),
		both("tokens.near_timeout", "tokens.near-timeout", list(&d.Tokens.NearTimeout, addThreshold),
			"Count the WAITING tokens that time out within this time.", "5m", "1h").as("<duration>"),
		both("tokens.stuck_after", "tokens.stuck-after", list(&d.Tokens.StuckAfter, addThreshold),
			"Count the WAITING tokens that were created longer ago than this.", "1h", "1d", "7d").as("<duration>"),
		both("tokens.expected_wait", "tokens.expected-wait", list(&d.Tokens.ExpectedWait, each(notation.ExpectedWait)),
			"[REGEX=]DURATION: a token is late past the duration of the first rule one of whose tags matches; "+
				"without REGEX it is for every token.").as("<rule>"),
		both("tokens.require_tag", "tokens.require-tag", single(&d.Tags.Require, notation.Regexp),
			"Regular expression; only tokens with a matching tag count.").as("<regex>"),
		both("tokens.ignore_tag", "tokens.ignore-tag", single(&d.Tags.Ignore, notation.Regexp),
			"Regular expression; tokens with a matching tag do not count.").as("<regex>"),
		both("tags.include", "tags.include", single(&d.Tags.Include, notation.Regexp),
			"Regular expression of the tags to count by. By default all.").as("<regex>"),
		both("tags.exclude", "tags.exclude", single(&d.Tags.Exclude, notation.Regexp),
			"Regular expression of the tags not to count by. By default none.").as("<regex>"),
		both("tags.rewrite", "tags.rewrite", rewrites(&d.Tags.Rewrite),
			"REGEX=REPLACEMENT for tags, such as (user|org):.*=$1:*; the first that matches counts.").
			as("<rule>"),
		both("tags.limit", "tags.limit", single(&d.Tags.Limit, notation.Integer(0, 1_000_000)),
			"Number of tags that have series of their own, 0 for no limit.", "100"),
		both("refresh.interval", "refresh.interval", single(&d.Refresh.Interval, notation.Interval),
			"Time between background refreshes; 5s in the demo.", "1m"),
		both("refresh.timeout", "refresh.timeout", single(&d.Refresh.Timeout, notation.Duration),
			"Timeout of one request.", "30s"),
		both("refresh.max_staleness", "refresh.max-staleness", single(&d.Refresh.MaxStaleness, notation.Duration),
			"Age past which a snapshot is not served any more, but never under three intervals.", "10m"),
		both("refresh.verify_interval", "refresh.verify-interval", single(&d.Refresh.VerifyInterval, notation.Duration),
			"Time within which every token of the window is listed again.", "1d"),
		both("api.concurrency", "api.concurrency", single(&d.API.Concurrency, notation.Integer(1, 64)),
			"Requests at once while the history is loaded.", "4"),
		both("api.reserve", "api.reserve", single(&d.API.Reserve, notation.Reserve),
			"Share of the environment's rate limit that is always left to its other users.", "0.5"),
		both("api.share", "api.share", single(&d.API.Share, notation.Share),
			"Share of what the rate limit refills that refreshes may use in the long run.", "0.25"),

		// Prometheus' HTTP client settings, as far as they apply here.
		inFile("proxy_url", single(&d.HTTP.ProxyURL, notation.ProxyURL)),
		inFile("no_proxy", single(&d.HTTP.NoProxy, notation.Plain("the names of hosts"))),
		inFile("proxy_from_environment", toggle(&d.HTTP.ProxyFromEnvironment), "true"),
		inFile("proxy_connect_header", value{decode: access.ProxyHeader(&d.HTTP.ProxyConnectHeader)}),
		inFile("http_headers", value{decode: access.HTTPHeaders(&d.HTTP.HTTPHeaders, file)}),
		inFile("enable_http2", toggle(&d.HTTP.EnableHTTP2), "true"),
		inFile("tls_config.ca", single(&tls.CA, plain)),
		inFile("tls_config.ca_file", single(&tls.CAFile, file)),
		inFile("tls_config.cert", single(&tls.Cert, plain)),
		inFile("tls_config.cert_file", single(&tls.CertFile, file)),
		inFile("tls_config.key", single(&tls.Key, secret)),
		inFile("tls_config.key_file", single(&tls.KeyFile, file)),
		inFile("tls_config.server_name", single(&tls.ServerName, notation.Plain("the name of a server"))),
		inFile("tls_config.insecure_skip_verify", toggle(&tls.InsecureSkipVerify)),
		inFile("tls_config.min_version", single(&tls.MinVersion, notation.TLSVersion)),
		inFile("tls_config.max_version", single(&tls.MaxVersion, notation.TLSVersion)),
		refused("basic_auth", authorization),
		refused("authorization", authorization),
		refused("bearer_token", authorization),
		refused("bearer_token_file", authorization),
		refused("oauth2", authorization),
		refused("follow_redirects", "redirects are followed where they keep host and query, and nowhere else"),
	}
	for _, s := range d.settings {
		for _, text := range s.initial {
			if err := s.set(text); err != nil {
				panic(fmt.Sprintf("%s: %v", s.field, err)) // The table is wrong.
			}
		}
	}
	return d
}

// complete returns the environment, or an error if its settings contradict each other.
func (d *draft) complete() (Environment, error) {
	proxy := d.HTTP.ProxyConfig
	fail := func(field, why string) (Environment, error) {
		return Environment{}, fmt.Errorf("%s: %s", d.place(field), why)
	}
	switch {
	case d.Tokens.WaitingWithinPeriod && d.Tokens.Period == 0:
		return fail("tokens.waiting_within_period", "has no effect without a period")
	case proxy.ProxyFromEnvironment && proxy.ProxyURL.URL != nil:
		return fail("proxy_from_environment", "not together with proxy_url")
	case proxy.NoProxy != "" && proxy.ProxyURL.URL == nil:
		return fail("no_proxy", "needs proxy_url; beside $HTTPS_PROXY there is $NO_PROXY")
	case len(proxy.ProxyConnectHeader) > 0 && proxy.ProxyURL.URL == nil && !proxy.ProxyFromEnvironment:
		return fail("proxy_connect_header", "needs proxy_url or proxy_from_environment")
	}
	key, err := d.Key.Get()
	if err != nil {
		return Environment{}, err
	}
	kind := client.KeyEnvironment(key)
	if kind == "preview" && d.PreviewBranch == "" {
		return fail("preview_branch", "missing; a key of a preview environment needs the name of a branch")
	}
	if d.Name == "" {
		d.Name = kind
	}
	if d.Name == "" {
		return fail("name", "missing; the key's prefix does not tell (tr_dev_, tr_stg_, tr_prod_ and tr_preview_ do)")
	}
	if _, err := access.Transport(context.Background(), d.HTTP); err != nil {
		return Environment{}, fmt.Errorf("%s: %w", d.place("tls_config"), err)
	}
	return d.Environment, nil
}

// fields returns the names of the fields and sections that a block may have.
func (d *draft) fields(defaults bool) []string {
	var names []string
	for _, s := range d.settings {
		if !s.refused() && (!defaults || !s.own) {
			section, _, _ := strings.Cut(s.field, ".")
			names = append(names, section, s.field)
		}
	}
	return names
}
