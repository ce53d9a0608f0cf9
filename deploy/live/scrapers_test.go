//go:build live

package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"waitpoint_exporter/test/programs"

	"github.com/google/go-cmp/cmp"

	"waitpoint_exporter/client/simulator"
)

const (
	tagged    = "triggerdev_waitpoint_tagged_tokens"
	secretKey = "tr_prod_0123456789abcdefghij"
)

// odd returns tags with every character of ASCII and what else is odd, each with the
// number of its tokens.
func odd() map[string]int {
	tags := []string{
		"", " ", "  a  ", "a,b", `\`, `\\`, `a\nb`, `\"`, `"} 1`, "}\n# HELP x\n# EOF\n", "# {", `{}`,
		"__other__", "__name__", "$1", "${1}", "%s%n", "+Inf", "NaN", "1e3", "null", "<b>&amp;</b>",
		"\u0080", "\u009b31m", "\u00a0", "\u00e9", "e\u0301", "\u2028", "\u2029", "\u202egnp.exe",
		"\u2066\u2069\u200f", "\ufeff", "\ufffd", "\uffff",
		"\U0001F469\u200d\U0001F680", strings.Repeat("\U0001F469", 128), strings.Repeat(`"`, 128),
	}
	for c := range rune(0x80) {
		tags = append(tags, "a"+string(c)+"b")
	}
	out := map[string]int{}
	for i, tag := range tags {
		// Not all the same, so that one that is taken for another shows.
		out[tag] = i%3 + 1
	}
	return out
}

// A scraper is a program that scrapes; what start returns reads the tags that it
// has, with the number of tokens that wait.
type scraper struct {
	variable string
	start    func(ctx context.Context, t *testing.T, dir, binary, scrape string) read
}

type read func() (map[string]int, error)

var scrapers = []scraper{
	{"PROMETHEUS", scrapePrometheus},
	{"PROMETHEUS_OLD", scrapePrometheus},
	{"VICTORIAMETRICS", scrapeVictoriaMetrics},
	{"COLLECTOR", scrapeCollector},
}

// TestScrapers checks that whoever scrapes the exporter gets each tag as the service
// has it. The variables of the programs are PROMETHEUS, PROMETHEUS_OLD,
// VICTORIAMETRICS and COLLECTOR, which is .ci/collector.go.
func TestScrapers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	want := odd()
	service := simulator.New(simulator.Options{NoLog: true})
	environment := service.Environment(simulator.EnvironmentOptions{Key: secretKey})
	for tag, n := range want {
		for range n {
			environment.Add(
				simulator.Token{Status: "WAITING", Tags: []string{tag}, CreatedAt: time.Now().Add(-time.Hour)},
			)
		}
	}
	api := httptest.NewServer(service)
	t.Cleanup(api.Close)
	dir := t.TempDir()
	address := programs.FreeAddress(ctx, t)
	key := programs.Write(t, dir, "key", secretKey)
	programs.Start(
		ctx,
		t,
		dir,
		buildExporter(ctx, t, dir),
		"--trigger.api-url="+api.URL,
		"--trigger.secret-key-file="+key,
		"--tags.limit=0",
		"--web.listen-address="+address,
	)
	for _, s := range scrapers {
		t.Run(s.variable, func(t *testing.T) {
			read := s.start(ctx, t, t.TempDir(), programs.Path(t, s.variable), fmt.Sprintf(
				`[{job_name: %s, scrape_interval: 1s, static_configs: [{targets: [%q]}]}]`, job, address))
			programs.WaitFor(ctx, t, "the tags", func() error {
				got, err := read()
				if err == nil && !maps.Equal(got, want) {
					err = fmt.Errorf(
						"of %d tags there are %d (-want +got)\n%s",
						len(want),
						len(got),
						cmp.Diff(want, got),
					)
				}
				return err
			})
		})
	}
}

func scrapePrometheus(ctx context.Context, t *testing.T, dir, binary, scrape string) read {
	t.Helper()
	return keep(ctx, t, dir, binary, scrape,
		"--config.file=", "--storage.tsdb.path=", "--web.listen-address=", "--log.level=warn")
}

func scrapeVictoriaMetrics(ctx context.Context, t *testing.T, dir, binary, scrape string) read {
	t.Helper()
	return keep(ctx, t, dir, binary, scrape,
		"-promscrape.config=", "-storageDataPath=", "-httpListenAddr=", "-loggerLevel=WARN", "-search.latencyOffset=0s")
}

// keep starts a program that scrapes and keeps samples. Its flags for the file with
// its configuration, its folder and its address come first.
func keep(ctx context.Context, t *testing.T, dir, binary, scrape, config, data, listen string, more ...string) read {
	t.Helper()
	address := programs.FreeAddress(ctx, t)
	programs.Start(ctx, t, dir, binary, append(more,
		config+programs.Write(t, dir, "scrape.yml", "scrape_configs: "+scrape),
		data+filepath.Join(dir, "data"),
		listen+address)...)
	return query(ctx, "http://"+address)
}

// query reads by the API that Prometheus has.
func query(ctx context.Context, base string) read {
	return func() (map[string]int, error) {
		found, err := (&api{ctx, base}).query(tagged + `{status="WAITING"}`)
		tags := map[string]int{}
		for _, s := range found {
			text, _ := s.Value[1].(string)
			n, err := strconv.Atoi(text)
			if err != nil {
				return nil, err
			}
			tags[s.Metric["tag"]] += n // An empty label is none.
		}
		return tags, err
	}
}

func scrapeCollector(ctx context.Context, t *testing.T, dir, binary, scrape string) read {
	t.Helper()
	out := filepath.Join(dir, "metrics.json")
	config := programs.Write(t, dir, "collector.yml", `
receivers: {prometheus: {config: {scrape_configs: `+strings.ReplaceAll(scrape, "$", "$$")+`}}}
exporters: {file: {path: `+out+`}}
service:
  pipelines: {metrics: {receivers: [prometheus], exporters: [file]}}
  telemetry: {metrics: {level: none}, logs: {level: warn}}
`)
	programs.Start(ctx, t, dir, binary, "--config=file:"+config)
	type attribute struct {
		Key   string
		Value struct{ StringValue string }
	}
	return func() (map[string]int, error) {
		text, err := os.ReadFile(out)
		if err != nil {
			return nil, err
		}
		// The last line may be half written.
		lines := bytes.Split(text[:bytes.LastIndexByte(text, '\n')+1], []byte("\n"))
		var batch struct {
			ResourceMetrics []struct {
				ScopeMetrics []struct {
					Metrics []struct {
						Name  string
						Gauge struct {
							DataPoints []struct {
								Attributes []attribute
								AsDouble   float64
							}
						}
					}
				}
			}
		}
		if len(lines) < 2 {
			return nil, errors.New("nothing is written yet")
		}
		if err := json.Unmarshal(lines[len(lines)-2], &batch); err != nil {
			return nil, err
		}
		tags := map[string]int{}
		for _, r := range batch.ResourceMetrics {
			for _, s := range r.ScopeMetrics {
				for _, m := range s.Metrics {
					for _, p := range m.Gauge.DataPoints {
						labels := map[string]string{}
						for _, a := range p.Attributes {
							labels[a.Key] = a.Value.StringValue
						}
						if m.Name == tagged && labels["status"] == "WAITING" {
							tags[labels["tag"]] += int(p.AsDouble)
						}
					}
				}
			}
		}
		return tags, nil
	}
}
