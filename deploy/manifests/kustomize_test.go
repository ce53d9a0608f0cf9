//go:build manifests

package manifests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"waitpoint_exporter/test/programs"
)

// folders are what people build: the base, alone or with components, and the
// overlays.
var folders = []struct {
	name       string
	components []string
	expect     []string
}{
	{name: "base", expect: []string{
		"Container image: waitpoint_exporter",
		"Container args: ['--web.external-url=http://waitpoint-exporter.$(NAMESPACE).svc:10210']",
		"NetworkPolicy spec.podSelector.matchLabels: {app.kubernetes.io/name: waitpoint-exporter}",
		"NetworkPolicy spec.egress.*.ports.*.port: [53, 443]",
		"ServiceMonitor spec.selector.matchLabels: {app.kubernetes.io/name: waitpoint-exporter}",
		"ServiceMonitor spec.endpoints.0: {port: metrics, honorLabels: true}",
		"PrometheusRule spec.groups.*.rules.*.alert: [WaitpointTokensOverdue, WaitpointExporterDown]",
	}},
	{name: "overlays/production", expect: []string{
		"Deployment metadata.namespace: monitoring",
		"Container image: registry.example.com/waitpoint_exporter:0.1.0",
	}},
	{name: "base", components: []string{"self-hosted"}, expect: []string{
		"NetworkPolicy spec.egress.*.ports.*.port: [53, 443, 3030]",
	}},
	{name: "base", components: []string{"proxy"}, expect: []string{
		"NetworkPolicy spec.egress.*.ports.*.port: [53, 443, 3128]",
		"Container env: [{name: HTTPS_PROXY, value: 'http://proxy.example.com:3128'}, {name: NAMESPACE}]",
	}},
	{name: "base", components: []string{"tls"}, expect: []string{
		"Container: {livenessProbe: {httpGet: {scheme: HTTPS}}, readinessProbe: {httpGet: {scheme: HTTPS}}}",
		"Container args: ['--web.external-url=https://waitpoint-exporter.$(NAMESPACE).svc:10210']",
		"Endpoint: {scheme: https, tlsConfig: {serverName: waitpoint-exporter.monitoring.svc}}",
	}},
	{name: "base", components: []string{"users"}, expect: []string{
		"Container: {livenessProbe: {tcpSocket: {port: metrics}}, readinessProbe: {tcpSocket: {port: metrics}}}",
		"PodSpec volumes: [{name: web, secret: {secretName: waitpoint-exporter-web, defaultMode: 288}}]",
		"Endpoint: {scheme: https, basicAuth: {username: {name: waitpoint-exporter-login, key: username}}}",
	}},
	{name: "base", components: []string{"dashboards"}, expect: []string{
		"ConfigMap[waitpoint-exporter-dashboard-waitpoints] metadata.labels: {grafana_dashboard: '1'}",
		"ConfigMap[waitpoint-exporter-dashboard-waitpoint-exporter] metadata.labels: {grafana_dashboard: '1'}",
	}},
	{name: "base", components: []string{"openshift"}, expect: []string{
		"PodSpec securityContext: {runAsNonRoot: true}",
		"PodSpec securityContext.runAsUser: null", "PodSpec securityContext.fsGroup: null",
		"NetworkPolicy spec.egress.*.ports: [{protocol: UDP, port: 53}, {protocol: UDP, port: 5353}]",
	}},
	{name: "base", components: []string{"no-operator"}, expect: []string{
		"ServiceMonitor: null", "PrometheusRule: null", "Service metadata.annotations: {prometheus.io/scrape: 'true'}",
	}},
	{name: "base", components: []string{"no-operator", "users"}, expect: []string{
		"ServiceMonitor: null",
		"Service metadata.annotations: {prometheus.io/scrape: 'true', prometheus.io/scheme: https}",
	}},
	{name: "base", components: []string{"tls", "no-operator"}, expect: []string{
		"Service metadata.annotations: {prometheus.io/scrape: 'true', prometheus.io/scheme: https}",
	}},
	{name: "base", components: []string{"self-hosted", "proxy", "users", "dashboards", "openshift"}, expect: []string{
		"NetworkPolicy spec.egress.*.ports.*.port: [53, 443, 3030, 3128, 5353]",
	}},
}

// testKustomize checks that each folder and each component is built and admitted.
func testKustomize(t *testing.T, c *cluster) {
	covered := map[string]bool{}
	for _, test := range folders {
		for _, component := range test.components {
			covered[component] = true
		}
		t.Run(strings.Join(append([]string{test.name}, test.components...), ","), func(t *testing.T) {
			objects := kustomize(t.Context(), t, test.name, test.components...)
			for _, e := range test.expect {
				expect(t, objects, e)
			}
			admitAll(t.Context(), t, c, objects)
		})
	}
	components, err := os.ReadDir(root + "/deploy/kubernetes/components")
	if err != nil {
		t.Fatal(err)
	}
	for _, component := range components {
		if !covered[component.Name()] {
			t.Errorf("the component %s has no case", component.Name())
		}
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

// kustomize builds an overlay of a folder and components, in the namespace of all
// renderings.
func kustomize(ctx context.Context, t *testing.T, folder string, components ...string) []object {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Abs(root + "/deploy/kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	way, err := filepath.Rel(dir, top)
	if err != nil {
		t.Fatal(err)
	}
	var ways []string
	for _, component := range components {
		ways = append(ways, filepath.Join(way, "components", component))
	}
	programs.Write(t, dir, "kustomization.yaml", fmt.Sprintf("namespace: %s\nresources: [%s]\ncomponents: [%s]\n",
		namespace, filepath.Join(way, folder), strings.Join(ways, ", ")))
	out, err := run(ctx, "", programs.Path(t, "KUSTOMIZE"), "build", dir)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, out)
}

// TestServingKustomize does with the components what TestServing does with the
// chart.
func TestServingKustomize(t *testing.T) {
	s := newServing(t)
	for _, components := range [][]string{nil, {"tls"}, {"users"}} {
		t.Run(filepath.Join(slices.Concat([]string{"base"}, components)...), func(t *testing.T) {
			s.try(t, kustomize(t.Context(), t, "base", components...), "10210")
		})
	}
}
