package client_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"waitpoint_exporter/client"
)

func TestNewRefuses(t *testing.T) {
	key := func() (string, error) { return testKey, nil }
	for _, tc := range []struct {
		options client.Options
		want    string
	}{
		{client.Options{Key: key}, "API URL is empty"},
		{client.Options{Key: key, APIURL: "api.trigger.dev"}, `API URL "api.trigger.dev": want it to start with http`},
		{client.Options{Key: key, APIURL: "ftp://api.trigger.dev"}, "want it to start with http"},
		{client.Options{Key: key, APIURL: "https://"}, "has no host"},
		{client.Options{Key: key, APIURL: "https://:3030"}, "has no host"},
		{client.Options{Key: key, APIURL: "https://a b"}, "not a URL"},
		{client.Options{Key: key, APIURL: "https://host:port"}, "not a URL"},
		{client.Options{Key: key, APIURL: "https://user:s3cr3t@host"}, "user information"},
		{client.Options{Key: key, APIURL: "https://user:s3 cr3t@host"}, "not a URL"},
		{client.Options{Key: key, APIURL: "ftp://user:s3cr3t@host"}, "want it to start with http"},
		{client.Options{Key: key, APIURL: "https://host?key=s3cr3t"}, "has a query"},
		{client.Options{Key: key, APIURL: "https://host?"}, "has a query"},
		{client.Options{Key: key, APIURL: "https://host#s3cr3t"}, "has a fragment"},
		{client.Options{Key: key, APIURL: "https://host#"}, "has a fragment"},
		{client.Options{APIURL: "https://host"}, "no source for the key"},
		{client.Options{Key: key, APIURL: "https://host", Timeout: -1}, "timeout"},
		{client.Options{Key: key, APIURL: "https://host", MaxAttempts: -1}, "attempts"},
		{client.Options{Key: key, APIURL: "https://host", PreviewBranch: "a\r\nb: c"}, "preview branch"},
		{client.Options{Key: key, APIURL: "https://host", UserAgent: "a\nb"}, "user agent"},
		{client.Options{Key: key, APIURL: "tr_prod_s3cr3t"}, `API URL "tr_prod_…": want it to start with http`},
		{client.Options{Key: key, APIURL: "ftp://of_tr_prod_s3cr3t"}, `API URL "ftp://of_tr_prod_…": want it`},
		{client.Options{Key: key, APIURL: "https://tr_prod_s3cr3t"}, "API URL: has a key in it"},
		{client.Options{Key: key, APIURL: "https://host/pk_prod_s3cr3t/x"}, "API URL: has a key in it"},
		{client.Options{Key: key, APIURL: "https://host", PreviewBranch: "tr_dev_s3cr3t\n"}, `branch "tr_dev_…": has`},
		{client.Options{Key: key, APIURL: "https://host", UserAgent: "tr_pat_s3cr3t\n"}, `agent "tr_pat_…": has`},
	} {
		t.Run(tc.want+" "+tc.options.APIURL, func(t *testing.T) {
			_, err := client.New(tc.options)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3") {
				t.Errorf("%v, want one with %q and no secret", err, tc.want)
			}
		})
	}
}

func TestRequest(t *testing.T) {
	for _, tc := range []struct {
		reason, url, path string
		branch            string
	}{
		{"plain", "https://api.test", "/api/v1/waitpoints/tokens", ""},
		{"a trailing slash", "https://api.test/", "/api/v1/waitpoints/tokens", ""},
		{"a path prefix", "http://api.test:3030/trigger/x/", "/trigger/x/api/v1/waitpoints/tokens", ""},
		{"a branch", "https://api.test", "/api/v1/waitpoints/tokens", "feature/one"},
		{"an address", "http://[::1]:80", "/api/v1/waitpoints/tokens", ""},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			var got *http.Request
			c := newClient(t, client.Options{
				APIURL: tc.url, PreviewBranch: tc.branch, UserAgent: "test/1",
				Transport: served(func(w http.ResponseWriter, r *http.Request) {
					got = r
					_, _ = io.WriteString(w, body(""))
				}),
			})
			if _, err := c.Pager(client.ListOptions{}).Next(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := http.Header{
				"Authorization": {"Bearer " + testKey}, "Accept": {"application/json"}, "Cache-Control": {"no-cache"}, "Accept-Encoding": {"gzip"},
				"User-Agent": {"test/1"},
			}
			if tc.branch != "" {
				want["X-Trigger-Branch"] = []string{tc.branch}
			}
			if diff := cmp.Diff(want, got.Header); diff != "" {
				t.Error(diff)
			}
			if got.URL.Path != tc.path || got.Method != http.MethodGet {
				t.Errorf("%s %s, want GET %s", got.Method, got.URL.Path, tc.path)
			}
		})
	}
}

