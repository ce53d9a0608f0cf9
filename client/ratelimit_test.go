package client_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"waitpoint_exporter/client"
)

// TestRateLimitHeaders checks that each header counts on its own, and that an
// implausible header counts as absent.
func TestRateLimitHeaders(t *testing.T) {
	date := time.Date(2026, 11, 23, 8, 47, 20, 0, time.UTC)
	reset := date.Add(4500 * time.Millisecond)
	ms := strconv.FormatInt(reset.UnixMilli(), 10)
	for name, tc := range map[string]struct {
		limit, remaining, reset string
		want                    client.RateLimit
		known                   bool
	}{
		"as the service sends them": {
			"750", "749", ms,
			client.RateLimit{Limit: 750, Remaining: 749, Reset: reset},
			true,
		},
		"an empty bucket": {"750", "0", ms, client.RateLimit{Limit: 750, Reset: reset}, true},
		// The service sends 0 for an empty bucket, never less.
		"less than none":             {"750", "-1", ms, client.RateLimit{Limit: 750, Remaining: -1, Reset: reset}, false},
		"two that differ":            {"750", "749|500", ms, client.RateLimit{Limit: 750, Remaining: -1, Reset: reset}, false},
		"two limits":                 {"10|750", "500", ms, client.RateLimit{Remaining: 500, Reset: reset}, false},
		"two resets":                 {"750", "749", ms + "|5", client.RateLimit{Limit: 750, Remaining: 749}, true},
		"one of them is empty":       {"750", "|749", ms, client.RateLimit{Limit: 750, Remaining: -1, Reset: reset}, false},
		"two that are the same":      {"750|750", "749|749", ms, client.RateLimit{Limit: 750, Remaining: 749, Reset: reset}, true},
		"none":                       {"", "", "", client.RateLimit{}, false},
		"a limiter that is bypassed": {"0", "0", "0", client.RateLimit{}, false},
		"words":                      {"many", "enough", "soon", client.RateLimit{}, false},
		"no limit":                   {"", "749", ms, client.RateLimit{Remaining: 749, Reset: reset}, false},
		"a limit with a policy":      {"750, 750;w=10", "749", ms, client.RateLimit{Remaining: 749, Reset: reset}, false},
		"a limit below 0":            {"-750", "749", ms, client.RateLimit{Remaining: 749, Reset: reset}, false},
		"no remaining":               {"750", "", ms, client.RateLimit{Limit: 750, Remaining: -1, Reset: reset}, false},
		"a remaining with a fraction": {
			"750", "7.5", ms,
			client.RateLimit{Limit: 750, Remaining: -1, Reset: reset},
			false,
		},
		"more remains than fits":     {"100", "749", ms, client.RateLimit{Remaining: -1, Reset: reset}, false},
		"no reset":                   {"750", "749", "", client.RateLimit{Limit: 750, Remaining: 749}, true},
		"a reset in seconds":         {"750", "749", "1795423644", client.RateLimit{Limit: 750, Remaining: 749}, true},
		"a reset in microseconds":    {"750", "749", ms + "000", client.RateLimit{Limit: 750, Remaining: 749}, true},
		"a reset as so many seconds": {"750", "749", "5", client.RateLimit{Limit: 750, Remaining: 749}, true},
		"a reset in ISO 8601": {
			"750", "749", "2026-11-23T08:47:24.500Z",
			client.RateLimit{Limit: 750, Remaining: 749},
			true,
		},
		"a reset past what a date holds": {
			"750", "749", "9223372036854775807",
			client.RateLimit{Limit: 750, Remaining: 749},
			true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, client.Options{Transport: served(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", date.Format(http.TimeFormat))
				for header, value := range map[string]string{"Limit": tc.limit, "Remaining": tc.remaining, "Reset": tc.reset} {
					if value != "" {
						w.Header()["X-Ratelimit-"+header] = strings.Split(value, "|")
					}
				}
				_, _ = io.WriteString(w, body("", "a"))
			})})
			page, err := c.Pager(client.ListOptions{}).Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if page.RateLimit != tc.want || page.RateLimit.Known() != tc.known {
				t.Errorf("%+v, known %t; want %+v, %t", page.RateLimit, page.RateLimit.Known(), tc.want, tc.known)
			}
		})
	}
}
