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

// each returns one series for each environment, even if several exporters have it.
func each(expr string, labels ...string) string {
	return "max by (" + strings.Join(append([]string{"project", "environment"}, labels...), ", ") + ") (" + expr + ")"
}

// finished returns the increase or rate of finished tokens, from native or classic
// histograms.
func finished(function, window string, more ...string) string {
	return fmt.Sprintf("(%s or %s)",
		each(function+"("+sel(waits+"_count", more...)+"["+window+"])", "status"),
		each("histogram_count("+function+"("+sel(waits, more...)+"["+window+"]))", "status"))
}

// quantile returns a quantile of a native or classic histogram.
func quantile(q, metric, window string, more ...string) string {
	return fmt.Sprintf(
		"histogram_quantile(%s, sum by (le) (rate(%s[%s]))) or histogram_quantile(%[1]s, sum(rate(%[4]s[%[3]s])))",
		q,
		sel(metric+"_bucket", more...),
		window,
		sel(metric, more...),
	)
}

// buckets returns the query of a heatmap, for a native or classic histogram.
func buckets(metric, window string, more ...string) string {
	classic := "sum by (le) (increase(" + sel(metric+"_bucket", more...) + "[" + window + "]))"
	return classic + " or (sum(increase(" + sel(metric, more...) + "[" + window + "])) unless on () " + classic + ")"
}

// mean returns the mean of a native or classic histogram.
func mean(metric, window string) string {
	return fmt.Sprintf(
		"sum(rate(%s[%s])) / sum(rate(%s[%[2]s])) or histogram_sum(sum(rate(%[4]s[%[2]s]))) / "+
			"histogram_count(sum(rate(%[4]s[%[2]s])))",
		sel(metric+"_sum"),
		window,
		sel(metric+"_count"),
		sel(metric),
	)
}

// steps are colours from values on; the first colour is for no value.
func steps(none string, pairs ...any) Thresholds {
	t := Thresholds{Mode: "absolute", Steps: []Step{{Color: none}}}
	for i := 0; i+1 < len(pairs); i += 2 {
		color, _ := pairs[i+1].(string)
		switch from := pairs[i].(type) {
		case int:
			t.Steps = append(t.Steps, Step{color, new(float64(from))})
		case float64:
			t.Steps = append(t.Steps, Step{color, &from})
		}
	}
	return t
}

// plain is one colour.
func plain() Thresholds { return steps("blue") }

// oneIsBad is green for zero and orange from one on.
func oneIsBad() Thresholds { return steps(neutral, 0, "green", 1, "orange") }

