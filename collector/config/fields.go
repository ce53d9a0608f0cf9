package config

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"waitpoint_exporter/client"
)

// shortestInterval keeps a slip of the finger from using up the rate limit.
const shortestInterval = time.Second

// maxConcurrency is more than any rate limit has a use for.
const maxConcurrency = 64

// Default returns the values that a field has if nothing is said of it. Fields
// are named as in a file, such as refresh.interval.
func Default(field string) []string {
	switch field {
	case "api_url":
		return []string{"https://api.trigger.dev"}
	case "tokens.waiting_within_period":
		return []string{"false"}
	case "tokens.near_timeout":
		return []string{"5m", "1h"}
	case "tokens.stuck_after":
		return []string{"1h", "1d", "7d"}
	case "tags.limit":
		return []string{"100"}
	case "refresh.interval":
		return []string{"1m"}
	case "refresh.timeout":
		return []string{"30s"}
	case "refresh.max_staleness":
		return []string{"10m"}
	case "refresh.verify_interval":
		return []string{"1d"}
	case "api.concurrency":
		return []string{"4"}
	case "api.share":
		return []string{"0.25"}
	case "api.reserve":
		return []string{"0.5"}
	}
	return nil
}

// fields are what a user has set, still as text. Each value knows its name: a
// flag, or a place in a file.
type fields map[string][]Setting

// list returns what is set, or else the default.
func (f fields) list(field string) []Setting {
	if set, ok := f[field]; ok {
		return set
	}
	var out []Setting
	for _, v := range Default(field) {
		out = append(out, Setting{field, v})
	}
	return out
}

// one returns a single value; an empty one with the field's name if there is none.
func (f fields) one(field string) Setting {
	if l := f.list(field); len(l) > 0 {
		return l[len(l)-1]
	}
	return Setting{Name: field}
}

// read returns the environment that the fields describe, complete and valid but
// for its key and its name, or the first thing that is wrong with it.
func (f fields) read() (Environment, error) {
	r := &reader{fields: f}
	env := Environment{
		Name: read(r, "name", Setting.Label), Project: read(r, "project", Setting.Label),
		APIURL: f.one("api_url").Value, PreviewBranch: f.one("preview_branch").Value,
		Tokens: Tokens{
			WaitingWithinPeriod: read(r, "tokens.waiting_within_period", Setting.Bool),
			NearTimeout:         r.thresholds("tokens.near_timeout"),
			StuckAfter:          r.thresholds("tokens.stuck_after"),
		},
		Refresh: Refresh{
			Interval:       read(r, "refresh.interval", Setting.Duration),
			Timeout:        read(r, "refresh.timeout", Setting.Duration),
			MaxStaleness:   read(r, "refresh.max_staleness", Setting.Duration),
			VerifyInterval: read(r, "refresh.verify_interval", Setting.Duration),
		},
		API: API{
			Concurrency: read(r, "api.concurrency", integer(1, maxConcurrency)),
			Reserve:     read(r, "api.reserve", Setting.Reserve),
			Share:       read(r, "api.share", Setting.Share),
		},
		DashboardURL: read(r, "dashboard_url", Setting.DashboardURL),
	}
	if period := f.one("tokens.period"); period.Value != "" {
		env.Tokens.Period = read(r, "tokens.period", Setting.Duration)
	} else if env.Tokens.WaitingWithinPeriod {
		within, period := f.one("tokens.waiting_within_period"), "tokens.period"
		if strings.HasPrefix(within.Name, "--") {
			period = "--" + period
		}
		r.fail(within.errorf("needs %s", period))
	}
	for _, rule := range f.list("tokens.expected_wait") {
		expected, err := rule.ExpectedWait()
		r.fail(err)
		env.Tokens.ExpectedWait = append(env.Tokens.ExpectedWait, expected)
	}
	env.Tags.Require = read(r, "tokens.require_tag", Setting.Regexp)
	env.Tags.Ignore = read(r, "tokens.ignore_tag", Setting.Regexp)
	env.Tags.Include = read(r, "tags.include", Setting.Regexp)
	env.Tags.Exclude = read(r, "tags.exclude", Setting.Regexp)
	for _, rule := range f.list("tags.rewrite") {
		rewrite, err := rule.Rewrite()
		r.fail(err)
		env.Tags.Rewrite = append(env.Tags.Rewrite, rewrite)
	}
	env.Tags.Limit = read(r, "tags.limit", integer(0, 1_000_000))
	if interval := f.one("refresh.interval"); r.err == nil && env.Refresh.Interval < shortestInterval {
		r.fail(interval.errorf("%q must be at least 1s", interval.Value))
	}
	noKey := func() (string, error) { return "", errors.New("none") }
	if _, err := client.New(client.Options{APIURL: env.APIURL, Key: noKey}); err != nil {
		r.fail(f.one("api_url").errorf("%w", err))
	} else if _, err := client.New(client.Options{APIURL: env.APIURL, Key: noKey, PreviewBranch: env.PreviewBranch}); err != nil {
		r.fail(f.one("preview_branch").errorf("%w", err))
	}
	if r.err != nil {
		return Environment{}, r.err
	}
	return env, nil
}

