package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // For the style.
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
)

//go:embed style.css
var styleCSS string

// A page is an HTML page without scripts. The one style that the browser takes
// is ours, known by its hash, so that nothing a token brings along can act or
// load anything even if it got past the escaping.
type page struct {
	template *template.Template
	policy   string
}

// newPage parses a page. Its forms, if it has any, may be sent to formAction.
func newPage(name, text, formAction string) *page {
	hash := sha256.Sum256([]byte(styleCSS))
	style := template.FuncMap{"style": func() template.CSS { return template.CSS(styleCSS) }}
	return &page{
		template: template.Must(template.New(name).Funcs(style).Parse(text)),
		policy: fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; form-action %s; frame-ancestors 'none'; base-uri 'none'",
			base64.StdEncoding.EncodeToString(hash[:]), formAction),
	}
}

// render returns the page and sets its headers. With an error it has done
// neither.
func (p *page) render(h http.Header, data any) ([]byte, error) {
	var body bytes.Buffer
	if err := p.template.Execute(&body, data); err != nil {
		return nil, fmt.Errorf("render the page %s: %w", p.template.Name(), err)
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	return body.Bytes(), nil
}
