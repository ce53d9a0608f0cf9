package dashboards

import (
	"fmt"
	"slices"
	"strings"
)

// Describe returns the dashboards panel by panel, as Markdown: what each answers,
// what it asks and where its numbers link to.
func Describe(boards ...*Dashboard) string {
	var out strings.Builder
	out.WriteString("# Dashboards\n\nMade by `go generate ./dashboards`, with the JSON that Grafana imports. " +
		"`$job` and `$instance` stand for the exporters' own, and every query is bound to them and to the chosen " +
		"project and environment, which are left out below.\n")
	for _, b := range boards {
		fmt.Fprintf(&out, "\n## %s\n\n%s\n\n| panel | answers | asks | leads to |\n|---|---|---|---|\n",
			b.Title, b.Description)
		for _, p := range b.Panels {
			out.WriteString(describe(p))
			if p.Panels != nil {
				for _, inner := range *p.Panels {
					out.WriteString(describe(inner))
				}
			}
		}
	}
	return out.String()
}

// describe returns the table's row for a panel, or for the head of a row of panels.
func describe(p *Panel) string {
	if p.Type == "row" {
		return fmt.Sprintf("| *%s* | | | |\n", p.Title)
	}
	// What every query has is left out.
	short := strings.NewReplacer(", "+scope, "", scope+", ", "", "{"+scope+"}", "", scope, "", "{"+target+"}", "",
		"{"+alerting+"}", "", alerting+", ", "", "|", `\|`)
	var asks, links []string
	for _, q := range p.Targets {
		asks = append(asks, "`"+short.Replace(q.Expr)+"`")
	}
	linked := slices.Clone(p.FieldConfig.Defaults.Links)
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			ofColumn, _ := property.Value.([]Link)
			linked = append(linked, ofColumn...)
		}
	}
	for _, l := range linked {
		_, query, _ := strings.Cut(l.URL, "raw}")
		query = strings.NewReplacer(":percentencode", "", "|", `\|`).Replace(query)
		links = append(links, l.Title+": `"+query+"`")
	}
	return fmt.Sprintf("| %s | %s | %s | %s |\n",
		p.Title, p.Description, strings.Join(asks, "<br>"), strings.Join(links, "<br>"))
}
