// Package web serves the exporter's pages: the landing page, health, readiness
// and the metrics handler that it is given. Every page is read from immutable
// snapshots; nothing here calls the API or shows a credential.
package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // For the pages' templates.
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
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
	ReloadPath  = "/-/reload"
)

// An Environment is shown on the pages by name.
type Environment = refresh.View

// Paths returns those of all endpoints beside the metrics and the landing page.
func Paths() []string { return []string{HealthyPath, ReadyPath, ReloadPath, TokensPath, RunbookPath} }

// Options are what the pages show.
type Options struct {
	// Environments returns those there are now.
	Environments func() []Environment
	MetricsPath  string
	Metrics      http.Handler
	Version      string
	// Demo is whether the environments are simulated, which every page then says.
	Demo bool
	// Reload reads the configuration again; nil if that may not be asked for.
	Reload func() error
	// Runbook is what to do about alerts, as Markdown; nil for none.
	Runbook []byte
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
}

//go:embed landing.html
var landingHTML string

// bannerHTML begins each page of a demo.
const bannerHTML = `{{if demo}}<p class="notice" role="note"><strong class="bad">This is a demo.</strong> ` +
	"All tokens are simulated; nothing of Trigger.dev is shown.</p>\n{{end}}"

//go:embed style.css
var styleCSS string

type server struct {
	opts  Options
	pages *template.Template
	csp   string
}

// New returns the handler of all endpoints.
func New(opts Options) http.Handler {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	sum := sha256.Sum256([]byte(styleCSS))
	s := &server{
		opts: opts,
		csp: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
	}
	pages := template.New("").Funcs(template.FuncMap{
		"style": func() template.CSS { return template.CSS(styleCSS) }, "demo": func() bool { return opts.Demo },
	})
	template.Must(pages.New("banner").Parse(bannerHTML))
	template.Must(pages.New("landing").Parse(landingHTML))
	template.Must(pages.New("tokens").Parse(tokensHTML))
	template.Must(pages.New("runbook").Parse(runbookHTML))
	s.pages = pages
	mux := http.NewServeMux()
	mux.Handle("GET "+opts.MetricsPath, opts.Metrics)
	mux.HandleFunc("GET "+HealthyPath, func(w http.ResponseWriter, _ *http.Request) {
		text(w, http.StatusOK, "waitpoint_exporter is healthy.\n")
	})
	mux.HandleFunc("GET "+ReadyPath, s.ready)
	mux.Handle("GET "+TokensPath, newTokens(s))
	if opts.Runbook != nil {
		mux.HandleFunc("GET "+RunbookPath, func(w http.ResponseWriter, _ *http.Request) {
			page, err := render(opts.Runbook)
			if err != nil {
				text(w, http.StatusInternalServerError, "The runbook cannot be rendered.\n")
				return
			}
			s.html(w, http.StatusOK, "runbook", page)
		})
	}
	// As Prometheus has it: PUT does as well.
	mux.HandleFunc("POST "+ReloadPath, s.reload)
	mux.HandleFunc("PUT "+ReloadPath, s.reload)
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
	for _, e := range s.opts.Environments() {
		if snapshot := e.Source.Snapshot(); snapshot == nil || !snapshot.Waiting {
			missing = append(missing, e.Title())
		}
	}
	if len(missing) > 0 {
		text(w, http.StatusServiceUnavailable, "WAITING tokens are not known yet: "+strings.Join(missing, ", ")+"\n")
		return
	}
	text(w, http.StatusOK, "waitpoint_exporter is ready.\n")
}

func (s *server) reload(w http.ResponseWriter, _ *http.Request) {
	if s.opts.Reload == nil {
		text(w, http.StatusForbidden, "Reloading is not enabled: start with --web.enable-lifecycle, or send SIGHUP.\n")
		return
	}
	if err := s.opts.Reload(); err != nil {
		text(w, http.StatusInternalServerError, "The configuration is not loaded: "+err.Error()+"\n")
		return
	}
	text(w, http.StatusOK, "The configuration is loaded.\n")
}

// row is what the landing page says of one environment.
type row struct {
	Title, State, Class, Waiting, Age, History, Requests, Left, Link, Error string
}

func (s *server) landing(w http.ResponseWriter, _ *http.Request) {
	now := s.opts.Now()
	data := struct {
		MetricsPath, HealthyPath, ReadyPath, Version string
		Rows                                         []row
	}{s.opts.MetricsPath, HealthyPath, ReadyPath, s.opts.Version, nil}
	for _, e := range s.opts.Environments() {
		data.Rows = append(data.Rows, s.row(e, now))
	}
	s.html(w, http.StatusOK, "landing", data)
}

// html renders a page that runs no script and loads nothing.
func (s *server) html(w http.ResponseWriter, code int, name string, data any) {
	var page bytes.Buffer
	if err := s.pages.ExecuteTemplate(&page, name, data); err != nil {
		text(w, http.StatusInternalServerError, "The page cannot be rendered.\n")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", s.csp)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(code)
	_, _ = page.WriteTo(w) // The client has gone; nothing to do about it.
}

func (s *server) row(e Environment, now time.Time) row {
	state, snapshot := e.Source.State(), e.Source.Snapshot()
	r := row{Title: e.Title(), State: "starting", Class: "wait", Waiting: "–", Age: "–", History: "not yet", Requests: strconv.FormatUint(state.Usage.Requests, 10), Left: "–", Error: state.Err}
	link := url.Values{"environment": {e.Name}}
	if e.Project != "" {
		link.Set("project", e.Project)
	}
	r.Link = pageLink(link)
	if state.Usage.Limit > 0 {
		r.Left = fmt.Sprintf("%d of %d", state.Usage.Remaining, state.Usage.Limit)
	}
	switch {
	case state.Up:
		r.State, r.Class = "up", "ok"
	case state.Err != "":
		r.State, r.Class = "failing", "bad"
	}
	if snapshot != nil && snapshot.Waiting {
		r.Age = snapshot.Age(now).Round(time.Second).String()
		r.Waiting = strconv.Itoa(snapshot.Total.Count(0, now))
		if !snapshot.Fresh(now, e.MaxStaleness) {
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
