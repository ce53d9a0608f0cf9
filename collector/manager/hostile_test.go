package manager_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/net/html"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/manager"
	"waitpoint_exporter/collector/web"
	"waitpoint_exporter/test/size"
)

// literals returns tags and ids as they are in an answer, between quotes.
func literals() []string {
	return []string{
		"team:payments", "", `\"`, `\\`, `\n`, `a\\nb`, `\r\n`, `\t`, `\u0000`, `\u001b[31mred\u001b[0m`,
		`\u001b]0;title\u0007`, "\u009b31m", `\u007f\b`,
		"\xff\xfe", "\xc3", "\xed\xa0\x80", `\ud800`, `\udc00\ud800`, `\ud83d\ude00`, "\U0001F469\u200d\U0001F680",
		"\u2028", "\u2029", "\u202egnp.exe", "\u2066\u2069\u200f", "\ufeff", "e\u0301", "\u00e9", "\ufffd",
		"\uffff", " ", "  a  ",
		`<script>alert(1)</script>`, `\"><img src=x onerror=alert(1)>`, `<!--`, `]]>`, `</style>`, `&amp;`, `{{.}}`,
		`javascript:alert(1)`,
		`{}`, `a=\"b\",`, `}\n# HELP x\n# EOF\n`, `\"} 1 # {token_id=\"`, `# {`, `,`, `__other__`, `__name__`,
		`${1}`, `%s%n`, `a,b`,
		strings.Repeat("x", 10_000), strings.Repeat(`\u001b`, 2000), strings.Repeat("\U0001F469", 128),
	}
}

// texts returns the same tags and ids decoded.
func texts(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, l := range literals() {
		var text string
		if err := json.Unmarshal([]byte(`"`+l+`"`), &text); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		out = append(out, text)
	}
	return out
}

// nasty is a service with a token for each literal, and one with most literals. They
// wait until finished is set.
type nasty struct{ finished atomic.Bool }

func (s *nasty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	status, completed := "WAITING", func(int) string { return "" }
	if s.finished.Load() {
		status, completed = "COMPLETED", func(i int) string {
			// One in each bucket of the histogram, since a bucket has one exemplar.
			return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).
				Add(time.Second << (i % 22)).
				Format(`,"completedAt":"2006-01-02T15:04:05Z"`)
		}
	}
	var tokens []string
	for i, l := range literals() {
		id := fmt.Sprint(9999-i, l)
		if len(l) > 1000 {
			id = strconv.Itoa(9999 - i)
		}
		tokens = append(
			tokens,
			fmt.Sprintf(
				`{"id":"%s","status":%q,"tags":["%s","%[3]s"],"createdAt":"2000-01-01T00:00:00Z"%[4]s}`,
				id,
				status,
				l,
				completed(i),
			),
		)
	}
	tokens = append(
		tokens,
		fmt.Sprintf(
			`{"id":"all","status":%q,"tags":["%s"],"createdAt":"2000-01-01T00:00:00Z"%s}`,
			status,
			strings.Join(literals(), `","`),
			completed(len(tokens)),
		),
	)
	odd := `{"id":"odd","status":"\u001b[31m\u009b\u2028\ud800","tags":["odd"],"createdAt":"1999-12-31T00:00:00Z"}`
	if asked := r.URL.Query().Get("filter[status]"); asked == "" {
		tokens = append(tokens, odd)
	} else if asked != status {
		tokens = nil
	}
	_, _ = fmt.Fprintf(w, `{"data":[%s],"pagination":{}}`, strings.Join(tokens, ","))
}

// exporter runs a Manager with one environment against the service and serves its
// metrics and pages. It also returns the log.
func exporter(
	t *testing.T,
	service http.Handler,
	newLogger func(*bytes.Buffer) log.Logger,
	settings string,
) (http.Handler, *bytes.Buffer) {
	t.Helper()
	var lines bytes.Buffer
	m := manager.New(
		t.Context(),
		manager.Options{
			Registry:  prometheus.NewRegistry(),
			Logger:    newLogger(&lines),
			Transport: simulator.Transport(service),
		},
	)
	t.Cleanup(m.Stop)
	path := filepath.Join(t.TempDir(), "config.yml")
	text := fmt.Sprintf(
		"environments:\n  - {name: prod, api_url: \"http://api.test\", secret_key: %s%s}\n",
		key("a"),
		settings,
	)
	apply(t, m, path, text)
	return web.New(web.Options{
		Environments: m.Environments, MetricsPath: "/metrics", Metrics: promhttp.HandlerFor(m,
			promhttp.HandlerOpts{EnableOpenMetrics: true}),
	}), &lines
}

