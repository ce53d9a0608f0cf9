//go:build manifests

package manifests

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"waitpoint_exporter/test/programs"

	"golang.org/x/crypto/bcrypt"
)

// secrets are by name, their contents by key.
type secrets map[string]map[string]string

// serving are ways to serve. The port is put in; {{hash}} stands for a hash of the
// password in the Secret login.
var serving = []struct{ name, values string }{
	{"as it is", `
config:
  environments:
    - {name: prod, api_url: "http://127.0.0.1:1", secret_key_file: /var/run/secrets/waitpoint_exporter/prod}
secretKeys: {prod: tr_prod_x}`},
	{"demo", "demo: true"},
	{"another path and prefix", `
demo: true
web: {telemetryPath: /numbers, externalURL: "https://example.com/waitpoints"}`},
	{"TLS", "{demo: true, web: {tlsSecret: exporter-tls}}"},
	{"users", `
demo: true
web: {config: {basic_auth_users: {prometheus: "{{hash}}"}}}
serviceMonitor: {basicAuth: {username: {name: login, key: username}, password: {name: login, key: password}}}`},
	{"TLS and users", `
demo: true
web: {tlsSecret: exporter-tls, config: {basic_auth_users: {prometheus: "{{hash}}"}}}
serviceMonitor: {basicAuth: {username: {name: login, key: username}, password: {name: login, key: password}}}`},
	{"client certificates", `
demo: true
web:
  tlsSecret: exporter-tls
  config:
    tls_server_config:
      client_auth_type: RequireAndVerifyClientCert
      client_ca_file: /etc/waitpoint_exporter_tls/ca.crt
serviceMonitor:
  tlsConfig: {cert: {secret: {name: exporter-tls, key: tls.crt}}, keySecret: {name: exporter-tls, key: tls.key}}`},
	{"a web configuration that exists", `
demo: true
web: {existingSecret: exporter-web, scheme: http}
serviceMonitor: {basicAuth: {username: {name: login, key: username}, password: {name: login, key: password}}}`},
}

// A server is the exporter with the Secrets that people make for it.
type server struct {
	binary, hash string
	given        secrets
}

func newServing(t *testing.T) *server {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, authority := issue(t, "waitpoint-exporter."+namespace+".svc")
	pair := map[string]string{"tls.crt": certificate, "tls.key": key, "ca.crt": authority}
	login := map[string]string{"username": "prometheus", "password": "right"}
	users := fmt.Sprintf("basic_auth_users: {prometheus: %q}\n", hash)
	return &server{build(t), string(hash), secrets{
		"exporter-tls": pair, "exporter-web": {"web.yml": users}, "login": login,
		"waitpoint-exporter": {"prod": "tr_prod_x"}, "waitpoint-exporter-tls": pair, "waitpoint-exporter-login": login,
		"waitpoint-exporter-web": {"web.yml": users + `
tls_server_config: {cert_file: /etc/waitpoint_exporter_tls/tls.crt, key_file: /etc/waitpoint_exporter_tls/tls.key}`},
	}}
}

// try starts the exporter as the Deployment says, asks what the probes ask and
// scrapes it as the ServiceMonitor says. Port is that of the container. It serves at
// the address until the test ends.
func (s *server) try(t *testing.T, objects []object, port string) (address string) {
	t.Helper()
	p, dir := pod(t, objects), t.TempDir()
	address = programs.FreeAddress(t.Context(), t)
	args := mount(t, dir, p, objects, s.given)
	if listen := "--web.listen-address=:" + port; slices.Contains(args, listen) {
		args = slices.DeleteFunc(args, func(a string) bool { return a == listen })
	} else if port != "10210" {
		t.Errorf("%v do not listen on %s", args, port)
	}
	expect(t, objects, "Deployment spec.template.spec.containers.0.ports: [{name: metrics, containerPort: "+port+"}]")
	// The kubelet expands variables; their values are not of interest here.
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "$(NAMESPACE)", namespace)
	}
	programs.Start(t.Context(), t, dir, s.binary, append(args, "--web.listen-address="+address)...)
	for _, name := range []string{"livenessProbe", "readinessProbe"} {
		programs.WaitFor(t.Context(), t, name, func() error {
			return probe(t.Context(), at(map[string]any(p), "spec.containers.0."+name), address)
		})
	}
	endpoint := at(map[string]any(only(t, objects, "ServiceMonitor")), "spec.endpoints.0")
	if err := scrape(t.Context(), endpoint, address, s.given); err != nil {
		t.Error(err)
	}
	return address
}

