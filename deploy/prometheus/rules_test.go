// Package runbook_test holds alerts, their tests and the runbook to each
// other. Whether an alert fires when it should is for promtool, see .ci/rules.
package runbook_test

import (
	"cmp"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// A rule is one of the file's alerts.
type rule struct {
	Alert, Expr, For    string
	KeepFiringFor       string `yaml:"keep_firing_for"`
	Labels, Annotations map[string]string
}

// readAlerts returns all alerts there are. Fields that are missing are empty.
func readAlerts(t *testing.T) []rule {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []rule }
	}
	read(t, "alerts.yml", &file)
	var alerts []rule
	for _, g := range file.Groups {
		alerts = append(alerts, g.Rules...)
	}
	if len(alerts) == 0 {
		t.Fatal("alerts.yml has no alert")
	}
	return alerts
}

func read(t *testing.T, name string, into any) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestAlertFields checks that who is woken finds out what is wrong, how bad it
// is, and where to look: each address is an annotation of its own, of which
// receivers make buttons, and begins where users reach the exporter or Grafana.
func TestAlertFields(t *testing.T) {
	const own = `{{ with printf "waitpoint_exporter_web_info{`
	seen := map[string]bool{}
	for _, a := range readAlerts(t) {
		if !strings.HasPrefix(a.Alert, "Waitpoint") || seen[a.Alert] {
			t.Errorf("alert %q: want a name of its own that begins with Waitpoint", a.Alert)
		}
		seen[a.Alert] = true
		if severities := []string{"critical", "warning", "info"}; !slices.Contains(severities, a.Labels["severity"]) {
			t.Errorf("%s: severity %q is none of %q", a.Alert, a.Labels["severity"], severities)
		}
		for _, name := range []string{"summary", "description", "dashboard_url", "runbook_url"} {
			if a.Annotations[name] == "" {
				t.Errorf("%s: no %s", a.Alert, name)
			}
		}
		for name, text := range a.Annotations {
			switch name {
			case "summary", "description":
				if strings.Contains(text, "/tokens") {
					t.Errorf("%s: %s has an address in its text: %s", a.Alert, name, text)
				}
			case "dashboard_url":
				if !strings.HasPrefix(text, "{{ with $externalLabels.grafana_url }}{{ . }}/d/waitpoint") {
					t.Errorf("%s: %s does not begin where Grafana is: %s", a.Alert, name, text)
				}
			case "tokens_url":
				if want := "environment={{ or $labels.exported_environment $labels.environment | urlquery }}" +
					"&project={{ or $labels.exported_project $labels.project | urlquery " +
					"}}"; !strings.HasPrefix(text, own) || !strings.Contains(text, want) {
					t.Errorf(
						"%s: %s does not begin where users reach the exporter, or is not for the environment: %s",
						a.Alert,
						name,
						text,
					)
				}
			case "runbook_url":
				if want := "/runbook#" + strings.ToLower(a.Alert); !strings.HasPrefix(text, own) ||
					!strings.HasSuffix(text, want) {
					t.Errorf("%s: %s does not lead to %s of the exporter: %s", a.Alert, name, want, text)
				}
			default:
				t.Errorf("%s: unknown annotation %s", a.Alert, name)
			}
		}
		if text := a.Annotations["summary"] + a.Annotations["description"]; strings.Contains(a.Expr, "waitpoint") &&
			!strings.Contains(
				text,
				"$value",
			) && !strings.Contains(text, "query }}") && a.Alert != "WaitpointEnvironmentGone" &&
			a.Alert != "WaitpointExporterDown" {
			t.Errorf("%s: no number in %q", a.Alert, text)
		}
	}
}

