// Package web serves the exporter's endpoints: landing page, tokens, runbook, health,
// readiness, reload, and the metrics handler that it is given.
//
// Pages show immutable snapshots. Nothing here calls the API or knows a credential.
// Page policies allow no script, and templates escape all text.
package web

import (
	"html/template"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"waitpoint_exporter/collector/refresh"
)

// Paths of the endpoints beside the metrics.
const (
	HealthyPath = "/-/healthy"
	ReadyPath   = "/-/ready"
	ReloadPath  = "/-/reload"

	iconPath      = "/favicon.svg"
	triedIconPath = "/favicon.ico" // Browsers try it, whatever a page says.
)

// An Environment has the data of one environment for the pages.
type Environment = refresh.View

// Paths returns the paths of all endpoints but the metrics and the landing page.
func Paths() []string {
	return []string{iconPath, triedIconPath, HealthyPath, ReadyPath, ReloadPath, TokensPath, RunbookPath}
}

// Options of the handler.
type Options struct {
	// Environments returns the current environments.
	Environments func() []Environment
	MetricsPath  string
	Metrics      http.Handler
	// Version is the program's version, Build describes how it was built.
	Version, Build string
	// Demo makes every page say that the environments are simulated.
	Demo bool
	// Reload reloads the configuration; nil if requests may not do so.
	Reload func() error
	// Runbook is the runbook as Markdown; nil for none.
	Runbook []byte
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
}

type server struct {
	opts      Options
	templates *template.Template
	lists     *semaphore.Weighted // Held while a list is made.
	files     *semaphore.Weighted // Held while a CSV file is made and sent.
}

// New returns the handler of all endpoints.
func New(opts Options) http.Handler {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &server{opts, parseTemplates(opts.Demo), semaphore.NewWeighted(maxLists), semaphore.NewWeighted(maxFiles)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+HealthyPath, func(w http.ResponseWriter, _ *http.Request) {
		text(w, http.StatusOK, "waitpoint_exporter is healthy.\n")
	})
	mux.HandleFunc("GET "+ReadyPath, s.ready)
	mux.HandleFunc("GET "+TokensPath, s.tokens)
	if opts.Runbook != nil {
		mux.HandleFunc("GET "+RunbookPath, s.runbook)
	}
	// PUT also works, as in Prometheus.
	mux.HandleFunc("POST "+ReloadPath, s.reload)
	mux.HandleFunc("PUT "+ReloadPath, s.reload)
	mux.HandleFunc("GET "+iconPath, icon)
	mux.HandleFunc("GET "+triedIconPath, icon)
	root := http.Handler(http.HandlerFunc(s.landing))
	if opts.MetricsPath == "/" {
		root = opts.Metrics
	} else {
		mux.Handle("GET "+opts.MetricsPath, opts.Metrics)
	}
	mux.Handle("GET /{$}", root)
	return s.orMissing(mux)
}

// orMissing answers requests for pages that do not exist.
func (s *server) orMissing(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pattern := mux.Handler(r)
		asks := (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.HasPrefix(r.URL.Path, "/")
		// For the reload path the mux answers with the allowed methods.
		if pattern == "" && asks && r.URL.Path != ReloadPath {
			s.missing(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func text(w http.ResponseWriter, code int, body string) {
	send(w, code, "text/plain; charset=utf-8", []byte(body))
}

func send(w http.ResponseWriter, code int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(body) // It only fails if the client has gone.
}

func (s *server) ready(w http.ResponseWriter, _ *http.Request) {
	var missing []string
	now := s.opts.Now()
	for _, e := range s.opts.Environments() {
		if !look(&e, now).Known {
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
