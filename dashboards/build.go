package dashboards

import (
	"cmp"
	"fmt"
	"strings"
)

const (
	// Matchers of all queries. "All" means the exporters' jobs and instances, and any
	// project and environment, even none.
	target = `job=~"$job", instance=~"$instance"`
	scope  = target + `, project=~"$project", environment=~"$environment"`
	// Of what is recorded by environment, which has no instance.
	recorded = `job=~"$job", project=~"$project", environment=~"$environment"`
	// An alert may be about an exporter that is down, without instance.
	alerting = `alertname=~"Waitpoint.+", job=~"$job", instance=~"$instance|"` +
		`, project=~"$project", environment=~"$environment"`

	grafana = "13.2.3"
	neutral = "#808080"
)

// sel returns a selector within the scope; more are further matchers.
func sel(metric string, more ...string) string {
	return metric + "{" + strings.Join(append([]string{scope}, more...), ", ") + "}"
}

// metric selects one of the metrics about tokens and refreshes, tagged one of those by tag.
func metric(name string, more ...string) string { return sel("triggerdev_waitpoint_"+name, more...) }

func tagged(name string, more ...string) string {
	return metric("tagged_"+name, append(more, tagScope)...)
}

// firing selects the firing alerts; more are further matchers.
func firing(more ...string) string {
	return "ALERTS{" + strings.Join(append([]string{alerting, `alertstate="firing"`}, more...), ", ") + "}"
}

func rate(selector string) string     { return "rate(" + selector + "[" + windowRate + "])" }
func increase(selector string) string { return "increase(" + selector + "[" + windowRate + "])" }

// each returns one series for each environment, even if several exporters have it: the
// largest one, or with least the smallest one.
func each(expr string, labels ...string) string { return "max" + byEnvironment(expr, labels...) }

func least(expr string, labels ...string) string { return "min" + byEnvironment(expr, labels...) }

func byEnvironment(expr string, labels ...string) string {
	return " by (" + strings.Join(append([]string{"project", "environment"}, labels...), ", ") + ") (" + expr + ")"
}

// total is the sum over all environments.
func total(expr string) string { return "sum(" + each(expr) + ")" }

// finished returns the increase or rate of finished tokens by a label, from native or
// classic histograms.
func finished(function, waits, window, by string, more ...string) string {
	return fmt.Sprintf("(%s or %s)",
		each(function+"("+sel(waits+"_count", more...)+"["+window+"])", by),
		each("histogram_count("+function+"("+sel(waits, more...)+"["+window+"]))", by))
}

// quantile returns a quantile of a native or classic histogram.
func quantile(q, metric, window string, more ...string) string {
	return fmt.Sprintf("histogram_quantile(%[1]s, sum by (le) (rate(%[2]s[%[4]s]))) or "+
		"histogram_quantile(%[1]s, sum(rate(%[3]s[%[4]s])))",
		q, sel(metric+"_bucket", more...), sel(metric, more...), window)
}

// mean returns the mean of a native or classic histogram; sum may have labels.
func mean(sum, metric, window string, more ...string) string {
	return fmt.Sprintf("%[1]s(rate(%[2]s[%[5]s])) / %[1]s(rate(%[3]s[%[5]s])) or "+
		"histogram_sum(%[1]s(rate(%[4]s[%[5]s]))) / histogram_count(%[1]s(rate(%[4]s[%[5]s])))",
		sum, sel(metric+"_sum", more...), sel(metric+"_count", more...), sel(metric, more...), window)
}

// steps are colours from values on; the first colour is for no value.
func steps(none string, others ...Step) Thresholds {
	return Thresholds{"absolute", append([]Step{{Color: none}}, others...)}
}

func from(value float64, color string) Step { return Step{color, &value} }

// orangeFrom is green below a value and orange from it on.
func orangeFrom(value float64) Thresholds {
	return steps(neutral, from(0, "green"), from(value, "orange"))
}

// A board places panels from top left to bottom right, the order in which a narrow
// screen shows them.
type board struct {
	panels     []*Panel
	row        *Panel // The collapsed row that takes further panels.
	id, x, y   int
	lineHeight int
}

func (b *board) place(w, h int) GridPos {
	if b.x+w > 24 {
		b.x, b.y, b.lineHeight = 0, b.y+b.lineHeight, 0
	}
	at := GridPos{H: h, W: w, X: b.x, Y: b.y}
	b.x, b.lineHeight = b.x+w, max(b.lineHeight, h)
	return at
}

