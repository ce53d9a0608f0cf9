package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/config/access"
	"waitpoint_exporter/collector/config/notation"
	"waitpoint_exporter/collector/config/yamlfile"

	"go.yaml.in/yaml/v3"
)

// A setting is one field of an environment's configuration. As a kingpin.Value it is a
// flag.
type setting struct {
	// The names in a file, on the command line and as an environment variable. The last
	// two may be empty.
	field, flag, variable string
	help                  string   // The flag's help, or why the field is refused.
	shown                 string   // The placeholder in the flag's help; empty for the default.
	initial               []string // The default.
	own                   bool     // Whether it belongs to one environment and not to defaults.
	toggle                bool     // Whether the flag has no value.
	groups                bool     // Whether ${name} after the last = is a group of an expression.
	given                 bool     // Whether the command line has the flag.

	// These read the setting and store it. Their errors do not name it.
	reset  func() // Undoes the others. Nil if the field is refused.
	set    func(text string) error
	clear  func()                 // Empties a list. Nil for a single value.
	decode func(*yaml.Node) error // Reads anything but a text or a list of texts.
}

// restore returns a function that gives the target the value that it has now.
func restore[T any](target *T) func() {
	was := *target
	return func() { *target = was }
}

func single[T any](field string, target *T, parse func(string) (T, error)) *setting {
	return &setting{field: field, reset: restore(target), set: func(text string) error {
		v, err := parse(text)
		if err == nil {
			*target = v
		}
		return err
	}}
}

// list is a setting with any number of values.
func list[T any](field string, target *[]T, parse func(string) (T, error)) *setting {
	set := func(text string) error {
		v, err := parse(text)
		if err == nil {
			*target = append(*target, v)
		}
		return err
	}
	return &setting{field: field, reset: restore(target), clear: func() { *target = nil }, set: set}
}

// thresholds is a list of durations, each of them once.
func thresholds(field string, target *[]Threshold) *setting {
	return list(field, target, func(text string) (Threshold, error) {
		d, err := notation.Duration(text)
		for _, t := range *target {
			if t.Duration == d {
				return t, fmt.Errorf("%q is the same duration as %q: want one of them", text, t.Text)
			}
		}
		return Threshold{text, d}, err
	})
}

// decoded is a setting that only a file can have.
func decoded[T any](field string, target *T, read func(*yaml.Node) (T, error)) *setting {
	return &setting{field: field, reset: restore(target), decode: func(node *yaml.Node) (err error) {
		*target, err = read(node)
		return err
	}}
}

// refused reports whether the field is refused, for the reason in help.
func (s *setting) refused() bool { return s.set == nil && s.decode == nil }

func plain[T ~string](text string) (T, error) { return T(text), nil }

// as makes the setting a flag, too, and sets it to its default.
func (s *setting) as(flag, shown, help string, initial ...string) *setting {
	s.flag, s.shown, s.help, s.initial = flag, shown, help, initial
	for _, text := range initial {
		if err := s.Set(text); err != nil {
			panic(err) // The table is wrong.
		}
	}
	return s
}

// These complete a row of the table: the setting may also come from a variable, belongs to
// one environment, is a flag without a value, has groups of an expression.
func (s *setting) or(variable string) *setting { s.variable = variable; return s }
func (s *setting) owned() *setting             { s.own = true; return s }
func (s *setting) switched() *setting          { s.toggle = true; return s }
func (s *setting) grouped() *setting           { s.groups = true; return s }

// Set implements kingpin.Value.
func (s *setting) Set(text string) error {
	if err := s.set(text); err != nil {
		return fmt.Errorf("--%s: %w", s.flag, err)
	}
	return nil
}

// String implements kingpin.Value.
func (s *setting) String() string { return "" }

// IsCumulative reports whether the flag may be repeated, for kingpin.
func (s *setting) IsCumulative() bool { return s.clear != nil }

// IsBoolFlag reports whether the flag has no value, for kingpin.
func (s *setting) IsBoolFlag() bool { return s.toggle }

// read reads the setting from a file, where the values of a list replace those it has. An
// empty field has the default.
func (s *setting) read(node *yaml.Node, inDefaults bool) error {
	switch {
	case inDefaults && s.own:
		return errors.New("belongs to a single environment: set it in environments")
	case s.refused():
		return errors.New(s.help)
	case node == nil:
		s.reset()
		for _, text := range s.initial {
			_ = s.set(text) // The table's own.
		}
		return nil
	case s.decode != nil:
		return yamlfile.At(node.Line, "", s.decode(node))
	case s.clear != nil:
		s.clear()
		return yamlfile.At(node.Line, "", yamlfile.Items(node, s.readText))
	}
	return yamlfile.At(node.Line, "", s.readText(node))
}

