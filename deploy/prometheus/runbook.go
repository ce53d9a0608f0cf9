// Package runbook embeds the runbook, so that the exporter can serve it where the links
// of alerts point.
package runbook

import _ "embed" // For the runbook.

// Markdown is the runbook. Each alert has a section with its name.
//
//go:embed RUNBOOK.md
var Markdown []byte