// TestKeepFiring checks that an alert on something that goes up and down outlasts a dip.
// What the others are about does not come and go.
func TestKeepFiring(t *testing.T) {
	lasting := []string{
		"WaitpointTokensForgotten", "WaitpointEnvironmentGone", "WaitpointHistoryNotLoaded",
		"WaitpointThresholdMissing", "WaitpointConfigReloadFailed",
	}
	for _, a := range readAlerts(t) {
		if (a.KeepFiringFor == "") != slices.Contains(lasting, a.Alert) {
			t.Errorf("%s: keep_firing_for is %q", a.Alert, a.KeepFiringFor)
		}
	}
}

// A route is one of Alertmanager's.
type route struct {
	GroupBy        []string `yaml:"group_by"`
	RepeatInterval string   `yaml:"repeat_interval"`
	Mute           []string `yaml:"mute_time_intervals"`
	Matchers       []string
	Routes         []route
}

// TestAlertmanager checks that one cause is one message for each environment and
// receiver, that what is not urgent waits for working hours, and that Alertmanager
// remembers each message until it repeats it: for 120h, if nobody sets another
// --data.retention. Who is inhibited by whom is tried on a real one, see ../live.
func TestAlertmanager(t *testing.T) {
	var file struct{ Route route }
	read(t, "alertmanager.yml", &file)
	muted := 0
	var visit func(route)
	visit = func(r route) {
		repeat, err := model.ParseDuration(cmp.Or(r.RepeatInterval, "0s"))
		if err != nil || time.Duration(repeat) > 120*time.Hour {
			t.Errorf("repeat_interval %q of the route %q: %v, want at most 120h", r.RepeatInterval, r.Matchers, err)
		}
		if slices.Contains(r.GroupBy, "alertname") {
			t.Errorf("the route %q groups by %q: one cause has many alerts", r.Matchers, r.GroupBy)
		}
		muted += len(r.Mute)
		for _, child := range r.Routes {
			visit(child)
		}
	}
	visit(file.Route)
	if muted == 0 {
		t.Error("no route is muted at nights or weekends")
	}
}

// TestScrapeExamples checks that each example of a scrape keeps the exporter's labels,
// and the classic histograms beside the native ones.
func TestScrapeExamples(t *testing.T) {
	for name, want := range map[string][]string{
		"prometheus.yml":                         {"honor_labels: true", "always_scrape_classic_histograms: true"},
		"../compose/prometheus.yml":              {"honor_labels: true", "always_scrape_classic_histograms: true"},
		"../kubernetes/base/servicemonitor.yaml": {"honorLabels: true", "scrapeClassicHistograms: true"},
		"../helm/waitpoint-exporter/values.yaml": {"honorLabels: true", "scrapeClassicHistograms: true"},
		"../../README.md":                        {"honor_labels: true", "always_scrape_classic_histograms: true"},
	} {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(string(content), w) {
				t.Errorf("%s lacks %s", name, w)
			}
		}
	}
}

// TestMatching checks that rules match alike with and without honor_labels: by
// the labels that the exporter's have then, or by all but those that differ.
func TestMatching(t *testing.T) {
	var file struct {
		Groups []struct {
			Rules []struct{ Record, Expr string }
		}
	}
	read(t, "recording.yml", &file)
	exprs := map[string]string{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			exprs[r.Record] = r.Expr
		}
	}
	for _, a := range readAlerts(t) {
		exprs[a.Alert] = a.Expr
	}
	for name, expr := range exprs {
		for _, list := range regexp.MustCompile(`\b(?:on|by) \(([^)]*)\)`).FindAllStringSubmatch(expr, -1) {
			for _, label := range []string{
				"job", "environment", "project", "exported_environment",
				"exported_project",
			} {
				if !slices.Contains(strings.Split(list[1], ", "), label) {
					t.Errorf("%s matches by (%s), without %s", name, list[1], label)
				}
			}
		}
	}
}

