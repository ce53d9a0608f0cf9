//go:build manifests

package manifests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"waitpoint_exporter/test/programs"
)

const everything = "{serviceMonitor: {enabled: true}, prometheusRule: {enabled: true}, dashboards: {enabled: true}}"

// digestLine is what the release workflow looks for.
var digestLine = regexp.MustCompile(`(?m)^Digest: sha256:[0-9a-f]{64}$`)

// TestFlux renders a copy of the chart as Flux and Windows have it, without links:
// nothing is missing. A copy that lacks a file is refused.
func TestFlux(t *testing.T) {
	whole, err := helm(t.Context(), t, chart, nil, image, everything)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "waitpoint-exporter")
	err = filepath.Walk(chart, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		programs.Write(t, copied, strings.TrimPrefix(path, chart), string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := helm(t.Context(), t, copied, nil, image, everything); err != nil || got != whole {
		t.Errorf("without links the chart renders differently: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(copied, "files", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		empty := func() error { return os.WriteFile(file, nil, 0o600) }
		remove := func() error { return os.Remove(file) }
		for _, lost := range []func() error{empty, remove} {
			if err := lost(); err != nil {
				t.Fatal(err)
			}
			want := filepath.Base(file) + " is missing or empty"
			_, err := helm(t.Context(), t, copied, nil, image, everything)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want an error that says %q", err, want)
			}
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// testPackage packages the chart as a release does, and installs, upgrades and
// removes it.
func testPackage(t *testing.T, c *cluster) {
	dir := t.TempDir()
	if _, err := run(t.Context(), "", root+"/.ci/chart", "1.2.3-rc.1", "ghcr.io/Acme/Waitpoints", dir); err != nil {
		t.Fatal(err)
	}
	packed := filepath.Join(dir, "waitpoint-exporter-1.2.3-rc.1.tgz")
	out, err := helm(t.Context(), t, packed, nil, everything)
	if err != nil {
		t.Fatal(err)
	}
	objects := parse(t, out)
	for _, e := range []string{
		"Deployment spec.template.spec.containers.0.image: ghcr.io/acme/waitpoints:1.2.3-rc.1",
		"Deployment metadata.labels: {app.kubernetes.io/version: 1.2.3-rc.1, helm.sh/chart: " +
			"waitpoint-exporter-1.2.3-rc.1}",
	} {
		expect(t, objects, e)
	}
	shown, err := run(t.Context(), "", programs.Path(t, "HELM"), "show", "chart", packed)
	if err != nil {
		t.Fatal(err)
	}
	facts := parse(t, shown)[0]
	annotations, _ := facts["annotations"].(map[string]any)
	for name, want := range map[string]string{
		"artifacthub.io/images":     "- name: waitpoint_exporter\n  image: ghcr.io/acme/waitpoints:1.2.3-rc.1\n",
		"artifacthub.io/prerelease": "true",
		"artifacthub.io/license":    "Apache-2.0", "artifacthub.io/category": "monitoring-logging",
	} {
		if annotations[name] != want {
			t.Errorf("annotation %s is %q, want %q", name, annotations[name], want)
		}
	}

	source := push(t, packed)
	steps := [][]string{
		{"install", release, packed, "--values=-"},
		{
			"upgrade", release, source, "--version=1.2.3-rc.1", "--plain-http", "--values=-",
			"--set=web.port=9000,replicas=0",
		},
		{"rollback", release, "1"},
		{"uninstall", release},
	}
	for i, step := range steps {
		args := append(step, "--namespace="+namespace, "--kubeconfig="+c.kubeconfig)
		if out, err := run(t.Context(), everything, programs.Path(t, "HELM"), args...); err != nil {
			t.Fatalf("helm %s: %s%s", strings.Join(args, " "), out, err)
		}
		var list struct{ Items []map[string]any }
		if err := c.do(t.Context(), "GET", "/apis/apps/v1/namespaces/"+namespace+"/deployments", nil,
			&list); err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{true: 0, false: 1}[i == len(steps)-1]; len(list.Items) != want {
			t.Errorf("after %s there are %d Deployments, want %d", step[0], len(list.Items), want)
		}
	}
}

// push puts the package into a registry, as the release does, and returns where it
// is.
func push(t *testing.T, packed string) string {
	t.Helper()
	_, port, _ := strings.Cut(programs.FreeAddress(t.Context(), t), ":")
	programs.Start(t.Context(), t, t.TempDir(), programs.Path(t, "REGISTRY"), "-port="+port)
	registry := "oci://localhost:" + port + "/acme/charts"
	programs.WaitFor(t.Context(), t, "the registry", func() error {
		cmd := exec.CommandContext(t.Context(), programs.Path(t, "HELM"), "push", packed, registry, "--plain-http")
		out, err := cmd.CombinedOutput()
		// It is signed by what this line says.
		if err == nil && !digestLine.Match(out) {
			err = fmt.Errorf("no digest in %q", out)
		}
		return err
	})
	return registry + "/waitpoint-exporter"
}
