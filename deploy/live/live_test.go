//go:build live

// Package live tries the dashboards and the rules on real servers: Prometheus
// scrapes the exporter's demo, Alertmanager tells a receiver, and the links in
// the alert are opened. The environment variables PROMETHEUS (version 3),
// PROMETHEUS_OLD (2.42, which many still run) and ALERTMANAGER say where the
// programs are; without them the test fails.
package live

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"waitpoint_exporter/test/programs"
)

// Everything happens within testTimeout. Rates and quantiles need some data
// first, so what has no answer yet is asked again for dataTimeout.
const (
	testTimeout = 8 * time.Minute
	dataTimeout = 2 * time.Minute
	root        = "../.."
	job         = "waitpoint_exporter" // As in the README's scrape example.
)

var (
	recordClause = regexp.MustCompile(`(?m)record: (\S+)$`)
	forClause    = regexp.MustCompile(`(?m)^(\s+)for:.*$`)
	metricRow    = regexp.MustCompile("(?m)^\\| `([a-zA-Z_:][a-zA-Z0-9_:]*)` \\|")
	labelValues  = regexp.MustCompile(`^label_values\((.+), *([a-zA-Z_][a-zA-Z0-9_]*)\)$`)
	queryResult  = regexp.MustCompile(`^query_result\((.+)\)$`)
	unknown      = regexp.MustCompile(`\$[a-z_{]`)
	legendLabel  = regexp.MustCompile(`{{ *([a-zA-Z_][a-zA-Z0-9_]*) *}}`)
	histogram    = regexp.MustCompile(`_(bucket|sum|count)$`)
	// Metrics that Prometheus makes itself or that every Go program has.
	common = regexp.MustCompile(`^(up|ALERTS|ALERTS_FOR_STATE|scrape_duration_seconds|(go|process)_.+)$`)
)

func TestLive(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	exporter := startExporter(ctx, t, t.TempDir())
	t.Run("PROMETHEUS", func(t *testing.T) {
		// As compose scrapes: both kinds of the histogram, which the rules name.
		prom, exprs := testServer(
			ctx,
			t,
			exporter,
			"PROMETHEUS",
			"scrape_native_histograms: true",
			"always_scrape_classic_histograms: true",
		)
		t.Run("selectors", func(t *testing.T) { testSelectors(t, prom, exprs) })
	})
	t.Run("native", func(t *testing.T) { testServer(ctx, t, exporter, "PROMETHEUS", "scrape_native_histograms: true") })
	// Its API does not parse for us, so selectors are left to the one above.
	t.Run("PROMETHEUS_OLD", func(t *testing.T) { testServer(ctx, t, exporter, "PROMETHEUS_OLD") })
}