// begin starts a row. A row that repeats for a variable is collapsed: it contains its
// panels, which Grafana queries when the row is opened.
func (b *board) begin(title, repeat string) {
	b.x, b.y, b.lineHeight = 0, b.y+b.lineHeight, 0
	b.id++
	row := &Panel{
		ID: b.id, Type: "row", Title: title, GridPos: b.place(24, 1), Collapsed: new(repeat != ""),
		Panels: &[]*Panel{}, Repeat: repeat,
	}
	b.panels, b.row = append(b.panels, row), nil
	if repeat != "" {
		b.row = row
	}
}

func (b *board) add(w, h int, p *Panel) {
	b.id++
	p.ID, p.GridPos = b.id, b.place(w, h)
	if b.row != nil {
		*b.row.Panels = append(*b.row.Panels, p)
	} else {
		b.panels = append(b.panels, p)
	}
}

// A query is an expression and the name of its series.
type query struct{ expr, legend string }

// A spec says what a panel shows.
type spec struct {
	title, about string
	unit         string
	none         string // What is shown without data.
	thresholds   Thresholds
	mappings     []any
	links        []Link
}

// panel returns a panel of a type. Its queries are for one moment, or for the time range.
func (s spec) panel(kind, format string, moment bool, options map[string]any, queries ...query) *Panel {
	f := Field{
		Color: map[string]any{"mode": "thresholds"}, Unit: s.unit, NoValue: cmp.Or(s.none, "no data"),
		Mappings: []any{}, Thresholds: s.thresholds, Links: s.links,
	}
	if s.mappings != nil {
		f.Mappings = s.mappings
	}
	if s.thresholds.Steps == nil {
		f.Thresholds = steps("blue")
	}
	if s.unit == "locale" || s.unit == "none" {
		f.Decimals = new(0)
	}
	p := &Panel{
		Type: kind, Title: s.title, Description: s.about, Datasource: prometheus(), PluginVersion: grafana,
		FieldConfig: &FieldConfig{f, []Override{}}, Options: options,
	}
	for i, q := range queries {
		p.Targets = append(p.Targets, Target{
			RefID: letter(i), Datasource: prometheus(), EditorMode: "code", Expr: q.expr, LegendFormat: q.legend,
			Format: format, Instant: moment, Range: !moment,
		})
	}
	return p
}

// letter is Grafana's name for a query.
func letter(i int) string { return string(rune('A' + i)) }

// stat adds a panel of current numbers.
func (b *board) stat(w, h int, s spec, queries ...query) {
	b.add(w, h, s.panel("stat", "time_series", true, map[string]any{
		"colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
		"textMode": "auto", "wideLayout": true,
		"percentChangeColorMode": "standard", "showPercentChange": false,
		"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
	}, queries...))
}

// curves adds a panel of values over time. Legends are sorted by the last value; a
// series that has ended has none.
func (b *board) curves(w, h int, s spec, queries ...query) {
	p := s.panel("timeseries", "time_series", false, map[string]any{
		"legend": map[string]any{
			"calcs": []string{"last", "max"}, "displayMode": "table", "placement": "bottom", "showLegend": true,
			"sortBy": "Last", "sortDesc": true,
		},
		"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
	}, queries...)
	style := "off"
	if len(s.thresholds.Steps) > 1 {
		style = "dashed"
	}
	f := &p.FieldConfig.Defaults
	f.Color, f.Min, f.Decimals = map[string]any{"mode": "palette-classic"}, new(0.0), nil
	f.Custom = map[string]any{
		"drawStyle": "line", "fillOpacity": 10, "lineWidth": 1, "showPoints": "never", "spanNulls": false,
		"stacking": map[string]any{"group": "A", "mode": "none"}, "thresholdsStyle": map[string]any{"mode": style},
	}
	b.add(w, h, p)
}

// heatmap adds a panel of a native or classic histogram of seconds.
func (b *board) heatmap(w, h int, s spec, metric string) {
	classic := "sum by (le) (" + increase(sel(metric+"_bucket")) + ")"
	p := s.panel("heatmap", "heatmap", false, map[string]any{
		"calculate": false, "cellGap": 1,
		"cellValues": map[string]any{"unit": "locale", "decimals": 0},
		"color": map[string]any{
			"exponent": 0.5, "fill": "dark-orange", "mode": "scheme", "reverse": false, "scale": "exponential",
			"scheme": "Oranges", "steps": 64,
		},
		"exemplars":    map[string]any{"color": "rgba(255,0,255,0.7)"},
		"filterValues": map[string]any{"le": 1e-9},
		"legend":       map[string]any{"show": true}, "rowsFrame": map[string]any{"layout": "auto"},
		"tooltip":   map[string]any{"mode": "single", "showColorScale": true, "yHistogram": true},
		"showValue": "never",
		"yAxis":     map[string]any{"axisPlacement": "left", "reverse": false, "unit": "s"},
	}, query{classic + " or (sum(" + increase(sel(metric)) + ") unless on () " + classic + ")", "{{le}}"})
	p.FieldConfig.Defaults.Custom = map[string]any{
		"hideFrom":          map[string]any{"legend": false, "tooltip": false, "viz": false},
		"scaleDistribution": map[string]any{"type": "linear"},
	}
	p.Targets[0].Exemplar = true
	b.add(w, h, p)
}

