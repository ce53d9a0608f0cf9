// Package web serves the exporter's pages: the landing page, the WAITING tokens
// behind the numbers, health, readiness and the metrics handler that it is given. Every page is read from immutable
// snapshots; nothing here calls the API or shows a credential.
package web

import (
	_ "embed" // For the page's template.
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"waitpoint_exporter/collector/index"
	"waitpoint_exporter/collector/refresh"
)

// Paths of the endpoints beside the metrics.
const (
	HealthyPath = "/-/healthy"
	ReadyPath   = "/-/ready"
)

// Source tells how an environment is doing; it must be safe for concurrent use.
type Source interface {
	Snapshot() *index.Snapshot
	State() refresh.State
}

// An Environment is shown on the pages by name.
type Environment struct {
	Name, Project string
	Source        Source
}

func (e Environment) title() string {
	if e.Project != "" {
		return e.Project + "/" + e.Name
	}
	return e.Name
}

// Options are what the pages show. Now nil stands for time.Now.
type Options struct {
	Environments []Environment
	MetricsPath  string
	Metrics      http.Handler
	Version      string
	MaxStaleness time.Duration
	Now          func() time.Time
}

//go:embed landing.html
var landingHTML string

type server struct {
	opts Options
	page *page
}

// New returns the handler of all endpoints.
func New(opts Options) http.Handler {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &server{opts: opts, page: newPage("landing", landingHTML, "'none'")}
	mux := http.NewServeMux()
	mux.Handle("GET "+opts.MetricsPath, opts.Metrics)
	mux.HandleFunc("GET "+HealthyPath, func(w http.ResponseWriter, _ *http.Request) {
		text(w, http.StatusOK, "waitpoint_exporter is healthy.\n")
	})
	mux.HandleFunc("GET "+ReadyPath, s.ready)
	mux.Handle("GET "+TokensPath, newTokens(s))
	if opts.MetricsPath != "/" {
		mux.HandleFunc("GET /{$}", s.landing)
	}
	return mux
}

func text(w http.ResponseWriter, code int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(body)) // The client has gone; nothing to do about it.
}

func (s *server) ready(w http.ResponseWriter, _ *http.Request) {
	var missing []string
	for _, e := range s.opts.Environments {
		if snapshot := e.Source.Snapshot(); snapshot == nil || !snapshot.Waiting {
			missing = append(missing, e.title())
		}
	}
	if len(missing) > 0 {
		text(w, http.StatusServiceUnavailable, "WAITING tokens are not known yet: "+strings.Join(missing, ", ")+"\n")
		return
	}
	text(w, http.StatusOK, "waitpoint_exporter is ready.\n")
}

// row is what the landing page says of one environment.
type row struct {
	Title, State, Class, Waiting, Age, History, Error string
}

func (s *server) landing(w http.ResponseWriter, _ *http.Request) {
	now := s.opts.Now()
	data := struct {
		MetricsPath, TokensPath, HealthyPath, ReadyPath, Version string
		Rows                                                     []row
	}{s.opts.MetricsPath, TokensPath, HealthyPath, ReadyPath, s.opts.Version, nil}
	for _, e := range s.opts.Environments {
		data.Rows = append(data.Rows, s.row(e, now))
	}
	body, err := s.page.render(w.Header(), data)
	if err != nil {
		http.Error(w, "the page cannot be rendered", http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(body) // The client has gone; nothing to do about it.
}

func (s *server) row(e Environment, now time.Time) row {
	state, snapshot := e.Source.State(), e.Source.Snapshot()
	r := row{Title: e.title(), State: "starting", Class: "wait", Waiting: "–", Age: "–", History: "not yet", Error: state.Err}
	switch {
	case state.Up:
		r.State, r.Class = "up", "ok"
	case state.Err != "":
		r.State, r.Class = "failing", "bad"
	}
	if snapshot != nil && snapshot.Waiting {
		age := now.Sub(snapshot.At)
		r.Age = age.Round(time.Second).String()
		r.Waiting = strconv.Itoa(snapshot.Total.Count(0, now))
		if age > s.opts.MaxStaleness {
			r.Age += ", too old to be shown in metrics"
		}
		switch {
		case snapshot.Loaded:
			r.History = fmt.Sprintf("loaded, %d tokens", s.total(snapshot, now))
		case state.Listed > 0:
			r.History = fmt.Sprintf("loading, %d tokens so far", state.Listed)
			if !state.Oldest.IsZero() {
				r.History += ", back to " + state.Oldest.Format(time.RFC3339)
			}
		}
	}
	return r
}

func (s *server) total(snapshot *index.Snapshot, now time.Time) int {
	n := 0
	for i := range snapshot.Statuses {
		n += snapshot.Total.Count(i, now)
	}
	return n
}