// testServer checks all that a Prometheus has to do with us. The variable names
// the program; settings are more fields of the scrape.
func testServer(ctx context.Context, t *testing.T, exporter, variable string, settings ...string) (*api, []expression) {
	t.Helper()
	dir := t.TempDir()
	prom := &api{ctx, startPrometheus(ctx, t, dir, programs.Path(t, variable), exporter, settings)}
	programs.WaitFor(ctx, t, "the demo's history", func() error {
		return prom.hasData("triggerdev_waitpoint_history_loaded == 1")
	})

	rules := prom.rules(t)
	exprs := append(dashboards(t), rules...)
	// The rules must have been evaluated for what they record to be there.
	programs.WaitFor(ctx, t, "the rules", func() error {
		for _, r := range prom.rules(t) {
			if r.health != "ok" {
				return fmt.Errorf("%s is %s: %s", r.where, r.health, r.lastError)
			}
		}
		return nil
	})
	// The wait for data comes first, so that nothing else has to wait.
	t.Run("data", func(t *testing.T) { testData(ctx, t, prom, exprs) })
	// What is recorded is there once the rule was evaluated upon data.
	recording, err := os.ReadFile(filepath.Join(root, "deploy", "prometheus", "recording.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range recordClause.FindAllStringSubmatch(string(recording), -1) {
		programs.WaitFor(ctx, t, m[1], func() error { return prom.hasData(m[1]) })
	}
	t.Run("exemplars", func(t *testing.T) { testExemplars(ctx, t, prom) })
	t.Run("readme", func(t *testing.T) { testReadme(ctx, t, prom) })
	return prom, exprs
}

// testSelectors checks that each expression can be parsed and names only
// metrics and labels that exist, and that it and the README name the same ones.
func testSelectors(t *testing.T, prom *api, exprs []expression) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## Metrics\n")
	section, _, _ = strings.Cut(section, "\n## ")
	documented, used := map[string]bool{}, map[string]bool{}
	for _, row := range metricRow.FindAllStringSubmatch(section, -1) {
		documented[row[1]] = true
	}
	if len(documented) == 0 {
		t.Fatal("the README's section Metrics has no table")
	}
	recorded := map[string]bool{}
	for _, e := range exprs {
		if e.kind == "recording" {
			recorded[e.name] = true
		}
	}
	for _, e := range exprs {
		tree, err := prom.parse(e.query)
		if err != nil {
			t.Errorf("%s: %s: %s", e.where, e.query, err)
			continue
		}
		c := &checker{t, prom, e}
		c.walk(tree)
		for _, name := range c.names(tree) {
			family := name
			if !documented[name] {
				family = histogram.ReplaceAllString(name, "")
			}
			used[family] = true
			if !documented[family] && !recorded[name] && !common.MatchString(name) {
				t.Errorf("%s: %s is not in the README's reference", e.where, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(documented)) {
		if !used[name] {
			t.Errorf("%s is in no dashboard and no rule", name)
		}
	}
}

// testData checks that each expression returns data. Alerts are silent when all
// is well, so for them the selectors have to do.
func testData(ctx context.Context, t *testing.T, prom *api, exprs []expression) {
	missing := exprs
	last := map[string]error{}
	for end := time.Now().Add(dataTimeout); ; {
		var again []expression
		for _, e := range missing {
			// No refresh fails here.
			if e.kind == "alerting" || strings.Contains(e.query, "refresh_errors_total") {
				continue
			}
			if err := prom.check(t, e); err != nil {
				last[e.where+e.query] = err
				again = append(again, e)
			}
		}
		missing = again
		if len(missing) == 0 || time.Now().After(end) || !sleep(ctx, 2*time.Second) {
			break
		}
	}
	for _, e := range missing {
		t.Errorf("%s: %s: %s", e.where, e.query, last[e.where+e.query])
	}
}

// testExemplars checks that the dots of the heatmap lead to tokens.
func testExemplars(ctx context.Context, t *testing.T, prom *api) {
	programs.WaitFor(ctx, t, "an exemplar", func() error {
		var found []struct {
			Exemplars []struct{ Labels map[string]string }
		}
		now := time.Now()
		err := prom.get("query_exemplars", url.Values{
			"query": {`{__name__=~"triggerdev_waitpoint_wait_duration_seconds(_bucket)?"}`},
			"start": {stamp(now.Add(-time.Hour))}, "end": {stamp(now.Add(time.Minute))},
		}, &found)
		if err != nil {
			return err
		}
		for _, series := range found {
			for _, e := range series.Exemplars {
				if e.Labels["token_id"] != "" {
					return nil
				}
			}
		}
		return fmt.Errorf("no token_id in the exemplars of %d series", len(found))
	})
}

// testReadme checks that each query of the README returns data. What it compares
// with may not be reached, so the limits are left out.
func testReadme(ctx context.Context, t *testing.T, prom *api) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(readme), "\n## Queries\n\n```promql\n")
	text, _, ok := strings.Cut(text, "\n```\n")
	if !ok {
		t.Fatal("the README has no queries")
	}
	for _, query := range regexp.MustCompile(`(?m)^#.*$`).Split(text, -1)[1:] {
		query = regexp.MustCompile(` (>|==) \d+`).ReplaceAllString(query, "")
		programs.WaitFor(ctx, t, query, func() error { return prom.check(t, expression{query: query}) })
	}
}

// An expression is what a panel asks or what a rule evaluates.
type expression struct {
	where, query      string
	kind              string // "panel", "variable", "alerting" or "recording".
	name              string // Of what is recorded.
	legend, label     string // Whose labels must be in the result.
	health, lastError string
}

// dashboards returns the expressions of all panels, annotations and variables,
// with the variables replaced by what stands for all.
func dashboards(t *testing.T) []expression {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "dashboards", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	var out []expression
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var board struct {
			Panels      []panel
			Annotations struct {
				List []struct {
					Name   string
					Target struct{ Expr string }
				}
			}
			Templating struct {
				List []struct {
					Name, Type, Regex string
					Query             any
				}
			}
		}
		if err := json.Unmarshal(data, &board); err != nil {
			t.Fatalf("%s: %s", file, err)
		}
		pairs := []string{"$__rate_interval", "1m", "$__range", "1h", "$__interval", "1m"}
		for _, v := range board.Templating.List {
			pairs = append(pairs, "${"+v.Name+":regex}", ".*", "${"+v.Name+"}", ".*", "$"+v.Name, ".*")
		}
		expand, base := strings.NewReplacer(pairs...), filepath.Base(file)
		for _, v := range board.Templating.List {
			if v.Type != "query" {
				continue
			}
			query, _ := v.Query.(map[string]any)
			text, _ := query["query"].(string)
			parts := labelValues.FindStringSubmatch(text)
			if made := queryResult.FindStringSubmatch(text); made != nil {
				label, _, _ := strings.Cut(strings.TrimPrefix(v.Regex, "/"), "=")
				parts = []string{text, made[1], label}
			}
			if parts == nil {
				t.Fatalf(
					"%s, variable %s: %q is neither label_values(metric, label) nor query_result(expression)",
					base,
					v.Name,
					text,
				)
			}
			out = append(
				out,
				expression{
					where: base + ", variable " + v.Name,
					kind:  "variable",
					query: expand.Replace(parts[1]),
					label: parts[2],
				},
			)
		}
		for _, a := range board.Annotations.List {
			if a.Target.Expr != "" {
				// Of alerts there may be none of a severity.
				out = append(
					out,
					expression{
						where: base + ", annotation " + a.Name,
						kind:  "alerting",
						query: expand.Replace(a.Target.Expr),
					},
				)
			}
		}
		panels, ids := 0, map[int]bool{}
		for _, p := range board.Panels {
			for _, p := range append(p.Panels, p) {
				where := fmt.Sprintf("%s, panel %d %q", base, p.ID, p.Title)
				p.told(t, where)
				if ids[p.ID] {
					t.Errorf("%s: another panel has the id", where)
				}
				ids[p.ID] = true
				for _, target := range p.Targets {
					query := expand.Replace(target.Expr)
					if query == "" || unknown.MatchString(query) {
						t.Errorf("%s: unknown variable, or nothing, in %q", where, query)
						continue
					}
					out = append(
						out,
						expression{where: where, kind: "panel", query: query, legend: target.LegendFormat},
					)
					panels++
				}
			}
		}
		if panels == 0 {
			t.Errorf("%s asks nothing", base)
		}
	}
	return out
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Panels                   []panel
	Targets                  []struct{ Expr, LegendFormat string }
	FieldConfig              struct {
		Defaults struct {
			Unit       string
			Thresholds struct{ Steps []any }
		}
	}
}

