//go:build browser

package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
	"waitpoint_exporter/collector/refresh"
	"waitpoint_exporter/collector/web"
	"waitpoint_exporter/test/programs"
)

// TestBrowser opens the pages in Chromium, light and dark, at widths from desktop to
// phone. It checks that tags have no effect, nothing is wider than the screen, all text
// has enough contrast, axe-core finds nothing, and a token takes one line on a desktop
// and at most three on a phone. It needs Node.js with npm, and $CHROMIUM, the path of
// the program; without them it fails. Screenshots are written to the folder $SHOTS, if
// that is set.
func TestBrowser(t *testing.T) {
	hostile := []string{
		"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "<svg onload=alert(1)>", "javascript:alert(1)",
		"</style><style>*{display:none}", strings.Repeat("wide", 64),
	}
	tokens := population(1, 250)
	for i, tag := range hostile {
		tokens[i].Tags = []string{tag}
	}
	tokens = append(tokens, client.Token{
		ID: "waitpoint_old", Status: client.StatusWaiting, CreatedAt: noon.AddDate(-1, 0, 0), Tags: hostile,
	})
	runbook, err := os.ReadFile("../../deploy/prometheus/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	typical := population(2, 250)
	for i := range typical {
		typical[i].ID = fmt.Sprintf("waitpoint_cm3x8k2p9000108l4%08d", i) // As long as the service's own.
	}
	rules := index.Options{ExpectedWait: expectedWait}
	environments := []web.Environment{
		{
			Name: "blog", MaxStaleness: time.Hour,
			DashboardURL: "https://cloud.trigger.dev/orgs/acme/projects/blog/env/prod", Stuck: "7d",
			Source: source{
				list(rules, typical...),
				refresh.State{Up: true, Usage: refresh.Usage{Limit: 750, Remaining: 612}},
			},
		},
		{
			Name: "dev", MaxStaleness: time.Hour, Stuck: "7d",
			Source: source{
				list(rules, typical[:3]...),
				refresh.State{
					Err:    "list WAITING tokens: list tokens: 401 Unauthorized: Invalid API key",
					Reason: client.ReasonAuth,
				},
			},
		},
		{
			Name:         "prod",
			Project:      "shop",
			MaxStaleness: time.Hour,
			Source:       source{snapshot: list(index.Options{}, tokens...)},
		},
		{Name: "staging", Project: "shop", MaxStaleness: time.Hour, Source: source{}},
	}
	server := httptest.NewServer(web.New(web.Options{
		Environments: func() []web.Environment { return environments }, MetricsPath: "/metrics",
		Metrics: http.NotFoundHandler(),
		Version: "1.2.3", Build: "(version=1.2.3, branch=main, revision=0123456789abcdef)", Demo: true,
		Runbook: runbook, Now: func() time.Time { return noon.Add(time.Minute) },
	}))
	defer server.Close()
	const plain = "/tokens?environment=blog"
	pages := []string{
		"/",
		"/tokens",
		plain,
		"/tokens/",
		"/tokens?sort=timeout&refresh=30&environment=prod",
		"/tokens?stuck=1h&environment=prod",
		"/tokens?id=waitpoint_old",
		"/tokens?stuck=soon",
		"/tokens?tag=nobody",
		"/runbook",
	}
	for _, tag := range hostile {
		pages = append(pages, "/tokens?tag="+url.QueryEscape(tag))
	}
	asked, err := json.Marshal(pages)
	if err != nil {
		t.Fatal(err)
	}

	var seen []struct {
		Path, Size, Scheme, Title, Text string
		Status, Sideways                int
		Complaints, Tags, Findings      []string
		Rows                            []float64 // Their heights.
		Brightness, Contrast            float64
	}
	programs.Path(t, "CHROMIUM") // The script starts it.
	if err := json.Unmarshal(programs.Node(t, "browser", "BASE="+server.URL, "PAGES="+string(asked)), &seen); err != nil {
		t.Fatal(err)
	}
	if len(seen) != len(pages)*10 {
		t.Errorf("%d pages were seen, want each of %d ten times", len(seen), len(pages))
	}
	for _, s := range seen {
		where := s.Path + " " + s.Size + " " + s.Scheme
		// A browser's console reports each answer 400 or 404.
		s.Complaints = slices.DeleteFunc(
			s.Complaints,
			func(c string) bool { return s.Status >= 400 && strings.Contains(c, strconv.Itoa(s.Status)) },
		)
		if len(s.Complaints) > 0 {
			t.Errorf("%s: the browser complains: %q", where, s.Complaints)
		}
		for _, finding := range s.Findings {
			t.Errorf("%s: axe-core finds %s", where, finding)
		}
		// Tokens with hostile tags, which are long, have their own pages.
		if most := map[string]float64{"desktop": 30, "laptop": 55, "phone": 80}[s.Size]; most > 0 && s.Path == plain &&
			(len(s.Rows) != 100 || slices.Max(s.Rows) > most) {
			t.Errorf("%s: %d rows, the highest of %.0f pixels", where, len(s.Rows), slices.Max(s.Rows))
		}
		if !strings.Contains(s.Title, "waitpoint_exporter") {
			t.Errorf("%s: its title is %q", where, s.Title)
		}
		if s.Sideways > 0 {
			t.Errorf("%s: it is wider than the screen by %d pixels", where, s.Sideways)
		}
		if dark := s.Brightness < 0.2; dark != (s.Scheme == "dark") {
			t.Errorf("%s: its background has a luminance of %.2f", where, s.Brightness)
		}
		if s.Contrast < 4.5 { // WCAG 2, level AA.
			t.Errorf("%s: %q has a contrast of %.1f", where, s.Text, s.Contrast)
		}
		if _, query, _ := strings.Cut(s.Path, "?tag="); query != "" && !strings.HasSuffix(query, "nobody") {
			if tag, _ := url.QueryUnescape(query); !slices.Contains(s.Tags, tag) {
				t.Errorf("%s: the tag is not shown as it is: %q", where, s.Tags)
			}
		}
	}
}
