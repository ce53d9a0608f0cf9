package simulator_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"waitpoint_exporter/client/simulator"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// get sends a request to the service and returns the recorded answer.
func get(t *testing.T, service http.Handler, key, query string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://api.test/api/v1/waitpoints/tokens", nil)
	r.URL.RawQuery = query
	r.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	service.ServeHTTP(w, r)
	return w
}

// TestQueries checks how queries are read. An invalid query is refused or ignored, or
// makes the service fail, as with the real one.
func TestQueries(t *testing.T) {
	service := simulator.New(simulator.Options{Now: func() time.Time { return noon }})
	service.Environment(simulator.EnvironmentOptions{Key: "tr_prod_0"}).Add(
		simulator.Token{
			ID: "waitpoint_a", CreatedAt: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
			Tags: []string{"x,y", "team:a"},
		},
		simulator.Token{
			ID: "waitpoint_b", CreatedAt: noon.Add(-25 * time.Hour), Status: "COMPLETED",
			CompletedAt: noon.Add(-time.Hour), IdempotencyKey: "k1",
		},
		simulator.Token{
			ID: "waitpoint_c", CreatedAt: noon.Add(-90 * time.Minute), Status: "TIMED_OUT",
			CompletedAt: noon.Add(-time.Hour), IdempotencyKey: "random", RotatedKey: "k2",
		},
		simulator.Token{ID: "waitpoint_d", CreatedAt: noon.Add(-30 * time.Second), Tags: []string{"team:b", "\ufffd"}},
	)
	const all = "d c b a"
	date := func(names ...string) string { // The details of invalid dates.
		var details []string
		for _, name := range names {
			details = append(details, `{"code":"invalid_date","message":"Invalid date","path":["`+name+`"]}`)
		}
		return strings.Join(details, ",")
	}
	const (
		from, to = "filter[createdAt][from]", "filter[createdAt][to]"
		nan      = `{"code":"invalid_type","expected":"number","message":"Expected number, received nan",` +
			`"path":["page[size]"],"received":"nan"}`
		float = `{"code":"invalid_type","expected":"integer","message":"Expected integer, received float",` +
			`"path":["page[size]"],"received":"float"}`
		tooBig = `{"code":"too_big","exact":false,"inclusive":true,"maximum":100,"message":"Number must be less ` +
			`than or equal to 100","path":["page[size]"],"type":"number"}`
		paused     = `{"code":"custom","message":"Invalid status values: PAUSED","path":["filter[status]"]}`
		withNUL    = `{"code":"custom","message":"Invalid status values: WAITING\u0000","path":["filter[status]"]}`
		breakdown  = "500"
		notStarted = ""
	)
	for _, tc := range []struct{ query, want, reason string }{
		{"", all, "nothing asked"},
		{"page[sise]=1&filter[state]=WAITING", all, "misspelt names are ignored"},
		{"page[size]=1&page[size]=2", "d c", "the last of a repeated name counts"},
		{"page%5Bsize%5D=2", "d c", "escaped"},
		{"page[size]=%zz", nan, "an escape that is none stays"},
		{"page[size]=+2+", "d c", "spaces around a number"},
		{"page[size]=0x2", "d c", "hexadecimal"},
		{"page[size]=2e0", "d c", "with an exponent"},
		{"page[size]=2.", "d c", "with a point"},
		{"page[size]=two", nan, "no number"},
		{"page[size]=NaN", nan, "no number by name"},
		{"page[size]=1_0", nan, "with an underscore"},
		{"page[size]=100.5", float + "," + tooBig, "all that is wrong with a number"},
		{"page[size]=Infinity", float + "," + tooBig, "no end"},
		{"page[after]=c", "b a", "cursor"},
		{"page[before]=b", "d c", "cursor back"},
		{"page[before]=b&page[after]=c", "d c", "both: before counts"},
		{"page[after]=c%00", breakdown, "a NUL in a cursor"},
		{"page[before]=%00", breakdown, "a NUL in a cursor back"},
		{"page[before]=b&page[after]=%00", "d c", "a NUL that is not used"},
		{"filter[tags]=a,%00", breakdown, "a NUL in a tag"},
		{"filter[idempotencyKey]=%00", breakdown, "a NUL in an idempotency key"},
		{"filter[status]=WAITING%00", withNUL, "a NUL in a status"},
		{"filter[nope]=%00", all, "a NUL in what is ignored"},
		{"filter[status]=WAITING,WAITING", "d a", "a status twice"},
		{"filter[status]=WAITING,COMPLETED", all, "WAITING with another"},
		{"filter[status]=TIMED_OUT,COMPLETED", "c b", "both that are finished"},
		{"filter[status]=PAUSED", paused, "an unknown status"},
		{"filter[tags]=x,y", "", "a comma cannot be asked for"},
		{"filter[tags]=team:b,team:a", "d a", "any of the tags"},
		{"filter[tags]=%ff", "d", "no UTF-8 is a replacement character"},
		{"filter[idempotencyKey]=k1", "b", "idempotency key"},
		{"filter[idempotencyKey]=k2", "c", "idempotency key that was rotated away"},
		{"filter[idempotencyKey]=random", "c", "and what took its place"},
		{"filter[createdAt][from]=garbage", date(from), "no date"},
		{"filter[createdAt][to]=garbage", date(to), "no date"},
		{"filter[createdAt][from]=2026-13-01&filter[createdAt][to]=8640000000000001", date(from, to), "no dates"},
		{
			"filter[status]=PAUSED&filter[createdAt][to]=x&page[size]=x", nan + "," + paused + "," + date(to),
			"all that is wrong, in order",
		},
		{"filter[createdAt][from]=", all, "an empty from is 1970"},
		{"filter[createdAt][to]=", notStarted, "an empty to is 1970"},
		{"filter[createdAt][from]=2026-11-23", "d c", "a day"},
		{"filter[createdAt][from]=2026-11-23T10:30:00Z", "d c", "seconds"},
		{"filter[createdAt][from]=2026-11-23T10:30:00.001Z", "d", "milliseconds"},
		{"filter[createdAt][from]=2026-11-23T11:30:00%2B01:00", "d c", "another zone"},
		{"filter[createdAt][to]=Mon,+23+Nov+2026+10:30:00+GMT", "c b a", "as in a header"},
		{"filter[createdAt][from]=1795430000000", "d", "epoch milliseconds"},
		{"filter[createdAt][from]=2026", all, "a number is milliseconds"},
		{"filter[createdAt][from]=8640000000000000", breakdown, "a year of six digits"},
		{"filter[createdAt][to]=-99999999999999", breakdown, "a year below 0"},
		{"filter[createdAt][period]=1h", "d", "hour"},
		{"filter[createdAt][period]=1M", "d", "M is a minute"},
		{"filter[createdAt][period]=1h30", "d c", "the next smaller unit"},
		{"filter[createdAt][period]=1.5+hours", "d c", "a fraction"},
		{"filter[createdAt][period]=1+day+2h", "d c b", "a sum"},
		{"filter[createdAt][period]=60", "", "milliseconds"},
		{"filter[createdAt][period]=garbage", all, "what cannot be read filters nothing"},
		{"filter[createdAt][period]=", all, "empty"},
		{"filter[createdAt][period]=999999999d", breakdown, "beyond what a date can hold"},
		{"filter[createdAt][period]=1e999y", breakdown, "without end"},
		{"filter[createdAt][period]=1d&filter[createdAt][from]=2020", "d c", "the later of both"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			w := get(t, service, "tr_prod_0", tc.query)
			var body struct {
				Data    []struct{ ID string }
				Details json.RawMessage
				Error   string
			}
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatal(err)
			}
			var got string
			switch w.Code {
			case http.StatusInternalServerError:
				got = breakdown
			case http.StatusBadRequest:
				got = string(body.Details[1 : len(body.Details)-1])
			default:
				var gotSb140 strings.Builder
				for _, token := range body.Data {
					gotSb140.WriteString(" " + strings.TrimPrefix(token.ID, "waitpoint_"))
				}
				got += gotSb140.String()
			}
			if got = strings.TrimSpace(got); got != tc.want {
				t.Errorf("%s: %d %s\nwant %s", tc.query, w.Code, got, tc.want)
			}
		})
	}
}

