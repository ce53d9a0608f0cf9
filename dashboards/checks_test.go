package dashboards_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"waitpoint_exporter/dashboards"
)

var (
	selector = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^{}]*)\}`)
	bare     = regexp.MustCompile(
		`\b(?:triggerdev_|waitpoint_exporter_|waitpoint:|process_|go_|ALERTS)[a-zA-Z0-9_:]*\b[^{a-zA-Z0-9_:]`,
	)
	classic    = regexp.MustCompile(`([a-z_]+_seconds)_(?:bucket|count|sum)\{`)
	fieldOfRow = regexp.MustCompile(`__data\.fields\.([a-z_]+)`)
)

// each calls visit for all panels, those in rows too.
func each(t *testing.T, visit func(where string, b *dashboards.Dashboard, p *dashboards.Panel)) {
	t.Helper()
	for name, b := range boards() {
		for _, p := range b.Panels {
			all := []*dashboards.Panel{p}
			if p.Panels != nil {
				all = append(all, *p.Panels...)
			}
			for _, p := range all {
				if p.Type != "row" {
					visit(fmt.Sprintf("%s, panel %q", name, p.Title), b, p)
				}
			}
		}
	}
}

// TestQueries checks that each selector is bound to the exporter's job and instance,
// and what is of an environment to that, and that each query for a histogram asks
// for both kinds.
func TestQueries(t *testing.T) {
	check := func(where, expr string) {
		for _, m := range selector.FindAllStringSubmatch(expr, -1) {
			wanted := []string{`job=~"$job"`, `instance=~"$instance`}
			if !regexp.MustCompile(`^(?:up|scrape_|waitpoint_exporter_|process_|go_)`).MatchString(m[1]) {
				wanted = append(wanted, `project=~"$project"`, `environment=~"$environment"`)
			}
			for _, w := range wanted {
				if !strings.Contains(m[2], w) {
					t.Errorf("%s: %s lacks %s in %s", where, m[1], w, expr)
				}
			}
		}
		if m := bare.FindString(expr + " "); m != "" {
			t.Errorf("%s: %s has no selector in %s", where, m, expr)
		}
		for _, m := range classic.FindAllStringSubmatch(expr, -1) {
			if !strings.Contains(expr, m[1]+"{") {
				t.Errorf("%s: no native %s in %s", where, m[1], expr)
			}
		}
	}
	each(t, func(where string, _ *dashboards.Dashboard, p *dashboards.Panel) {
		for _, q := range p.Targets {
			check(where, q.Expr)
		}
	})
	for name, b := range boards() {
		for _, a := range b.Annotations.List {
			a, _ := a.(*dashboards.Annotation)
			target, _ := a.Target.(map[string]any)
			if target == nil {
				continue
			}
			expr, _ := target["expr"].(string)
			check(name+", annotation "+a.Name, expr)
			// One series draws one region.
			if a.Enable || !regexp.MustCompile(`^max\(ALERTS\{[^{}]*\}\)$`).MatchString(expr) {
				t.Errorf("%s: annotation %s is on, or may draw many regions: %s", name, a.Name, expr)
			}
		}
		for _, v := range b.Templating.List {
			v, _ := v.(*dashboards.Variable)
			if bound := v.Name == "job" || v.Name == "instance"; bound &&
				(v.AllValue != "" || !strings.HasPrefix(v.Definition, "label_values(waitpoint_exporter_build_info")) {
				t.Errorf("%s: All of variable %s is not the exporters alone", name, v.Name)
			}
			if v.Current["text"] == nil || v.Current["value"] == nil {
				t.Errorf("%s: variable %s has no text and value", name, v.Name)
			}
		}
	}
}

// TestLinks checks that each link begins at an exporter and carries the filters by
// their raw values: a column that shows something else than it has is not sent.
func TestLinks(t *testing.T) {
	each(t, func(where string, _ *dashboards.Dashboard, p *dashboards.Panel) {
		links, mapped, hasLink := slices.Clone(p.FieldConfig.Defaults.Links), map[string]bool{}, false
		for _, o := range p.FieldConfig.Overrides {
			column, _ := o.Matcher.Options.(string)
			for _, property := range o.Properties {
				switch property.ID {
				case "links":
					more, _ := property.Value.([]dashboards.Link)
					links = append(links, more...)
				case "mappings":
					mapped[column] = true
				}
			}
		}
		for _, l := range links {
			hasLink = true
			if !strings.HasPrefix(l.URL, "${exporter:raw}/") &&
				!strings.HasPrefix(l.URL, "${__data.fields.external_url:raw}/") {
				t.Errorf("%s: the link %s does not begin at an exporter", where, l.URL)
			}
			if strings.Contains(l.URL, "/runbook") {
				continue
			}
			for _, filter := range []string{"environment=${", "&project=${"} {
				if !strings.Contains(l.URL, filter) {
					t.Errorf("%s: the link %s lacks %s", where, l.URL, filter)
				}
			}
			for _, m := range fieldOfRow.FindAllStringSubmatch(l.URL, -1) {
				if mapped[m[1]] {
					t.Errorf("%s: the link %s sends the text of column %s", where, l.URL, m[1])
				}
			}
		}
		if p.Type == "stat" && strings.Contains(p.Targets[0].Expr, "triggerdev_waitpoint_tokens_") &&
			strings.Contains(p.Title, "Overdue") &&
			!hasLink {
			t.Errorf("%s: a number of tokens leads nowhere", where)
		}
	})
}