// helmTest runs the command of the pod of helm test, with the exporter's address in
// place of the service's name. It returns an error if that fails.
func (s *server) helmTest(t *testing.T, objects []object, address string) error {
	t.Helper()
	dir := t.TempDir()
	for _, applet := range []string{"sh", "wget", "nc", "grep"} {
		if err := os.Symlink(programs.Path(t, "BUSYBOX"), filepath.Join(dir, applet)); err != nil {
			t.Fatal(err)
		}
	}
	text, _ := at(map[string]any(only(t, objects, "Pod")), "spec.containers.0.args.0").(string)
	host, port, _ := strings.Cut(address, ":")
	text = strings.ReplaceAll(text, " waitpoint-exporter 10210", " "+host+" "+port)
	text = strings.ReplaceAll(text, "//waitpoint-exporter:10210", "//"+address)
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "sh"), "-c", text)
	cmd.Env = []string{"PATH=" + dir}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", text, err, out)
	}
	return nil
}

// TestServing checks that what the chart renders works: the program starts, the
// probes of the kubelet are good, and Prometheus and helm test get its metrics.
func TestServing(t *testing.T) {
	s := newServing(t)
	for _, test := range serving {
		t.Run(test.name, func(t *testing.T) {
			with := strings.ReplaceAll(test.values, "{{hash}}", s.hash)
			objects := render(t.Context(), t, with, "{web: {port: 9000}, serviceMonitor: {enabled: true}}")
			if err := s.helmTest(t, objects, programs.FreeAddress(t.Context(), t)); err == nil {
				t.Error("helm test succeeds where nothing serves")
			}
			if err := s.helmTest(t, objects, s.try(t, objects, "9000")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestConfigurations has the exporter check each configuration that the cases of
// the chart render, and the flags beside it.
func TestConfigurations(t *testing.T) {
	exporter := build(t)
	for _, test := range values {
		t.Run(test.name, func(t *testing.T) {
			objects := render(t.Context(), t, test.values)
			p := pod(t, objects)
			given := secrets{"exporter-web": {"web.yml": "{}"}, "keys": {"prod": "tr_prod_x"}}
			certificate, key, authority := issue(t, "exporter")
			given["exporter-tls"] = map[string]string{"tls.crt": certificate, "tls.key": key, "ca.crt": authority}
			settings := object{
				"kind":     "ConfigMap",
				"metadata": map[string]any{"name": "settings"},
				"data": map[string]any{
					"waitpoint_exporter.yml": "environments: [{name: prod, secret_key_file: " +
						"/var/run/secrets/waitpoint_exporter/prod}]",
				},
			}
			dir := t.TempDir()
			args := mount(t, dir, p, append(objects, settings), given)
			for _, name := range []string{"prod", "own", "staging"} {
				programs.Write(t, dir, "var/run/secrets/waitpoint_exporter/"+name, "tr_prod_x")
			}
			// The check is of a configuration; the demo has none.
			if slices.Contains(args, "--demo") {
				return
			}
			if out, err := run(t.Context(), "", exporter, append(args, "--config.check")...); err != nil {
				t.Errorf("%v: %s%s", args, out, err)
			}
		})
	}
}

// mount puts into dir what the container has mounted, and returns its arguments
// with paths that lead there.
func mount(t *testing.T, dir string, p object, objects []object, given secrets) []string {
	t.Helper()
	here := func(text string) string {
		for _, path := range []string{"/etc/waitpoint_exporter", "/var/run/secrets/waitpoint_exporter"} {
			text = strings.ReplaceAll(text, path, dir+path)
		}
		return text
	}
	files := map[string]any{}
	for _, o := range objects {
		files[o.kind()+" "+o.text("metadata.name")] = cmp.Or[any](o["stringData"], o["data"])
	}
	for name, content := range given {
		if files["Secret "+name] != nil {
			continue // The manifests have it.
		}
		all := map[string]any{}
		for key, text := range content {
			all[key] = text
		}
		files["Secret "+name] = all
	}
	mounts, _ := at(map[string]any(p), "spec.containers.0.volumeMounts").([]any)
	volumes, _ := at(map[string]any(p), "spec.volumes").([]any)
	for _, m := range mounts {
		for _, v := range volumes {
			if at(v, "name") != at(m, "name") {
				continue
			}
			name := fmt.Sprint("Secret ", at(v, "secret.secretName"))
			if at(v, "configMap.name") != nil {
				name = fmt.Sprint("ConfigMap ", at(v, "configMap.name"))
			}
			content, _ := files[name].(map[string]any)
			for key, text := range content {
				programs.Write(t, dir, fmt.Sprint(at(m, "mountPath"), "/", key), here(fmt.Sprint(text)))
			}
		}
	}
	list, _ := at(map[string]any(p), "spec.containers.0.args").([]any)
	var args []string
	for _, a := range list {
		args = append(args, here(fmt.Sprint(a)))
	}
	return args
}

// probe asks as the kubelet does: certificates are not verified, and what is not an
// error is good.
func probe(ctx context.Context, p any, address string) error {
	if at(p, "tcpSocket.port") == "metrics" {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return c.Close()
	}
	if at(p, "httpGet.port") != "metrics" {
		return fmt.Errorf("the probe %v asks another port", p)
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // As the kubelet does.
	}}
	defer client.CloseIdleConnections()
	scheme, _ := at(p, "httpGet.scheme").(string)
	url := fmt.Sprintf("%s://%s%v", cmp.Or(strings.ToLower(scheme), "http"), address, at(p, "httpGet.path"))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return nil
}

// scrape asks as Prometheus does with an endpoint of a ServiceMonitor.
func scrape(ctx context.Context, endpoint any, address string, given secrets) error {
	value := func(path string) string {
		name, _ := at(endpoint, path+".name").(string)
		key, _ := at(endpoint, path+".key").(string)
		return given[name][key]
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	config.ServerName, _ = at(endpoint, "tlsConfig.serverName").(string)
	config.RootCAs.AppendCertsFromPEM([]byte(value("tlsConfig.ca.secret")))
	if own := value("tlsConfig.cert.secret"); own != "" {
		pair, err := tls.X509KeyPair([]byte(own), []byte(value("tlsConfig.keySecret")))
		if err != nil {
			return err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	scheme, path := cmp.Or(at(endpoint, "scheme"), any("http")), cmp.Or(at(endpoint, "path"), any("/metrics"))
	url := fmt.Sprintf("%v://%s%v", scheme, address, path)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	if at(endpoint, "basicAuth") != nil {
		r.SetBasicAuth(value("basicAuth.username"), value("basicAuth.password"))
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil &&
		(resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "\ntriggerdev_waitpoint_up{")) {
		err = fmt.Errorf("GET %s: %s: %.200s", url, resp.Status, body)
	}
	return err
}

// build returns the path of the exporter.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "waitpoint_exporter")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return binary
}

// issue returns a certificate for a name, its key, and the authority's certificate.
func issue(t *testing.T, name string) (certificate, key, authority string) {
	t.Helper()
	generate := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	block := func(kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	top, own := generate(), generate()
	parent := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, parent, parent, top.Public(), top)
	authority = block("CERTIFICATE", der, err)
	der, err = x509.CreateCertificate(rand.Reader, template, parent, own.Public(), top)
	certificate = block("CERTIFICATE", der, err)
	der, err = x509.MarshalPKCS8PrivateKey(own)
	return certificate, block("PRIVATE KEY", der, err), authority
}
