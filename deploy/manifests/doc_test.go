//go:build manifests

// Package manifests tries the Helm chart and the kustomize folders on a real
// kube-apiserver: each value and each component is rendered, and what comes out
// is validated strictly and admitted at the Pod Security level restricted. The
// exporter itself is then started, probed and scraped as the objects say.
//
// The environment variables HELM, KUSTOMIZE, KUBE_APISERVER, ETCD, REGISTRY and
// BUSYBOX say where the programs are, KUBERNETES of which version, CRDS which
// custom resources there are, as files separated by colons; without them the tests
// fail. .ci/manifests sets them.
package manifests

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"waitpoint_exporter/test/programs"
)

const (
	root  = "../.."
	chart = root + "/deploy/helm/waitpoint-exporter"
	// What a chart from a checkout cannot do without.
	image = "image: {repository: acme/waitpoint_exporter}"
	// The namespace of all renderings.
	namespace = "monitoring"
	// The release, which has the chart's name in it, so that names stay short.
	release = "waitpoint-exporter"
)

// helm renders a chart. Of values, which are YAML, the later count. It takes
// itself for an old Kubernetes unless told.
func helm(ctx context.Context, t *testing.T, from string, args []string, values ...string) (string, error) {
	t.Helper()
	merged := map[string]any{}
	for _, text := range values {
		var v map[string]any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%s:\n%s", err, text)
		}
		merge(merged, v)
	}
	stdin, err := yaml.Marshal(merged)
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{
		"template", release, from, "--namespace=" + namespace, "--kube-version=" + programs.Path(t, "KUBERNETES"),
		"--values=-",
	}, args...)
	return run(ctx, string(stdin), programs.Path(t, "HELM"), args...)
}

func render(ctx context.Context, t *testing.T, values ...string) []object {
	t.Helper()
	out, err := helm(ctx, t, chart, nil, append([]string{image}, values...)...)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, out)
}

func merge(into, from map[string]any) {
	for key, value := range from {
		old, isMap := into[key].(map[string]any)
		if v, ok := value.(map[string]any); ok && isMap {
			merge(old, v)
		} else {
			into[key] = value
		}
	}
}

// at returns what stands at the path, or nil. Parts are separated by dots; a
// number is an index, and "*" a list's elements, one after the other.
func at(value any, path string) any {
	if path == "" {
		return value
	}
	part, rest, _ := strings.Cut(path, ".")
	switch v := value.(type) {
	case map[string]any:
		return at(v[strings.ReplaceAll(part, "~", ".")], rest)
	case []any:
		if part == "*" {
			var all []any
			for _, e := range v {
				if found, isList := at(e, rest).([]any); isList {
					all = append(all, found...)
				} else if found := at(e, rest); found != nil {
					all = append(all, found)
				}
			}
			return all
		}
		if i, err := strconv.Atoi(part); err == nil && i < len(v) {
			return at(v[i], rest)
		}
	}
	return nil
}

// has reports whether want is in got: each key of a map, each element of a list.
func has(got, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		for key, value := range w {
			if ok = ok && has(g[key], value); !ok {
				break
			}
		}
		return ok
	case []any:
		g, ok := got.([]any)
		for _, value := range w {
			ok = ok && slices.ContainsFunc(g, func(e any) bool { return has(e, value) })
		}
		return ok
	default:
		return reflect.DeepEqual(got, want)
	}
}

// places are short for what expectations are often about.
var places = map[string]string{
	"PodSpec":   "Deployment spec.template.spec",
	"Container": "Deployment spec.template.spec.containers.0",
	"Endpoint":  "ServiceMonitor spec.endpoints.0",
}

// An expectation is "KIND PATH: VALUE", where VALUE is YAML and what is there may
// have more; "KIND: null" that there is none, "KIND PATH: null" that nothing is
// there. Objects are told apart by a name in brackets: "Secret[waitpoint-web] data".
func expect(t *testing.T, objects []object, text string) {
	t.Helper()
	subject, value, ok := strings.Cut(text, ": ")
	if !ok {
		t.Fatalf("%q is no expectation", text)
	}
	kind, path, _ := strings.Cut(subject, " ")
	if place := places[kind]; place != "" {
		kind, path, _ = strings.Cut(strings.TrimSuffix(place+"."+path, "."), " ")
	}
	kind, name, _ := strings.Cut(strings.TrimSuffix(kind, "]"), "[")
	var want any
	if err := yaml.Unmarshal([]byte(value), &want); err != nil {
		t.Fatalf("%q: %s", text, err)
	}
	var found []any
	for _, o := range objects {
		if o.kind() == kind && (name == "" || o.text("metadata.name") == name) {
			if found = append(found, at(map[string]any(o), path)); has(found[len(found)-1], want) && want != nil {
				return
			}
		}
	}
	if want == nil && !slices.ContainsFunc(found, func(v any) bool { return v != nil }) {
		return
	}
	shown, _ := yaml.Marshal(found)
	t.Errorf("not as expected: %s\nthere is\n%s", text, shown)
}

// pod is the one that a Deployment makes.
func pod(t *testing.T, objects []object) object {
	t.Helper()
	for _, o := range objects {
		if template, ok := at(map[string]any(o), "spec.template").(map[string]any); ok && o.kind() == "Deployment" {
			p := clone(template)
			p["apiVersion"], p["kind"] = "v1", "Pod"
			merge(p, map[string]any{"metadata": map[string]any{"name": o.text("metadata.name")}})
			return p
		}
	}
	t.Fatal("there is no Deployment")
	return nil
}

// maxApplied is how large an object may be: kubectl apply puts it into an annotation.
const maxApplied = 256 << 10

// admitAll has the server look at each object and at the pod.
func admitAll(ctx context.Context, t *testing.T, c *cluster, objects []object) {
	t.Helper()
	for _, o := range append(slices.Clone(objects), pod(t, objects)) {
		if err := c.admit(ctx, o); err != nil {
			t.Error(err)
		}
		if text, err := json.Marshal(o); err != nil || len(text) > maxApplied {
			t.Errorf("%s has %d bytes, too many for kubectl apply: %v", o, len(text), err)
		}
	}
}

// leaves returns the paths of what is set, those of maps that hold something
// excepted.
func leaves(prefix string, value map[string]any) []string {
	var out []string
	for key, v := range value {
		if m, ok := v.(map[string]any); ok && len(m) > 0 {
			out = append(out, leaves(prefix+key+".", m)...)
		} else {
			out = append(out, fmt.Sprint(prefix, key))
		}
	}
	slices.Sort(out)
	return out
}
