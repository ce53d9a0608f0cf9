// Package helm_test holds the copies of rules and dashboards that chart and
// kustomize base carry to those in deploy/prometheus and dashboards. What the
// chart renders is for deploy/manifests.
package helm_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const (
	root  = "../.."
	files = "waitpoint-exporter/files"
	hint  = "run make rules"
)

// sources are the files that the chart has copies of, by the copy's name.
var sources = map[string]string{
	"alerts.yml":              "deploy/prometheus/alerts.yml",
	"recording.yml":           "deploy/prometheus/recording.yml",
	"waitpoints.json":         "dashboards/waitpoints.json",
	"waitpoint-exporter.json": "dashboards/waitpoint-exporter.json",
}

// TestFiles checks that each file of the chart is its source, byte by byte, and
// a file of its own: a link is lost where the chart is packed by other tools.
func TestFiles(t *testing.T) {
	entries, err := os.ReadDir(files)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if sources[e.Name()] == "" {
			t.Errorf("%s is no copy of anything", e.Name())
		}
	}
	for name, source := range sources {
		info, err := os.Lstat(filepath.Join(files, name))
		if err != nil {
			t.Errorf("%v: %s", err, hint)
			continue
		}
		if !info.Mode().IsRegular() {
			t.Errorf("%s is no regular file: %s", name, hint)
		}
		if got, want := content(t, filepath.Join(files, name)), content(t, filepath.Join(root, source)); !bytes.Equal(
			got,
			want,
		) {
			t.Errorf("%s differs from %s: %s", name, source, hint)
		}
	}
}

// TestDashboards checks that no dashboard is forgotten.
func TestDashboards(t *testing.T) {
	boards, err := filepath.Glob(filepath.Join(root, "dashboards", "*.json"))
	if err != nil || len(boards) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	for _, board := range boards {
		if sources[filepath.Base(board)] == "" {
			t.Errorf("the chart has no copy of %s", board)
		}
	}
}

// TestBaseRules checks that the PrometheusRule of the kustomize base has the
// groups of the rule files.
func TestBaseRules(t *testing.T) {
	var want []any
	for _, name := range []string{"recording.yml", "alerts.yml"} {
		var file struct{ Groups []any }
		decode(t, filepath.Join(root, "deploy/prometheus", name), &file)
		want = append(want, file.Groups...)
	}
	if len(want) == 0 {
		t.Fatal("the rule files have no group")
	}
	var got struct{ Spec struct{ Groups []any } }
	decode(t, filepath.Join(root, "deploy/kubernetes/base/prometheusrule.yaml"), &got)
	if diff := cmp.Diff(want, got.Spec.Groups); diff != "" {
		t.Errorf("prometheusrule.yaml (+) differs from deploy/prometheus (-): %s\n%s", hint, diff)
	}
}

func content(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.Unmarshal(content(t, name), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
