// Package notation parses the texts of settings. Its errors quote the text, unless it
// may contain a password, and say what is expected. They do not name the setting.
package notation

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

// maxDuration is the longest duration of a setting: small enough that 20 times as much
// does not overflow, since settings are multiplied.
const maxDuration = 10 * 365 * 24 * time.Hour

// Duration reads a duration in Prometheus notation that is more than zero and at most
// maxDuration.
func Duration(text string) (time.Duration, error) {
	d, err := model.ParseDuration(text)
	switch {
	case err != nil && !strings.HasSuffix(err.Error(), "out of range"):
		return 0, fmt.Errorf("%q is not a duration such as 30s, 5m, 1h or 1d", text)
	case err != nil || time.Duration(d) > maxDuration:
		return 0, fmt.Errorf("%q must be at most %s", text, model.Duration(maxDuration))
	case d == 0:
		return 0, fmt.Errorf("%q must be more than 0", text)
	}
	return time.Duration(d), nil
}

// Interval reads a duration of at least a second: a typo must not use up the rate
// limit.
func Interval(text string) (time.Duration, error) {
	d, err := Duration(text)
	if err == nil && d < time.Second {
		return 0, fmt.Errorf("%q must be at least 1s", text)
	}
	return d, err
}

// Plain returns a function that reads any text except a key in the wrong place. Its
// error names what is wanted.
func Plain(want string) func(string) (string, error) {
	return func(text string) (string, error) {
		if client.LooksLikeKey(text) {
			return "", errors.New("this looks like a key itself; want " + want)
		}
		return text, nil
	}
}

// Label reads the value of a label.
func Label(text string) (string, error) {
	if err := validUTF8(text); err != nil {
		return "", err
	}
	return Plain("the value of a label")(text)
}

// validUTF8 returns an error if the text cannot be, or become, the value of a label.
func validUTF8(text string) error {
	if !utf8.ValidString(text) {
		return fmt.Errorf("%q is not valid UTF-8", text)
	}
	return nil
}

// Boolean reads true or false.
func Boolean(text string) (bool, error) {
	if text != "true" && text != "false" {
		return false, fmt.Errorf("%q must be true or false", text)
	}
	return text == "true", nil
}

// Integer returns a function that reads a whole number from least to most, inclusive.
func Integer(least, most int) func(string) (int, error) {
	return func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("%q must be a whole number from %d to %d", text, least, most)
		}
		return n, nil
	}
}

// Reserve reads the share that is left to others, less than 1.
func Reserve(text string) (float64, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f >= 1 {
		return 0, fmt.Errorf("%q must be a number from 0 to less than 1, such as 0.5", text)
	}
	return f, nil
}

// Share reads the share that may be used, more than 0.
func Share(text string) (float64, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || f <= 0 || f > 1 {
		return 0, fmt.Errorf("%q must be a number over 0 and up to 1, such as 0.25", text)
	}
	return f, nil
}

// Regexp reads an expression that matches whole tags. It is nil for an empty text.
func Regexp(text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	return anchored(text)
}

func anchored(expr string) (*regexp.Regexp, error) {
	// Compiled unanchored first, so that the error quotes what the user wrote.
	re, err := regexp.Compile(expr)
	if err == nil {
		re, err = regexp.Compile("^(?s:" + expr + ")$")
	}
	if err != nil {
		return nil, fmt.Errorf("%q is not a regular expression: %s", expr,
			strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return re, nil
}

// Rewrite reads REGEX=REPLACEMENT, split at the last =.
func Rewrite(text string) (index.Rewrite, error) {
	if err := validUTF8(text); err != nil {
		return index.Rewrite{}, err
	}
	i := strings.LastIndexByte(text, '=')
	if i <= 0 {
		return index.Rewrite{}, fmt.Errorf("%q must be REGEX=REPLACEMENT, such as user:.*=user:*", text)
	}
	rule := index.Rewrite{Replacement: text[i+1:]}
	var err error
	if rule.Match, err = anchored(text[:i]); err == nil {
		err = checkReplacement(rule.Replacement, rule.Match)
	}
	return rule, err
}

// ExpectedWait reads [REGEX=]DURATION, split at the last =.
func ExpectedWait(text string) (rule index.ExpectedWait, err error) {
	wait := text
	switch i := strings.LastIndexByte(text, '='); {
	case i == 0:
		return rule, fmt.Errorf("%q must be [REGEX=]DURATION, such as approval:.*=4h, or 4h for every token", text)
	case i > 0:
		wait = text[i+1:]
		if rule.Match, err = anchored(text[:i]); err != nil {
			return rule, err
		}
	}
	rule.Wait, err = Duration(wait)
	return rule, err
}

func noKey() (string, error) { return "", errors.New("no key") }

// APIURL reads the URL of the API. No error quotes a URL that may contain a password.
func APIURL(text string) (string, error) {
	_, err := client.New(client.Options{APIURL: text, Key: noKey})
	return text, err
}

// PreviewBranch reads the name of a branch, which must be valid in a header.
func PreviewBranch(text string) (string, error) {
	if _, err := client.New(client.Options{APIURL: "http://localhost", Key: noKey, PreviewBranch: text}); err != nil {
		return "", err
	}
	return Plain("the name of a branch")(text)
}

var (
	environmentPath = regexp.MustCompile(`/env/[^/]+/?$`)
	belowIt         = regexp.MustCompile(`/env/[^/]+/.`)
)

// DashboardURL reads the URL of an environment's page. No error quotes a URL that may
// contain a password.
func DashboardURL(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return "", errors.New("not a URL: want http:// or https:// with a host")
	case u.User != nil:
		return "", errors.New("has user information: want none")
	}
	u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = "", false, "", ""
	switch {
	case environmentPath.MatchString(u.EscapedPath()):
		return strings.TrimSuffix(u.String(), "/"), nil
	case belowIt.MatchString(u.EscapedPath()):
		return "", errors.New("is not the environment's own page: leave out what follows /env/NAME")
	}
	return "", errors.New("is not an environment's page, whose path ends in /env/NAME: " +
		"https://cloud.trigger.dev/orgs/ORG/projects/PROJECT/env/ENV")
}

// ProxyURL reads the URL of a proxy. Its error does not quote it: it may contain a
// password.
func ProxyURL(text string) (config.URL, error) {
	if text == "" {
		return config.URL{}, nil
	}
	u, err := url.Parse(text)
	// The text user:password@host is a URL too, with the user for a scheme.
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		return config.URL{}, errors.New("not a URL: want http://, https:// or socks5:// with a host")
	}
	return config.URL{URL: u}, nil
}

// TLSVersion reads a TLS version in Prometheus notation.
func TLSVersion(text string) (config.TLSVersion, error) {
	v, ok := config.TLSVersions[text]
	if !ok {
		return 0, fmt.Errorf("%q must be TLS10, TLS11, TLS12 or TLS13", text)
	}
	return v, nil
}