// told checks that the panel says what it shows, and in which unit.
func (p *panel) told(t *testing.T, where string) {
	t.Helper()
	d := p.FieldConfig.Defaults
	if p.Type != "row" && (p.Title == "" || p.Description == "" || d.Unit == "" || len(d.Thresholds.Steps) == 0) {
		t.Errorf("%s lacks a title, description, unit or thresholds", where)
	}
}

// A checker compares one expression's syntax tree with what is stored.
type checker struct {
	t    *testing.T
	prom *api
	expression
}

// walk checks the node and those below it, and returns the labels that there
// are below.
func (c *checker) walk(node any) map[string]bool {
	labels := map[string]bool{}
	if list, ok := node.([]any); ok {
		for _, n := range list {
			maps.Copy(labels, c.walk(n))
		}
		return labels
	}
	n, ok := node.(map[string]any)
	if !ok {
		return labels
	}
	for _, key := range []string{"expr", "lhs", "rhs", "args"} {
		maps.Copy(labels, c.walk(n[key]))
	}
	switch n["type"] {
	case "vectorSelector", "matrixSelector":
		return c.selector(n)
	case "aggregation":
		c.known(n["grouping"], labels)
	case "binaryExpr":
		if matching, ok := n["matching"].(map[string]any); ok {
			c.known(matching["labels"], labels)
			c.known(matching["include"], labels)
		}
	case "call":
		function, _ := n["func"].(map[string]any)
		args, _ := n["args"].([]any)
		if name := function["name"]; (name == "label_replace" || name == "label_join") && len(args) > 1 {
			made, _ := args[1].(map[string]any)
			label, _ := made["val"].(string)
			labels[label] = true
		}
	}
	return labels
}