// TestShown holds what a reader sees: words where there is no data, a unit that
// suits, thresholds, and fields that the present schema has.
func TestShown(t *testing.T) {
	each(t, func(where string, b *dashboards.Dashboard, p *dashboards.Panel) {
		d := p.FieldConfig.Defaults
		if p.Description == "" || d.NoValue == "" || d.Unit == "" || d.Unit == "short" ||
			len(d.Thresholds.Steps) == 0 ||
			p.PluginVersion == "" ||
			b.SchemaVersion != 42 {
			t.Errorf("%s lacks a description, noValue, a unit that counts whole things, thresholds or a version", where)
		}
		if p.Options["footer"] != nil {
			t.Errorf("%s: tables have no footer any more", where)
		}
		// What cannot be seen is not green.
		if first := d.Thresholds.Steps[0].Color; p.Type == "stat" && first == "green" && p.Title != "Alerts" {
			t.Errorf("%s is green without data", where)
		}
		if p.Type == "heatmap" && (d.Unit != "locale" || p.Options["yAxis"].(map[string]any)["unit"] != "s") {
			t.Errorf("%s: a heatmap counts things, and its axis is time", where)
		}
		if legend, ok := p.Options["legend"].(map[string]any); ok && p.Type == "timeseries" &&
			!slices.Contains(legend["calcs"].([]string), "last") {
			t.Errorf("%s: the last value that was there is not the last", where)
		}
	})
}

// TestFirstScreen checks that what is wrong, whose it is and which token stand in
// the first 23 rows of the grid, and first on a narrow screen.
func TestFirstScreen(t *testing.T) {
	var got []string
	for _, p := range dashboards.Waitpoints().Panels {
		if p.GridPos.Y+p.GridPos.H <= 23 {
			got = append(got, p.Title)
		}
	}
	want := []string{
		"Not visible",
		"Alerts",
		"Late",
		"Overdue",
		"WAITING",
		"Oldest",
		"Environments",
		"By team and tag",
		"Firing alerts",
	}
	if !slices.Equal(got[:min(len(got), len(want))], want) {
		t.Errorf("the first screen has %q, want %q", got, want)
	}
}

// TestPlaces checks that panels neither overlap nor stick out.
func TestPlaces(t *testing.T) {
	for name, b := range boards() {
		taken := map[[2]int]string{}
		for _, p := range b.Panels {
			if p.GridPos.X+p.GridPos.W > 24 {
				t.Errorf("%s: %s sticks out", name, p.Title)
			}
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					if taken[at] != "" {
						t.Fatalf("%s: %s overlaps %s", name, p.Title, taken[at])
					}
					taken[at] = p.Title
				}
			}
		}
	}
}

// TestThresholds checks that a number turns colour where its alert fires.
func TestThresholds(t *testing.T) {
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	content, err := os.ReadFile("../deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	exprs := map[string]string{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			exprs[r.Alert] = r.Expr
		}
	}
	for _, c := range []struct{ board, panel, alert, compares string }{
		{"waitpoints.json", "Late", "WaitpointTokensLate", ">= %g\n"},
		{"waitpoints.json", "Timeouts coming up", "WaitpointTokensNearTimeout", ">= %g\n"},
		{"waitpoints.json", "Overdue", "WaitpointTokensOverdue", "> 0\n"},
		{"waitpoint-exporter.json", "Rate limit left", "WaitpointRateLimitNearlyUsedUp", "< %g\n"},
	} {
		found := false
		for _, p := range boards()[c.board].Panels {
			if p.Title != c.panel {
				continue
			}
			found = true
			steps := p.FieldConfig.Defaults.Thresholds.Steps
			want := c.compares
			if strings.Contains(want, "%") {
				want = fmt.Sprintf(want, *steps[len(steps)-1].Value)
			}
			if !strings.HasSuffix(exprs[c.alert], want) {
				t.Errorf(
					"%s, panel %s: %s does not end in %q but is %s",
					c.board,
					c.panel,
					c.alert,
					want,
					exprs[c.alert],
				)
			}
		}
		if !found {
			t.Errorf("%s has no panel %s", c.board, c.panel)
		}
	}
}