// A board places panels from top left to bottom right, the order in which a narrow
// screen shows them.
type board struct {
	panels     []*Panel
	row        *Panel
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

// begin starts a row. A collapsed row contains its panels, which Grafana queries when
// the row is opened.
func (b *board) begin(title string, collapsed bool, repeat string) {
	b.x, b.y, b.lineHeight = 0, b.y+b.lineHeight, 0
	b.id++
	row := &Panel{
		ID:        b.id,
		Type:      "row",
		Title:     title,
		GridPos:   b.place(24, 1),
		Collapsed: &collapsed,
		Panels:    &[]*Panel{},
		Repeat:    repeat,
	}
	b.panels, b.row = append(b.panels, row), nil
	if collapsed {
		b.row = row
	}
}

func (b *board) add(w, h int, p *Panel) {
	b.id++
	p.ID, p.GridPos, p.Datasource, p.PluginVersion = b.id, b.place(w, h), prometheus(), grafana
	if b.row != nil {
		*b.row.Panels = append(*b.row.Panels, p)
	} else {
		b.panels = append(b.panels, p)
	}
}

// A query is an expression and the name of its series.
type query struct{ expr, legend string }

func targets(format string, instant bool, queries []query) []Target {
	var out []Target
	for i, q := range queries {
		out = append(out, Target{
			RefID: string(
				rune('A' + i),
			), Datasource: prometheus(), EditorMode: "code", Expr: q.expr, LegendFormat: q.legend,
			Format: format, Instant: instant, Range: !instant,
		})
	}
	return out
}

func field(unit, none string, t Thresholds, links ...Link) *FieldConfig {
	f := Field{
		Color:      map[string]any{"mode": "thresholds"},
		Unit:       unit,
		NoValue:    none,
		Mappings:   []any{},
		Thresholds: t,
		Links:      links,
	}
	if unit == "locale" || unit == "none" {
		f.Decimals = new(0)
	}
	return &FieldConfig{Defaults: f, Overrides: []Override{}}
}

// A spec says what a panel shows.
type spec struct {
	title, about string
	unit         string
	none         string // What is shown without data.
	thresholds   Thresholds
	mappings     []any
	links        []Link
	queries      []query
}

// field returns the settings of its values.
func (s spec) field() *FieldConfig {
	if s.thresholds.Steps == nil {
		s.thresholds = plain()
	}
	f := field(s.unit, cmp.Or(s.none, "no data"), s.thresholds, s.links...)
	if s.mappings != nil {
		f.Defaults.Mappings = s.mappings
	}
	return f
}

// stat adds a panel of current numbers.
func (b *board) stat(w, h int, s spec) {
	b.add(w, h, &Panel{
		Type: "stat", Title: s.title, Description: s.about, Targets: targets("time_series", true, s.queries),
		FieldConfig: s.field(),
		Options: map[string]any{
			"colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
			"textMode": "auto", "wideLayout": true,
			"percentChangeColorMode": "standard", "showPercentChange": false,
			"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		},
	})
}

// curves adds a panel of values over time. Legends are sorted by the last value; a
// series that has ended has none.
func (b *board) curves(w, h int, s spec) {
	f := s.field()
	f.Defaults.Color = map[string]any{"mode": "palette-classic"}
	f.Defaults.Min = new(0.0)
	f.Defaults.Decimals = nil
	style := "off"
	if len(s.thresholds.Steps) > 1 {
		style = "dashed"
	}
	f.Defaults.Custom = map[string]any{
		"drawStyle": "line", "fillOpacity": 10, "lineWidth": 1, "showPoints": "never", "spanNulls": false,
		"stacking": map[string]any{"group": "A", "mode": "none"}, "thresholdsStyle": map[string]any{"mode": style},
	}
	b.add(w, h, &Panel{
		Type: "timeseries", Title: s.title, Description: s.about, Targets: targets("time_series", false, s.queries),
		FieldConfig: f,
		Options: map[string]any{
			"legend": map[string]any{
				"calcs":       []string{"last", "max"},
				"displayMode": "table",
				"placement":   "bottom",
				"showLegend":  true,
				"sortBy":      "Last",
				"sortDesc":    true,
			},
			"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
		},
	})
}

// heatmap adds a panel of counts by bucket; the unit of the buckets is seconds.
func (b *board) heatmap(w, h int, title, description, expr string) {
	p := &Panel{
		Type: "heatmap", Title: title, Description: description,
		Targets:     targets("heatmap", false, []query{{expr, "{{le}}"}}),
		FieldConfig: field("locale", "no data", plain()),
		Options: map[string]any{
			"calculate": false, "cellGap": 1,
			"cellValues": map[string]any{"unit": "locale", "decimals": 0},
			"color": map[string]any{
				"exponent": 0.5,
				"fill":     "dark-orange",
				"mode":     "scheme",
				"reverse":  false,
				"scale":    "exponential",
				"scheme":   "Oranges",
				"steps":    64,
			},
			"exemplars":    map[string]any{"color": "rgba(255,0,255,0.7)"},
			"filterValues": map[string]any{"le": 1e-9},
			"legend":       map[string]any{"show": true}, "rowsFrame": map[string]any{"layout": "auto"},
			"tooltip":   map[string]any{"mode": "single", "showColorScale": true, "yHistogram": true},
			"showValue": "never",
			"yAxis":     map[string]any{"axisPlacement": "left", "reverse": false, "unit": "s"},
		},
	}
	p.FieldConfig.Defaults.Custom = map[string]any{
		"hideFrom": map[string]any{
			"legend":  false,
			"tooltip": false,
			"viz":     false,
		}, "scaleDistribution": map[string]any{"type": "linear"},
	}
	p.Targets[0].Exemplar = true
	b.add(w, h, p)
}

// A column of a table: a label, or the value of a query.
type column struct {
	name, label string // The label it shows; for a query, none.
	expr        string
	unit        string
	thresholds  *Thresholds
	mappings    []any
	links       []Link
	hidden      bool
	width       int
}

// properties returns what differs from the table's defaults.
func (c column) properties() []Property {
	var out []Property
	set := func(id string, value any) { out = append(out, Property{ID: id, Value: value}) }
	if c.unit != "" {
		set("unit", c.unit)
		if c.unit == "locale" {
			set("decimals", 0)
		}
	}
	colored := map[string]any{"type": "color-text"}
	if c.thresholds != nil {
		set("thresholds", *c.thresholds)
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
	if c.expr != "" && c.unit == "" {
		set("unit", "locale")
		set("decimals", 0)
	}
	if c.label != "" {
		set("noValue", "") // Otherwise the table's text for no value would be in links.
	}
	return out
}

// table shows a row for each set of labels, with the columns in the given order and
// the rows sorted by sortBy, the largest first.
func table(title, description, none, sortBy string, columns ...column) *Panel {
	f := field("string", none, plain())
	f.Defaults.Custom = map[string]any{
		"align": "auto", "cellOptions": map[string]any{"type": "auto"}, "filterable": false, "inspect": false,
	}
	index, rename, exclude := map[string]int{}, map[string]string{}, map[string]bool{"Time": true, "__name__": true}
	var queries []query
	for i, c := range columns {
		from := c.label
		if c.expr != "" {
			queries = append(queries, query{c.expr, ""})
			from = "Value #" + string(rune('A'+len(queries)-1))
		}
		index[from] = i
		if from != c.name {
			rename[from] = c.name
		}
		if p := c.properties(); p != nil {
			f.Overrides = append(f.Overrides, Override{Property{ID: "byName", Options: c.name}, p})
		}
	}
	p := &Panel{
		Type: "table", Title: title, Description: description, Targets: targets("table", true, queries), FieldConfig: f,
		Options: map[string]any{
			"cellHeight": "sm", "showHeader": true, "frameIndex": 0,
			"sortBy": []any{map[string]any{"displayName": sortBy, "desc": true}},
		},
		Transformations: []Transform{
			{"merge", map[string]any{}},
			{
				"organize",
				map[string]any{
					"excludeByName": exclude,
					"includeByName": map[string]bool{},
					"indexByName":   index,
					"renameByName":  rename,
				},
			},
		},
	}
	if len(queries) == 1 { // Its column has no letter, and there is nothing to merge.
		if i, ok := index["Value #A"]; ok {
			index["Value"], rename["Value"] = i, rename["Value #A"]
			delete(index, "Value #A")
			delete(rename, "Value #A")
		}
		p.Transformations = p.Transformations[1:]
	}
	return p
}

// all returns a link from a sum to the tokens of all environments, or of the selected
// one. With form= the page ignores empty filters.
func all(title, filter string) []Link {
	return []Link{
		{
			title,
			"${exporter:raw}/tokens?form=&environment=${one_environment:percentencode}" +
				"&project=${one_project:percentencode}" + filter,
			true,
		},
	}
}

// series returns a link from one environment's curve to its tokens.
func series(title, filter string) []Link {
	return []Link{
		{
			title,
			"${exporter:raw}/tokens?environment=${__field.labels.environment:percentencode}" +
				"&project=${__field.labels.project:percentencode}" + filter,
			true,
		},
	}
}

// cell returns a link from a table's row to its tokens, at the row's own exporter.
func cell(title, filter string) []Link {
	return []Link{
		{
			title,
			"${__data.fields.external_url:raw}/tokens?environment=${__data.fields.environment:percentencode}" +
				"&project=${__data.fields.project:percentencode}" + filter,
			true,
		},
	}
}

// at adds the exporter's external URL to a series, as a label.
func at(expr string) string {
	return "(" + expr + ") * on (job, instance) group_left (external_url) waitpoint_exporter_web_info{" + target + "}"
}

func labelValues(selector, label string) map[string]any {
	return map[string]any{
		"qryType": 1,
		"query":   "label_values(" + selector + ", " + label + ")",
		"refId":   "PrometheusVariableQueryEditor-VariableQuery",
	}
}

func chosen(name, label, description, selector, of, allValue string) *Variable {
	return &Variable{
		Name: name, Label: label, Description: description, Type: "query", Datasource: prometheus(),
		Query:      labelValues(selector, of),
		Definition: "label_values(" + selector + ", " + of + ")", Refresh: 2, Sort: 1, Multi: true,
		IncludeAll: true, AllValue: allValue,
		Current: map[string]any{
			"selected": true,
			"text":     []string{"All"},
			"value":    []string{"$__all"},
		}, Options: []any{},
	}
}

// one returns a hidden variable: the label's value if only one is selected, or nothing.
func one(label string) *Variable {
	have := "group by (" + label + ") (" + sel("triggerdev_waitpoint_up", label+`!=""`) + ")"
	text := "query_result(" + have + " and on () (count(" + have + ") == 1))"
	return &Variable{
		Name: "one_" + label, Description: "For links.", Type: "query", Datasource: prometheus(),
		Query: map[string]any{
			"qryType": 3,
			"query":   text,
			"refId":   "PrometheusVariableQueryEditor-VariableQuery",
		}, Definition: text,
		Regex: `/` + label + `="([^"]*)"/`, Refresh: 2, Hide: 2, Current: map[string]any{"text": "", "value": ""},
		Options: []any{}, SkipURLSync: true,
	}
}

// dashboard adds to the panels what both dashboards have.
func dashboard(b *board, uid, title, description string, links []BoardLink, tags bool) *Dashboard {
	variables := []*Variable{
		{
			Name: "datasource", Label: "Data source", Description: "The Prometheus that scrapes the exporter.",
			Type: "datasource", Query: "prometheus",
			Refresh: 1, Current: map[string]any{"text": "", "value": ""}, Options: []any{},
		},
		chosen("job", "Job", "", "waitpoint_exporter_build_info", "job", ""),
		chosen("instance", "Exporter", "", `waitpoint_exporter_build_info{job=~"$job"}`, "instance", ""),
		chosen(
			"project",
			"Project",
			"Only exporters with a configured project have any.",
			"triggerdev_waitpoint_up{"+target+"}",
			"project",
			".*",
		),
		chosen(
			"environment",
			"Environment",
			"",
			"triggerdev_waitpoint_up{"+target+`, project=~"$project"}`,
			"environment",
			".*",
		),
	}
	if tags {
		variables = append(
			variables,
			chosen("tag", "Tag", "For the panels by tag.", sel("triggerdev_waitpoint_tagged_tokens"), "tag", ".*"),
		)
	}
	url := chosen(
		"exporter",
		"Links lead to",
		"Where users reach the exporter, its --web.external-url.",
		"waitpoint_exporter_web_info{"+target+"}",
		"external_url",
		"",
	)
	url.Multi, url.IncludeAll, url.Current = false, false, map[string]any{"text": "", "value": ""}
	variables = append(variables, url, one("environment"), one("project"))
	annotations := []*Annotation{{
		Name: "Annotations & Alerts", Datasource: Source{"grafana", "-- Grafana --"}, Enable: true, Hide: true,
		IconColor: "rgba(0, 211, 255, 1)", Type: "dashboard", BuiltIn: 1,
	}}
	for _, a := range []struct{ severity, color string }{{"critical", "red"}, {"warning", "orange"}} {
		annotations = append(annotations, &Annotation{
			Name: "Alerts, " + a.severity, Datasource: *prometheus(), IconColor: a.color,
			Target: &AnnotationTarget{
				RefID: "Anno", LegendFormat: a.severity, Interval: "60s", Range: true,
				Expr: "max(ALERTS{" + alerting + `, alertstate="firing", severity="` + a.severity + `"})`,
			},
		})
	}
	return &Dashboard{
		UID: uid, Title: title, Description: description, Tags: []string{"trigger.dev", "waitpoint"},
		SchemaVersion: 42, Editable: true,
		GraphTooltip: 1, Refresh: "1m", Time: TimeRange{"now-6h", "now"}, Timezone: "browser", Links: links,
		Annotations: List[Annotation]{annotations}, Templating: List[Variable]{variables}, Panels: b.panels,
	}
}