func get(t *testing.T, h http.Handler, path, accept string) string {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d: %.500s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

const pairs = `\{((?:[a-zA-Z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\}`

// line matches a sample in the text format, or in OpenMetrics with an exemplar.
var line = regexp.MustCompile(`^[a-zA-Z_:]+(?:` + pairs + `)? [^ ]+(?: # ` + pairs + ` [^ ]+(?: [^ ]+)?)?$`)

// series parses an exposition strictly. It returns the values of a metric's label, and
// the token_id of all exemplars.
func series(t *testing.T, text, metric, label string) (values, exemplars []string) {
	t.Helper()
	var plain strings.Builder
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		if !strings.HasPrefix(l, "# ") {
			m := line.FindStringSubmatchIndex(l)
			if m == nil {
				t.Fatalf("%.300q is no sample", l)
			}
			if m[4] >= 0 {
				id, err := strconv.Unquote(strings.TrimPrefix(l[m[4]:m[5]], "token_id="))
				if err != nil {
					t.Fatalf("%.300q: %v", l, err)
				}
				exemplars = append(exemplars, id)
				l = l[:strings.LastIndex(l[:m[4]], " # {")]
			}
		}
		plain.WriteString(l + "\n")
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(plain.String()))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families[metric].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == label {
				values = append(values, l.GetValue())
			}
		}
	}
	slices.Sort(values)
	return slices.Compact(values), exemplars
}

// token is a token from /tokens.
type token struct {
	ID   string
	Tags []string
}

// elements returns the names of a page's elements and attributes, in their order.
func elements(t *testing.T, page string) []string {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for n := range doc.Descendants() {
		if n.Type == html.CommentNode {
			out = append(out, "comment")
		}
		if n.Type != html.ElementNode {
			continue
		}
		out = append(out, n.Data)
		for _, a := range n.Attr {
			out = append(out, n.Data+" "+a.Key)
		}
	}
	return out
}

// TestHostileTags checks that tags, ids and statuses are passed unchanged from the
// service's answer to metrics in each format, exemplars, pages and JSON, and have no
// effect on the way; and that the log contains nothing of them that a terminal would
// interpret.
func TestHostileTags(t *testing.T) {
	t.Parallel()
	want := texts(t)
	slices.Sort(want)
	want = slices.Compact(want)
	for format, newLogger := range map[string]func(*bytes.Buffer) log.Logger{
		"logfmt": func(b *bytes.Buffer) log.Logger { return log.NewLogfmtLogger(log.NewSyncWriter(b)) },
		"JSON":   func(b *bytes.Buffer) log.Logger { return log.NewJSONLogger(log.NewSyncWriter(b)) },
	} {
		t.Run(format, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := &nasty{}
				h, lines := exporter(t, service, newLogger, ", tags: {limit: 0}")
				time.Sleep(3 * time.Minute)

				for _, accept := range []string{
					"text/plain", "text/plain; version=1.0.0; escaping=allow-utf-8",
					"application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=0.0.1",
				} {
					text := get(t, h, "/metrics", accept)
					got, _ := series(t, text, "triggerdev_waitpoint_tagged_tokens_stuck", "tag")
					if d := cmp.Diff(append(slices.Clone(want), "odd"), got, cmp.Transformer("sort",
						func(s []string) []string { s = slices.Clone(s); slices.Sort(s); return s })); d != "" {
						t.Errorf("%s: (-want +got)\n%s", accept, d)
					}
					if strings.HasPrefix(accept, "application/openmetrics") && !strings.HasSuffix(text, "\n# EOF\n") {
						t.Errorf("%s: it has no end", accept)
					}
				}

				var list struct{ Tokens []token }
				if err := json.Unmarshal([]byte(get(t, h, "/tokens", "application/json")), &list); err != nil ||
					len(list.Tokens) != len(literals())+1 {
					t.Fatalf("%d tokens, %v", len(list.Tokens), err)
				}
				for _, token := range list.Tokens {
					slices.Sort(token.Tags)
					if token.Tags = slices.Compact(token.Tags); token.ID == "all" && !slices.Equal(token.Tags, want) {
						t.Errorf("%q", token.Tags)
					} else if token.ID != "all" && !slices.Contains(want, token.Tags[0]) {
						t.Errorf("%.100q has the tags %.100q", token.ID, token.Tags)
					}
				}
				page := elements(t, get(t, h, "/tokens", "text/html"))
				for _, name := range []string{"script", "img", "comment", "img onerror", "a onclick"} {
					if slices.Contains(page, name) {
						t.Errorf("the page has a %s", name)
					}
				}
				if n := len(slices.DeleteFunc(page, func(s string) bool { return s != "bdi" })); n != 3*len(literals()) {
					t.Errorf("%d tags are shown", n)
				}

				service.finished.Store(true)
				time.Sleep(3 * time.Minute)
				_, exemplars := series(t, get(t, h, "/metrics", "application/openmetrics-text; version=1.0.0"), "", "")
				if len(exemplars) < 12 {
					t.Errorf("the exemplars are %q", exemplars)
				}
				for _, id := range exemplars {
					if !slices.ContainsFunc(list.Tokens, func(t token) bool { return t.ID == id }) {
						t.Errorf("the exemplar %q is the id of no token", id)
					}
				}
				get(t, h, "/", "text/html")
				synctest.Wait()
				if !strings.Contains(lines.String(), "unknown status") {
					t.Error("the status that nobody knows is not logged")
				}
				for line := range strings.Lines(lines.String()) {
					for _, r := range strings.TrimSuffix(line, "\n") {
						if !unicode.IsPrint(r) {
							t.Errorf("%q has %U in it", line, r)
						}
					}
				}
			})
		})
	}
}

