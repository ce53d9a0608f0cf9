package refresh_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"waitpoint_exporter/client"
	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/refresh"
	"waitpoint_exporter/test/size"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
)

// endless is a service whose list has no end: the tokens and the cursor of each page
// are unique.
type endless struct {
	fields           map[string]any // Of each token.
	size             int            // Of a page; zero for 100.
	long             string         // At the end of each id and cursor.
	serial, requests atomic.Int64
}

func (s *endless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	tokens := []map[string]any{}
	var n int64
	for range cmpOr(s.size, 100) {
		n = s.serial.Add(1)
		t := map[string]any{
			"id": fmt.Sprintf("waitpoint_%012d%s", 1<<30-n, s.long), "status": "WAITING",
			"createdAt": time.Now().UTC().Add(-time.Duration(len(tokens)) * time.Second).Format("2006-01-02T15:04:05.000Z"),
		}
		maps.Copy(t, s.fields)
		tokens = append(tokens, t)
	}
	if asked := r.URL.Query().Get("filter[status]"); asked != "" && asked != tokens[0]["status"] {
		tokens = tokens[:0]
	}
	page := map[string]any{"data": tokens, "pagination": map[string]any{}}
	if len(tokens) > 0 {
		page["pagination"] = map[string]any{"next": fmt.Sprint("c", n, s.long)}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(page); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// held returns the bytes on the heap that are in use.
func held() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestEndlessPages checks that a list without end, over a real connection, is abandoned
// at the bounds, and uses no more memory than they allow.
func TestEndlessPages(t *testing.T) {
	tags := make([]string, 100)
	for i := range tags {
		tags[i] = strings.Repeat(string(rune('0'+i)), 1000)
	}
	// Each of the four workers may have a page under way when the index is full.
	tokens, bytes := size.Of(4_000, 20_000), size.Of(1<<20, 4<<20)
	for name, tc := range map[string]struct {
		service    *endless
		opts       refresh.Options
		mostTokens int64
		mostMiB    uint64
	}{
		// Up to four pages are under way when the bound is reached.
		"waiting":                    {&endless{}, refresh.Options{MaxTokens: tokens}, int64(tokens) + 400, 64},
		"finished":                   {&endless{fields: map[string]any{"status": "COMPLETED"}}, refresh.Options{MaxTokens: tokens}, int64(tokens) + 400, 32},
		"waiting with a lot of tags": {&endless{fields: map[string]any{"tags": tags}}, refresh.Options{MaxBytes: 16 << 20}, 800, 160},
		"finished, with long ids and cursors": {
			&endless{fields: map[string]any{"status": "COMPLETED"}, size: 1, long: strings.Repeat("x", 1000)},
			refresh.Options{MaxBytes: bytes},
			int64(bytes) / 200, 32,
		},
		"one to a page": {&endless{size: 1}, refresh.Options{MaxTokens: 2000}, 2010, 32},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tc.service)
			defer server.Close()
			failed := make(chan struct{}, 1)
			tc.opts.Interval, tc.opts.MaxStaleness, tc.opts.VerifyInterval, tc.opts.Concurrency = time.Minute, time.Hour, time.Hour, 4
			tc.opts.Metrics = refresh.NewMetrics(prometheus.NewRegistry(), nil)
			tc.opts.Logger = log.LoggerFunc(func(fields ...any) error {
				if strings.Contains(fmt.Sprint(fields...), "refresh failed") {
					select {
					case failed <- struct{}{}:
					default:
					}
				}
				return nil
			})
			api, err := client.New(client.Options{APIURL: server.URL, Key: func() (string, error) { return key, nil }})
			if err != nil {
				t.Fatal(err)
			}
			defer api.CloseIdleConnections()
			before := held()
			subject := refresh.New(api, tc.opts)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- subject.Run(ctx) }()
			select {
			case <-failed:
			case <-ctx.Done():
				t.Errorf("after %d tokens it still goes on", tc.service.serial.Load())
			}
			if n := held(); n > before+tc.mostMiB<<20 {
				t.Errorf("%d MiB are held", (n-before)>>20)
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if s := subject.State(); s.Up || s.Reason != client.ReasonInvalidResponse || !strings.Contains(s.Err, "more tokens than can be held") {
				t.Errorf("%+v", s)
			}
			if n := tc.service.serial.Load(); n > tc.mostTokens {
				t.Errorf("%d tokens were listed, want at most %d", n, tc.mostTokens)
			}
		})
	}
}

// between sends the requests that choose selects to another service.
type between struct {
	http.RoundTripper

	other  http.RoundTripper
	choose func(*http.Request) bool
}

func (b between) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.choose(r) {
		return b.other.RoundTrip(r)
	}
	return b.RoundTripper.RoundTrip(r)
}

