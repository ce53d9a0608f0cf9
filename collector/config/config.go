// Package config holds what an environment may be set to, and refuses what
// makes no sense. Every error names the setting, its value and what would be
// right; none ever holds a key.
package config

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

// Bounds on files, in bytes; far more than there is a use for.
const (
	maxKeyFile    = 64 << 10
	maxConfigFile = 16 << 20
)

// Environment is the complete configuration of one environment.
type Environment struct {
	Name, Project string
	APIURL        string
	PreviewBranch string
	Key           Key
	Tokens        Tokens
	Tags          index.TagRules
	Refresh       Refresh
	API           API
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

// The service closes idle connections at 65 s; whoever closes first avoids the race.
const idleTimeout = 55 * time.Second

// Transport returns a new transport by the environment's HTTP settings, nil if
// it has none. Certificates are read again when their files change.
func (e Environment) Transport() (http.RoundTripper, error) {
	if e.HTTP == nil {
		return nil, nil
	}
	return config.NewRoundTripperFromConfig(*e.HTTP, "trigger",
		config.WithIdleConnTimeout(idleTimeout), config.WithDialContextFunc(client.DialContext))
}

// Tokens say which tokens count and which thresholds have series.
type Tokens struct {
	Period              time.Duration
	WaitingWithinPeriod bool
	NearTimeout         []time.Duration
	StuckAfter          []time.Duration
}

// Refresh says how often the picture is brought up to date.
type Refresh struct {
	Interval, Timeout, MaxStaleness, VerifyInterval time.Duration
}

// API says how much of the API an environment may use.
type API struct {
	Concurrency int
	Reserve     float64
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

// A Key gives the secret key when a request needs it, so that one that is
// replaced in its file is used from then on.
type Key struct {
	// Value is the key itself, From the name of where it came from.
	Value, From string
	// File, if set, is read each time instead.
	File string
}

// String never shows the key.
func (Key) String() string { return "<secret>" }

// GoString never shows the key.
func (Key) GoString() string { return "<secret>" }

// Get returns the key. Its errors name where the key should come from.
func (k Key) Get() (string, error) {
	value, from := k.Value, k.From
	if k.File != "" {
		content, err := readFile(k.File, maxKeyFile)
		if err != nil {
			if client.LooksLikeKey(filepath.Base(k.File)) {
				return "", fmt.Errorf("%s: this looks like a key itself; want the name of a file", k.From)
			}
			return "", fmt.Errorf("%s: %w", k.From, err)
		}
		value, from = strings.TrimSpace(string(content)), fmt.Sprintf("%s %s", k.From, k.File)
	}
	if err := client.CheckKey(value); err != nil {
		return "", fmt.Errorf("%s: %w", from, err)
	}
	return value, nil
}

// readFile reads a file of so many bytes at most: a wrong name, such as that of a
// device, is not to take all memory.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // It was only read.
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("read %s: there are more than %d bytes in it", path, most)
	}
	return content, err
}
