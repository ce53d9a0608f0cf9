//go:build manifests

package manifests

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"waitpoint_exporter/test/programs"

	"go.yaml.in/yaml/v3"
)

// An object is what a manifest describes.
type object map[string]any

func (o object) text(path string) string {
	s, _ := at(map[string]any(o), path).(string)
	return s
}

func (o object) kind() string { return o.text("kind") }

func (o object) String() string { return o.kind() + " " + o.text("metadata.name") }

// A cluster is a kube-apiserver with its etcd: it validates and admits as any
// cluster does, but nothing runs there.
type cluster struct {
	url, kubeconfig string
	client          *http.Client
	resources       map[string]resource // By apiVersion and kind.
}

type resource struct {
	path       string // Of the API's group and version.
	name       string
	namespaced bool
}

const token = "of-the-test-alone"

// startCluster starts one with the custom resources of $CRDS and the namespace
// monitoring, to which pods are admitted at the Pod Security level restricted.
func startCluster(ctx context.Context, t *testing.T) *cluster {
	t.Helper()
	dir := t.TempDir()
	store, peer, address := "http://"+programs.FreeAddress(
		ctx,
		t,
	), "http://"+programs.FreeAddress(
		ctx,
		t,
	), programs.FreeAddress(
		ctx,
		t,
	)
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	accounts := programs.Write(
		t,
		dir,
		"accounts.key",
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})),
	)
	tokens := programs.Write(t, dir, "tokens.csv", fmt.Sprintf("%q,admin,admin,system:masters\n", token))
	programs.Start(ctx, t, dir, programs.Path(t, "ETCD"), "--data-dir="+filepath.Join(dir, "etcd"), "--unsafe-no-fsync",
		"--log-level=warn", "--listen-client-urls="+store, "--advertise-client-urls="+store, "--listen-peer-urls="+peer)
	programs.Start(ctx, t, dir, programs.Path(t, "KUBE_APISERVER"), "--etcd-servers="+store, "--cert-dir="+dir,
		"--bind-address="+host, "--secure-port="+port, "--service-cluster-ip-range=10.0.0.0/24",
		"--token-auth-file="+tokens, "--authorization-mode=AlwaysAllow", "--service-account-issuer=https://localhost",
		"--service-account-key-file="+accounts, "--service-account-signing-key-file="+accounts,
		// The controller that makes the account "default" does not run.
		"--disable-admission-plugins=ServiceAccount")
	c := &cluster{url: "https://" + address, client: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // It makes its certificate itself.
	}}}
	c.kubeconfig = programs.Write(t, dir, "kubeconfig", fmt.Sprintf(`
apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test}}]
clusters: [{name: test, cluster: {server: %s, insecure-skip-tls-verify: true}}]
users: [{name: test, user: {token: %s}}]
`, c.url, token))
	programs.WaitFor(ctx, t, "kube-apiserver", func() error { return c.do(ctx, http.MethodGet, "/readyz", nil, nil) })

	for file := range strings.SplitSeq(os.Getenv("CRDS"), ":") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("$CRDS: %s", err)
		}
		for _, crd := range parse(t, string(text)) {
			const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
			if err := c.do(ctx, http.MethodPost, path, crd, nil); err != nil {
				t.Fatalf("%s: %s", file, err)
			}
		}
	}
	if err := c.do(ctx, http.MethodPost, "/api/v1/namespaces", object{"metadata": map[string]any{
		"name": "monitoring", "labels": map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.do(ctx, http.MethodPost, "/apis/node.k8s.io/v1/runtimeclasses", object{
		"metadata": map[string]any{"name": "gvisor"}, "handler": "runsc",
	}, nil); err != nil {
		t.Fatal(err)
	}
	programs.WaitFor(ctx, t, "the custom resources", func() error { return c.discover(ctx) })
	return c
}

// discover learns where each kind is. It returns an error until those that the
// manifests have are all there.
func (c *cluster) discover(ctx context.Context) error {
	c.resources = map[string]resource{}
	for _, version := range []string{
		"v1", "apps/v1", "networking.k8s.io/v1", "monitoring.coreos.com/v1", "gateway.networking.k8s.io/v1",
	} {
		path := "/apis/" + version
		if version == "v1" {
			path = "/api/v1"
		}
		var list struct {
			Resources []struct {
				Name, Kind string
				Namespaced bool
			}
		}
		if err := c.do(ctx, http.MethodGet, path, nil, &list); err != nil {
			return err
		}
		for _, r := range list.Resources {
			if !strings.Contains(r.Name, "/") {
				c.resources[version+" "+r.Kind] = resource{path, r.Name, r.Namespaced}
			}
		}
	}
	return nil
}

// admit asks for the object as kubectl would, but has it not stored: unknown and
// repeated fields are errors.
func (c *cluster) admit(ctx context.Context, o object) error {
	r, ok := c.resources[o.text("apiVersion")+" "+o.kind()]
	if !ok {
		return fmt.Errorf("%s: no such kind %s", o, o.text("apiVersion"))
	}
	path := r.path + "/" + r.name
	if r.namespaced {
		// Namespaces other than ours are not there, which is not the manifests' fault.
		o = clone(o)
		metadata, _ := o["metadata"].(map[string]any)
		metadata["namespace"] = "monitoring"
		path = r.path + "/namespaces/monitoring/" + r.name
	}
	if err := c.do(ctx, http.MethodPost, path+"?dryRun=All&fieldValidation=Strict", o, nil); err != nil {
		return fmt.Errorf("%s: %w", o, err)
	}
	return nil
}

// do sends body, as JSON, and reads the answer into out.
func (c *cluster) do(ctx context.Context, method, path string, body, out any) error {
	var send bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&send).Encode(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, &send)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		var status struct{ Message string }
		_ = json.Unmarshal(answer, &status) // Not all that it answers is JSON.
		return errors.New(cmp.Or(status.Message, resp.Status))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// parse reads manifests as YAML. A key that is given twice is an error.
func parse(t *testing.T, text string) []object {
	t.Helper()
	var out []object
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var o map[string]any
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatalf("%s:\n%s", err, text)
		}
		if len(o) > 0 {
			out = append(out, o)
		}
	}
}

func clone(o object) object {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err) // It was read from YAML.
	}
	var out object
	if err := json.Unmarshal(text, &out); err != nil {
		panic(err)
	}
	return out
}

// run returns what a program prints, and the error with what it says of it.
func run(ctx context.Context, stdin, binary string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, binary, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s", filepath.Base(binary), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
