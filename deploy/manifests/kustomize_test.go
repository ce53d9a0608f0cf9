//go:build manifests

package manifests

import (
	"os"
	"testing"
)

// folders are what people build.
var folders = []struct {
	name   string
	expect []string
}{
	{name: "base", expect: []string{
		"Deployment spec.template.spec.containers.0.image: waitpoint_exporter",
		"NetworkPolicy spec.podSelector.matchLabels: {app.kubernetes.io/name: waitpoint-exporter}",
		"NetworkPolicy spec.egress.*.ports.*.port: [53, 443]",
		"ServiceMonitor spec.selector.matchLabels: {app.kubernetes.io/name: waitpoint-exporter}",
		"PrometheusRule spec.groups.*.rules.*.alert: [WaitpointTokensStuck, WaitpointExporterDown]",
	}},
	{name: "overlays/production", expect: []string{
		"Deployment metadata.namespace: monitoring",
		"Deployment spec.template.spec.containers.0.image: registry.example.com/waitpoint_exporter:0.1.0",
	}},
}

// testKustomize holds that each folder is built and admitted.
func testKustomize(t *testing.T, c *cluster) {
	for _, test := range folders {
		t.Run(test.name, func(t *testing.T) {
			out, err := run(t.Context(), "", program(t, "KUSTOMIZE"), "build", root+"/deploy/kubernetes/"+test.name)
			if err != nil {
				t.Fatal(err)
			}
			objects := parse(t, out)
			for _, e := range test.expect {
				expect(t, objects, e)
			}
			admitAll(t.Context(), t, c, objects)
		})
	}
	example, err := os.ReadFile(root + "/deploy/kubernetes/overlays/production/secret.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range parse(t, string(example)) {
		if err := c.admit(t.Context(), o); err != nil {
			t.Errorf("secret.example.yaml: %s", err)
		}
	}
}