// TestTrailingSlash checks that the redirect keeps the query and has no body.
func TestTrailingSlash(t *testing.T) {
	service := simulator.New(simulator.Options{})
	for path, want := range map[string]string{
		"/api/v1/waitpoints/tokens/?page%5Bsize%5D=3": "/api/v1/waitpoints/tokens?page%5Bsize%5D=3",
		"/api/v1//waitpoints/tokens/":                 "/api/v1/waitpoints/tokens",
	} {
		w := httptest.NewRecorder()
		service.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if w.Code != http.StatusMovedPermanently || w.Header().Get("Location") != want || w.Body.Len() != 0 {
			t.Errorf("%s: %d to %q, %q", path, w.Code, w.Header().Get("Location"), w.Body)
		}
	}
}

// TestKeys checks the answer for a key of each preset and state.
func TestKeys(t *testing.T) {
	now := noon
	service := simulator.New(simulator.Options{Now: func() time.Time { return now }})
	prod := service.Environment(simulator.EnvironmentOptions{Key: "tr_prod_root"})
	prod.AddKeys(
		simulator.Key{Value: "tr_prod_sk_full"}, simulator.Key{Value: "tr_prod_sk_named", Preset: simulator.NoRestrictions},
		simulator.Key{Value: "tr_prod_sk_observer", Preset: "Observer"},
		simulator.Key{Value: "tr_prod_sk_operator", Preset: "Operator"},
		simulator.Key{Value: "tr_prod_sk_trigger", Preset: "Trigger only"},
		simulator.Key{Value: "tr_prod_sk_soon", ExpiresAt: noon.Add(time.Minute)},
		simulator.Key{Value: "tr_prod_sk_late", ExpiresAt: noon},
		simulator.Key{Value: "tr_prod_sk_revoked", Revoked: true},
		simulator.Key{Value: "tr_prod_sk_late_observer", Preset: "Observer", ExpiresAt: noon},
	)
	preview := service.Environment(simulator.EnvironmentOptions{Key: "tr_preview_root"})
	preview.AddKeys(simulator.Key{Value: "tr_preview_sk_full"},
		simulator.Key{Value: "tr_preview_sk_observer", Preset: "Observer"})
	service.Environment(simulator.EnvironmentOptions{Key: "tr_preview_root", Branch: "b1"})
	service.Environment(simulator.EnvironmentOptions{Key: "tr_dev_root"})
	service.Environment(simulator.EnvironmentOptions{Key: "tr_dev_root", Branch: "b1"})
	const (
		ok         = `{"data":[],"pagination":{}}`
		restricted = `{"error":"Unauthorized","code":"unauthorized","param":"access_token","type":"authorization"}`
		invalid    = `{"error":"Invalid API key"}`
		noBranch   = `{"error":"x-trigger-branch header required for preview env"}`
		unknown    = `{"error":"No matching branch env"}`
	)
	check := func(key, branch string, status int, body string) {
		t.Helper()
		w := get(t, service, key, "", "X-Trigger-Branch", branch)
		if w.Code != status || w.Body.String() != body {
			t.Errorf("%s, branch %q: %d %s, want %d %s", key, branch, w.Code, w.Body, status, body)
		}
		if limited := w.Header().Get("X-Ratelimit-Limit") != ""; limited != (body != invalid) {
			t.Errorf("%s: rate limit headers: %t", key, limited)
		}
	}
	check("tr_prod_root", "", 200, ok)
	check("tr_prod_root", "ignored", 200, ok)
	check("tr_prod_sk_full", "", 200, ok)
	check("tr_prod_sk_named", "", 200, ok)
	check("tr_prod_sk_observer", "", 403, restricted)
	check("tr_prod_sk_operator", "", 403, restricted)
	check("tr_prod_sk_trigger", "", 403, restricted)
	check("tr_prod_sk_soon", "", 200, ok)
	check("tr_prod_sk_late", "", 401, invalid)
	check("tr_prod_sk_revoked", "", 401, invalid)
	check("tr_prod_sk_late_observer", "", 401, invalid)
	check("tr_prod_sk_nobodys", "", 401, invalid)
	check("pk_prod_root", "", 401, invalid)
	check("tr_pat_somebody", "", 401, invalid)
	check("tr_preview_root", "", 401, noBranch)
	check("tr_preview_root", "b1", 200, ok)
	check("tr_preview_root", "refs/heads/b1", 200, ok)
	check("tr_preview_root", "b2", 401, unknown)
	check("tr_preview_root", "default", 401, unknown)
	check("tr_preview_sk_full", "b1", 200, ok)
	check("tr_preview_sk_full", "", 401, noBranch)
	check("tr_preview_sk_observer", "b1", 403, restricted)
	check("tr_dev_root", "", 200, ok)
	check("tr_dev_root", "default", 200, ok)
	check("tr_dev_root", "b1", 200, ok)
	check("tr_dev_root", "b2", 401, unknown)
	now = noon.Add(2 * time.Minute)
	check("tr_prod_sk_soon", "", 401, invalid)
	prod.AddKeys(simulator.Key{Value: "tr_prod_sk_full", Revoked: true})
	check("tr_prod_sk_full", "", 401, invalid)
}

