// Package runbook_test holds alerts, their tests and the runbook to each
// other. Whether an alert fires when it should is for promtool, see .ci/rules.
package runbook_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A rule is one of the file's alerts.
type rule struct {
	Alert, Expr, For    string
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

// TestAlertFields holds that who is woken finds out what is wrong, how bad it
// is, and where to look.
func TestAlertFields(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range readAlerts(t) {
		if !strings.HasPrefix(a.Alert, "Waitpoint") || seen[a.Alert] {
			t.Errorf("alert %q: want a name of its own that begins with Waitpoint", a.Alert)
		}
		seen[a.Alert] = true
		if severities := []string{"critical", "warning", "info"}; !slices.Contains(severities, a.Labels["severity"]) {
			t.Errorf("%s: severity %q is none of %q", a.Alert, a.Labels["severity"], severities)
		}
		if a.Annotations["summary"] == "" {
			t.Errorf("%s: no summary", a.Alert)
		}
		if d := a.Annotations["description"]; !strings.Contains(d, "$value") && a.Alert != "WaitpointExporterDown" {
			t.Errorf("%s: no number in the description %q", a.Alert, d)
		} else if !strings.Contains(d, "http://{{ $labels.instance }}/") && !strings.Contains(d, "{{ with $labels.instance }}") {
			t.Errorf("%s: no link to the exporter in the description %q", a.Alert, d)
		}
	}
}

// TestAlertRunbook holds that each link leads to a section that speaks of the
// rule as it is, and that no section is left of an alert that is gone.
func TestAlertRunbook(t *testing.T) {
	content, err := os.ReadFile("RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, section := range strings.Split(string(content), "\n## ")[1:] {
		title, text, _ := strings.Cut(section, "\n")
		if anchor := strings.ToLower(title); sections[anchor] != "" {
			t.Errorf("RUNBOOK.md has the section %q twice", title)
		} else {
			sections[anchor] = text
		}
	}
	for _, a := range readAlerts(t) {
		anchor := strings.ToLower(a.Alert)
		url := a.Annotations["runbook_url"]
		if !strings.HasPrefix(url, "http://{{") || !strings.HasSuffix(url, "}}/runbook#"+anchor) {
			t.Errorf("%s: runbook_url %q does not lead to /runbook#%s of the exporter", a.Alert, url, anchor)
		}
		text, ok := sections[anchor]
		if !ok {
			t.Errorf("%s: RUNBOOK.md has no such section", a.Alert)
			continue
		}
		delete(sections, anchor)
		for _, want := range []string{
			"Severity " + a.Labels["severity"] + ", after " + a.For + " of\n\n```promql\n" + strings.TrimSpace(a.Expr) + "\n```\n",
			"**Why these numbers.** ", "**What it means.** ", "**How to look.** ", "**What to do.** ",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: its section in RUNBOOK.md lacks\n%s", a.Alert, want)
			}
		}
	}
	for anchor := range sections {
		t.Errorf("RUNBOOK.md has a section %q, but there is no such alert", anchor)
	}
}

// TestAlertCases holds that promtool sees each alert fire, silent right before,
// and silent in a test in which it never fires.
func TestAlertCases(t *testing.T) {
	var file struct {
		Tests []struct {
			Name          string
			AlertRuleTest []struct {
				Alertname string
				ExpAlerts []yaml.Node `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	read(t, "alerts_test.yml", &file)
	fires, before, silent := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
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
			t.Errorf("alerts_test.yml tests %s, but there is no such alert", name)
		}
	}
}
