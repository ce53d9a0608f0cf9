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

// runbook serves the runbook as HTML, without the raw HTML in it.
func (s *server) runbook(w http.ResponseWriter, _ *http.Request) {
	var out bytes.Buffer
	md := goldmark.New(goldmark.WithExtensions(extension.Table), goldmark.WithParserOptions(parser.WithAutoHeadingID()))
	if err := md.Convert(s.opts.Runbook, &out); err != nil {
		text(w, http.StatusInternalServerError, "The runbook cannot be rendered.\n")
		return
	}
	s.write(w, http.StatusOK, "runbook", struct {
		page

		Text template.HTML
	}{page{Title: "Runbook"}, template.HTML(out.String())}) //nolint:gosec // It is from our own repository.
}