// TestBranchesShareABucket checks that all branches of one key, and all keys of one
// environment, share one rate limit.
func TestBranchesShareABucket(t *testing.T) {
	service := simulator.New(simulator.Options{Now: func() time.Time { return noon }})
	limit := simulator.Limit{Size: 6, Refill: 1, Every: time.Minute}
	first := service.Environment(simulator.EnvironmentOptions{Key: "tr_preview_root", Branch: "b1", Limit: limit})
	second := service.Environment(simulator.EnvironmentOptions{Key: "tr_preview_root", Branch: "b2", Limit: limit})
	other := service.Environment(simulator.EnvironmentOptions{Key: "tr_dev_root", Limit: limit})
	first.AddKeys(simulator.Key{Value: "tr_preview_sk_full"})
	var left []string
	for _, ask := range [][2]string{
		{"tr_preview_root", "b1"},
		{"tr_preview_root", "b2"},
		{"tr_preview_sk_full", "b2"},
		{"tr_dev_root", ""},
		{"tr_preview_root", "nope"},
	} {
		left = append(left, get(t, service, ask[0], "", "X-Trigger-Branch", ask[1]).Header().Get("X-Ratelimit-Remaining"))
	}
	if d := cmp.Diff([]string{"5", "4", "3", "5", "2"}, left); d != "" {
		t.Error(d)
	}
	if refused := second.Take(3); refused != 1 {
		t.Errorf("%d calls of others refused, want 1", refused)
	}
	if code := get(t, service, "tr_preview_root", "", "X-Trigger-Branch", "b1").Code; code != http.StatusTooManyRequests {
		t.Errorf("%d, want 429", code)
	}
	counts := []int{first.Count(), second.Count(), other.Count(), first.Refused(), second.Refused()}
	if !slices.Equal(counts, []int{3, 2, 1, 1, 0}) {
		t.Errorf("counts %v", counts)
	}
}
