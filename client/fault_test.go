package client_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"waitpoint_exporter/client"
)

// status answers with a status and an error body.
func status(code int, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, `{"error":"`+message+`","details":["s3cr3t"]}`)
	}
}

func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
}

// raw writes bytes on the connection and closes it.
func raw(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, s)
		_ = conn.Close()
	}
}

func TestFaults(t *testing.T) {
	full := body("", "a", "b")
	one := func(fields map[string]any) http.HandlerFunc {
		return text(answer(nil, token("a", nil), token("b", fields)))
	}
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		reason client.Reason
		want   string // In the error.
	}{
		{"401", status(401, "Invalid API key"), "auth", "Invalid API key; the tr_prod_… key is wrong, expired or revoked"},
		{
			"401 no branch", status(401, "x-trigger-branch header required for preview env"), "auth",
			"--trigger.preview-branch is missing",
		},
		{"401 unknown branch", status(401, "No matching branch env"), "auth", "the service knows no such branch"},
		{
			"403", status(403, "Account suspended"), "auth",
			`403 Forbidden: Account suspended; the key's preset does not let it list tokens: make a key with the preset "No ` +
				`restrictions"; or else the account is suspended or the exporter's address blocked`,
		},
		{"404", status(404, "Not found"), "bad_request", "check the API URL"},
		{"422", status(422, "Unprocessable"), "bad_request", "422 Unprocessable Entity: Unprocessable"},
		{"400", status(400, "Query Error"), "bad_request", "400 Bad Request: Query Error"},
		{"431", status(431, ""), "bad_request", "the query, the key or the branch is too long for the server"},
		{"418", status(418, ""), "bad_request", "418"},
		{"408", status(408, ""), "timeout", "408"},
		{"429", status(429, "Rate limit exceeded 0/5 requests remaining."), "rate_limited", "exceeded 0/5 requests"},
		{"500", status(500, "Internal Server Error"), "server", "old engine"},
		{"502 HTML", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "<html>s3cr3t")
		}, "server", "502 Bad Gateway"},
		{
			"error with secrets in it", status(500,
				"GET https://x/?s3cr3t for "+testKey+" and "+testKey[:18]+" at /a/callback/s3cr3t"), "server",
			"GET <url> for <redacted> and <key> at <url>",
		},
		{"error with an idempotency key", status(401, "no token has idempotencyKey=s3cr3t"), "auth", ": <redacted>: the answer is not the service's own"},
		{"error with an output", status(422, `Output of \"s3cr3t\" is too large`), "bad_request", "Entity: <redacted>"},
		{"error that is long", status(500, strings.Repeat("é", 300)), "server", strings.Repeat("é", 199) + "…"},
		{"error with control characters", status(500, `a\u001b[31m\nb`), "server", "a [31m b"},
		{
			"204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, "invalid_response",
			"want 200",
		},
		{"200 HTML", text("<!DOCTYPE html><title>s3cr3t</title>"), "invalid_response", "an HTML page"},
		{"200 null", text("null"), "invalid_response", "not an object"},
		{"200 list", text("[]"), "invalid_response", "not an object"},
		{"200 empty", text(""), "invalid_response", "ends early"},
		{"no data", text(`{"pagination":{}}`), "invalid_response", "no data"},
		{"null data", text(`{"data":null,"pagination":{}}`), "invalid_response", "no data"},
		{"data of another kind", text(`{"data":{"s3cr3t":1},"pagination":{}}`), "invalid_response", "data is unreadable"},
		{"null token", text(`{"data":[null],"pagination":{}}`), "invalid_response", "data is unreadable"},
		{"no id", one(map[string]any{"id": nil}), "invalid_response", "token 2 of the page: no id"},
		{"no status", one(map[string]any{"status": nil}), "invalid_response", "token 2 of the page: no status"},
		{"status of another kind", one(map[string]any{"status": 7}), "invalid_response", "status is unreadable"},
		{"no createdAt", one(map[string]any{"createdAt": nil}), "invalid_response", "no createdAt"},
		{"unreadable createdAt", one(map[string]any{"createdAt": "s3cr3t"}), "invalid_response", "createdAt is unreadable"},
		{"unreadable timeoutAt", one(map[string]any{"timeoutAt": "s3cr3t"}), "invalid_response", "timeoutAt is unreadable"},
		{"tags of another kind", one(map[string]any{"tags": "s3cr3t"}), "invalid_response", "tags is unreadable"},
		{"a tag of another kind", one(map[string]any{"tags": []any{"a", 1}}), "invalid_response", "tags is unreadable"},
		{"trailing garbage", text(full + "s3cr3t"), "invalid_response", "something follows"},
		{"JSON cut short", text(full[:len(full)-20]), "invalid_response", "ends early"},
		{"broken gzip", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, full)
		}, "invalid_response", "gzip"},
		{"not HTTP", raw("s3cr3t s3cr3t\r\n\r\n"), "invalid_response", "malformed HTTP response"},
		{"bad header", raw("HTTP/1.1 200 OK\r\ns3cr3t\r\n\r\n"), "invalid_response", "malformed HTTP response"},
		{
			"endless header", raw("HTTP/1.1 200 OK\r\n" + strings.Repeat("X-S3cr3t: s3cr3t\r\n", 10000) + "\r\n"),
			"invalid_response", "header is too large",
		},
		{"dropped", raw(""), "network", "EOF"},
		{"cut body", raw("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + full), "network", "unexpected EOF"},
		{
			"cut chunk", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9999\r\n" + full), "network",
			"unexpected EOF",
		},
		{"cut body of no known length", raw("HTTP/1.1 200 OK\r\n\r\n" + full[:40]), "network", "unexpected EOF"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			limiter := &countingLimiter{}
			var attempts []client.Attempt
			c := newClient(t, client.Options{
				APIURL: newServer(t, tc.answer), MaxAttempts: 1, Limiter: limiter, PreviewBranch: "nope",
				Observe: func(a client.Attempt) { attempts = append(attempts, a) },
			})
			ids, err := collect(t, c, client.ListOptions{IdempotencyKey: "s3cr3tidem"})
			wantReason(t, err, tc.reason)
			e := asError(t, err)
			if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "GET /api/v1/waitpoints/tokens: ") {
				t.Errorf("%q, want one with %q", err, tc.want)
			}
			if len(ids) != 0 || e.Attempts != 1 || len(attempts) != 1 || limiter.waits.Load() != 1 || limiter.dones.Load() != 1 {
				t.Errorf("%d tokens, %+v, %d attempts, limiter %d and %d", len(ids), e, len(attempts), limiter.waits.Load(),
					limiter.dones.Load())
			}
			if attempts[0].Status != e.Status || client.ReasonOf(attempts[0].Err) != tc.reason {
				t.Errorf("attempt %+v, error %+v", attempts[0], e)
			}
		})
	}
}

