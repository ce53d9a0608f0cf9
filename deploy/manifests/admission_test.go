//go:build manifests

package manifests

import (
	"strings"
	"testing"
)

// TestAdmission holds what is rendered to a real server.
func TestAdmission(t *testing.T) {
	c := startCluster(t.Context(), t)
	t.Run("chart", func(t *testing.T) { testChart(t, c) })
	t.Run("kustomize", func(t *testing.T) { testKustomize(t, c) })
	t.Run("package", func(t *testing.T) { testPackage(t, c) })
	t.Run("worse", func(t *testing.T) { testWorse(t, c) })
}

// testWorse checks that the server would have refused what the other tests are
// about: manifests that are wrong, and pods that are less restricted.
func testWorse(t *testing.T, c *cluster) {
	objects := render(t.Context(), t, "{serviceMonitor: {enabled: true}, prometheusRule: {enabled: true}}")
	for _, test := range []struct{ kind, path, value, want string }{
		{"Pod", "spec.securityContext", "{runAsNonRoot: false}", "runAsNonRoot"},
		{"Pod", "spec.securityContext", "{runAsUser: 0}", "runAsUser=0"},
		{"Pod", "spec.securityContext", "{seccompProfile: {type: Unconfined}}", "seccompProfile"},
		{"Pod", "spec", "{hostNetwork: true}", "host namespaces"},
		{"Pod", "spec.volumes.0", "{name: config, configMap: null, hostPath: {path: /}}", "hostPath"},
		{"Pod", "spec.containers.0.securityContext", "{privileged: true}", "privileged"},
		{"Pod", "spec.containers.0.securityContext", "{allowPrivilegeEscalation: true}", "allowPrivilegeEscalation"},
		{"Pod", "spec.containers.0.securityContext.capabilities", "{drop: []}", "unrestricted capabilities"},
		{"Pod", "spec.containers.0.securityContext.capabilities", "{add: [SYS_ADMIN]}", "unrestricted capabilities"},
		{
			"Deployment", "spec.template.spec.containers.0.securityContext", "{readOnlyRootFilesystemX: true}",
			`unknown field "spec.template.spec.containers[0].securityContext.readOnlyRootFilesystemX"`,
		},
		{"Deployment", "spec.template.metadata.labels", "{app.kubernetes.io/name: another}", "does not match template"},
		{
			"Deployment", "spec.template.spec.containers.0.livenessProbe.httpGet", "{port: nowhere to be found}",
			"livenessProbe.httpGet.port",
		},
		{"Service", "spec.ports.0", "{port: 0}", "spec.ports[0].port"},
		{"NetworkPolicy", "spec", "{podSelectorX: {}}", "podSelectorX"},
		{"NetworkPolicy", "spec.egress.0.ports.0", "{protocol: ICMP}", "protocol"},
		{"ServiceMonitor", "spec.endpoints.0", "{relabelingsX: []}", "relabelingsX"},
		{"ServiceMonitor", "spec.endpoints.0", "{interval: soon}", "spec.endpoints[0].interval"},
		{"PrometheusRule", "spec.groups.0.rules.0", "{for: soon}", "spec.groups[0].rules[0].for"},
	} {
		t.Run(test.kind+" "+test.path+" "+test.value, func(t *testing.T) {
			var worse object
			if test.kind == "Pod" {
				worse = pod(t, objects)
			} else {
				worse = clone(only(t, objects, test.kind))
			}
			place, ok := at(map[string]any(worse), test.path).(map[string]any)
			if !ok {
				t.Fatalf("%s has no %s", test.kind, test.path)
			}
			if err := c.admit(t.Context(), worse); err != nil {
				t.Fatalf("as it is: %s", err)
			}
			merge(place, parse(t, test.value)[0])
			err := c.admit(t.Context(), worse)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error that names %s", err, test.want)
			}
		})
	}
}
