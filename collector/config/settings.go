package config

import (
	"context"
	"fmt"
	"strings"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/config/notation"
)

// A setting is one thing that an environment may be set to.
type setting struct {
	// Field is its name in a file, flag that of the flag, empty if there is none,
	// variable that of the environment variable in place of the flag.
	field, flag, variable string
	initial               []string // What it is if nothing is said of it.
	shown                 string   // What stands for its value in help, unless that is initial.
	own                   bool     // It differs by environment, so defaults cannot have it.
	value
	help string // Of the flag, or why it is refused.
}

// refused reports whether it cannot be set, for the reason in help.
func (s *setting) refused() bool { return s.set == nil && s.decode == nil }

// A draft is an environment whose settings are being read.
type draft struct {
	Environment

	keyVariable string // Of files: the variable that has the key.
	settings    []*setting
	// Place names a setting by its field, as its user knows it.
	place func(field string) string
}

// newDraft returns a draft that has what each setting is if nothing is said of it.
// The names of files are relative to the folder.
func newDraft(folder string) *draft {
	const authorization = "the header Authorization holds the secret key and nothing else"
	d := &draft{}
	tls, file := &d.HTTP.TLSConfig, notation.Path(folder)
	d.settings = []*setting{
		{field: "api_url", flag: "trigger.api-url", variable: "TRIGGER_API_URL",
			initial: []string{"https://api.trigger.dev"}, value: single(&d.APIURL, notation.APIURL),
			help: "URL of the Trigger.dev API."},
		{field: "secret_key_file", shown: "<path>", flag: "trigger.secret-key-file", own: true,
			value: single(&d.Key.File, file),
			help: "File with the secret key, read again when it changes. " +
				"Without it the key is taken from $TRIGGER_SECRET_KEY."},
		{field: "secret_key_env", own: true, value: single(&d.keyVariable, plain)},
		{field: "secret_key", own: true, value: single(&d.Key.Value, plain)},
		{field: "preview_branch", shown: "<branch>", flag: "trigger.preview-branch",
			variable: "TRIGGER_PREVIEW_BRANCH", own: true, value: single(&d.PreviewBranch, notation.PreviewBranch), help: "Branch of a preview environment."},
		{field: "name", shown: "<name>", flag: "trigger.environment", own: true, value: single(&d.Name, notation.Label),
			help: "Value of the label environment. By default it follows from the key's prefix."},
		{field: "project", shown: "<name>", flag: "trigger.project", own: true, value: single(&d.Project, notation.Label),
			help: "Value of the label project. By default there is no such label."},
		{field: "dashboard_url", shown: "<URL>", flag: "trigger.dashboard-url", variable: "TRIGGER_DASHBOARD_URL", own: true,
			value: single(&d.DashboardURL, notation.DashboardURL),
			help: "The environment's page in Trigger.dev's dashboard, as in a browser's address bar: " +
				"https://cloud.trigger.dev/orgs/ORG/projects/PROJECT/env/ENV."},
		{field: "tokens.period", shown: "<duration>", flag: "tokens.period",
			value: single(&d.Tokens.Period, notation.Duration),
			help:  "Count only finished tokens that were created within this time, such as 30d. By default all count."},
		{field: "tokens.waiting_within_period", flag: "tokens.waiting-within-period",
			value: toggle(&d.Tokens.WaitingWithinPeriod),
			help:  "Count only WAITING tokens that were created within the period, too."},
		{field: "tokens.near_timeout", flag: "tokens.near-timeout", initial: []string{"5m", "1h"},
			value: list(&d.Tokens.NearTimeout, addThreshold),
			help:  "Count the WAITING tokens that time out within this time. Repeatable."},
		{field: "tokens.stuck_after", flag: "tokens.stuck-after", initial: []string{"1h", "1d", "7d"},
			value: list(&d.Tokens.StuckAfter, addThreshold),
			help:  "Count the WAITING tokens that were created longer ago than this. Repeatable."},
		{field: "tokens.expected_wait", shown: "<rule>", flag: "tokens.expected-wait",
			value: list(&d.Tokens.ExpectedWait, each(notation.ExpectedWait)),
			help: "[REGEX=]DURATION: a token is late past the duration of the first rule one of whose tags matches; " +
				"without REGEX it is for every token. Repeatable."},
		{field: "tokens.require_tag", shown: "<regex>", flag: "tokens.require-tag",
			value: single(&d.Tags.Require, notation.Regexp), help: "Regular expression; only tokens with a matching tag count."},
		{field: "tokens.ignore_tag", shown: "<regex>", flag: "tokens.ignore-tag",
			value: single(&d.Tags.Ignore, notation.Regexp), help: "Regular expression; tokens with a matching tag do not count."},
		{field: "tags.include", shown: "<regex>", flag: "tags.include", value: single(&d.Tags.Include, notation.Regexp),
			help: "Regular expression of the tags to count by. By default all."},
		{field: "tags.exclude", shown: "<regex>", flag: "tags.exclude", value: single(&d.Tags.Exclude, notation.Regexp),
			help: "Regular expression of the tags not to count by. By default none."},
		{field: "tags.rewrite", shown: "<rule>", flag: "tags.rewrite", value: rewrites(&d.Tags.Rewrite),
			help: "REGEX=REPLACEMENT for tags, such as (user|org):.*=$1:*. Repeatable; the first that matches counts."},
		{field: "tags.limit", flag: "tags.limit", initial: []string{"100"},
			value: single(&d.Tags.Limit, notation.Integer(0, 1_000_000)),
			help:  "Number of tags that have series of their own, 0 for no limit."},
		{field: "refresh.interval", flag: "refresh.interval", initial: []string{"1m"},
			value: single(&d.Refresh.Interval, notation.Interval), help: "Time between background refreshes; 5s in the demo."},
		{field: "refresh.timeout", flag: "refresh.timeout", initial: []string{"30s"},
			value: single(&d.Refresh.Timeout, notation.Duration), help: "Timeout of one request."},
		{field: "refresh.max_staleness", flag: "refresh.max-staleness", initial: []string{"10m"},
			value: single(&d.Refresh.MaxStaleness, notation.Duration),
			help:  "Age past which a snapshot is not served any more, but never under three intervals."},
		{field: "refresh.verify_interval", flag: "refresh.verify-interval", initial: []string{"1d"},
			value: single(&d.Refresh.VerifyInterval, notation.Duration),
			help:  "Time within which every token of the window is listed again."},
		{field: "api.concurrency", flag: "api.concurrency", initial: []string{"4"},
			value: single(&d.API.Concurrency, notation.Integer(1, 64)), help: "Requests at once while the history is loaded."},
		{field: "api.reserve", flag: "api.reserve", initial: []string{"0.5"}, value: single(&d.API.Reserve, notation.Reserve),
			help: "Share of the environment's rate limit that is always left to its other users."},
		{field: "api.share", flag: "api.share", initial: []string{"0.25"}, value: single(&d.API.Share, notation.Share),
			help: "Share of what the rate limit refills that refreshes may use in the long run."},

		// Those of Prometheus' HTTP client settings that make sense here.
		{field: "proxy_url", value: single(&d.HTTP.ProxyURL, notation.ProxyURL)},
		{field: "no_proxy", value: single(&d.HTTP.NoProxy, plain)},
		{field: "proxy_from_environment", initial: []string{"true"}, value: toggle(&d.HTTP.ProxyFromEnvironment)},
		{field: "proxy_connect_header", value: proxyHeader(&d.HTTP.ProxyConnectHeader)},
		{field: "http_headers", value: httpHeaders(&d.HTTP.HTTPHeaders, file)},
		{field: "enable_http2", initial: []string{"true"}, value: toggle(&d.HTTP.EnableHTTP2)},
		{field: "tls_config.ca", value: single(&tls.CA, plain)},
		{field: "tls_config.ca_file", value: single(&tls.CAFile, file)},
		{field: "tls_config.cert", value: single(&tls.Cert, plain)},
		{field: "tls_config.cert_file", value: single(&tls.CertFile, file)},
		{field: "tls_config.key", value: single(&tls.Key, secret)},
		{field: "tls_config.key_file", value: single(&tls.KeyFile, file)},
		{field: "tls_config.server_name", value: single(&tls.ServerName, plain)},
		{field: "tls_config.insecure_skip_verify", value: toggle(&tls.InsecureSkipVerify)},
		{field: "tls_config.min_version", value: single(&tls.MinVersion, notation.TLSVersion)},
		{field: "tls_config.max_version", value: single(&tls.MaxVersion, notation.TLSVersion)},
		{field: "basic_auth", help: authorization},
		{field: "authorization", help: authorization},
		{field: "bearer_token", help: authorization},
		{field: "bearer_token_file", help: authorization},
		{field: "oauth2", help: authorization},
		{field: "follow_redirects", help: "redirects are followed where they keep host and query, and nowhere else"},
	}
	for _, s := range d.settings {
		for _, text := range s.initial {
			if err := s.set(text); err != nil {
				panic(fmt.Sprintf("%s: %v", s.field, err)) // A slip in the table.
			}
		}
	}
	return d
}

// complete returns the environment, or what is wrong with settings that are good
// one by one.
func (d *draft) complete() (Environment, error) {
	proxy := d.HTTP.ProxyConfig
	fail := func(field, why string) (Environment, error) {
		return Environment{}, fmt.Errorf("%s: %s", d.place(field), why)
	}
	switch {
	case d.Tokens.WaitingWithinPeriod && d.Tokens.Period == 0:
		return fail("tokens.waiting_within_period", "has no meaning without a period")
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
	if _, err := d.Transport(context.Background()); err != nil {
		return Environment{}, fmt.Errorf("%s: %w", d.place("tls_config"), err)
	}
	return d.Environment, nil
}

// fields returns the names of the fields and sections that a block can have.
func (d *draft) fields(defaults bool) []string {
	var names []string
	for _, s := range d.settings {
		if !s.refused() && !(defaults && s.own) {
			section, _, _ := strings.Cut(s.field, ".")
			names = append(names, section, s.field)
		}
	}
	return names
}
