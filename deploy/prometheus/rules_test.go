package runbook_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	runbook "waitpoint_exporter/deploy/prometheus"
)

type rule struct {
	Alert               string
	Labels, Annotations map[string]string
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(content, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// TestAlerts holds that each alert says what is wrong, links to the tokens or
// the exporter, has its section in the runbook, and cases in which promtool sees
// it fire and stay silent.
func TestAlerts(t *testing.T) {
	var rules struct{ Groups []struct{ Rules []rule } }
	read(t, "alerts.yml", &rules)
	var cases struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string
				ExpAlerts []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	read(t, "alerts_test.yml", &cases)
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, c := range cases.Tests {
		for i, a := range c.AlertRuleTest {
			fires[a.Alertname] = fires[a.Alertname] || len(a.ExpAlerts) > 0
			// The only case of its test, that is, not just the minute before it fires.
			silent[a.Alertname] = silent[a.Alertname] || len(c.AlertRuleTest) == 1 && i == 0 && len(a.ExpAlerts) == 0
		}
	}
	sections := strings.Split(string(runbook.Markdown), "\n")
	n := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			n++
			if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
				t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
			}
			if r.Annotations["summary"] == "" || !strings.Contains(r.Annotations["description"], "http://{{ $labels.instance }}/") {
				t.Errorf("%s: want a summary, and a description with a link: %v", r.Alert, r.Annotations)
			}
			if want := "http://{{ $labels.instance }}/runbook#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want || !slices.Contains(sections, "## "+r.Alert) {
				t.Errorf("%s: runbook_url %q, want %q and that section", r.Alert, r.Annotations["runbook_url"], want)
			}
			if !fires[r.Alert] || !silent[r.Alert] {
				t.Errorf("%s: fires in a test: %t, stays silent in one: %t", r.Alert, fires[r.Alert], silent[r.Alert])
			}
		}
	}
	if n < 15 {
		t.Errorf("%d alerts", n)
	}
}
