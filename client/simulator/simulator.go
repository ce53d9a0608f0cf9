// Package simulator simulates Trigger.dev's waitpoint token API, including its quirks,
// for tests, benchmarks and the demo.
//
// It does not share the client's wire types, so that a mistake in them shows. A
// token's state is a function of time: a row contains when it became visible and when
// it finished, so a lagging replica shows the state of an earlier time. Facts about
// the service were measured with version 4.5.12.
package simulator

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

var slashes = regexp.MustCompile("/+")

const tokensPath = "/api/v1/waitpoints/tokens"

// Options of a Simulator.
type Options struct {
	// Now is the service's clock. Nil: time.Now.
	Now func() time.Time
	// Seed is the seed of all random values.
	Seed uint64
	// Latency is the delay before every answer.
	Latency time.Duration
	// NoLog turns off the log of requests.
	NoLog bool
}

// Simulator is an http.Handler that is safe for concurrent use.
type Simulator struct {
	now     func() time.Time
	latency time.Duration
	noLog   bool

	mu           sync.Mutex
	rng          *rand.Rand
	environments []*Environment
	faults       []*activeFault
	log          []Request
}

// A Request is an entry of the log.
type Request struct {
	Environment  *Environment // Nil if the key is not valid.
	Method, Path string
	Query        url.Values
	Status       int
	At           time.Time
}

const logSize = 10_000

// New returns a Simulator without environments.
func New(opts Options) *Simulator {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Simulator{now: opts.Now, latency: opts.Latency, noLog: opts.NoLog, rng: rand.New(rand.NewPCG(opts.Seed, 1))}
}

// Limit is a token bucket that is refilled in steps. Zero fields mean the service's
// defaults: 750, refilled by 250 every 10 s. A negative Size means that the limiter
// is bypassed: its headers are all 0.
type Limit struct {
	Size, Refill int
	Every        time.Duration
}

// EnvironmentOptions describe an environment.
type EnvironmentOptions struct {
	// Key is the root key. With Branch, the environment is that branch of a preview
	// or dev environment, and requests must name it. Environments with the same root
	// key are branches of one environment: they share its keys and the bucket of the
	// first.
	Key, Branch string
	Limit       Limit
	// NoRateHeaders omits the rate limit headers and does not limit requests.
	NoRateHeaders bool
	// OldEngine answers every listing with a 500 that gives no reason.
	OldEngine bool
	// Lag is the maximum lag of the replicas from which pages are read.
	Lag time.Duration
	// Skew is the maximum difference, in either direction, between the clocks of the
	// hosts that create tokens and the service's clock.
	Skew time.Duration
}

// Environment adds an environment.
func (s *Simulator) Environment(opts EnvironmentOptions) *Environment {
	if opts.Limit.Size == 0 {
		opts.Limit.Size = 750
	}
	if opts.Limit.Refill == 0 {
		opts.Limit.Refill = 250
	}
	if opts.Limit.Every == 0 {
		opts.Limit.Every = 10 * time.Second
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &Environment{sim: s, opts: opts}
	if i := slices.IndexFunc(s.environments, func(of *Environment) bool { return of.opts.Key == opts.Key }); i >= 0 {
		e.bucket = s.environments[i].bucket
	} else {
		e.bucket = &bucket{
			limit: opts.Limit, silent: opts.NoRateHeaders, left: opts.Limit.Size, refilled: s.now(),
			keys: map[string]Key{},
		}
	}
	s.environments = append(s.environments, e)
	return e
}

// Requests returns the newest entries of the log, oldest first.
func (s *Simulator) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.log[max(0, len(s.log)-logSize):]...)
}

// ServeHTTP implements http.Handler.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.latency > 0 && !pause(r, s.latency) {
		return
	}
	s.mu.Lock()
	a := s.answer(r)
	if len(s.log) == 2*logSize {
		s.log = append(s.log[:0], s.log[logSize:]...)
	}
	if !s.noLog {
		s.log = append(s.log, Request{a.environment, r.Method, r.URL.Path, r.URL.Query(), a.status, s.now()})
	}
	fault := s.fault(r)
	s.mu.Unlock()
	if fault != nil {
		if a = fault.apply(w, r, a); a.done {
			return
		}
	}
	a.write(w, r, s.now())
}

// pause waits and reports whether the client is still connected.
func pause(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.Context().Done():
		return false
	case <-timer.C:
		return true
	}
}

// An answer is the service's answer to a request.
type answer struct {
	environment *Environment
	status      int
	header      http.Header
	body        []byte
	done        bool // A fault has answered already.
}

func (a answer) write(w http.ResponseWriter, r *http.Request, now time.Time) {
	h := w.Header()
	maps.Copy(h, a.header)
	h.Set("Date", now.UTC().Format(http.TimeFormat))
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") && len(a.body) > 1024 {
		h.Set("Content-Encoding", "gzip")
		h.Set("Vary", "Accept-Encoding")
		w.WriteHeader(a.status)
		zw, _ := zippers.Get().(*gzip.Writer)
		defer zippers.Put(zw)
		zw.Reset(w)
		_, _ = zw.Write(a.body)
		_ = zw.Close()
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

//nolint:gochecknoglobals // A pool is made to be shared.
var zippers = sync.Pool{New: func() any {
	zw, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	return zw
}}

func (s *Simulator) answer(r *http.Request) answer {
	if path, ok := strings.CutSuffix(r.URL.EscapedPath(), "/"); ok && path != "" {
		path = slashes.ReplaceAllString(path, "/")
		if r.URL.RawQuery != "" {
			path += "?" + r.URL.RawQuery
		}
		return answer{status: http.StatusMovedPermanently, header: http.Header{"Location": {path}}}
	}
	if len(r.URL.RequestURI()) > 16<<10 {
		return answer{status: http.StatusRequestHeaderFieldsTooLarge}
	}
	if r.Header.Get("Authorization") == "" {
		return problem(http.StatusUnauthorized, "Unauthorized", "No authorization header provided", "")
	}
	e, refusal := s.authorize(r)
	if e == nil {
		return refusal
	}
	e.count++
	headers, ok := e.bucket.take(s.now())
	if !ok {
		e.refused++
		a := e.bucket.tooMany(headers, s.now())
		a.environment = e
		return a
	}
	a := refusal
	if a.status == 0 {
		a = e.route(r)
	}
	a.environment = e
	maps.Copy(a.header, headers)
	return a
}

func jsonError(status int, text string) answer {
	body, _ := json.Marshal(map[string]string{"error": text})
	return jsonAnswer(status, body)
}

func jsonAnswer(status int, body []byte) answer {
	return answer{status: status, body: body, header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}}
}

// problem returns an answer in the form of RFC 9457, indented like the service's.
func problem(status int, title, detail, more string) answer {
	body := fmt.Sprintf("{\n  \"title\": %q,\n  \"status\": %d,\n"+
		"  \"type\": \"https://developer.mozilla.org/en-US/docs/Web/HTTP/Status/%d\",\n"+
		"  \"detail\": %q,\n%s  \"error\": %q\n}",
		title, status, status, detail, more, detail)
	header := http.Header{"Content-Type": {"application/problem+json; charset=utf-8"}}
	return answer{status: status, body: []byte(body), header: header}
}