func TestKeyIsReadForEveryRequest(t *testing.T) {
	var keys []string
	n := 0
	c := newClient(t, client.Options{
		Key: func() (string, error) { n++; return "tr_dev_" + string(rune('a'+n)), nil },
		Transport: served(func(w http.ResponseWriter, r *http.Request) {
			keys = append(keys, r.Header.Get("Authorization"))
			_, _ = io.WriteString(w, body(map[int]string{1: "two"}[n], "t"+string(rune('a'+n))))
		}),
	})
	if _, err := collect(t, c, client.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Bearer tr_dev_b", "Bearer tr_dev_c"}, keys); diff != "" {
		t.Error(diff)
	}
}

func TestKeyThatCannotBeSent(t *testing.T) {
	for reason, key := range map[string]func() (string, error){
		"unreadable":        func() (string, error) { return "", errors.New("open key: no such file") },
		"empty":             func() (string, error) { return "", nil },
		"breaks the header": func() (string, error) { return testKey + "\nX-Evil: 1", nil },
	} {
		t.Run(reason, func(t *testing.T) {
			limiter := &countingLimiter{}
			c := newClient(t, client.Options{
				Key: key, Limiter: limiter,
				Observe: func(client.Attempt) { t.Error("an attempt was made") },
				Transport: roundTripper(func(*http.Request) (*http.Response, error) {
					t.Error("a request was sent")
					return nil, io.EOF
				}),
			})
			_, err := collect(t, c, client.ListOptions{})
			wantReason(t, err, client.ReasonAuth)
			if limiter.waits.Load() != 0 {
				t.Error("took a turn at the limiter for nothing")
			}
		})
	}
}

func TestGzipAndKeptConnections(t *testing.T) {
	var connections stringSet
	url := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		connections.add(r.RemoteAddr)
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("Accept-Encoding: %q", r.Header.Get("Accept-Encoding"))
		}
		if r.URL.Query().Get("page[after]") == "fail" && r.Header.Get("Once") == "" {
			http.Error(w, `{"error":"x"}`, http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, body(map[string]string{"": "two", "two": "fail"}[r.URL.Query().Get("page[after]")],
			"of-"+r.URL.Query().Get("page[after]")))
		_ = z.Close()
	})
	c := newClient(t, client.Options{APIURL: url})
	for range 3 {
		ids, err := collect(t, c, client.ListOptions{})
		wantReason(t, err, client.ReasonBadRequest)
		if diff := cmp.Diff([]string{"of-", "of-two"}, ids); diff != "" {
			t.Error(diff)
		}
	}
	if n := connections.len(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestCancelledContextSendsNothing(t *testing.T) {
	var sent atomic.Int64
	c := newClient(t, client.Options{Transport: served(func(http.ResponseWriter, *http.Request) { sent.Add(1) })})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Pager(client.ListOptions{}).Next(ctx)
	wantReason(t, err, client.ReasonTimeout)
	if !errors.Is(err, context.Canceled) || sent.Load() != 0 {
		t.Errorf("sent %d, %v", sent.Load(), err)
	}
}

func TestCancelDuringRequest(t *testing.T) {
	entered := make(chan struct{})
	url := newServer(t, func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})
	limiter := &countingLimiter{}
	c := newClient(t, client.Options{APIURL: url, Limiter: limiter})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	_, err := c.Pager(client.ListOptions{}).Next(ctx)
	wantReason(t, err, client.ReasonTimeout)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v does not wrap context.Canceled", err)
	}
	if w, d := limiter.waits.Load(), limiter.dones.Load(); w != 1 || d != 1 {
		t.Errorf("%d waits, %d dones", w, d)
	}
}

func TestAttemptIsObserved(t *testing.T) {
	date := time.Date(2026, 11, 23, 8, 47, 20, 0, time.UTC)
	reset := time.UnixMilli(1795423650210).UTC()
	var got []client.Attempt
	c := newClient(t, client.Options{
		MaxAttempts: 1,
		Observe:     func(a client.Attempt) { a.Duration, a.Err = 0, nil; got = append(got, a) },
		Transport: served(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", date.Format(http.TimeFormat))
			w.Header().Set("X-Ratelimit-Limit", "750")
			w.Header().Set("X-Ratelimit-Remaining", "749")
			w.Header().Set("X-Ratelimit-Reset", "1795423650210")
			w.Header().Set("Retry-After", "7")
			_, _ = io.WriteString(w, body("", "a"))
		}),
	})
	page, err := c.Pager(client.ListOptions{}).Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	limit := client.RateLimit{Limit: 750, Remaining: 749, Reset: reset}
	want := []client.Attempt{{Status: 200, RateLimit: limit, Date: date, RetryAfter: 7 * time.Second}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if page.RateLimit != limit || !page.Date.Equal(date) || !page.RateLimit.Known() {
		t.Errorf("%+v at %s", page.RateLimit, page.Date)
	}
}
