package dashboards

import (
	"fmt"
	"strings"
)

// Describe returns the dashboards panel by panel, as Markdown: what each answers,
// what it asks and where its numbers lead.
func Describe(boards ...*Dashboard) string {
	var out strings.Builder
	out.WriteString(
		"# Dashboards\n\nMade by `go generate ./dashboards`, with the JSON that Grafana imports. `$job` and `$instance` stand for the exporters' own," +
			" and every query is bound to them and to the chosen project and environment, which are left out below.\n",
	)
	short := strings.NewReplacer(
		", "+scope,
		"",
		scope+", ",
		"",
		"{"+scope+"}",
		"",
		scope,
		"",
		"{"+target+"}",
		"",
		"{"+alerting+"}",
		"",
		alerting+", ",
		"",
		"|",
		"\\|",
	)
	for _, b := range boards {
		fmt.Fprintf(
			&out,
			"\n## %s\n\n%s\n\n| panel | answers | asks | leads to |\n|---|---|---|---|\n",
			b.Title,
			b.Description,
		)
		for _, p := range b.Panels {
			all := []*Panel{p}
			if p.Panels != nil {
				all = append(all, *p.Panels...)
			}
			for _, p := range all {
				if p.Type == "row" {
					fmt.Fprintf(&out, "| *%s* | | | |\n", p.Title)
					continue
				}
				var asks, links []string
				for _, q := range p.Targets {
					asks = append(asks, "`"+short.Replace(q.Expr)+"`")
				}
				add := func(more []Link) {
					for _, l := range more {
						_, query, _ := strings.Cut(l.URL, "raw}")
						links = append(
							links,
							l.Title+": `"+strings.ReplaceAll(
								strings.ReplaceAll(query, ":percentencode", ""),
								"|",
								"\\|",
							)+"`",
						)
					}
				}
				add(p.FieldConfig.Defaults.Links)
				for _, o := range p.FieldConfig.Overrides {
					for _, property := range o.Properties {
						if more, ok := property.Value.([]Link); ok {
							add(more)
						}
					}
				}
				fmt.Fprintf(
					&out,
					"| %s | %s | %s | %s |\n",
					p.Title,
					p.Description,
					strings.Join(asks, "<br>"),
					strings.Join(links, "<br>"),
				)
			}
		}
	}
	return out.String()
}
