//go:build live

package live

import (
	"bytes"
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
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/test/programs"
)

// The intervals of the example in deploy/prometheus, made bearable.
var shortWaits = strings.NewReplacer("group_wait: 30s", "group_wait: 5s", "group_interval: 5m", "group_interval: 10s")

// A notification is one message of Alertmanager to a receiver.
type notification struct {
	path   string // Of the receiver.
	Alerts []alert
}

// A mailbox keeps what the receivers of the example configuration are told.
type mailbox struct {
	mu  sync.Mutex
	all []notification
}

// ServeHTTP implements http.Handler.
func (m *mailbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := notification{path: r.URL.Path}
	if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, n)
}

func (m *mailbox) to(path string) []notification {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.all), func(n notification) bool { return n.path != path })
}

// TestLiveAlert follows one late token of a team from Prometheus to the page that
// lists it, over TLS and behind a prefix: one notification of one alert, to the team
// alone, by the example configuration of Alertmanager. A target label takes the name
// of one of ours, and only native histograms are scraped.
func TestLiveAlert(t *testing.T) {
	for name, settings := range map[string]string{
		"native histograms alone":     "scrape_native_histograms: true",
		"a label that collides":       "honor_labels: false",
		"a label that is the targets": "honor_labels: true",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testLiveAlert(t, settings)
		})
	}
}

func testLiveAlert(t *testing.T, settings string) {
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	dir := t.TempDir()
	service := simulator.New(simulator.Options{NoLog: true})
	environment := service.Environment(simulator.EnvironmentOptions{Key: secretKey})
	wait := func(age time.Duration, tags ...string) string {
		return environment.Add(simulator.Token{Status: "WAITING", Tags: tags, CreatedAt: time.Now().Add(-age)})[0]
	}
	wait(time.Minute, "team:payments")           // In time.
	orphan := wait(300*24*time.Hour, "team:kyc") // Always there.
	trigger := httptest.NewServer(service)
	t.Cleanup(trigger.Close)

	address := programs.FreeAddress(ctx, t)
	base := "https://" + address + "/waitpoints"
	web := filepath.Join(dir, "web.yml")
	client := certificate(t, dir)
	programs.Write(
		t,
		dir,
		"web.yml",
		"tls_server_config: {cert_file: "+filepath.Join(
			dir,
			"cert.pem",
		)+", key_file: "+filepath.Join(
			dir,
			"key.pem",
		)+"}\n",
	)
	programs.Start(
		ctx,
		t,
		dir,
		buildExporter(ctx, t, dir),
		"--trigger.api-url="+trigger.URL,
		"--trigger.secret-key-file="+programs.Write(t, dir, "key", secretKey),
		"--trigger.project=shop",
		"--tokens.expected-wait=4h",
		"--refresh.interval=1s",
		"--api.share=1",
		"--web.listen-address="+address,
		"--web.external-url="+base,
		"--web.config.file="+web,
	)

	told, alertmanager := exampleAlertmanager(ctx, t, dir)
	prom := &api{ctx, prometheusOver(ctx, t, dir, address, alertmanager, settings)}
	programs.WaitFor(ctx, t, "the orphan, as one that was always there", func() error {
		return prom.hasData(`waitpoint:tagged_late:min1w{tag="team:kyc"} == 1`)
	})
	programs.WaitFor(ctx, t, "the token that is in time", func() error {
		return prom.hasData(`waitpoint:tagged_late:min1w{tag="team:payments"} == 0`)
	})
	late := wait(5*time.Hour, "team:payments")
	programs.WaitFor(ctx, t, "a notification to the team", func() error {
		if len(told.to("/team-payments")) == 0 {
			return fmt.Errorf("%v came", told.to("/platform"))
		}
		return nil
	})
	// What else there is would come with the next evaluations and groups.
	sleep(ctx, 15*time.Second)
	got := told.to("/team-payments")
	if len(got) != 1 || len(got[0].Alerts) != 1 || got[0].Alerts[0].Labels["alertname"] != "WaitpointTaggedTokensLate" {
		t.Errorf("the team was told %+v, want one notification of one alert", got)
	}
	if other := told.to("/platform"); len(other) > 0 {
		t.Errorf("the platform was told %+v, want nothing", other)
	}
	a := got[0].Alerts[0]
	for name, want := range map[string]string{
		"tokens_url":    base + "/tokens?environment=prod&project=shop&tag=team%3Apayments&late=1",
		"runbook_url":   base + "/runbook#waitpointtaggedtokenslate",
		"dashboard_url": "https://grafana.example.com/d/waitpoints?var-project=shop&var-environment=prod&var-tag=team%3Apayments",
	} {
		if a.Annotations[name] != want {
			t.Errorf("%s is %q, want %q", name, a.Annotations[name], want)
		}
	}
	if want := "1 waitpoint tokens of team:payments became late this week in shop/prod, the oldest waits for " +
		"5h"; !strings.HasPrefix(
		a.Annotations["summary"],
		want,
	) {
		t.Errorf("the summary is %q, want %q", a.Annotations["summary"], want)
	}
	var list struct{ Tokens []struct{ ID string } }
	if err := json.Unmarshal(get(ctx, t, client, a.Annotations["tokens_url"]+"&format=json"), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Tokens) != 1 || list.Tokens[0].ID != late {
		t.Errorf("the link lists %+v, want %s alone, without %s", list.Tokens, late, orphan)
	}
	if page := get(ctx, t, client, a.Annotations["tokens_url"]); !strings.Contains(string(page), late) {
		t.Errorf("%s is not on the page", late)
	}
	link, err := url.Parse(a.Annotations["runbook_url"])
	if err != nil {
		t.Fatal(err)
	}
	if page := get(ctx, t, client, link.String()); !strings.Contains(string(page), `id="`+link.Fragment+`"`) {
		t.Errorf("the runbook has no section %s", link.Fragment)
	}
}