func (s *setting) readText(node *yaml.Node) error {
	text, err := yamlfile.Text(node, s.groups)
	if err == nil {
		err = s.set(text)
	}
	return err
}

// A draft is an environment while its settings are read.
type draft struct {
	Environment

	settings    []*setting
	sources     []string // The fields that say where the key is, in the order in which they were set.
	keyVariable string   // The variable with the key, if a file names one.
	// In a file, the lines of the environment and of the fields that are set.
	line  int
	lines map[string]int
	// Place returns where the user set a field, for errors.
	place func(field string) string
}

// source is a setting that says where the key is.
func (d *draft) source(field string, target *string, parse func(string) (string, error)) *setting {
	return single(field, target, func(text string) (string, error) {
		if text != "" && !slices.Contains(d.sources, field) {
			d.sources = append(d.sources, field)
		}
		return parse(text)
	})
}

// newDraft returns a draft with the default of each setting.
func newDraft() *draft {
	const authorization = "the header Authorization holds the secret key and nothing else"
	d := &draft{}
	tls := &d.HTTP.TLSConfig
	d.HTTP.ProxyFromEnvironment, d.HTTP.EnableHTTP2 = true, true
	d.settings = []*setting{
		single("api_url", &d.APIURL, notation.APIURL).or("TRIGGER_API_URL").
			as("trigger.api-url", "", "URL of the Trigger.dev API.", "https://api.trigger.dev"),
		d.source("secret_key_file", &d.Key.File, plain).owned().
			as("trigger.secret-key-file", "<path>", "File with the secret key, read again when it changes. "+
				"Without it the key is taken from $TRIGGER_SECRET_KEY."),
		d.source("secret_key_env", &d.keyVariable, notation.Plain("the name of an environment variable")).owned(),
		d.source("secret_key", &d.Key.Value, plain).or("TRIGGER_SECRET_KEY").owned(),
		single("preview_branch", &d.PreviewBranch, notation.PreviewBranch).or("TRIGGER_PREVIEW_BRANCH").owned().
			as("trigger.preview-branch", "<branch>", "Branch of a preview environment."),
		single("name", &d.Name, notation.Label).owned().as("trigger.environment", "<name>",
			"Value of the label environment. By default it follows from the key's prefix."),
		single("project", &d.Project, notation.Label).owned().as("trigger.project", "<name>",
			"Value of the label project. By default there is no such label."),
		single("dashboard_url", &d.DashboardURL, notation.DashboardURL).or("TRIGGER_DASHBOARD_URL").owned().
			as("trigger.dashboard-url", "<URL>", "The environment's page in Trigger.dev's dashboard, as in a "+
				"browser's address bar: https://cloud.trigger.dev/orgs/ORG/projects/PROJECT/env/ENV."),
		single("tokens.period", &d.Tokens.Period, notation.Duration).as("tokens.period", "<duration>",
			"Count only finished tokens that were created within this time, such as 30d. By default all count."),
		single("tokens.waiting_within_period", &d.Tokens.WaitingWithinPeriod, notation.Boolean).switched().
			as("tokens.waiting-within-period", "",
				"Count only WAITING tokens that were created within the period, too."),
		thresholds("tokens.near_timeout", &d.Tokens.NearTimeout).as("tokens.near-timeout", "<duration>",
			"Count the WAITING tokens that time out within this time.", "5m", "1h"),
		thresholds("tokens.stuck_after", &d.Tokens.StuckAfter).as("tokens.stuck-after", "<duration>",
			"Count the WAITING tokens that were created longer ago than this.", "1h", "1d", "7d"),
		list("tokens.expected_wait", &d.Tokens.ExpectedWait, notation.ExpectedWait).
			as("tokens.expected-wait", "<rule>", "[REGEX=]DURATION: a token is late past the duration of the first "+
				"rule one of whose tags matches; without REGEX it is for every token."),
		single("tokens.require_tag", &d.Tags.Require, notation.Regexp).as("tokens.require-tag", "<regex>",
			"Regular expression; only tokens with a matching tag count."),
		single("tokens.ignore_tag", &d.Tags.Ignore, notation.Regexp).as("tokens.ignore-tag", "<regex>",
			"Regular expression; tokens with a matching tag do not count."),
		single("tags.include", &d.Tags.Include, notation.Regexp).as("tags.include", "<regex>",
			"Regular expression of the tags to count by. By default all."),
		single("tags.exclude", &d.Tags.Exclude, notation.Regexp).as("tags.exclude", "<regex>",
			"Regular expression of the tags not to count by. By default none."),
		list("tags.rewrite", &d.Tags.Rewrite, notation.Rewrite).grouped().as("tags.rewrite", "<rule>",
			"REGEX=REPLACEMENT for tags, such as (user|org):.*=$1:*; the first that matches counts."),
		single("tags.limit", &d.Tags.Limit, notation.Integer(0, 1_000_000)).as("tags.limit", "",
			"Number of tags that have series of their own, 0 for no limit.", "100"),
		single("refresh.interval", &d.Refresh.Interval, notation.Interval).as("refresh.interval", "",
			"Time between background refreshes; 5s in the demo.", "1m"),
		single("refresh.timeout", &d.Refresh.Timeout, notation.Duration).as("refresh.timeout", "",
			"Timeout of one request.", "30s"),
		single("refresh.max_staleness", &d.Refresh.MaxStaleness, notation.Duration).as("refresh.max-staleness", "",
			"Age past which a snapshot is not served any more, but never under three intervals.", "10m"),
		single("refresh.verify_interval", &d.Refresh.VerifyInterval, notation.Duration).
			as("refresh.verify-interval", "", "Time within which every token of the window is listed again.", "1d"),
		single("api.concurrency", &d.API.Concurrency, notation.Integer(1, 64)).as("api.concurrency", "",
			"Requests at once while the history is loaded.", "4"),
		single("api.reserve", &d.API.Reserve, notation.Reserve).as("api.reserve", "",
			"Share of the environment's rate limit that is always left to its other users.", "0.5"),
		single("api.share", &d.API.Share, notation.Share).as("api.share", "",
			"Share of what the rate limit refills that refreshes may use in the long run.", "0.25"),

		// Prometheus' HTTP client settings, as far as they apply here.
		single("proxy_url", &d.HTTP.ProxyURL, notation.ProxyURL),
		single("no_proxy", &d.HTTP.NoProxy, notation.Plain("the names of hosts")),
		single("proxy_from_environment", &d.HTTP.ProxyFromEnvironment, notation.Boolean),
		decoded("proxy_connect_header", &d.HTTP.ProxyConnectHeader, access.ProxyHeader),
		decoded("http_headers", &d.HTTP.HTTPHeaders, access.HTTPHeaders),
		single("enable_http2", &d.HTTP.EnableHTTP2, notation.Boolean),
		single("tls_config.ca", &tls.CA, plain),
		single("tls_config.ca_file", &tls.CAFile, plain),
		single("tls_config.cert", &tls.Cert, plain),
		single("tls_config.cert_file", &tls.CertFile, plain),
		single("tls_config.key", &tls.Key, plain),
		single("tls_config.key_file", &tls.KeyFile, plain),
		single("tls_config.server_name", &tls.ServerName, notation.Plain("the name of a server")),
		single("tls_config.insecure_skip_verify", &tls.InsecureSkipVerify, notation.Boolean),
		single("tls_config.min_version", &tls.MinVersion, notation.TLSVersion),
		single("tls_config.max_version", &tls.MaxVersion, notation.TLSVersion),
		{field: "basic_auth", help: authorization},
		{field: "authorization", help: authorization},
		{field: "bearer_token", help: authorization},
		{field: "bearer_token_file", help: authorization},
		{field: "oauth2", help: authorization},
		{field: "follow_redirects", help: "redirects are followed where they keep host and query, and nowhere else"},
	}
	return d
}