// selector checks a selector and returns the labels of its metric.
func (c *checker) selector(n map[string]any) map[string]bool {
	name, _ := n["name"].(string)
	if name == "" {
		c.t.Errorf("%s: a selector without a metric's name in %s", c.where, c.query)
		return nil
	}
	labels, err := c.prom.labels(name)
	if err != nil {
		c.t.Errorf("%s: %s: %s", c.where, c.query, err)
		return nil
	}
	matchers, _ := n["matchers"].([]any)
	for _, m := range matchers {
		matcher, _ := m.(map[string]any)
		label, _ := matcher["name"].(string)
		if label == "__name__" {
			continue
		}
		c.known([]any{label}, labels)
		// Labels with a fixed set of values: a value that never occurs is a
		// slip of the pen. A tag or a status code may just not have occurred.
		if slices.Contains([]string{"status", "after", "within", "reason"}, label) &&
			!strings.HasPrefix(name, "waitpoint:") {
			selector := fmt.Sprintf("%s{%s%s%q}", name, label, matcher["type"], matcher["value"])
			if err := c.prom.hasSeries(selector); err != nil {
				c.t.Errorf("%s: %s: %s", c.where, c.query, err)
			}
		}
	}
	return labels
}

// known checks that names are among the labels.
func (c *checker) known(names any, labels map[string]bool) {
	list, _ := names.([]any)
	for _, n := range list {
		// Only a configured project has the label, and only a target with labels of
		// ours makes them exported; the demo has neither. What is recorded as late
		// has a threshold only where nothing is expected.
		label, _ := n.(string)
		optional := slices.Contains([]string{"project", "exported_environment", "exported_project", "after"}, label)
		if !labels[label] && (!optional || !labels["environment"]) {
			c.t.Errorf("%s: there is no label %q at that place in %s", c.where, label, c.query)
		}
	}
}

// names returns the names of the metrics that the tree selects.
func (c *checker) names(node any) []string {
	var out []string
	switch n := node.(type) {
	case []any:
		for _, v := range n {
			out = append(out, c.names(v)...)
		}
	case map[string]any:
		if name, ok := n["name"].(string); ok && (n["type"] == "vectorSelector" || n["type"] == "matrixSelector") {
			return []string{name}
		}
		for _, v := range n {
			out = append(out, c.names(v)...)
		}
	}
	return out
}

// An api is that of a Prometheus, for one test.
type api struct {
	ctx  context.Context
	base string
}

func (a *api) get(path string, values url.Values, data any) error {
	r, err := http.NewRequestWithContext(a.ctx, http.MethodGet, a.base+"/api/v1/"+path+"?"+values.Encode(), http.NoBody)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{}).Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
		Warnings      []string
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %s: %w", path, resp.Status, err)
	}
	if answer.Status != "success" || len(answer.Warnings) > 0 {
		return fmt.Errorf("%s: %s %s %q", path, resp.Status, answer.Error, answer.Warnings)
	}
	return json.Unmarshal(answer.Data, data)
}

func (a *api) parse(query string) (tree any, err error) {
	err = a.get("parse_query", url.Values{"query": {query}}, &tree)
	return tree, err
}

// rules returns what the rule files hold; they must hold both kinds.
func (a *api) rules(t *testing.T) []expression {
	t.Helper()
	var data struct {
		Groups []struct {
			Name  string
			Rules []struct{ Type, Name, Query, Health, LastError string }
		}
	}
	if err := a.get("rules", nil, &data); err != nil {
		t.Fatal(err)
	}
	var out []expression
	kinds := map[string]bool{}
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			kinds[r.Type] = true
			out = append(
				out,
				expression{
					where:     "rule " + r.Name + " of " + g.Name,
					kind:      r.Type,
					name:      r.Name,
					query:     r.Query,
					health:    r.Health,
					lastError: r.LastError,
				},
			)
		}
	}
	if !kinds["alerting"] || !kinds["recording"] {
		t.Fatalf("of rules there are only %v", kinds)
	}
	return out
}

type series []struct {
	Metric    map[string]string
	Value     [2]any
	Histogram [2]any
}

func (a *api) query(query string) (series, error) {
	var data struct {
		ResultType string
		Result     series
	}
	if err := a.get("query", url.Values{"query": {query}}, &data); err != nil {
		return nil, err
	}
	return data.Result, nil
}