// prometheusOver starts a Prometheus that scrapes the exporter over TLS as a target
// with labels of its own, and returns its address.
func prometheusOver(ctx context.Context, t *testing.T, dir, exporter, alertmanager, settings string) string {
	t.Helper()
	ruleFiles(t, dir)
	collides := ""
	if strings.Contains(settings, "honor_labels") {
		collides = ", labels: {environment: kubernetes, project: cluster}"
	}
	config := programs.Write(t, dir, "prometheus.yml", `
global:
  scrape_interval: 1s
  evaluation_interval: 1s
  external_labels: {grafana_url: "https://grafana.example.com"}
rule_files: [recording.yml, alerts.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ["`+alertmanager+`"]}]}]}
scrape_configs:
  - job_name: `+job+`
    scheme: https
    metrics_path: /waitpoints/metrics
    tls_config: {ca_file: `+filepath.Join(dir, "cert.pem")+`}
    `+settings+`
    static_configs: [{targets: ["`+exporter+`"]`+collides+`}]
`)
	address := programs.FreeAddress(ctx, t)
	programs.Start(
		ctx,
		t,
		dir,
		programs.Path(t, "PROMETHEUS"),
		"--config.file="+config,
		"--storage.tsdb.path="+filepath.Join(dir, "prometheus"),
		"--web.listen-address="+address,
		"--log.level=warn",
	)
	return "http://" + address
}

// certificate writes a certificate for loopback and its key, and returns a client
// that trusts it.
func certificate(t *testing.T, dir string) *http.Client {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	programs.Write(t, dir, "cert.pem", string(cert))
	programs.Write(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

// exampleAlertmanager starts an Alertmanager with the example configuration, and
// returns what its receivers are told, and its address.
func exampleAlertmanager(ctx context.Context, t *testing.T, dir string) (told *mailbox, address string) {
	t.Helper()
	told = &mailbox{}
	receiver := httptest.NewServer(told)
	t.Cleanup(receiver.Close)
	example, err := os.ReadFile(filepath.Join(root, "deploy/prometheus/alertmanager.yml"))
	if err != nil {
		t.Fatal(err)
	}
	// Weekends are for people, not for tests.
	config := strings.ReplaceAll(shortWaits.Replace(string(example)), "http://localhost:9095", receiver.URL)
	config = strings.ReplaceAll(config, "weekdays: [saturday, sunday]", "years: ['2000']")
	address = programs.FreeAddress(ctx, t)
	programs.Start(
		ctx,
		t,
		dir,
		programs.Path(t, "ALERTMANAGER"),
		"--config.file="+programs.Write(t, dir, "alertmanager.yml", config),
		"--storage.path="+filepath.Join(
			dir,
			"alertmanager",
		),
		"--web.listen-address="+address,
		"--cluster.listen-address=",
	)
	return told, address
}

// TestLiveGrouping checks that one cause is one message to each who can act: an
// approver of twenty-one teams is broken, of which one has a receiver of its own.
func TestLiveGrouping(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	told, address := exampleAlertmanager(ctx, t, t.TempDir())
	type posted struct {
		Labels map[string]string `json:"labels"`
	}
	var alerts []posted
	fire := func(name, severity, team string) {
		labels := map[string]string{
			"alertname":   name,
			"severity":    severity,
			"environment": "prod",
			"instance":    "x:10210",
		}
		if team != "" {
			labels["team"], labels["tag"] = team, "team:"+team
		}
		alerts = append(alerts, posted{labels})
	}
	teams := []string{"payments"}
	for i := range 20 {
		teams = append(teams, fmt.Sprintf("team%d", i))
	}
	for _, team := range teams {
		fire("WaitpointTaggedCompletionsStopped", "warning", team)
		fire("WaitpointTaggedTokensLate", "warning", team)
		fire("WaitpointTaggedTokensLateCritical", "critical", team)
	}
	fire("WaitpointCompletionsStopped", "critical", "")
	fire("WaitpointTokensLate", "warning", "")
	fire("WaitpointTokensLateCritical", "critical", "")
	fire("WaitpointBacklogGrowing", "warning", "")
	body, err := json.Marshal(alerts)
	if err != nil {
		t.Fatal(err)
	}
	programs.WaitFor(ctx, t, "Alertmanager", func() error {
		resp, err := http.Post( //nolint:noctx // A test's.
			"http://"+address+"/api/v2/alerts",
			"application/json",
			bytes.NewReader(body),
		)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("alerts: %s", resp.Status)
		}
		return nil
	})
	programs.WaitFor(ctx, t, "both receivers", func() error {
		if len(told.to("/platform")) == 0 || len(told.to("/team-payments")) == 0 {
			return errors.New("one is not told")
		}
		return nil
	})
	sleep(ctx, 15*time.Second) // What else there is would have come.
	for path, want := range map[string][]string{
		"/platform":      {"WaitpointCompletionsStopped"},
		"/team-payments": {"WaitpointTaggedCompletionsStopped", "WaitpointTaggedTokensLateCritical"},
	} {
		var names []string
		for _, n := range told.to(path) {
			for _, a := range n.Alerts {
				names = append(names, a.Labels["alertname"])
			}
		}
		slices.Sort(names)
		if !slices.Equal(names, want) {
			t.Errorf("%s was told %q, want %q", path, names, want)
		}
		// What is mute at weekends has a route, and so a message, of its own.
		if n := len(told.to(path)); n > len(want) {
			t.Errorf("%s had %d messages", path, n)
		}
	}
}
