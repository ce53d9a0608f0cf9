// Package config reads the settings of environments from flags or from a file and
// validates them. Each setting is defined once, in the table in settings.go. Every
// error names the flag or variable, or the file, line and field, with the value and
// what is expected; none contains a key.
package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"

	"waitpoint_exporter/collector/config/access"
	"waitpoint_exporter/collector/index"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

// Environment is the complete configuration of one environment.
type Environment struct {
	Name, Project string
	APIURL        string
	PreviewBranch string
	// DashboardURL is the environment's page in Trigger.dev's dashboard, without a
	// slash at its end; empty for none.
	DashboardURL string
	Key          access.Key
	Tokens       Tokens
	Tags         index.TagRules
	Refresh      Refresh
	API          API
	// HTTP has the settings of the transport: proxy, TLS and headers.
	HTTP config.HTTPClientConfig
}

// Title returns project/name, or the name alone.
func (e Environment) Title() string {
	if e.Project != "" {
		return e.Project + "/" + e.Name
	}
	return e.Name
}

// Summaries describes each environment in one printable line.
func Summaries(environments []Environment) (out []string) {
	for _, e := range environments {
		window := "all"
		if e.Tokens.Period > 0 {
			window = model.Duration(e.Tokens.Period).String()
		}
		line := fmt.Sprintf("%s: %s, window %s, interval %s",
			e.Title(), e.APIURL, window, model.Duration(e.Refresh.Interval))
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			line = strconv.Quote(line) // A terminal might interpret it.
		}
		out = append(out, line)
	}
	return out
}

// Equal reports whether the settings are identical, ignoring where they were read.
func (e Environment) Equal(o Environment) bool {
	e.Key.From, o.Key.From = "", ""
	return reflect.DeepEqual(e, o)
}

// Twins returns the pairs of environments that have the same tokens, since server, key
// and preview branch are the same. Each environment is paired with the first such one.
func Twins(environments []Environment) (pairs [][2]Environment) {
	type origin struct{ server, key, branch string }
	first := map[origin]Environment{}
	for _, e := range environments {
		key, err := e.Key.Get()
		if err != nil {
			continue // Its file was there when the environment was loaded.
		}
		own := origin{strings.TrimRight(e.APIURL, "/"), key, e.PreviewBranch}
		if other, ok := first[own]; ok {
			pairs = append(pairs, [2]Environment{other, e})
		} else {
			first[own] = e
		}
	}
	return pairs
}

// Tokens say which tokens count and which thresholds have series.
type Tokens struct {
	// Period is the window; zero for all.
	Period              time.Duration
	WaitingWithinPeriod bool
	// NearTimeout and StuckAfter are in ascending order, without duplicates.
	NearTimeout, StuckAfter []Threshold
	// ExpectedWait has the rules in their order.
	ExpectedWait []index.ExpectedWait
}

// A Threshold is a duration with its own series. Text is the label value, as the user
// wrote it.
type Threshold struct {
	Text     string
	Duration time.Duration
}

// Refresh says how often the snapshot is refreshed.
type Refresh struct {
	Interval, Timeout, MaxStaleness, VerifyInterval time.Duration
}

// Staleness returns MaxStaleness, but at least three intervals.
func (r Refresh) Staleness() time.Duration { return max(r.MaxStaleness, 3*r.Interval) }

// API says how much of the API an environment may use. Reserve is the share of the rate
// limit that is always left to its other users; Share is the share of the refill that
// refreshes may use in the long run.
type API struct {
	Concurrency    int
	Reserve, Share float64
}