func populate(e *simulator.Environment) {
	e.Populate(simulator.Population{Seed: 1, Tokens: 2000, Waiting: 250})
}

// TestFullSnapshotStartsOver checks that no request is made while the snapshot is full, and
// that it starts over: the tokens that filled it do not stay until a restart.
func TestFullSnapshotStartsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hostile atomic.Bool
		hostile.Store(true)
		service := &endless{}
		w := startOver(t, simulator.EnvironmentOptions{}, refresh.Options{MaxTokens: 10_000, VerifyInterval: 2 * time.Hour}, func(honest http.RoundTripper) http.RoundTripper {
			return between{honest, simulator.Transport(service), func(*http.Request) bool { return hostile.Load() }}
		}, populate)
		defer w.stop()
		time.Sleep(time.Minute)
		hostile.Store(false)
		asked := service.requests.Load() + int64(w.truth.Count())
		if s := w.subject.State(); s.Up || asked == 0 {
			t.Fatalf("%+v after %d requests", s, asked)
		}
		time.Sleep(time.Hour)
		if n := service.requests.Load() + int64(w.truth.Count()) - asked; n > 0 {
			t.Errorf("%d requests with no room for the answers", n)
		}
		if s := w.subject.State(); s.Up || !strings.Contains(s.Err, "more tokens than can be held") {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Hour + 2*time.Minute)
		if d := w.diff(time.Now()); d != "" || !w.subject.State().Up {
			t.Errorf("%+v\n%s", w.subject.State(), d)
		}
	})
}

// TestFullHistory checks that a history that is too long does not affect the numbers of
// WAITING tokens.
func TestFullHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &endless{fields: map[string]any{"status": "COMPLETED"}}
		w := startOver(t, simulator.EnvironmentOptions{}, refresh.Options{MaxTokens: 10_000, VerifyInterval: 24 * time.Hour}, func(honest http.RoundTripper) http.RoundTripper {
			return between{honest, simulator.Transport(service), func(r *http.Request) bool { return !r.URL.Query().Has("filter[status]") }}
		}, populate)
		defer w.stop()
		for range 5 {
			time.Sleep(time.Minute)
			w.truth.Add(simulator.Token{CreatedAt: time.Now()})
		}
		time.Sleep(time.Minute)
		now := time.Now()
		if s := w.subject.State(); s.Up || !strings.Contains(s.Err, "load the history: there are more tokens than can be held") {
			t.Errorf("%+v", s)
		}
		s := w.subject.Snapshot()
		if n := s.Total.Count(0, now); n != 255 || s.Loaded || now.Sub(s.At) > time.Minute {
			t.Errorf("%d tokens wait, loaded %t, as of %s ago", n, s.Loaded, now.Sub(s.At))
		}
		if n := service.serial.Load(); n > 11_000 {
			t.Errorf("%d tokens were listed", n)
		}
	})
}

// TestNothingSpins checks that an environment that makes no progress makes only a few
// requests a refresh.
func TestNothingSpins(t *testing.T) {
	t.Parallel()
	reply := func(status int, header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if name, value, ok := strings.Cut(header, ": "); ok {
				w.Header().Set(name, value)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	const one = `{"id":"a","status":"WAITING","createdAt":"2000-01-01T00:00:00Z"}`
	for name, h := range map[string]http.HandlerFunc{
		"nothing":                reply(200, "", ""),
		"no tokens":              reply(200, "", `{"data":[],"pagination":{}}`),
		"no tokens and a cursor": reply(200, "", `{"data":[],"pagination":{"next":"c"}}`),
		"the same for ever":      reply(200, "", `{"data":[`+one+`],"pagination":{"next":"c"}}`),
		"the same, new cursors": func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, `{"data":[%s],"pagination":{"next":"c%s"}}`, one, r.URL.Query().Get("page[after]"))
		},
		"a cursor with a NUL":     reply(200, "", `{"data":[`+one+`],"pagination":{"next":"\u0000"}}`),
		"another protocol":        reply(101, "", ""),
		"no redirect":             reply(302, "", ""),
		"round and round":         reply(302, "Location: /", ""),
		"refused":                 reply(429, "", ""),
		"refused, for no time":    reply(429, "Retry-After: 0", ""),
		"refused, for ever":       reply(429, "Retry-After: 2147483647", ""),
		"refused, till long ago":  reply(429, "Retry-After: Mon, 01 Jan 1900 00:00:00 GMT", ""),
		"refused, till the end":   reply(429, "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT", ""),
		"no such status":          reply(999, "", ""),
		"failed, till the end":    reply(503, "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT", ""),
		"the connection is ended": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests atomic.Int64
				api, err := client.New(client.Options{
					APIURL: "http://api.test", Key: func() (string, error) { return key, nil },
					Transport: simulator.Transport(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						requests.Add(1)
						h(w, r)
					})), Limiter: reserveHalf(),
				})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour-time.Second)
				defer cancel()
				subject := refresh.New(api, refresh.Options{
					Interval: time.Minute, MaxStaleness: 10 * time.Minute, VerifyInterval: 10 * time.Minute, Concurrency: 4,
					Logger: log.NewNopLogger(), Metrics: refresh.NewMetrics(prometheus.NewRegistry(), nil),
				})
				if err := subject.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				if n := requests.Load(); n == 0 || n > 60*7 {
					t.Errorf("%d requests in an hour", n)
				}
			})
		})
	}
}

