package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

//go:embed *.html
var templates embed.FS

//go:embed style.css
var styleCSS string

//go:embed favicon.svg
var favicon []byte

// page is the data that the layout needs from each page. Links are relative, so that
// they work behind a proxy that adds a prefix.
type page struct {
	Title string
	Wide  bool
	// Refresh is the number of seconds after which the browser reloads the page; 0 for
	// never.
	Refresh int
	// Up is the relative path to the landing page's folder: "" or repeated "../".
	Up string
}

func parseTemplates(demo bool) *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"style": func() template.CSS { return template.CSS(styleCSS) }, //nolint:gosec // It is our own.
		"human": human, "clock": clock, "stamp": func(t time.Time) string { return stamp(t).String() }, "count": count,
		"seconds": time.Duration.Seconds, "textForPage": textForPage, "demo": func() bool { return demo },
	}).ParseFS(templates, "*.html"))
}

// write renders the template name.html. The page's policy allows no script, and nothing
// to load except the icon.
func (s *server) write(w http.ResponseWriter, code int, name string, data any) {
	var out bytes.Buffer
	if err := s.templates.ExecuteTemplate(&out, name+".html", data); err != nil {
		text(w, http.StatusInternalServerError, "The page cannot be rendered.\n")
		return
	}
	style := sha256.Sum256([]byte(styleCSS))
	w.Header().Set("Content-Security-Policy", "default-src 'none'; img-src 'self'; style-src 'sha256-"+
		base64.StdEncoding.EncodeToString(style[:])+"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	w.Header().Set("Referrer-Policy", "no-referrer")
	send(w, code, "text/html; charset=utf-8", out.Bytes())
}

// missing answers 404, with links to the pages that exist.
func (s *server) missing(w http.ResponseWriter, r *http.Request) {
	s.write(w, http.StatusNotFound, "missing", page{
		Title: "Not found", Up: strings.Repeat("../", max(0, strings.Count(r.URL.EscapedPath(), "/")-1)),
	})
}

func icon(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Cache-Control", "max-age=86400")
	_, _ = w.Write(favicon) // It only fails if the client has gone.
}

// human formats seconds in their two largest units; negative ones as 0 s.
func human(seconds float64) string {
	s := max(0, int64(seconds))
	switch m, h := s/60, s/3600; {
	case m == 0:
		return fmt.Sprintf("%d s", s)
	case h == 0:
		return fmt.Sprintf("%d m %d s", m, s%60)
	case h < 24:
		return fmt.Sprintf("%d h %d m", h, m%60)
	default:
		return fmt.Sprintf("%d d %d h", h/24, h%24)
	}
}

// clock formats a time in UTC for people.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// count formats a number with thousands separators.
func count(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// textForPage replaces control characters, which a browser would drop or interpret,
// by visible signs. Line breaks stay.
func textForPage(text string) string {
	return strings.Map(func(r rune) rune {
		const signs = '␀' // The signs for ASCII control characters begin here.
		switch {
		case r == '\n' || r == unicode.ReplacementChar || !unicode.IsControl(r):
			return r
		case r < ' ':
			return signs + r
		default:
			return unicode.ReplacementChar
		}
	}, text) // Map turns invalid UTF-8 into U+FFFD.
}
