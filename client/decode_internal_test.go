package client

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"waitpoint_exporter/test/size"
)

// oracleToken is a token as encoding/json reads it.
type oracleToken struct{ t Token }

func (o *oracleToken) UnmarshalJSON(b []byte) error {
	// A map, because encoding/json matches the fields of a struct in any case.
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	if m == nil {
		return errOtherKind
	}
	var tags []*string
	for name, to := range map[string]any{
		"id": &o.t.ID, "status": &o.t.Status, "tags": &tags,
		"createdAt": &o.t.CreatedAt, "timeoutAt": &o.t.TimeoutAt, "completedAt": &o.t.CompletedAt,
	} {
		if raw := m[name]; raw != nil {
			if err := unmarshalField(raw, to); err != nil {
				return err
			}
		}
	}
	for _, tag := range tags {
		if tag == nil {
			return errOtherKind
		}
		o.t.Tags = append(o.t.Tags, *tag)
	}
	if o.t.ID == "" || o.t.Status == "" || o.t.CreatedAt.IsZero() {
		return errNoData
	}
	return nil
}

// unmarshalField decodes a time from a decoded string, because time.Time itself does
// not decode escapes.
func unmarshalField(raw json.RawMessage, to any) error {
	at, ok := to.(*time.Time)
	if !ok {
		return json.Unmarshal(raw, to)
	}
	var text *string
	if err := json.Unmarshal(raw, &text); err != nil || text == nil {
		return err
	}
	err := at.UnmarshalText([]byte(*text))
	*at = at.UTC()
	return err
}

func oracle(b []byte) (wirePage, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return wirePage{}, err
	}
	var (
		page   wirePage
		tokens []oracleToken
	)
	raw := m["data"]
	if raw == nil || string(raw) == "null" {
		return wirePage{}, errNoData
	}
	// UnmarshalJSON would not be called for a null in the list.
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return wirePage{}, err
	}
	for _, raw := range list {
		if string(raw) == "null" {
			return wirePage{}, errNoData
		}
		var t oracleToken
		if err := json.Unmarshal(raw, &t); err != nil {
			return wirePage{}, err
		}
		tokens = append(tokens, t)
	}
	for _, t := range tokens {
		page.Tokens = append(page.Tokens, t.t)
	}
	var p map[string]json.RawMessage
	if raw := m["pagination"]; raw != nil {
		if err := json.Unmarshal(raw, &p); err != nil {
			return wirePage{}, err
		}
	}
	page.paginated = p != nil
	for name, to := range map[string]*string{"next": &page.Next, "previous": &page.Previous} {
		if raw := p[name]; raw != nil {
			if err := json.Unmarshal(raw, to); err != nil {
				return wirePage{}, err
			}
		}
	}
	return page, nil
}

// repeats reports whether any object has a name twice. The oracle ignores values that
// a later one replaces, but the decoder checks them.
func repeats(b []byte) bool {
	d := json.NewDecoder(strings.NewReader(string(b)))
	type level struct {
		names map[string]bool
		name  bool
	}
	var stack []*level
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		var top *level
		if len(stack) > 0 {
			top = stack[len(stack)-1]
		}
		isName := top != nil && top.names != nil && top.name
		if name, ok := token.(string); ok && isName {
			if top.names[name] {
				return true
			}
			top.names[name], top.name = true, false
			continue
		}
		switch token {
		case json.Delim('{'):
			stack = append(stack, &level{names: map[string]bool{}, name: true})
			continue
		case json.Delim('['):
			stack = append(stack, &level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
		if len(stack) > 0 {
			stack[len(stack)-1].name = true
		}
	}
}

func compare(t *testing.T, b []byte) {
	t.Helper()
	input := string(b)
	got, err := new(workspace).decodePage(bytes.NewReader(b))
	if string(b) != input {
		t.Fatal("the decoder wrote into its input")
	}
	if len(b) < 4<<10 { // Deep nesting makes each byte expensive.
		slow, slowErr := new(workspace).decodePage(iotest.OneByteReader(bytes.NewReader(b)))
		if diff := cmp.Diff(got, slow, cmp.AllowUnexported(wirePage{})); diff != "" ||
			fmt.Sprint(err) != fmt.Sprint(slowErr) {
			t.Errorf("byte by byte %v, at once %v:\n%s", slowErr, err, diff)
		}
	}
	want, wantErr := oracle(b)
	if (err == nil) != (wantErr == nil) {
		if err != nil && repeats(b) || errors.Is(err, errTooMuch) {
			return
		}
		t.Fatalf("error %v, encoding/json has %v", err, wantErr)
	}
	if err != nil {
		return
	}
	// The tokens must not change with the buffer they came from.
	for i := range b {
		b[i] = 'x'
	}
	if len(got.Tokens) == 0 {
		got.Tokens = nil
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(wirePage{})); diff != "" {
		t.Error(diff)
	}
}

func seeds() []string {
	const ok = `{"id":"a","status":"WAITING","createdAt":"2026-11-23T08:19:59.748Z"`
	page := func(token string) string { return `{"data":[` + token + `],"pagination":{}}` }
	return []string{
		page(""), page(ok + "}"), page(ok + `,"tags":["a,b","\"\n","日本語","\ud83d\ude00","","a","a"]}`),
		page(ok + `,"tags":null,"timeoutAt":null,"completedAt":null,"x":[1,-0.5e+10,{"y":[true,false,null]}]}`),
		page(ok + `,"completedAt":"2026-11-23T10:19:59+02:00"}`),
		page(ok + `,"timeoutAt":"soon"}`), page(ok + `,"timeoutAt":""}`), page(ok + `,"tags":[null]}`),
		page(ok + `,"tags":"a"}`),
		page(`{"\u0069d":"\u0061","status":"NEW","createdAt":"2026-11-23T08:19:59Z"}`),
		page(`{"ID":"a","status":"WAITING","createdAt":"2026-11-23T08:19:59.748Z"}`),
		page(ok + `,"id":"b"}`), page("null"), page("[]"), page(ok + "},"), page(ok + ",}"),
		page(ok + ",\"x\":\"\x01\"}"), page(ok + ",\"tags\":[\"\xff\xfe\", \"\\ud800\"]}"),
		page(ok + `,"x":01}`), page(ok + `,"x":1.}`), page(ok + `,"x":-}`), page(ok + `,"x":"\x"}`),
		page(ok + `,"x":"\u12G4"}`),
		`null`, ``, `[]`, `{`, `{}`, `{"data":null}`, `{"data":{}}`, `{"data":[]}`, `{"data":[]} x`, `{"data":[]}{}`,
		" {\"data\":[]}\n",
		`{"data":[],"pagination":null}`, `{"data":[],"pagination":[]}`, `{"data":[],"pagination":{"next":1}}`,
		`{"data":[],"pagination":{"next":"n","previous":null}}`, `{"data":[],"data":null}`, `{"data":[]`, `{"data":[],"x":"`,
		"\ufeff{}", `<html>`, strings.Repeat("[", 10001), `{"data":` + strings.Repeat("[", 9999) +
			strings.Repeat("]", 9999) + `}`,
	}
}

func TestDecodePageLikeEncodingJSON(t *testing.T) {
	for _, seed := range seeds() {
		t.Run(seed[:min(len(seed), 80)], func(t *testing.T) { compare(t, []byte(seed)) })
	}
	// A long page, cut and damaged at every place.
	page := benchmarkPage(3)
	for i := 0; i < len(page); i += size.Of(7, 1) {
		compare(t, append([]byte{}, page[:i]...))
		for _, c := range []byte{'"', '\\', 0, '}', ' '} {
			b := append([]byte{}, page...)
			b[i] = c
			compare(t, b)
		}
	}
}

func FuzzDecodePage(f *testing.F) {
	for _, seed := range seeds() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) { compare(t, b) })
}

