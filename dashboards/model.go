// Package dashboards generates the Grafana dashboards, which are in this folder as JSON.
// After a change run `go generate ./dashboards` and `make rules`; a test compares the
// JSON with the code.
package dashboards

//go:generate go test . -run TestGenerated -update

// The types have the fields of Grafana's dashboard schema, version 42, that these
// dashboards use.

// A Dashboard marshals to the JSON that Grafana imports.
type Dashboard struct {
	UID           string            `json:"uid"`
	Title         string            `json:"title"`
	Description   string            `json:"description"`
	Tags          []string          `json:"tags"`
	SchemaVersion int               `json:"schemaVersion"`
	Editable      bool              `json:"editable"`
	GraphTooltip  int               `json:"graphTooltip"`
	Refresh       string            `json:"refresh"`
	Time          map[string]string `json:"time"` // The range shown at first.
	Timezone      string            `json:"timezone"`
	Links         []BoardLink       `json:"links"`
	Annotations   List[Annotation]  `json:"annotations"`
	Templating    List[Variable]    `json:"templating"`
	Panels        []*Panel          `json:"panels"`
}

// A List has variables or annotations.
type List[T any] struct {
	List []*T `json:"list"`
}

// A BoardLink is a link at the top of the dashboard.
type BoardLink struct {
	Title       string   `json:"title"`
	Type        string   `json:"type"`
	Icon        string   `json:"icon"`
	URL         string   `json:"url"`
	Tooltip     string   `json:"tooltip"`
	Tags        []string `json:"tags"`
	AsDropdown  bool     `json:"asDropdown"`
	IncludeVars bool     `json:"includeVars"`
	KeepTime    bool     `json:"keepTime"`
	TargetBlank bool     `json:"targetBlank"`
}

// A Source names a data source.
type Source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// prometheus is the selected Prometheus.
func prometheus() *Source { return &Source{"prometheus", "${datasource}"} }

// An Annotation draws at most one region, since its query returns one series.
type Annotation struct {
	Name       string            `json:"name"`
	Datasource Source            `json:"datasource"`
	Enable     bool              `json:"enable"`
	Hide       bool              `json:"hide"`
	IconColor  string            `json:"iconColor"`
	Type       string            `json:"type,omitempty"`
	BuiltIn    int               `json:"builtIn,omitempty"`
	Target     *AnnotationTarget `json:"target,omitempty"`
}

// An AnnotationTarget is the query of an annotation.
type AnnotationTarget struct {
	Expr         string `json:"expr"`
	Instant      bool   `json:"instant"`
	Interval     string `json:"interval"`
	LegendFormat string `json:"legendFormat"`
	Range        bool   `json:"range"`
	RefID        string `json:"refId"`
}

// A Variable is selected at the top, or hidden.
type Variable struct {
	Name        string         `json:"name"`
	Label       string         `json:"label,omitempty"`
	Description string         `json:"description,omitempty"`
	Type        string         `json:"type"`
	Datasource  *Source        `json:"datasource,omitempty"`
	Query       any            `json:"query"`
	Definition  string         `json:"definition,omitempty"`
	Regex       string         `json:"regex"`
	Refresh     int            `json:"refresh"`
	Sort        int            `json:"sort,omitempty"`
	Hide        int            `json:"hide"`
	Multi       bool           `json:"multi"`
	IncludeAll  bool           `json:"includeAll"`
	AllValue    string         `json:"allValue,omitempty"`
	Current     map[string]any `json:"current"`
	Options     []any          `json:"options"`
	SkipURLSync bool           `json:"skipUrlSync"`
}

// A Panel is a panel, or the head of a row of panels.
type Panel struct {
	ID              int            `json:"id"`
	Type            string         `json:"type"`
	Title           string         `json:"title"`
	Description     string         `json:"description,omitempty"`
	Datasource      *Source        `json:"datasource,omitempty"`
	GridPos         GridPos        `json:"gridPos"`
	PluginVersion   string         `json:"pluginVersion,omitempty"`
	Targets         []Target       `json:"targets,omitempty"`
	FieldConfig     *FieldConfig   `json:"fieldConfig,omitempty"`
	Options         map[string]any `json:"options,omitempty"`
	Transformations []Transform    `json:"transformations,omitempty"`
	Collapsed       *bool          `json:"collapsed,omitempty"`
	Repeat          string         `json:"repeat,omitempty"`
	Panels          *[]*Panel      `json:"panels,omitempty"`
}

// A GridPos is a place in 24 columns.
type GridPos struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

// A Target is a query.
type Target struct {
	RefID        string  `json:"refId"`
	Datasource   *Source `json:"datasource"`
	EditorMode   string  `json:"editorMode"`
	Expr         string  `json:"expr"`
	LegendFormat string  `json:"legendFormat"`
	Format       string  `json:"format"`
	Instant      bool    `json:"instant"`
	Range        bool    `json:"range"`
	Exemplar     bool    `json:"exemplar,omitempty"`
}

// A FieldConfig says how values are shown.
type FieldConfig struct {
	Defaults  Field      `json:"defaults"`
	Overrides []Override `json:"overrides"`
}

// A Field has the settings for all values.
type Field struct {
	Color      map[string]any `json:"color"`
	Unit       string         `json:"unit"`
	Decimals   *int           `json:"decimals,omitempty"`
	Min        *float64       `json:"min,omitempty"`
	NoValue    string         `json:"noValue"`
	Mappings   []any          `json:"mappings"`
	Thresholds Thresholds     `json:"thresholds"`
	Links      []Link         `json:"links,omitempty"`
	Custom     map[string]any `json:"custom,omitempty"`
}

// Thresholds colour values.
type Thresholds struct {
	Mode  string `json:"mode"`
	Steps []Step `json:"steps"`
}

// A Step applies from its value on; the first has none and is also for no data.
type Step struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"`
}

// A Link links a value to the tokens behind it.
type Link struct {
	Title       string `json:"title"`
	URL         string `json:"url"`
	TargetBlank bool   `json:"targetBlank"`
}

// An Override has the settings of the column with one name.
type Override struct {
	Matcher    Property   `json:"matcher"`
	Properties []Property `json:"properties"`
}

// A Property has an id and a value. A matcher has options instead of a value.
type Property struct {
	ID      string `json:"id"`
	Value   any    `json:"value,omitempty"`
	Options any    `json:"options,omitempty"`
}

// A Transform changes the result of queries.
type Transform struct {
	ID      string         `json:"id"`
	Options map[string]any `json:"options"`
}
