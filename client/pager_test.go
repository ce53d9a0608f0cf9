package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"waitpoint_exporter/client"
)

func TestWalk(t *testing.T) {
	finished := func(id, status string) map[string]any { return token(id, map[string]any{"status": status}) }
	for _, tc := range []struct {
		reason  string
		options client.ListOptions
		bodies  []string
		want    []string
		error   client.Reason
	}{
		{"nothing there", client.ListOptions{}, []string{body("")}, nil, ""},
		{
			"three pages",
			client.ListOptions{},
			[]string{body("1", "a", "b"), body("2", "c"), body("", "d")},
			[]string{"a", "b", "c", "d"},
			"",
		},
		{"the last page has emptied", client.ListOptions{}, []string{body("1", "a"), body("")}, []string{"a"}, ""},
		{
			"seen twice, a page apart",
			client.ListOptions{},
			[]string{body("1", "a", "b"), body("", "b", "c")},
			[]string{"a", "b", "c"},
			"",
		},
		{
			"seen twice, two pages apart",
			client.ListOptions{},
			[]string{body("1", "a"), body("2", "b"), body("", "a", "c")},
			[]string{"a", "b", "c"},
			"",
		},
		{"seen twice on a page", client.ListOptions{}, []string{body("", "a", "a", "b")}, []string{"a", "b"}, ""},
		{
			"the same cursor again",
			client.ListOptions{},
			[]string{body("1", "a"), body("1", "b")},
			[]string{"a"},
			"invalid_response",
		},
		{
			"a cursor of long ago",
			client.ListOptions{},
			[]string{body("1", "a"), body("2", "b"), body("1", "c")},
			[]string{"a", "b"},
			"invalid_response",
		},
		{"the cursor that we gave", client.ListOptions{After: "0"}, []string{body("0", "a")}, nil, "invalid_response"},
		{
			"the same page again",
			client.ListOptions{},
			[]string{body("1", "a"), body("2", "a")},
			[]string{"a"},
			"invalid_response",
		},
		{
			"the same page again, as the last",
			client.ListOptions{},
			[]string{body("1", "a"), body("", "a")},
			[]string{"a"},
			"invalid_response",
		},
		{"an empty page with a next one", client.ListOptions{}, []string{body("1")}, nil, "invalid_response"},
		{"an error in the middle", client.ListOptions{}, []string{body("1", "a"), "null"}, []string{"a"}, "invalid_response"},
		{
			"nothing about a next page",
			client.ListOptions{},
			[]string{`{"data":[{"id":"a","status":"WAITING","createdAt":"2026-11-23T08:19:59Z"}]}`},
			nil, "invalid_response",
		},
		{
			"null about a next page",
			client.ListOptions{},
			[]string{`{"data":[],"pagination":null}`},
			nil, "invalid_response",
		},
		{
			"statuses that were not asked for",
			client.ListOptions{Statuses: []client.Status{"COMPLETED"}},
			[]string{
				answer(map[string]any{"next": "1"}, finished("a", "WAITING"), finished("b", "TIMED_OUT")),
				answer(nil, finished("c", "WAITING"), finished("d", "COMPLETED"), finished("e", "NEW")),
			},
			[]string{"d"},
			"",
		},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			s := &script{bodies: tc.bodies}
			c := newClient(t, client.Options{Transport: served(s.handle)})
			got, err := collect(t, c, tc.options)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if tc.error != "" {
				wantReason(t, err, tc.error)
			} else if err != nil {
				t.Error(err)
			}
			if len(s.bodies) != 0 {
				t.Errorf("%d pages were not asked for", len(s.bodies))
			}
		})
	}
}

func TestCursors(t *testing.T) {
	for _, tc := range []struct {
		reason, parameter string
		options           client.ListOptions
		follow            string
	}{
		{"forward", "page[after]", client.ListOptions{After: "start", PageSize: 2}, "next"},
		{"backward", "page[before]", client.ListOptions{Before: "start", PageSize: 2}, "previous"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			other := map[string]string{"next": "previous", "previous": "next"}[tc.follow]
			s := &script{bodies: []string{
				answer(map[string]any{tc.follow: "one&x=", other: "start"}, token("a", nil)),
				answer(map[string]any{tc.follow: "two", other: "one&x="}, token("b", nil)),
				answer(map[string]any{other: "two"}, token("c", nil)),
			}}
			c := newClient(t, client.Options{Transport: served(s.handle)})
			var cursors []string
			p := c.Pager(tc.options)
			for p.More() {
				cursors = append(cursors, p.Cursor())
				if _, err := p.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			want := []string{"start", "one&x=", "two"}
			if diff := cmp.Diff(want, cursors); diff != "" {
				t.Error(diff)
			}
			for i, query := range s.queries {
				got, err := url.ParseQuery(query)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(url.Values{"page[size]": {"2"}, tc.parameter: {want[i]}}, got); diff != "" {
					t.Errorf("page %d: %s", i+1, diff)
				}
			}
			if _, err := p.Next(t.Context()); !errors.Is(err, io.EOF) {
				t.Errorf("%v, want io.EOF", err)
			}
		})
	}
}