// TestDecodeRecordings decodes the recorded answers of the real service, from the file
// TRIGGERDEV_RECORDINGS if it is set.
func TestDecodeRecordings(t *testing.T) {
	name := os.Getenv("TRIGGERDEV_RECORDINGS")
	if name == "" {
		name = "simulator/testdata/recordings/recordings.jsonl"
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // It was only read.
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	pages := 0
	for lines.Scan() {
		var r struct {
			Label    string
			Response struct {
				Status int
				Body   string
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if r.Response.Status != 200 || !strings.HasPrefix(r.Response.Body, `{"data"`) {
			continue
		}
		pages++
		if _, err := new(workspace).decodePage(strings.NewReader(r.Response.Body)); err != nil {
			t.Errorf("%s: %v", r.Label, err)
		}
		compare(t, []byte(r.Response.Body))
	}
	if pages == 0 || lines.Err() != nil {
		t.Errorf("%d pages, %v", pages, lines.Err())
	}
}

func benchmarkPage(n int) []byte {
	var b strings.Builder
	b.WriteString(`{"data":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		id := fmt.Sprintf("waitpoint_cmwszwhac%04dja7d3k8d0g4v", i)
		fmt.Fprintf(&b, `{"id":%q,"url":"https://api.trigger.dev/api/v1/waitpoints/tokens/%s/callback/`+
			`20a413b03d44bef5ee12d5a993a8fa0df20d2736319f10555013fd641714a79d",`+
			`"status":"WAITING","timeoutAt":"2026-11-24T08:30:00.000Z","completedAfter":"2026-11-24T08:30:00.000Z",`+
			`"tags":["approval","team:payments","user:%d"],"createdAt":"2026-11-23T04:30:00.000Z"}`, id, id, i)
	}
	b.WriteString(`],"pagination":{"next":"cmwsf2qfy000bja7dahuw7bj9"}}`)
	return []byte(b.String())
}

func BenchmarkDecodePage(b *testing.B) {
	page := benchmarkPage(100)
	b.Run("here", func(b *testing.B) {
		b.SetBytes(int64(len(page)))
		b.ReportAllocs()
		w := new(workspace)
		for b.Loop() {
			if _, err := w.decodePage(bytes.NewReader(page)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding_json", func(b *testing.B) {
		b.SetBytes(int64(len(page)))
		b.ReportAllocs()
		for b.Loop() {
			var w struct {
				Data []struct {
					ID          string     `json:"id"`
					Status      Status     `json:"status"`
					Tags        []string   `json:"tags"`
					CreatedAt   time.Time  `json:"createdAt"`
					TimeoutAt   *time.Time `json:"timeoutAt"`
					CompletedAt *time.Time `json:"completedAt"`
				} `json:"data"`
				Pagination map[string]string `json:"pagination"`
			}
			if err := json.Unmarshal(page, &w); err != nil {
				b.Fatal(err)
			}
		}
	})
}
