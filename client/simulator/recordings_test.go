package simulator_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"waitpoint_exporter/client/simulator"

	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// exchange is a recorded request and its answer.
type exchange struct {
	N       int
	Label   string
	Request struct {
		Method, Path string
		Headers      map[string]string
	}
	Response struct {
		Status  int
		Headers map[string]string
		Body    string
	}
}

func recordings(t *testing.T) (file string) {
	t.Helper()
	if file = os.Getenv("TRIGGERDEV_RECORDINGS"); file == "" {
		file = filepath.Join("testdata", "recordings", "recordings.jsonl")
	}
	return file
}

func load(t *testing.T, file string) []exchange {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []exchange
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e exchange
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	if len(out) == 0 {
		t.Fatalf("%s: no recordings", file)
	}
	return out
}

// population returns the recorded rows by environment.
func population(t *testing.T, file string) map[string][]simulator.Token {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		FriendlyID, EnvironmentID, Status, Type        string
		OutputIsError                                  bool
		CreatedAt                                      time.Time
		CompletedAt, CompletedAfter                    *time.Time
		Tags                                           []string
		Output, IdempotencyKey, InactiveIdempotencyKey string
		IdempotencyKeyExpiresAt                        *time.Time
	}
	if err := json.Unmarshal(content, &rows); err != nil {
		t.Fatal(err)
	}
	at := func(t *time.Time) time.Time {
		if t == nil {
			return time.Time{}
		}
		return *t
	}
	out := map[string][]simulator.Token{}
	for _, r := range rows {
		if r.Type != "" && r.Type != "MANUAL" {
			continue
		}
		token := simulator.Token{
			ID: r.FriendlyID, Tags: r.Tags, CreatedAt: r.CreatedAt, CompletedAt: at(r.CompletedAt),
			TimeoutAt: at(r.CompletedAfter),
			Output:    r.Output, Status: "WAITING", RotatedKey: r.InactiveIdempotencyKey,
			KeyExpiresAt:   at(r.IdempotencyKeyExpiresAt),
			IdempotencyKey: r.IdempotencyKey,
		}
		switch {
		case r.Status == "PENDING":
		case r.OutputIsError:
			token.Status = "TIMED_OUT"
		default:
			token.Status = "COMPLETED"
		}
		out[r.EnvironmentID] = append(out[r.EnvironmentID], token)
	}
	return out
}

// facts are the parts of an answer that must match the recording.
type facts struct {
	Status     int
	Type       string
	Limit      string
	Tokens     []any
	Pagination any
	Body       any // Of other answers than lists.
}

// token returns a recorded token without the made-up fields.
func token(v any, made ...string) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	for _, name := range made {
		delete(m, name)
	}
	// The service sorts tags by a locale's collation. Their order has no meaning.
	if tags, ok := m["tags"].([]any); ok {
		slices.SortFunc(tags, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
	return m
}

func read(t *testing.T, status int, contentType, limit, body string) facts {
	t.Helper()
	f := facts{Status: status, Type: contentType, Limit: limit}
	if body == "" {
		return f
	}
	var content any
	if err := json.Unmarshal([]byte(body), &content); err != nil {
		t.Fatalf("body %.80q: %v", body, err)
	}
	m, _ := content.(map[string]any)
	list, ok := m["data"].([]any)
	if !ok {
		f.Body = token(content, "url", "idempotencyKey", "idempotencyKeyExpiresAt", "userProvidedIdempotencyKey")
		return f
	}
	for _, v := range list {
		f.Tokens = append(f.Tokens, token(v, "url"))
	}
	f.Pagination = m["pagination"]
	return f
}

// TestRecordings checks that the simulator answers every recorded request as the real
// service did.
func TestRecordings(t *testing.T) {
	file := recordings(t)
	exchanges := load(t, file)
	now, err := http.ParseTime(exchanges[0].Response.Headers["date"])
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{"dev": "tr_dev_recorded", "prod": "tr_prod_recorded", "preview": "tr_preview_recorded"}
	rows := population(t, filepath.Join(filepath.Dir(file), "population.json"))
	// The recorded prod environment was on the old engine, then moved, then had
	// a small limit: one simulator for each state.
	build := func(prod simulator.EnvironmentOptions) *simulator.Simulator {
		s := simulator.New(simulator.Options{Now: func() time.Time { return now }})
		// Sorted, so that an environment comes before its branches.
		for _, id := range slices.Sorted(maps.Keys(rows)) {
			kind, branch, _ := strings.Cut(strings.TrimPrefix(cmp.Or(id, "env_dev"), "env_"), "_")
			options := simulator.EnvironmentOptions{Key: keys[kind], Branch: branch}
			if kind == "prod" {
				options.Limit, options.OldEngine = prod.Limit, prod.OldEngine
			}
			s.Environment(options).Add(rows[id]...)
		}
		return s
	}
	usual := build(simulator.EnvironmentOptions{})
	special := map[string]*simulator.Simulator{
		"V1 engine project": build(simulator.EnvironmentOptions{OldEngine: true}),
		"429": build(simulator.EnvironmentOptions{Limit: simulator.Limit{
			Size: 5, Refill: 1,
			Every: time.Second,
		}}),
	}
	for _, e := range exchanges {
		t.Run(e.Label, func(t *testing.T) {
			handler := usual
			if s := special[e.Label]; s != nil {
				handler = s
			}
			r := httptest.NewRequestWithContext(t.Context(), e.Request.Method, e.Request.Path, nil)
			for name, value := range e.Request.Headers {
				for kind, key := range keys {
					if strings.Contains(value, "<tr_"+kind+"_") {
						value = "Bearer " + key
					}
				}
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			if e.Label == "429" {
				for range 5 { // Use up the limit, as before the recorded request.
					handler.ServeHTTP(httptest.NewRecorder(), r)
				}
			}
			handler.ServeHTTP(w, r)
			got := read(t, w.Code, w.Header().Get("Content-Type"), w.Header().Get("X-Ratelimit-Limit"), w.Body.String())
			want := read(t, e.Response.Status, e.Response.Headers["content-type"], e.Response.Headers["x-ratelimit-limit"],
				e.Response.Body)
			if e.Response.Status == http.StatusTooManyRequests {
				forgetClock(got.Body, want.Body)
			}
			if d := gocmp.Diff(want, got); d != "" {
				t.Errorf("%s %s (-recorded +simulated):\n%s", e.Request.Method, e.Request.Path, d)
			}
			if got, want := w.Header().Get("Location"), e.Response.Headers["location"]; got != want {
				t.Errorf("to %q, recorded %q", got, want)
			}
			reset, remaining := e.Response.Headers["x-ratelimit-reset"], e.Response.Headers["x-ratelimit-remaining"]
			if (reset == "") != (w.Header().Get("X-Ratelimit-Reset") == "") ||
				(remaining == "") != (w.Header().Get("X-Ratelimit-Remaining") == "") {
				t.Error("rate limit headers are present in only one of the answers")
			}
		})
	}
}

// forgetClock removes the fields of 429 bodies that depend on the phase of the refill.
func forgetClock(bodies ...any) {
	for _, b := range bodies {
		m, _ := b.(map[string]any)
		for _, name := range []string{"reset", "secondsUntilReset", "detail", "error"} {
			delete(m, name)
		}
	}
}
