package dashboards_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"waitpoint_exporter/dashboards"
)

// These tests read the JSON, as Grafana does.

var (
	selector = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^{}]*)\}`)
	bare     = regexp.MustCompile(
		`\b(?:triggerdev_|waitpoint_exporter_|waitpoint:|process_|go_|ALERTS)[a-zA-Z0-9_:]*\b[^{a-zA-Z0-9_:]`,
	)
	classic = regexp.MustCompile(`([a-z_]+_seconds)_(?:bucket|count|sum)\{`)
	counts  = regexp.MustCompile(
		`triggerdev_waitpoint_(?:tagged_)?tokens(?:_late|_stuck|_overdue|_near|_without|\{[^}]*WAITING)`,
	)
	fieldOfRow = regexp.MustCompile(`__data\.fields\.([a-z_]+)`)
)

// read returns both dashboards by the names of their files.
func read(t *testing.T) map[string]*dashboards.Dashboard {
	t.Helper()
	out := map[string]*dashboards.Dashboard{}
	for _, name := range []string{"waitpoints.json", "waitpoint-exporter.json"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = &dashboards.Dashboard{}
		if err := json.Unmarshal(data, out[name]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return out
}

// each calls visit for all panels, those in rows too.
func each(t *testing.T, visit func(where string, b *dashboards.Dashboard, p *dashboards.Panel)) {
	t.Helper()
	for name, b := range read(t) {
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

// panels returns the panels with a title; if there is none, the test fails.
func panels(t *testing.T, board, title string) []*dashboards.Panel {
	t.Helper()
	all := slices.DeleteFunc(read(t)[board].Panels, func(p *dashboards.Panel) bool { return p.Title != title })
	if len(all) == 0 {
		t.Fatalf("%s has no panel %q", board, title)
	}
	return all
}

// A column is what the overrides say of one column of a table.
type column struct {
	name       string
	value      string // The query whose value it shows; a label's column has none.
	unit       string
	mapped     bool
	thresholds bool
	links      []dashboards.Link
}

// columns returns the columns of a table. Those without an override are left out.
func columns(t *testing.T, p *dashboards.Panel) []column {
	t.Helper()
	from := map[string]string{}
	for _, tr := range p.Transformations {
		renames, _ := tr.Options["renameByName"].(map[string]any)
		for was, is := range renames {
			name, _ := is.(string)
			from[name] = was
		}
	}
	var out []column
	for _, o := range p.FieldConfig.Overrides {
		name, _ := o.Matcher.Options.(string)
		c := column{name: name}
		if _, ref, ok := strings.Cut(from[name], "Value #"); ok {
			for _, q := range p.Targets {
				if q.RefID == ref {
					c.value = q.Expr
				}
			}
		} else if from[name] == "Value" {
			c.value = p.Targets[0].Expr
		}
		for _, property := range o.Properties {
			switch property.ID {
			case "unit":
				c.unit, _ = property.Value.(string)
			case "mappings":
				c.mapped = true
			case "thresholds":
				c.thresholds = true
			case "links":
				data, err := json.Marshal(property.Value)
				if err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(data, &c.links); err != nil {
					t.Fatal(err)
				}
			}
		}
		out = append(out, c)
	}
	return out
}

// TestQueries checks that each selector is bound to the exporter's job and instance,
// and what is of an environment to that, and that each query for a histogram asks
// for both kinds.
func TestQueries(t *testing.T) {
	each(t, func(where string, _ *dashboards.Dashboard, p *dashboards.Panel) {
		for _, q := range p.Targets {
			checkQuery(t, where, q.Expr)
			for _, m := range classic.FindAllStringSubmatch(q.Expr, -1) {
				if !strings.Contains(q.Expr, m[1]+"{") {
					t.Errorf("%s: no native %s in %s", where, m[1], q.Expr)
				}
			}
		}
	})
}

func checkQuery(t *testing.T, where, expr string) {
	t.Helper()
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		wanted := []string{`job=~"$job"`}
		if m[1] != "waitpoint:late:min1w" { // It is by environment.
			wanted = append(wanted, `instance=~"$instance`)
		}
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
}

