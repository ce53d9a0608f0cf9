package client_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"waitpoint_exporter/client"
)

// FuzzRateLimit checks that any headers give a plausible rate limit, that each header
// counts on its own, and that a retry's wait is not negative.
func FuzzRateLimit(f *testing.F) {
	const date = "Mon, 23 Nov 2026 08:47:20 GMT"
	for _, seed := range [][5]string{
		{"750", "749", "1795423650210", "", date},
		{"0", "0", "0", "", date},
		{"750", "-1", "1795423650", "7", date},
		{"750, 750;w=10", "7.5", "10", "Mon, 23 Nov 2026 08:47:27 GMT", ""},
		{"5", "9", "2026-11-23T08:47:30Z", "soon", "yesterday"},
		{"9223372036854775807", "9223372036854775807", "9223372036854775807", "9223372036854775807", date},
		{"", "", "-62135596800000", "-1", date},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4])
	}
	now := time.Date(2026, 11, 23, 8, 47, 20, 0, time.UTC)
	f.Fuzz(func(t *testing.T, limit, remaining, reset, retryAfter, date string) {
		read := func(limit, remaining, reset string) client.Attempt {
			var attempt client.Attempt
			c := newClient(t, client.Options{
				Now: func() time.Time { return now }, Observe: func(a client.Attempt) { attempt = a },
				Transport: served(func(w http.ResponseWriter, _ *http.Request) {
					for name, value := range map[string]string{
						"X-Ratelimit-Limit": limit, "X-Ratelimit-Remaining": remaining, "X-Ratelimit-Reset": reset,
						"Retry-After": retryAfter, "Date": date,
					} {
						w.Header().Set(name, value)
					}
					_, _ = io.WriteString(w, body("", "a"))
				}),
			})
			if _, err := c.Pager(client.ListOptions{}).Next(t.Context()); err != nil {
				t.Fatal(err)
			}
			return attempt
		}
		a := read(limit, remaining, reset)
		r, at := a.RateLimit, a.Date
		if at.IsZero() {
			at = now
		}
		switch {
		case r.Limit < 0, r.Remaining < -1, r.Limit > 0 && r.Remaining > r.Limit, r.Known() && r.Limit == 0:
			t.Errorf("%+v makes no sense", r)
		case !r.Reset.IsZero() && r.Reset.Sub(at).Abs() > time.Hour:
			t.Errorf("a reset at %s, answered at %s", r.Reset, at)
		case a.RetryAfter < 0:
			t.Errorf("a Retry-After of %s", a.RetryAfter)
		}
		if without := read(limit, remaining, "soon").RateLimit; r.Known() &&
			(without.Limit != r.Limit || without.Remaining != r.Remaining) {
			t.Errorf("with a reset that makes no sense %+v, with %q %+v", without, reset, r)
		}
	})
}