// check returns an error if the expression returns nothing or no number, or if
// its legend names labels that the result has not.
func (a *api) check(t *testing.T, e expression) error {
	t.Helper()
	result, err := a.query(e.query)
	if err != nil {
		return err
	}
	numbers, labels := 0, map[string]bool{}
	for _, s := range result {
		for name := range s.Metric {
			labels[name] = true
		}
		value, _ := s.Value[1].(string)
		if s.Histogram[1] != nil {
			numbers++ // A heatmap has its buckets in it.
			labels["le"] = true
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil && !math.IsNaN(v) {
			numbers++
		}
	}
	if numbers == 0 {
		return fmt.Errorf("no data: %d series, none with a number", len(result))
	}
	wanted := legendLabel.FindAllStringSubmatch(e.legend, -1)
	if e.label != "" {
		wanted = append(wanted, []string{"", e.label})
	}
	for _, w := range wanted {
		if !labels[w[1]] && w[1] != "project" {
			return fmt.Errorf("the result has no label %q", w[1])
		}
	}
	return nil
}

func (a *api) hasData(query string) error {
	result, err := a.query(query)
	if err == nil && len(result) == 0 {
		err = fmt.Errorf("no data for %s", query)
	}
	return err
}

// matching returns the series of the last hour.
func (a *api) matching(selector string) ([]map[string]string, error) {
	var found []map[string]string
	err := a.get("series", url.Values{"match[]": {selector}, "start": {stamp(time.Now().Add(-time.Hour))}}, &found)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("there is no %s", selector)
	}
	return found, err
}

func (a *api) hasSeries(selector string) error {
	_, err := a.matching(selector)
	return err
}

// labels returns the labels of a metric.
func (a *api) labels(name string) (map[string]bool, error) {
	found, err := a.matching(name)
	labels := map[string]bool{}
	for _, s := range found {
		for label := range s {
			labels[label] = true
		}
	}
	// Alerts carry the labels of what they are about, but perhaps not now.
	if strings.HasPrefix(name, "ALERTS") {
		labels["environment"], labels["tag"], labels["instance"] = true, true, true
	}
	return labels, err
}

// An alert is one of those in Alertmanager's message to a webhook.
type alert struct {
	Status              string
	Labels, Annotations map[string]string
}

func startExporter(ctx context.Context, t *testing.T, dir string) (base string) {
	t.Helper()
	address := programs.FreeAddress(ctx, t)
	// Of the settings, those that more metrics come with.
	programs.Start(
		ctx,
		t,
		dir,
		buildExporter(ctx, t, dir),
		"--demo",
		"--trigger.project=shop",
		"--tokens.expected-wait=1h",
		"--tokens.ignore-tag=user:.*",
		"--web.listen-address="+address,
	)
	return "http://" + address
}

// buildExporter returns the program's path.
func buildExporter(ctx context.Context, t *testing.T, dir string) string {
	t.Helper()
	binary := filepath.Join(dir, "waitpoint_exporter")
	// Prometheus drops empty labels, so the build needs a version.
	build := exec.CommandContext(
		ctx,
		"go",
		"build",
		"-o",
		binary,
		"-ldflags",
		"-X github.com/prometheus/common/version.Version=live",
		".",
	)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %s", err, out)
	}
	return binary
}

func startPrometheus(ctx context.Context, t *testing.T, dir, binary, exporter string, settings []string) (base string) {
	t.Helper()
	ruleFiles(t, dir)
	config := programs.Write(t, dir, "prometheus.yml", `
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: [recording.yml, alerts.yml]
scrape_configs:
  - job_name: `+job+`
    `+strings.Join(settings, "\n    ")+`
    static_configs: [{targets: ["`+strings.TrimPrefix(exporter, "http://")+`"]}]
`)
	address := programs.FreeAddress(ctx, t)
	programs.Start(
		ctx,
		t,
		dir,
		binary,
		"--config.file="+config,
		"--storage.tsdb.path="+filepath.Join(dir, "prometheus"),
		"--web.listen-address="+address,
		"--enable-feature=exemplar-storage",
		"--log.level=warn",
	)
	base = "http://" + address
	programs.WaitFor(ctx, t, "Prometheus", func() error {
		var status any
		return (&api{ctx, base}).get("status/buildinfo", nil, &status)
	})
	return base
}

// ruleFiles writes the rules into dir, with no waiting before alerts on tokens fire.
func ruleFiles(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"recording.yml", "alerts.yml"} {
		rules, err := os.ReadFile(filepath.Join(root, "deploy/prometheus", name))
		if err != nil {
			t.Fatal(err)
		}
		// Those on the exporter would fire before the first scrape.
		tokens, rest, _ := strings.Cut(string(rules), "- name: waitpoint_exporter\n")
		if rest != "" {
			rest = "- name: waitpoint_exporter\n" + rest
		}
		programs.Write(t, dir, name, forClause.ReplaceAllString(tokens, "${1}for: 0s")+rest)
	}
}

// get returns the body of a link that must be answered with 200.
func get(ctx context.Context, t *testing.T, client *http.Client, link string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, link, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %v: %.500s", link, resp.Status, err, body)
	}
	return body
}

func stamp(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// sleep reports whether the time passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