// TestAnnotations checks that firing alerts draw at most one region for each severity,
// since one series draws one, and that they are off.
func TestAnnotations(t *testing.T) {
	oneSeries := regexp.MustCompile(`^max\(ALERTS\{[^{}]*severity="[a-z]+"[^{}]*\}\)$`)
	for name, b := range read(t) {
		for _, a := range b.Annotations.List {
			if a.BuiltIn == 1 {
				continue
			}
			if a.Enable {
				t.Errorf("%s: annotation %s is on", name, a.Name)
			}
			if a.Target == nil {
				t.Errorf("%s: annotation %s has no target, which Grafana asks for", name, a.Name)
				continue
			}
			if !oneSeries.MatchString(a.Target.Expr) {
				t.Errorf("%s: annotation %s may draw many regions: %s", name, a.Name, a.Target.Expr)
			}
			checkQuery(t, name+", annotation "+a.Name, a.Target.Expr)
		}
	}
}

// TestVariables checks that "All" jobs and instances are the exporters, and that each
// variable has a text and a value, which Grafana's schema asks for.
func TestVariables(t *testing.T) {
	for name, b := range read(t) {
		for _, v := range b.Templating.List {
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

// filters are what a link to the tokens behind a gauge has to ask for.
var filters = []struct{ metric, filter string }{
	{"_tokens_late", "late=1"},
	{"_tokens_stuck", "stuck="},
	{"_tokens_overdue", "overdue=1"},
	{"_tokens_near_timeout", "near_timeout="},
	{"_tokens_without_timeout", "no_timeout=1"},
	{"triggerdev_waitpoint_tagged_", "tag=$"},
}

// TestLinks checks that each link begins at an exporter and carries the filters by
// their raw values, as a column that shows something else than it has is not sent; and
// that each number of tokens leads to exactly these.
func TestLinks(t *testing.T) {
	each(t, func(where string, _ *dashboards.Dashboard, p *dashboards.Panel) {
		links, mapped := slices.Clone(p.FieldConfig.Defaults.Links), map[string]bool{}
		for _, c := range columns(t, p) {
			links = append(links, c.links...)
			mapped[c.name] = c.mapped
			checkTokens(t, where+", column "+c.name, c.value, c.links)
		}
		for _, l := range links {
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
		if p.Type == "stat" {
			checkTokens(t, where, p.Targets[0].Expr, p.FieldConfig.Defaults.Links)
		}
	})
}

// checkTokens checks that a number of WAITING tokens leads to these.
func checkTokens(t *testing.T, where, expr string, links []dashboards.Link) {
	t.Helper()
	if !counts.MatchString(expr) || strings.Contains(expr, "_up{") || strings.Contains(expr, " / ") {
		return
	}
	for _, f := range filters {
		if strings.Contains(expr, f.metric) &&
			!slices.ContainsFunc(links, func(l dashboards.Link) bool { return strings.Contains(l.URL, f.filter) }) {
			t.Errorf("%s: no link asks for %s", where, f.filter)
		}
	}
	if len(links) == 0 {
		t.Errorf("%s: a number of tokens leads nowhere", where)
	}
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
		if s := d.Thresholds.Steps; p.Type == "stat" && len(s) > 0 && s[0].Color == "green" && p.Title != "Alerts" {
			t.Errorf("%s is green without data", where)
		}
		if axis, _ := p.Options["yAxis"].(map[string]any); p.Type == "heatmap" &&
			(d.Unit != "locale" || axis["unit"] != "s") {
			t.Errorf("%s: a heatmap counts things, and its axis is time", where)
		}
		if p.Type == "table" && d.Unit != "string" {
			t.Errorf("%s: text is shown as %s", where, d.Unit)
		}
		for _, c := range columns(t, p) {
			if c.value == "" && c.unit != "" {
				t.Errorf("%s: column %s is text, but has the unit %s", where, c.name, c.unit)
			}
		}
		for _, q := range p.Targets {
			checkSeries(t, where, p.Type, q)
		}
		if legend, ok := p.Options["legend"].(map[string]any); ok && p.Type == "timeseries" {
			if calcs, _ := legend["calcs"].([]any); !slices.Contains(calcs, any("last")) {
				t.Errorf("%s: the last value that was there is not the last", where)
			}
			if legend["sortBy"] != "Last" || legend["sortDesc"] != true {
				t.Errorf("%s: the legend is not sorted by value", where)
			}
		}
	})
}

// checkSeries checks what a query's series are called, and in which order they stand.
func checkSeries(t *testing.T, where, kind string, q dashboards.Target) {
	t.Helper()
	// Between refreshes the next timeout passes.
	if strings.Contains(q.Expr, "next_timeout") && !strings.HasPrefix(q.Expr, "clamp_min(") {
		t.Errorf("%s: time to the next timeout goes below zero: %s", where, q.Expr)
	}
	// Where a legend is nothing but an empty label, Grafana says "Value".
	if q.LegendFormat == "{{tag}}" {
		t.Errorf("%s: the empty tag has no name", where)
	}
	// As text, 1d comes before 1h; more tokens have passed a shorter time.
	if kind == "stat" && strings.Contains(q.Expr, "by (after)") && !strings.HasPrefix(q.Expr, "sort_desc(") {
		t.Errorf("%s: thresholds stand in the order of letters: %s", where, q.Expr)
	}
}

// TestFirstScreen checks that what is wrong, whose it is and which token stand in
// the first 23 rows of the grid, and first on a narrow screen.
func TestFirstScreen(t *testing.T) {
	var got []string
	for _, p := range read(t)["waitpoints.json"].Panels {
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

// TestTables checks that tables say what is wrong and with what, the worst first, and
// that what one does not count as zero is not shown as zero.
func TestTables(t *testing.T) {
	for _, c := range []struct{ board, panel, sorted, columns string }{
		{
			"waitpoints.json", "Environments", "state",
			"state environment errors_in_15m age WAITING late stuck_1d overdue limit_left",
		},
		{"waitpoints.json", "By team and tag", "late", "team_or_tag WAITING late stuck_1d overdue in_5m oldest"},
		{"waitpoints.json", "Firing alerts", "severity", "severity alert environment tag since"},
		{"waitpoint-exporter.json", "Environments", "age", "environment refresh age history unresolved window"},
	} {
		p, got := panels(t, c.board, c.panel)[0], map[string]column{}
		for _, column := range columns(t, p) {
			got[strings.ReplaceAll(column.name, " ", "_")] = column
		}
		for name := range strings.FieldsSeq(c.columns) {
			if _, ok := got[name]; !ok {
				t.Errorf("%s, %s has no column %s", c.board, c.panel, name)
			}
		}
		sorted, _ := p.Options["sortBy"].([]any)
		if by, _ := json.Marshal(sorted); string(by) != `[{"desc":true,"displayName":"`+c.sorted+`"}]` {
			t.Errorf("%s, %s is not sorted by %s, the largest first, but %s", c.board, c.panel, c.sorted, by)
		}
		if window, ok := got["window"]; ok && !window.mapped {
			t.Errorf("%s, %s: a window of all is shown as 0 s", c.board, c.panel)
		}
	}
	failed := panels(t, "waitpoint-exporter.json", "Failed refreshes")[0]
	for _, label := range []string{"reason", "environment"} {
		if q := failed.Targets[0]; !strings.Contains(q.LegendFormat, "{{"+label+"}}") {
			t.Errorf("Failed refreshes do not say which %s: %s", label, q.LegendFormat)
		}
	}
	if steps := failed.FieldConfig.Defaults.Thresholds.Steps; steps[len(steps)-1].Color != "red" {
		t.Errorf("Failed refreshes are %s", steps[len(steps)-1].Color)
	}
}

// TestPlaces checks that panels neither overlap nor stick out.
func TestPlaces(t *testing.T) {
	for name, b := range read(t) {
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

// TestThresholds checks that a number turns colour where its alert fires, if nothing else
// keeps the alert silent.
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
		for _, p := range panels(t, c.board, c.panel) {
			steps, want := p.FieldConfig.Defaults.Thresholds.Steps, c.compares
			if strings.Contains(want, "%") {
				want = fmt.Sprintf(want, *steps[len(steps)-1].Value)
			}
			if !strings.Contains(exprs[c.alert], want) {
				t.Errorf("%s, panel %s: %s does not ask for %q but is %s", c.board, c.panel, c.alert, want, exprs[c.alert])
			}
		}
	}
}