// TestAlertRunbook checks that each link leads to a section that speaks of the
// rule as it is, that what to do stands first and in full, and that no section
// is left of an alert that is gone.
func TestAlertRunbook(t *testing.T) {
	content, err := os.ReadFile("RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(content), "\n## ")
	contents, sections := parts[0], map[string]string{}
	for _, section := range parts[1:] {
		title, text, _ := strings.Cut(section, "\n")
		anchor := strings.ReplaceAll(strings.ToLower(title), " ", "-")
		if sections[anchor] != "" {
			t.Errorf("RUNBOOK.md has the section %q twice", title)
		}
		sections[anchor] = text
		if !strings.Contains(contents, "(#"+anchor+")") {
			t.Errorf("the list of contents lacks %q", title)
		}
	}
	for _, general := range []string{"look-at-a-token", "complete-a-token", "complete-a-list", "tell-an-orphan"} {
		if sections[general] == "" {
			t.Errorf("RUNBOOK.md has no section %s", general)
		}
		delete(sections, general)
	}
	alerts := readAlerts(t)
	for _, a := range alerts {
		anchor := strings.ToLower(a.Alert)
		text, ok := sections[anchor]
		if !ok {
			t.Errorf("%s: RUNBOOK.md has no such section", a.Alert)
			continue
		}
		delete(sections, anchor)
		rest := text
		for _, want := range []string{
			"**What to do.**\n\n", "**What it means.** ", "**Why these numbers.** ",
			"Severity " + a.Labels["severity"] + ", after " + a.For + " of\n\n```promql\n" +
				strings.TrimSpace(a.Expr) + "\n```\n",
		} {
			before, after, ok := strings.Cut(rest, want)
			if !ok {
				t.Errorf("%s: its section in RUNBOOK.md lacks, at its place,\n%s", a.Alert, want)
				break
			}
			if want[2:12] == "What to do" && strings.TrimSpace(before) != "" {
				t.Errorf("%s: what to do does not stand first in RUNBOOK.md", a.Alert)
			}
			rest = after
		}
		do, _, _ := strings.Cut(text, "**What it means.**")
		for _, other := range alerts {
			if strings.Contains(do, other.Alert) {
				t.Errorf("%s: what to do sends the reader to %s", a.Alert, other.Alert)
			}
		}
	}
	for anchor := range sections {
		t.Errorf("RUNBOOK.md has a section %q, but there is no such alert", anchor)
	}
}

// TestAlertCases checks that promtool sees each alert fire, silent right before,
// and silent in a test in which it never fires.
func TestAlertCases(t *testing.T) {
	type tests struct {
		Tests []struct {
			Name          string
			AlertRuleTest []struct {
				Alertname string
				ExpAlerts []yaml.Node `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	var file, days tests
	read(t, "alerts_test.yml", &file)
	read(t, "days_test.yml", &days)
	fires, before, silent := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, test := range append(file.Tests, days.Tests...) {
		firing, quiet := map[string]bool{}, map[string]bool{}
		for _, c := range test.AlertRuleTest {
			if len(c.ExpAlerts) > 0 {
				firing[c.Alertname] = true
			} else {
				quiet[c.Alertname] = true
			}
		}
		for name := range firing {
			fires[name] = true
			before[name] = before[name] || quiet[name]
		}
		for name := range quiet {
			silent[name] = silent[name] || !firing[name]
		}
	}
	for _, a := range readAlerts(t) {
		if !fires[a.Alert] {
			t.Errorf("%s fires in no test", a.Alert)
		}
		if !before[a.Alert] {
			t.Errorf("%s is silent before it fires in no test", a.Alert)
		}
		if !silent[a.Alert] {
			t.Errorf("%s stays silent in no test", a.Alert)
		}
		// To promtool, an alert that does not exist is one that is silent.
		delete(fires, a.Alert)
		delete(silent, a.Alert)
	}
	for _, left := range []map[string]bool{fires, silent} {
		for name := range left {
			t.Errorf("a test is for %s, but there is no such alert", name)
		}
	}
}