func TestToleratedAnswers(t *testing.T) {
	for reason, b := range map[string]string{
		"null fields": answer(map[string]any{"next": nil, "previous": nil},
			map[string]any{
				"id": "a", "status": "WAITING", "createdAt": "2026-11-23T08:19:59.748Z", "tags": nil,
				"timeoutAt": nil, "completedAt": nil,
			}),
		"unknown fields": answer(map[string]any{"total": 3}, token("a",
			map[string]any{"new": map[string]any{"x": []int{1}}})),
		"no tags":        answer(nil, token("a", map[string]any{"tags": nil})),
		"doubled tokens": body("", "a", "a"),
		"empty cursor": `{"data":[{"id":"a","status":"WAITING","createdAt":"2026-11-23T08:19:59Z"}],` +
			`"pagination":{"next":""}}`,
		"an unknown status": answer(nil, token("a", map[string]any{"status": "PAUSED"})),
	} {
		t.Run(reason, func(t *testing.T) {
			c := newClient(t, client.Options{Transport: served(text(b))})
			ids, err := collect(t, c, client.ListOptions{})
			if err != nil || len(ids) != 1 {
				t.Errorf("%v, %v", ids, err)
			}
		})
	}
}

func TestRequestTimeout(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"hang": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"hang in the body": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"data":[`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"drip": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, " "); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, client.Options{APIURL: newServer(t, h), Timeout: 50 * time.Millisecond, MaxAttempts: 1})
			_, err := collect(t, c, client.ListOptions{})
			wantReason(t, err, client.ReasonTimeout)
			if !strings.Contains(err.Error(), "within the request's timeout of 50ms") {
				t.Error(err)
			}
		})
	}
}

func TestConnectionRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // Closed at once.
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	c := newClient(t, client.Options{APIURL: "http://" + l.Addr().String(), MaxAttempts: 1})
	_, err = collect(t, c, client.ListOptions{})
	wantReason(t, err, client.ReasonNetwork)
	if !strings.Contains(err.Error(), "connection refused") {
		t.Error(err)
	}
}

// TestEndlessBody checks that the bound applies to both plain and decompressed bytes.
func TestEndlessBody(t *testing.T) {
	chunk := bytes.Repeat([]byte(" "), 64<<10)
	endless := func(w io.Writer, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"plain": func(w http.ResponseWriter, r *http.Request) { endless(w, r) },
		"gzip": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			endless(gzip.NewWriter(w), r)
		},
		"announced": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "17000000")
			endless(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, client.Options{APIURL: newServer(t, h)})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := collect(t, c, client.ListOptions{})
			runtime.ReadMemStats(&after)
			wantReason(t, err, client.ReasonInvalidResponse)
			if !strings.Contains(err.Error(), "over 16 MiB") {
				t.Error(err)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 96<<20 {
				t.Errorf("%d MiB allocated", n>>20)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	thief := newServer(t, func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a request went elsewhere, with %q", r.Header.Get("Authorization"))
	})
	to := func(location string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/end" {
				if r.Header.Get("Authorization") != "Bearer "+testKey {
					t.Error("no key behind the redirect")
				}
				_, _ = io.WriteString(w, body("", "a"))
				return
			}
			w.Header().Set("Location", strings.NewReplacer("HOST", r.Host, "SAME", r.URL.RequestURI(), "QUERY",
				r.URL.RawQuery, "HOP", r.URL.Path+"x").Replace(location))
			w.WriteHeader(http.StatusMovedPermanently)
		}
	}
	for _, tc := range []struct{ reason, location, want string }{
		{"the same server", "/end?QUERY", ""},
		{"the same server in full", "http://HOST/end?QUERY", ""},
		{"another port", thief + "SAME", "another host or scheme"},
		{"another scheme", "https://HOSTSAME", "redirect to https, not followed: the API URL has to begin with https"},
		{"a password", "http://u:s3cr3t@HOSTSAME", "another host or scheme"},
		{"no scheme", strings.TrimPrefix(thief, "http:") + "SAME", "another host or scheme"},
		{"this host as a user", strings.Replace(thief, "http://", "http://HOST@", 1) + "SAME", "another host or scheme"},
		{"another page of another server", thief + "/end?QUERY", "another page"},
		{"another page with another scheme", "https://HOST/end", "another page"},
		{"this host as a name's beginning", "http://HOST.localhost/end", "redirect to nowhere"},
		{"this host with a backslash", `http://HOST\@elsewhere.localhost/end`, "redirect to nowhere"},
		{"no URL", "http://s3cr3t:port/%zz", "redirect to nowhere"},
		{"nothing", "", "redirect to nowhere"},
		{"further and further", "HOP?QUERY", "more than 5 redirects"},
		{"itself", "?QUERY", "redirect to itself"},
		{"another question", "/end", "another page"},
		{"more than the question", "/end?QUERY&x=1", "another page"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			c := newClient(t, client.Options{APIURL: newServer(t, to(tc.location))})
			_, err := collect(t, c, client.ListOptions{})
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantReason(t, err, client.ReasonInvalidResponse)
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want one with %q", err, tc.want)
			}
		})
	}
}
