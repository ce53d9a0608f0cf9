package web

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strings"
)

// writeCSV writes all tokens of a listing as in RFC 4180. Tags are a JSON array,
// since they may contain any character; times are as in the JSON.
func writeCSV(w http.ResponseWriter, l *listing) {
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
	h.Set("Content-Disposition", `attachment; filename="waiting-tokens.csv"`)
	h.Set("X-Content-Type-Options", "nosniff")
	out := csv.NewWriter(w)
	out.UseCRLF = true
	_ = out.Write([]string{ // Writes to a client that has gone fail again below.
		"environment", "project", "id", "tags", "created_at", "timeout_at", "late_at", "listed_at", "dashboard_url",
	}) // Add new columns at the end.
	for _, e := range l.entries {
		row := []string{
			e.from.Name, e.from.Project, textForPage(e.ID), tagsCSV(e.Tags),
			stamp(e.CreatedAt).String(), stamp(e.TimeoutAt).String(),
			"", stamp(e.from.At).String(), e.Dashboard(),
		}
		if e.ExpectedWait > 0 {
			row[6] = stamp(e.CreatedAt.Add(e.ExpectedWait)).String()
		}
		for i := range row {
			row[i] = plain(row[i])
		}
		if out.Write(row) != nil {
			return
		}
	}
	out.Flush()
}

func tagsCSV(tags []string) string {
	b, _ := json.Marshal(append([]string{}, tags...)) // Never null; a list of strings always marshals.
	return string(escapeForTerminal(b))
}

// plain returns a cell that no spreadsheet runs as a formula: it puts an apostrophe,
// the sign for text, before a character that begins a formula.
func plain(cell string) string {
	if strings.IndexAny(cell, "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20") == 0 {
		return "'" + cell
	}
	return cell
}