// complete returns the environment, or an error if its settings contradict each other.
// The draft stays as it is, so that a name that follows from the key does not outlive it.
func (d draft) complete() (Environment, error) {
	ascending := func(a, b Threshold) int { return cmp.Compare(a.Duration, b.Duration) }
	d.Tokens.NearTimeout = slices.SortedFunc(slices.Values(d.Tokens.NearTimeout), ascending)
	d.Tokens.StuckAfter = slices.SortedFunc(slices.Values(d.Tokens.StuckAfter), ascending)
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
	if proxy.ProxyFromEnvironment {
		if err := access.CheckProxyVariables(); err != nil {
			return Environment{}, err
		}
	}
	key, err := d.Key.Get()
	if err != nil {
		return Environment{}, err
	}
	kind := client.KeyEnvironment(key)
	d.Key.Kind = kind
	switch d.Name = cmp.Or(d.Name, kind); {
	case kind == "preview" && d.PreviewBranch == "":
		return fail("preview_branch", "missing; a key of a preview environment needs the name of a branch")
	case d.Name == "":
		return fail("name", "missing; the key's prefix does not tell (tr_dev_, tr_stg_, tr_prod_ and tr_preview_ do)")
	}
	if _, err := access.Transport(context.Background(), d.HTTP); err != nil {
		return Environment{}, fmt.Errorf("%s: %w", d.place("tls_config"), err)
	}
	if err := access.CheckHeaders(d.HTTP.HTTPHeaders); err != nil {
		return Environment{}, fmt.Errorf("%s: %w", d.place("http_headers"), err)
	}
	return d.Environment, nil
}
