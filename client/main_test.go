package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"waitpoint_exporter/client"
)

// testKey must not be in any error.
const testKey = "tr_prod_Zq8kS3cr3tK3yZq8kS3cr3t"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// roundTripper is an in-memory transport.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// served returns a transport that calls the handler without a connection.
func served(h http.HandlerFunc) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		h(w, r)
		return w.Result(), nil
	}
}

// newClient returns a client, with defaults for the URL and the key.
func newClient(t testing.TB, o client.Options) *client.Client {
	t.Helper()
	if o.APIURL == "" {
		o.APIURL = "https://api.test"
	}
	if o.Key == nil {
		o.Key = func() (string, error) { return testKey, nil }
	}
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// newServer serves h on a real listener and returns its URL.
func newServer(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// token returns a token in wire form. The given fields are replaced, or removed if nil.
func token(id string, fields map[string]any) map[string]any {
	t := map[string]any{
		"id":             id,
		"url":            "https://api.trigger.dev/api/v1/waitpoints/tokens/" + id + "/callback/s3cr3thash",
		"status":         "WAITING",
		"idempotencyKey": "s3cr3tidem",
		"output":         `{"s3cr3t":"output"}`,
		"tags":           []string{"approval"},
		"createdAt":      "2026-11-23T08:19:59.748Z",
	}
	for name, value := range fields {
		if value == nil {
			delete(t, name)
		} else {
			t[name] = value
		}
	}
	return t
}

// body returns an answer with tokens with these ids.
func body(next string, ids ...string) string {
	tokens := []any{}
	for _, id := range ids {
		tokens = append(tokens, token(id, nil))
	}
	return answer(map[string]any{"next": next}, tokens...)
}

func answer(pagination map[string]any, tokens ...any) string {
	if pagination = maps.Clone(pagination); pagination == nil {
		pagination = map[string]any{}
	}
	maps.DeleteFunc(pagination, func(_ string, v any) bool { return v == "" })
	b, err := json.Marshal(map[string]any{"data": append([]any{}, tokens...), "pagination": pagination})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// script answers with one body after another and records the queries.
type script struct {
	mu      sync.Mutex
	bodies  []string
	queries []string
}

func (s *script) handle(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries = append(s.queries, r.URL.RawQuery)
	if len(s.bodies) == 0 {
		http.Error(w, `{"error":"the script is over"}`, http.StatusTeapot)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, s.bodies[0])
	s.bodies = s.bodies[1:]
}

// collect walks to the end or the first error.
func collect(t testing.TB, c *client.Client, opts client.ListOptions) (ids []string, err error) {
	t.Helper()
	for token, err := range c.Tokens(t.Context(), opts) {
		if err != nil {
			return ids, err
		}
		ids = append(ids, token.ID)
	}
	return ids, nil
}

// wantReason checks an error's reason, and that the error contains no secret.
func wantReason(t testing.TB, err error, want client.Reason) {
	t.Helper()
	if got := client.ReasonOf(err); got != want {
		t.Fatalf("reason %q, want %q: %v", got, want, err)
	}
	for e := err; e != nil; {
		for _, secret := range []string{testKey, testKey[:16], "s3cr3t", "cursor-one", "://"} {
			if text := fmt.Sprintf("%v %+v", e, e); strings.Contains(text, secret) {
				t.Errorf("%q in the error: %s", secret, text)
			}
		}
		u, ok := e.(interface{ Unwrap() error })
		if !ok {
			break
		}
		e = u.Unwrap()
	}
	_ = asError(t, err)
}

func asError(t testing.TB, err error) *client.Error {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("not a *client.Error: %v", err)
	}
	return e
}
