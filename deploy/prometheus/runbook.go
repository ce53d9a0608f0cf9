// Package runbook holds what to do about an alert, so that the exporter serves
// it where the alert's link leads.
package runbook

import _ "embed" // For the runbook.

// Markdown is the runbook; each alert has a section of its name.
//
//go:embed RUNBOOK.md
var Markdown []byte
