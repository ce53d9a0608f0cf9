package config

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"waitpoint_exporter/client"
)

// Flags are the flags that describe a single environment, as given.
type Flags struct {
	APIURL, SecretKeyFile, PreviewBranch, Environment, Project string

	Period                string
	WaitingWithinPeriod   bool
	NearTimeout           []string
	StuckAfter            []string
	TagsInclude           string
	TagsExclude           string
	TagsRewrite           []string
	TagsLimit             string
	RefreshInterval       string
	RefreshTimeout        string
	RefreshMaxStaleness   string
	RefreshVerifyInterval string
	Concurrency           string
	Reserve               string
	// SecretKey is the value of TRIGGER_SECRET_KEY.
	SecretKey string
}

// shortestInterval keeps a slip of the finger from using up the rate limit.
const shortestInterval = time.Second

// maxConcurrency is more than any rate limit has a use for.
const maxConcurrency = 64

// Read returns the environment that the flags describe, complete and valid, or
// the first thing that is wrong with it.
func (f Flags) Read() (Environment, error) {
	r := &reader{}
	env := Environment{
		Name: f.Environment, Project: f.Project, APIURL: f.APIURL, PreviewBranch: f.PreviewBranch,
		Tokens: Tokens{
			WaitingWithinPeriod: f.WaitingWithinPeriod,
			NearTimeout:         r.durations("--tokens.near-timeout", f.NearTimeout),
			StuckAfter:          r.durations("--tokens.stuck-after", f.StuckAfter),
		},
		Refresh: Refresh{
			Interval:       r.duration("--refresh.interval", f.RefreshInterval),
			Timeout:        r.duration("--refresh.timeout", f.RefreshTimeout),
			MaxStaleness:   r.duration("--refresh.max-staleness", f.RefreshMaxStaleness),
			VerifyInterval: r.duration("--refresh.verify-interval", f.RefreshVerifyInterval),
		},
		API: API{
			Concurrency: r.integer("--api.concurrency", f.Concurrency, 1, maxConcurrency),
			Reserve:     read(r, "--api.reserve", f.Reserve, Setting.Reserve),
		},
	}
	if f.Period != "" {
		env.Tokens.Period = r.duration("--tokens.period", f.Period)
	}
	if f.WaitingWithinPeriod && f.Period == "" {
		r.fail("--tokens.waiting-within-period", errors.New("needs --tokens.period"))
	}
	env.Tags.Include = read(r, "--tags.include", f.TagsInclude, Setting.Regexp)
	env.Tags.Exclude = read(r, "--tags.exclude", f.TagsExclude, Setting.Regexp)
	for _, rule := range f.TagsRewrite {
		env.Tags.Rewrite = append(env.Tags.Rewrite, read(r, "--tags.rewrite", rule, Setting.Rewrite))
	}
	env.Tags.Limit = r.integer("--tags.limit", f.TagsLimit, 0, 1_000_000)
	if r.err == nil && env.Refresh.Interval < shortestInterval {
		r.fail("--refresh.interval", errors.New(strconv.Quote(f.RefreshInterval)+" must be at least 1s"))
	}
	if r.err != nil {
		return Environment{}, r.err
	}
	if err := f.readKey(&env); err != nil {
		return Environment{}, err
	}
	return env, nil
}

func (f Flags) readKey(env *Environment) error {
	switch {
	case f.SecretKeyFile != "":
		env.Key = Key{File: f.SecretKeyFile, From: "--trigger.secret-key-file"}
	case f.SecretKey != "":
		env.Key = Key{Value: f.SecretKey, From: "TRIGGER_SECRET_KEY"}
	default:
		return errors.New("no secret key: set TRIGGER_SECRET_KEY, or name a file with --trigger.secret-key-file (--demo needs none)")
	}
	key, err := env.Key.Get()
	if err != nil {
		return err
	}
	kind := client.KeyEnvironment(key)
	if kind == "preview" && env.PreviewBranch == "" {
		return errors.New("--trigger.preview-branch: missing; a key of a preview environment needs the name of a branch")
	}
	if env.Name == "" {
		env.Name = kind
	}
	if env.Name == "" {
		return errors.New("--trigger.environment: missing; the key's prefix does not tell (tr_dev_, tr_stg_, tr_prod_ and tr_preview_ do)")
	}
	return nil
}

// reader keeps the first error, so that values can be read one after the other.
type reader struct {
	err error
}

func (r *reader) fail(name string, err error) {
	if r.err == nil {
		r.err = Setting{Name: name}.errorf("%w", err)
	}
}

func read[T any](r *reader, name, value string, parse func(Setting) (T, error)) T {
	v, err := parse(Setting{Name: name, Value: value})
	if err != nil && r.err == nil {
		r.err = err
	}
	return v
}

func (r *reader) duration(name, value string) time.Duration {
	return read(r, name, value, Setting.Duration)
}

func (r *reader) durations(name string, values []string) []time.Duration {
	var out []time.Duration
	for _, v := range values {
		out = append(out, r.duration(name, v))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (r *reader) integer(name, value string, least, most int) int {
	return read(r, name, value, func(s Setting) (int, error) {
		n, err := strconv.Atoi(s.Value)
		if err != nil || n < least || n > most {
			return 0, s.errorf("%q must be a whole number from %d to %d", s.Value, least, most)
		}
		return n, nil
	})
}
