//go:build sdk

package simulator_test

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/test/programs"
)

// sdkQuery is the parameter of wait.listTokens.
type sdkQuery struct {
	Limit          int    `json:"limit,omitempty"`
	Status         any    `json:"status,omitempty"`
	Tags           any    `json:"tags,omitempty"`
	From           int64  `json:"from,omitempty"`
	Period         string `json:"period,omitempty"`
	IdempotencyKey string `json:"idempotencyKey,omitempty"`
}

type sdkToken struct {
	ID          string   `json:"id"`
	Status      string   `json:"status"`
	Tags        []string `json:"tags"`
	CreatedAt   string   `json:"createdAt"`
	CompletedAt string   `json:"completedAt"`
	TimeoutAt   string   `json:"timeoutAt"`
}

// TestSDK lists a population with the official SDK and compares. It fails without
// Node.js and npm.
func TestSDK(t *testing.T) {
	const key = "tr_dev_0123456789"
	now := time.Now()
	service := simulator.New(simulator.Options{Now: func() time.Time { return now }})
	environment := service.Environment(simulator.EnvironmentOptions{Key: key})
	environment.Populate(simulator.Population{Seed: 1, Tokens: 700, Waiting: 150, Span: 48 * time.Hour, Odd: true})
	server := httptest.NewServer(service)
	defer server.Close()

	truth := environment.Tokens()
	from := now.Add(-12 * time.Hour).Truncate(time.Millisecond)
	cases := []struct {
		query sdkQuery
		fits  func(simulator.Token) bool
	}{
		{sdkQuery{}, func(simulator.Token) bool { return true }},
		{sdkQuery{Limit: 100}, func(simulator.Token) bool { return true }},
		{sdkQuery{Limit: 7, Status: "WAITING"}, func(t simulator.Token) bool { return t.Status == "WAITING" }},
		{
			sdkQuery{Limit: 100, Status: []string{"COMPLETED", "TIMED_OUT"}},
			func(t simulator.Token) bool { return t.Status != "WAITING" },
		},
		{sdkQuery{Tags: "approval"}, func(t simulator.Token) bool { return slices.Contains(t.Tags, "approval") }},
		{sdkQuery{Limit: 100, Tags: []string{"team:legal", "日本語"}}, func(t simulator.Token) bool {
			return slices.Contains(t.Tags, "team:legal") || slices.Contains(t.Tags, "日本語")
		}},
		{sdkQuery{Limit: 50, From: from.UnixMilli()}, func(t simulator.Token) bool { return !t.CreatedAt.Before(from) }},
		{
			sdkQuery{Limit: 50, Period: "12h"},
			func(t simulator.Token) bool { return !t.CreatedAt.Before(now.Add(-12 * time.Hour)) },
		},
		{
			sdkQuery{IdempotencyKey: truth[3].IdempotencyKey},
			func(t simulator.Token) bool { return t.IdempotencyKey == truth[3].IdempotencyKey },
		},
	}
	var queries []sdkQuery
	for _, c := range cases {
		queries = append(queries, c.query)
	}
	asked, err := json.Marshal(queries)
	if err != nil {
		t.Fatal(err)
	}
	var seen [][]sdkToken
	if err := json.Unmarshal(programs.Node(t, "sdk", "TRIGGER_API_URL="+server.URL, "TRIGGER_SECRET_KEY="+key,
		"CHECK_QUERIES="+string(asked)), &seen); err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		var want []sdkToken
		for _, token := range truth {
			if c.fits(token) {
				want = append(want, expected(token))
			}
		}
		if len(want) == 0 {
			t.Errorf("query %d fits nothing, so it shows nothing", i)
		}
		if d := cmp.Diff(want, seen[i]); d != "" {
			t.Errorf("query %+v (-simulator +SDK):\n%s", c.query, d)
		}
	}
}

func expected(t simulator.Token) sdkToken {
	iso := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	tags := append([]string{}, t.Tags...)
	slices.Sort(tags)
	return sdkToken{t.ID, t.Status, tags, iso(t.CreatedAt), iso(t.CompletedAt), iso(t.TimeoutAt)}
}