// A column of a table: the value of a query or, without one, a label.
type column struct {
	name       string
	label      string // The label it shows, if it is not named like the column.
	expr       string
	unit       string
	thresholds Thresholds
	mappings   []any
	links      []Link
	hidden     bool
	width      int
}

// properties returns what differs from the table's defaults.
func (c column) properties() []Property {
	var out []Property
	set := func(id string, value any) { out = append(out, Property{ID: id, Value: value}) }
	if c.unit != "" {
		set("unit", c.unit)
	}
	colored := map[string]any{"type": "color-text"}
	if c.thresholds.Steps != nil {
		set("thresholds", c.thresholds)
		set("custom.cellOptions", colored)
	}
	if c.mappings != nil {
		set("mappings", c.mappings)
		set("custom.cellOptions", colored)
	}
	if c.links != nil {
		set("links", c.links)
	}
	if c.width > 0 {
		set("custom.width", c.width)
	}
	if c.hidden {
		set("custom.hidden", true)
		set("custom.hideFrom", map[string]any{"viz": true, "legend": false, "tooltip": false})
	}
	switch {
	case c.expr == "":
		set("noValue", "") // Otherwise the table's text for no value would be in links.
	case c.unit == "":
		set("unit", "locale")
		set("decimals", 0)
	}
	return out
}

// table adds a table with a row for each set of labels, the columns in the given order
// and the rows sorted by sortBy, the largest first. At least two columns have a query:
// the value of a single one would have no letter.
func (b *board) table(w, h int, s spec, sortBy string, columns ...column) {
	index, rename := map[string]int{}, map[string]string{}
	var queries []query
	var overrides []Override
	for i, c := range columns {
		from := cmp.Or(c.label, c.name)
		if c.expr != "" {
			from = "Value #" + letter(len(queries))
			queries = append(queries, query{c.expr, ""})
		}
		index[from] = i
		if from != c.name {
			rename[from] = c.name
		}
		overrides = append(overrides, Override{Property{ID: "byName", Options: c.name}, c.properties()})
	}
	s.unit, s.none = "string", cmp.Or(s.none, "–")
	p := s.panel("table", "table", true, map[string]any{
		"cellHeight": "sm", "showHeader": true, "frameIndex": 0,
		"sortBy": []any{map[string]any{"displayName": sortBy, "desc": true}},
	}, queries...)
	p.FieldConfig.Overrides = overrides
	p.FieldConfig.Defaults.Custom = map[string]any{
		"align": "auto", "cellOptions": map[string]any{"type": "auto"}, "filterable": false, "inspect": false,
	}
	p.Transformations = []Transform{{"merge", map[string]any{}}, {"organize", map[string]any{
		"excludeByName": map[string]bool{"Time": true, "__name__": true}, "includeByName": map[string]bool{},
		"indexByName": index, "renameByName": rename,
	}}}
	b.add(w, h, p)
}

// tokens returns a link to the tokens of an environment and its project, which are in the
// variables with these names after the prefix.
func tokens(title, page, prefix, filter string) []Link {
	return []Link{{title, page + "environment=${" + prefix + "environment:percentencode}" +
		"&project=${" + prefix + "project:percentencode}" + filter, true}}
}

// With form= the page ignores empty filters.
const formPage = "${exporter:raw}/tokens?form=&"

// all returns a link from a sum to the tokens of all environments, or of the selected one.
func all(title, filter string) []Link { return tokens(title, formPage, "one_", filter) }

// series returns a link from one environment's curve to its tokens.
func series(title, filter string) []Link {
	return tokens(title, "${exporter:raw}/tokens?", "__field.labels.", filter)
}

// cell returns a link from a table's row to its tokens, at the row's own exporter.
func cell(title, filter string) []Link {
	return tokens(title, "${__data.fields.external_url:raw}/tokens?", "__data.fields.", filter)
}