// many is a service whose tokens have a hundred tags each, all different.
type many struct{ tokens int }

func (s many) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var b strings.Builder
	b.WriteString(`{"data":[`)
	begin, _ := strconv.Atoi(r.URL.Query().Get("page[after]"))
	end := min(begin+100, s.tokens)
	for i := begin; i < end; i++ {
		fmt.Fprintf(&b, `{"id":"%08d","status":"WAITING","createdAt":"2000-01-01T00:00:00Z","tags":["x"`, 1<<24-i)
		for j := range 99 {
			fmt.Fprintf(&b, `,"user:%d"`, 99*i+j)
		}
		b.WriteString(`]},`)
	}
	next := ""
	if end < s.tokens {
		next = fmt.Sprintf(`"next":"%d"`, end)
	}
	_, _ = fmt.Fprintf(w, `%s],"pagination":{%s}}`, strings.TrimSuffix(b.String(), ","), next)
}

// TestMillionTags checks the cost of a million different tags: series and scrapes are
// bounded, and memory is proportional to the number of tags.
func TestMillionTags(t *testing.T) {
	tokens := size.Of(1_000, 10_102) // Each with 99 tags of its own.
	synctest.Test(t, func(t *testing.T) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		h, _ := exporter(t, many{tokens}, func(*bytes.Buffer) log.Logger { return log.NewNopLogger() }, "")
		time.Sleep(45 * time.Second)
		text := get(t, h, "/metrics", "text/plain")
		runtime.GC()
		runtime.ReadMemStats(&after)
		if after.HeapAlloc > before.HeapAlloc+512<<20 {
			t.Errorf("%d MiB are held", (after.HeapAlloc-before.HeapAlloc)>>20)
		}
		tags, _ := series(t, text, "triggerdev_waitpoint_tagged_tokens", "tag")
		if len(tags) != 101 || !slices.Contains(tags, "x") || !slices.Contains(tags, "__other__") ||
			len(text) > 256<<10 {
			t.Errorf("%d tags have series, in %d KiB: %q", len(tags), len(text)>>10, tags)
		}
		if want := fmt.Sprintf("\ntriggerdev_waitpoint_tags_folded{environment=\"prod\"} %v\n",
			float64(99*tokens+1-100)); !strings.Contains(
			text,
			want,
		) {
			t.Errorf("the metrics lack %q", want)
		}
	})
}
