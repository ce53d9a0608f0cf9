// Package config holds what an environment may be set to, and refuses what
// makes no sense. Every error names the setting, its value and what would be
// right; none ever holds a key.
package config

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"waitpoint_exporter/collector/index"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

var environmentPath = regexp.MustCompile(`/env/[^/]+/?$`)

// Environment is the complete configuration of one environment.
type Environment struct {
	Name, Project string
	APIURL        string
	PreviewBranch string
	// DashboardURL is the environment's page in Trigger.dev's dashboard, without a
	// slash at its end; empty for none.
	DashboardURL string
	Key          Key
	Tokens       Tokens
	Tags         index.TagRules
	Refresh      Refresh
	API          API
	// HTTP has the proxy and TLS settings, nil for what the process's own
	// environment variables say. It is not to be changed.
	HTTP *config.HTTPClientConfig
}

// Title names an environment to people: project/name, or the name alone.
func (e Environment) Title() string {
	if e.Project != "" {
		return e.Project + "/" + e.Name
	}
	return e.Name
}

// Equal is whether two environments are set alike, wherever that is written.
func (e Environment) Equal(o Environment) bool {
	e.Key.From, o.Key.From = "", ""
	return reflect.DeepEqual(e, o)
}

// Tokens say which tokens count and which thresholds have series.
type Tokens struct {
	Period              time.Duration
	WaitingWithinPeriod bool
	// NearTimeout and StuckAfter are in ascending order; no two are the same time.
	NearTimeout, StuckAfter []Threshold
	// ExpectedWait has the rules in their order.
	ExpectedWait []index.ExpectedWait
}

// A Threshold is a duration that has series of its own, with the text that its
// user gave it as the value of their label.
type Threshold struct {
	Text     string
	Duration time.Duration
}

// Refresh says how often the picture is brought up to date.
type Refresh struct {
	Interval, Timeout, MaxStaleness, VerifyInterval time.Duration
}

// API says how much of the API an environment may use.
type API struct {
	Concurrency int
	// Reserve is the share of the rate limit that is always left to its other
	// users; Share is the share of what the limit refills that refreshes may use in
	// the long run.
	Reserve, Share float64
}

// Staleness returns MaxStaleness, but never under three intervals.
func (r Refresh) Staleness() time.Duration { return max(r.MaxStaleness, 3*r.Interval) }

// A Setting is named as its user set it: a flag, or a line and field of a file.
type Setting struct{ Name, Value string }

func (s Setting) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: %w", s.Name, fmt.Errorf(format, args...))
}

// Duration reads a duration in Prometheus notation that is not zero.
func (s Setting) Duration() (time.Duration, error) {
	d, err := model.ParseDuration(s.Value)
	if err != nil {
		return 0, s.errorf("%q is not a duration such as 30s, 5m, 1h or 1d", s.Value)
	}
	if d == 0 {
		return 0, s.errorf("%q must be more than 0", s.Value)
	}
	return time.Duration(d), nil
}

// Label reads what becomes the value of a label, which can only be UTF-8.
func (s Setting) Label() (string, error) {
	if !utf8.ValidString(s.Value) {
		return "", s.errorf("%q is not valid UTF-8", s.Value)
	}
	return s.Value, nil
}

// Reserve reads a share of the rate limit.
func (s Setting) Reserve() (float64, error) {
	f, err := strconv.ParseFloat(s.Value, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f >= 1 {
		return 0, s.errorf("%q must be a number from 0 to less than 1, such as 0.5", s.Value)
	}
	return f, nil
}

// Regexp reads an expression that has to match whole tags; empty is none.
func (s Setting) Regexp() (*regexp.Regexp, error) {
	if s.Value == "" {
		return nil, nil
	}
	return s.anchored(s.Value)
}

func (s Setting) anchored(expr string) (*regexp.Regexp, error) {
	// Compiled by itself first, so that an error speaks of what the user wrote.
	if _, err := regexp.Compile(expr); err != nil {
		return nil, s.errorf("%q is not a regular expression: %w", expr, regexpCause(err))
	}
	re, err := regexp.Compile("^(?s:" + expr + ")$")
	if err != nil {
		return nil, s.errorf("%q is not a regular expression: %w", expr, regexpCause(err))
	}
	return re, nil
}

func regexpCause(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "error parsing regexp: "))
}

// Share reads a share that is not nothing.
func (s Setting) Share() (float64, error) {
	f, err := strconv.ParseFloat(s.Value, 64)
	if err != nil || math.IsNaN(f) || f <= 0 || f > 1 {
		return 0, s.errorf("%q must be a number over 0 and up to 1, such as 0.25", s.Value)
	}
	return f, nil
}

// ExpectedWait reads [REGEX=]DURATION, split at the last =.
func (s Setting) ExpectedWait() (index.ExpectedWait, error) {
	rule, wait := index.ExpectedWait{}, s
	if i := strings.LastIndexByte(s.Value, '='); i >= 0 {
		var err error
		if rule.Match, err = s.anchored(s.Value[:i]); err != nil {
			return rule, err
		}
		wait.Value = s.Value[i+1:]
	}
	var err error
	if rule.Wait, err = wait.Duration(); err != nil {
		return rule, err
	}
	return rule, nil
}

// DashboardURL reads the URL of an environment's page in the dashboard. Its errors
// do not quote it, since it may have a password in it.
func (s Setting) DashboardURL() (string, error) {
	if s.Value == "" {
		return "", nil
	}
	u, err := url.Parse(s.Value)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return "", s.errorf("not a URL: want http:// or https:// with a host")
	case u.User != nil:
		return "", s.errorf("has user information: want none")
	}
	u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = "", false, "", ""
	if !environmentPath.MatchString(u.EscapedPath()) {
		return "", s.errorf("want the address of the environment's page, whose path ends in /env/NAME: https://cloud.trigger.dev/orgs/ORG/projects/PROJECT/env/ENV")
	}
	return strings.TrimSuffix(u.String(), "/"), nil
}

// Rewrite reads REGEX=REPLACEMENT, split at the last =.
func (s Setting) Rewrite() (index.Rewrite, error) {
	if _, err := s.Label(); err != nil {
		return index.Rewrite{}, err
	}
	i := strings.LastIndexByte(s.Value, '=')
	if i <= 0 {
		return index.Rewrite{}, s.errorf("%q must be REGEX=REPLACEMENT, such as user:.*=user:*", s.Value)
	}
	re, err := s.anchored(s.Value[:i])
	return index.Rewrite{Match: re, Replacement: s.Value[i+1:]}, err
}