func TestPagerTriesTheSamePageAgain(t *testing.T) {
	s := &script{bodies: []string{body("cursor-one", "a"), "null", body("cursor-one", "b"), body("", "a"), body("", "b")}}
	c := newClient(t, client.Options{Transport: served(s.handle)})
	p := c.Pager(client.ListOptions{})
	if _, err := p.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, reason := range []string{"not a page", "the same cursor", "nothing new"} {
		_, err := p.Next(t.Context())
		wantReason(t, err, client.ReasonInvalidResponse)
		if p.Cursor() != "cursor-one" || !p.More() {
			t.Errorf("%s: at %q, more %t", reason, p.Cursor(), p.More())
		}
	}
	page, err := p.Next(t.Context())
	if err != nil || len(page.Tokens) != 1 || p.More() {
		t.Errorf("%+v, %v, more %t", page, err, p.More())
	}
	for _, query := range s.queries[2:] {
		if query != s.queries[1] {
			t.Errorf("asked %q, then %q", s.queries[1], query)
		}
	}
}

func TestPagerKeepsItsOptions(t *testing.T) {
	s := &script{bodies: []string{body("1", "a"), body("", "b")}}
	c := newClient(t, client.Options{Transport: served(s.handle)})
	opts := client.ListOptions{Tags: []string{"x"}, Statuses: []client.Status{"WAITING"}}
	p := c.Pager(opts)
	opts.Tags[0], opts.Statuses[0] = "y", "COMPLETED"
	for p.More() {
		page, err := p.Next(t.Context())
		if err != nil || len(page.Tokens) != 1 {
			t.Fatalf("%+v, %v", page, err)
		}
	}
	for _, query := range s.queries {
		if q, _ := url.ParseQuery(query); q.Get("filter[tags]") != "x" || q.Get("filter[status]") != "WAITING" {
			t.Error(query)
		}
	}
}

func TestIteratorsStopAndStartAgain(t *testing.T) {
	sent := 0
	c := newClient(t, client.Options{Transport: served(func(w http.ResponseWriter, r *http.Request) {
		sent++
		after := r.URL.Query().Get("page[after]")
		_, _ = io.WriteString(w, body(after+"x", "a"+after, "b"+after))
	})})
	tokens, pages := c.Tokens(t.Context(), client.ListOptions{}), c.Pages(t.Context(), client.ListOptions{})
	for range 2 {
		var ids []string
		for token, err := range tokens {
			if err != nil {
				t.Fatal(err)
			}
			if ids = append(ids, token.ID); len(ids) == 3 {
				break
			}
		}
		if diff := cmp.Diff([]string{"a", "b", "ax"}, ids); diff != "" {
			t.Error(diff)
		}
		for page, err := range pages {
			if err != nil || len(page.Tokens) != 2 {
				t.Errorf("%+v, %v", page, err)
			}
			break
		}
	}
	if sent != 6 {
		t.Errorf("%d requests, want 6", sent)
	}
}

func TestTokenFields(t *testing.T) {
	c := newClient(t, client.Options{Transport: served(text(answer(nil,
		token("a", map[string]any{
			"status": "TIMED_OUT", "tags": []string{"a,b", "", "日本語 \U0001F600", "a,b", "\"\n"},
			"timeoutAt": "2026-11-23T09:19:59.748Z", "completedAt": "2026-11-23T11:20:00+02:00",
		}),
		token("b", map[string]any{"status": "PAUSED", "tags": nil}),
	)))})
	page, err := c.Pager(client.ListOptions{}).Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	created := time.Date(2026, 11, 23, 8, 19, 59, 748_000_000, time.UTC)
	want := []client.Token{
		{
			ID: "a", Status: client.StatusTimedOut, Tags: []string{"a,b", "", "日本語 \U0001F600", "a,b", "\"\n"},
			CreatedAt: created, TimeoutAt: created.Add(time.Hour), CompletedAt: time.Date(2026, 11, 23, 9, 20, 0, 0, time.UTC),
		},
		{ID: "b", Status: "PAUSED", CreatedAt: created},
	}
	if diff := cmp.Diff(want, page.Tokens); diff != "" {
		t.Error(diff)
	}
	if page.Tokens[0].CompletedAt.Location() != time.UTC || client.Status("PAUSED").Known() {
		t.Error("not in UTC, or known")
	}
}

func TestReasonOf(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want client.Reason
	}{
		{nil, ""},
		{fmt.Errorf("refresh: %w", &client.Error{Reason: client.ReasonAuth}), client.ReasonAuth},
		{context.DeadlineExceeded, client.ReasonTimeout},
		{context.Canceled, client.ReasonTimeout},
		{io.ErrUnexpectedEOF, client.ReasonNetwork},
		{errors.New("else"), client.ReasonInvalidResponse},
	} {
		if got := client.ReasonOf(tc.err); got != tc.want {
			t.Errorf("ReasonOf(%v) = %q, want %q", tc.err, got, tc.want)
		}
	}
	want := []client.Reason{"auth", "rate_limited", "timeout", "network", "server", "invalid_response", "bad_request"}
	if diff := cmp.Diff(want, client.Reasons()); diff != "" {
		t.Error(diff)
	}
}