// reader keeps the first error, so that values can be read one after the other.
type reader struct {
	fields fields
	err    error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func read[T any](r *reader, field string, parse func(Setting) (T, error)) T {
	v, err := parse(r.fields.one(field))
	r.fail(err)
	return v
}

// thresholds reads durations no two of which may be the same.
func (r *reader) thresholds(field string) []Threshold {
	var out []Threshold
	for _, s := range r.fields.list(field) {
		d, err := s.Duration()
		r.fail(err)
		for _, other := range out {
			if err == nil && other.Duration == d {
				r.fail(s.errorf("%q is the same time as %q: want one of them", s.Value, other.Text))
			}
		}
		out = append(out, Threshold{s.Value, d})
	}
	slices.SortFunc(out, func(a, b Threshold) int { return cmp.Compare(a.Duration, b.Duration) })
	return out
}

func integer(least, most int) func(Setting) (int, error) {
	return func(s Setting) (int, error) {
		n, err := strconv.Atoi(s.Value)
		if err != nil || n < least || n > most {
			return 0, s.errorf("%q must be a whole number from %d to %d", s.Value, least, most)
		}
		return n, nil
	}
}

// Flags are the flags that describe a single environment, by name without
// dashes, with the values they have.
type Flags map[string][]string

// field is the name in a file of what a flag sets.
func field(flag string) string {
	name := strings.TrimPrefix(flag, "trigger.")
	if name == "environment" {
		return "name"
	}
	return strings.ReplaceAll(name, "-", "_")
}

// FlagDefault returns the values of a flag that is not given.
func FlagDefault(flag string) []string { return Default(field(flag)) }

// Read returns the environment that the flags describe, with secretKey, the
// value of TRIGGER_SECRET_KEY, if no flag names a file.
func (f Flags) Read(secretKey string) (Environment, error) {
	set := fields{}
	for flag, values := range f {
		if len(values) > 1 && !isList(field(flag)) {
			return Environment{}, Setting{Name: "--" + flag}.errorf("given %d times; want it once", len(values))
		}
		for _, v := range values {
			set[field(flag)] = append(set[field(flag)], Setting{"--" + flag, v})
		}
	}
	env, err := set.read()
	if err != nil {
		return Environment{}, err
	}
	switch file := set.one("secret_key_file").Value; {
	case file != "":
		env.Key = Key{File: file, From: "--trigger.secret-key-file"}
	case secretKey != "":
		env.Key = Key{Value: secretKey, From: "TRIGGER_SECRET_KEY"}
	default:
		return Environment{}, errors.New("no secret key: set TRIGGER_SECRET_KEY, or name a file with --trigger.secret-key-file (--demo needs none)")
	}
	key, err := env.Key.Get()
	if err != nil {
		return Environment{}, err
	}
	kind := client.KeyEnvironment(key)
	if kind == "preview" && env.PreviewBranch == "" {
		return Environment{}, errors.New("--trigger.preview-branch: missing; a key of a preview environment needs the name of a branch")
	}
	if env.Name == "" {
		env.Name = kind
	}
	if env.Name == "" {
		return Environment{}, errors.New("--trigger.environment: missing; the key's prefix does not tell (tr_dev_, tr_stg_, tr_prod_ and tr_preview_ do)")
	}
	return env, nil
}

// Bool reads true or false.
func (s Setting) Bool() (bool, error) {
	if s.Value != "true" && s.Value != "false" {
		return false, s.errorf("%q must be true or false", s.Value)
	}
	return s.Value == "true", nil
}
