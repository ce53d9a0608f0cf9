package client_test

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"waitpoint_exporter/client"
)

func TestListOptionsValidate(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		reason  string
		options client.ListOptions
		want    string // Empty: valid.
	}{
		{"everything", client.ListOptions{}, ""},
		{"the largest page", client.ListOptions{PageSize: 100}, ""},
		{"the smallest page", client.ListOptions{PageSize: 1}, ""},
		{"400", client.ListOptions{PageSize: 101}, "page size 101"},
		{"400", client.ListOptions{PageSize: -1}, "page size -1"},
		{"the service takes one of them", client.ListOptions{After: "a", Before: "b"}, "both after and before"},
		{"exact", client.ListOptions{Statuses: []client.Status{"COMPLETED", "TIMED_OUT"}}, ""},
		{"the same twice is one", client.ListOptions{Statuses: []client.Status{"WAITING", "WAITING"}}, ""},
		{
			"would return everything",
			client.ListOptions{Statuses: []client.Status{"WAITING", "TIMED_OUT"}},
			"WAITING with another",
		},
		{
			"would return everything",
			client.ListOptions{Statuses: []client.Status{"COMPLETED", "WAITING"}},
			"WAITING with another",
		},
		{"400", client.ListOptions{Statuses: []client.Status{"waiting"}}, `status "waiting"`},
		{"400", client.ListOptions{Statuses: []client.Status{""}}, `status ""`},
		{"would be ignored", client.ListOptions{Tags: []string{"a", ""}}, "empty tag"},
		{"would be two tags", client.ListOptions{Tags: []string{"a,b"}}, `tag "a,b"`},
		{"would become another tag", client.ListOptions{Tags: []string{"\xff"}}, "UTF-8"},
		{"would be a 500", client.ListOptions{Tags: []string{"a\x00"}}, "NUL"},
		{"odd but possible", client.ListOptions{Tags: []string{" ", "a\nb", "日本語", `"`}}, ""},
		{"would be a 500", client.ListOptions{IdempotencyKey: "s3cr3t\x00"}, "idempotency key"},
		{"would be a 500", client.ListOptions{After: "a\x00"}, "cursor"},
		{"whole hours", client.ListOptions{Period: time.Hour}, ""},
		{"the past only", client.ListOptions{Period: -time.Hour}, "period -1h"},
		{"would be ignored", client.ListOptions{Period: 1500 * time.Millisecond}, "whole seconds"},
		{"one would win", client.ListOptions{Period: time.Hour, From: now}, "period with from or to"},
		{"one would win", client.ListOptions{Period: time.Hour, To: now}, "period with from or to"},
		{"a point in time", client.ListOptions{From: now, To: now}, ""},
		{"nothing lies between", client.ListOptions{From: now.Add(1), To: now}, "is after to"},
		{"not four digits", client.ListOptions{To: now.AddDate(9000, 0, 0)}, "year 11026"},
		{"431", client.ListOptions{Tags: slices.Repeat([]string{strings.Repeat("ä", 100)}, 40)}, "query of 24"},
	} {
		t.Run(tc.reason+" "+tc.want, func(t *testing.T) {
			err := tc.options.Validate()
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%v, want none", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) ||
				strings.Contains(err.Error(), "s3cr3t")):
				t.Errorf("%v, want one with %q", err, tc.want)
			}
			c := newClient(t, client.Options{Transport: served(func(w http.ResponseWriter, _ *http.Request) {
				if tc.want != "" {
					t.Error("a refused request was sent")
				}
				_, _ = io.WriteString(w, body(""))
			})})
			if _, err := collect(t, c, tc.options); tc.want != "" {
				wantReason(t, err, client.ReasonBadRequest)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestQuery(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 19, 59, 748_000_001, time.FixedZone("", 3600))
	for _, tc := range []struct {
		reason  string
		options client.ListOptions
		want    url.Values // Without the page size.
	}{
		{"nothing asked", client.ListOptions{}, url.Values{}},
		{"forward", client.ListOptions{After: "c"}, url.Values{"page[after]": {"c"}}},
		{"backward", client.ListOptions{Before: "c"}, url.Values{"page[before]": {"c"}}},
		{"one status", client.ListOptions{Statuses: []client.Status{"WAITING"}}, url.Values{"filter[status]": {"WAITING"}}},
		{
			"finished",
			client.ListOptions{Statuses: []client.Status{"TIMED_OUT", "COMPLETED", "TIMED_OUT"}},
			url.Values{"filter[status]": {"COMPLETED,TIMED_OUT"}},
		},
		{"key", client.ListOptions{IdempotencyKey: "a b&c"}, url.Values{"filter[idempotencyKey]": {"a b&c"}}},
		{"tags", client.ListOptions{Tags: []string{"team:a", "日本語"}}, url.Values{"filter[tags]": {"team:a,日本語"}}},
		{
			"from is rounded up",
			client.ListOptions{From: at},
			url.Values{"filter[createdAt][from]": {"2026-11-23T08:19:59.749Z"}},
		},
		{"to is rounded down", client.ListOptions{To: at}, url.Values{"filter[createdAt][to]": {"2026-11-23T08:19:59.748Z"}}},
		{"days", client.ListOptions{Period: 168 * time.Hour}, url.Values{"filter[createdAt][period]": {"604800s"}}},
		{"hours", client.ListOptions{Period: 25 * time.Hour}, url.Values{"filter[createdAt][period]": {"90000s"}}},
		{"minutes", client.ListOptions{Period: 90 * time.Minute}, url.Values{"filter[createdAt][period]": {"5400s"}}},
		{"seconds", client.ListOptions{Period: time.Hour + time.Second}, url.Values{"filter[createdAt][period]": {"3601s"}}},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			var got url.Values
			c := newClient(t, client.Options{Transport: served(func(w http.ResponseWriter, r *http.Request) {
				got = r.URL.Query()
				_, _ = io.WriteString(w, body(""))
			})})
			if _, err := collect(t, c, tc.options); err != nil {
				t.Fatal(err)
			}
			tc.want.Set("page[size]", "100")
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