// at adds the exporter's external URL to a series, as a label.
func at(expr string) string {
	return "(" + expr + ") * on (job, instance) group_left (external_url) waitpoint_exporter_web_info{" + target + "}"
}

// asked is a variable that asks Prometheus for its values: type 1 for those of a label,
// type 3 for the result of a query.
func asked(name, label, description string, kind int, text string) *Variable {
	return &Variable{
		Name: name, Label: label, Description: description, Type: "query", Datasource: prometheus(),
		Query: map[string]any{
			"qryType": kind, "query": text, "refId": "PrometheusVariableQueryEditor-VariableQuery",
		},
		Definition: text, Refresh: 2, Current: map[string]any{"text": "", "value": ""}, Options: []any{},
	}
}

// labelOf is a variable with one value of a label.
func labelOf(selector, name, label, title, description string) *Variable {
	v := asked(name, title, description, 1, "label_values("+selector+", "+label+")")
	v.Sort = 1
	return v
}

// chosen is a variable with any values of the label of its name.
func chosen(selector, name, title, description, allValue string) *Variable {
	v := labelOf(selector, name, name, title, description)
	v.Multi, v.IncludeAll, v.AllValue = true, true, allValue
	v.Current = map[string]any{"selected": true, "text": []string{"All"}, "value": []string{"$__all"}}
	return v
}

// one returns a hidden variable: the label's value if only one is selected, or nothing.
func one(label string) *Variable {
	have := "group by (" + label + ") (" + metric("up", label+`!=""`) + ")"
	v := asked("one_"+label, "", "For links.", 3, "query_result("+have+" and on () (count("+have+") == 1))")
	v.Regex, v.Hide, v.SkipURLSync = `/`+label+`="([^"]*)"/`, 2, true
	return v
}

// dashboard returns a dashboard of the panels, with what both dashboards have. Further
// variables follow the environment's.
func (b *board) dashboard(uid, title, description string, other BoardLink, further ...*Variable) *Dashboard {
	const build, up = "waitpoint_exporter_build_info", "triggerdev_waitpoint_up"
	variables := []*Variable{
		{
			Name: "datasource", Label: "Data source", Description: "The Prometheus that scrapes the exporter.",
			Type: "datasource", Query: "prometheus",
			Refresh: 1, Current: map[string]any{"text": "", "value": ""}, Options: []any{},
		},
		chosen(build, "job", "Job", "", ""),
		chosen(build+`{job=~"$job"}`, "instance", "Exporter", "", ""),
		chosen(up+"{"+target+"}", "project", "Project", "Only exporters with a configured project have any.", ".*"),
		chosen(up+"{"+target+`, project=~"$project"}`, "environment", "Environment", "", ".*"),
	}
	variables = append(append(variables, further...),
		labelOf("waitpoint_exporter_web_info{"+target+"}", "exporter", "external_url", "Links lead to",
			"Where users reach the exporter, its --web.external-url."),
		one("environment"), one("project"))
	annotations := []*Annotation{{
		Name: "Annotations & Alerts", Datasource: Source{"grafana", "-- Grafana --"}, Enable: true, Hide: true,
		IconColor: "rgba(0, 211, 255, 1)", Type: "dashboard", BuiltIn: 1,
	}}
	for _, a := range []struct{ severity, color string }{{"critical", "red"}, {"warning", "orange"}} {
		annotations = append(annotations, &Annotation{
			Name: "Alerts, " + a.severity, Datasource: *prometheus(), IconColor: a.color,
			Target: &AnnotationTarget{
				RefID: "Anno", LegendFormat: a.severity, Interval: "60s", Range: true,
				Expr: "max(" + firing(`severity="`+a.severity+`"`) + ")",
			},
		})
	}
	other.Type, other.Icon, other.Tags, other.IncludeVars, other.KeepTime = "link", "dashboard", []string{}, true, true
	return &Dashboard{
		UID: uid, Title: title, Description: description, Tags: []string{"trigger.dev", "waitpoint"},
		SchemaVersion: 42, Editable: true,
		GraphTooltip: 1, Refresh: "1m", Time: map[string]string{"from": "now-6h", "to": "now"}, Timezone: "browser",
		Links: []BoardLink{other, {
			Title: "WAITING tokens", Type: "link", Icon: "external link", URL: all("", "")[0].URL, Tags: []string{},
			TargetBlank: true,
		}},
		Annotations: List[Annotation]{annotations}, Templating: List[Variable]{variables}, Panels: b.panels,
	}
}