// TestTokensOfAnyDate checks that tokens of any date are counted correctly, and that none
// keeps a loop busy.
func TestTokensOfAnyDate(t *testing.T) {
	t.Parallel()
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, int(time.Millisecond), time.UTC) }
	for _, period := range []time.Duration{0, 30 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			odd := func(e *simulator.Environment) {
				now := time.Now()
				for _, at := range []time.Time{year(1), year(1600), year(1969), now.Add(time.Hour), year(2300), year(9998)} {
					for _, other := range []time.Time{{}, year(1), now, year(9998)} {
						e.Add(simulator.Token{CreatedAt: at, TimeoutAt: other, VisibleAt: now})
						e.Add(simulator.Token{CreatedAt: at, CompletedAt: other, FinishedAt: now, VisibleAt: now, Status: "COMPLETED"})
					}
				}
			}
			w := start(t, simulator.EnvironmentOptions{}, refresh.Options{Period: period}, func(e *simulator.Environment) {
				populate(e)
				odd(e)
			})
			defer w.stop()
			time.Sleep(5 * time.Minute)
			odd(w.truth)
			time.Sleep(25 * time.Minute) // For two turns of the walk: these ids are not in order of time.
			if d := w.diff(time.Now()); d != "" || !w.subject.State().Up {
				t.Errorf("%+v\n%s", w.subject.State(), d)
			}
			before := w.truth.Count()
			time.Sleep(10 * time.Minute)
			if n := w.truth.Count() - before; n > 10*15 {
				t.Errorf("%d requests in ten minutes", n)
			}
		})
	}
}

// TestLogsAreSingleSafeLines checks that each log message is one line without effect in a
// terminal, whatever the service answers.
func TestLogsAreSingleSafeLines(t *testing.T) {
	t.Parallel()
	const nasty = "\x1b[31mred\x1b]0;title\x07\u009b31m\u202egnp\u2028\u2066\x7f\x08\r\nlevel=info\ufeff"
	quoted, err := json.Marshal(nasty)
	if err != nil {
		t.Fatal(err)
	}
	for name, fault := range map[string]simulator.Fault{
		"an error":  {Kind: simulator.FaultStatus, Status: 500, Body: `{"error":` + string(quoted) + `}`},
		"no JSON":   {Kind: simulator.FaultBody, Body: nasty},
		"a status":  {Kind: simulator.FaultBody, Body: `{"data":[{"id":` + string(quoted) + `,"status":` + string(quoted) + `,"tags":[` + string(quoted) + `],"createdAt":"2026-11-23T12:00:00Z"}],"pagination":{}}`},
		"a time":    {Kind: simulator.FaultBody, Body: `{"data":[{"id":"a","status":"WAITING","createdAt":` + string(quoted) + `}],"pagination":{}}`},
		"elsewhere": {Kind: simulator.FaultRedirect, Header: http.Header{"Location": {nasty}}},
	} {
		for format, newLogger := range map[string]func(io.Writer) log.Logger{"logfmt": log.NewLogfmtLogger, "JSON": log.NewJSONLogger} {
			t.Run(name+" in "+format, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var lines bytes.Buffer
					service := simulator.New(simulator.Options{Seed: 1})
					service.Environment(simulator.EnvironmentOptions{Key: key})
					service.Inject(fault)
					api, err := client.New(client.Options{APIURL: "http://api.test", Key: func() (string, error) { return key, nil }, Transport: simulator.Transport(service)})
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
					defer cancel()
					subject := refresh.New(api, refresh.Options{
						Interval: time.Minute, MaxStaleness: 10 * time.Minute, VerifyInterval: 10 * time.Minute, Concurrency: 1,
						Logger: newLogger(&lines), Metrics: refresh.NewMetrics(prometheus.NewRegistry(), nil),
					})
					if err := subject.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
					if lines.Len() == 0 {
						t.Error("nothing was logged")
					}
					for line := range strings.Lines(lines.String()) {
						for _, r := range strings.TrimSuffix(line, "\n") {
							if !unicode.IsPrint(r) {
								t.Errorf("%q has %U in it", line, r)
							}
						}
						if !strings.Contains(line, "msg") {
							t.Errorf("the line %q is not the program's", line)
						}
					}
				})
			})
		}
	}
}
