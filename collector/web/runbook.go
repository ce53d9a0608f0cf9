package web

import (
	"bytes"
	"html/template"
	"net/http"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
)

// RunbookPath is the path of the runbook. Each alert links to its section there, whose
// anchor is the alert's name in lower case.
const RunbookPath = "/runbook"

// runbook serves the runbook.
func (s *server) runbook(w http.ResponseWriter, _ *http.Request) {
	rendered, err := render(s.opts.Runbook)
	if err != nil {
		text(w, http.StatusInternalServerError, "The runbook cannot be rendered.\n")
		return
	}
	s.pages.write(w, http.StatusOK, "runbook", struct {
		page

		Text template.HTML
	}{page{Title: "Runbook"}, rendered})
}

// render converts the runbook, which is from our own repository, to HTML. It drops raw
// HTML.
func render(markdown []byte) (template.HTML, error) {
	var out bytes.Buffer
	md := goldmark.New(goldmark.WithExtensions(extension.Table), goldmark.WithParserOptions(parser.WithAutoHeadingID()))
	err := md.Convert(markdown, &out)
	return template.HTML(out.String()), err //nolint:gosec // See above.
}
