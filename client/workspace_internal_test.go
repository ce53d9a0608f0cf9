package client

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// TestWorkspaceKeepsNothing checks that a workspace keeps nothing of an answer, neither in the
// decoder's buffer nor in the decompressor.
func TestWorkspaceKeepsNothing(t *testing.T) {
	const secret = "callback/0123456789"
	one := `{"id":"a","status":"WAITING","createdAt":"2026-01-01T00:00:00Z","url":"http://x/` + secret + `","output":"` +
		strings.Repeat("x", 500) + `"},`
	for name, text := range map[string]string{
		"a page":           `{"data":[` + strings.Repeat(one, 99) + strings.TrimSuffix(one, ",") + `],"pagination":{}}`,
		"a page cut short": `{"data":[` + one,
		"a long value":     `{"data":[],"url":"` + strings.Repeat(secret, 10_000) + `"}`,
		"a short refusal":  `{"error":"` + secret + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			var zipped bytes.Buffer
			z := gzip.NewWriter(&zipped)
			_, _ = io.WriteString(z, text)
			_ = z.Close()
			w := new(workspace)
			plain, err := w.unzip(&http.Response{Header: http.Header{"Content-Encoding": {"gzip"}}, Body: io.NopCloser(&zipped)})
			if err != nil {
				t.Fatal(err)
			}
			_, _ = w.decodePage(plain)
			if n := reach(w, secret); n == 0 {
				t.Fatal("the secret is nowhere before: this looks in the wrong place")
			}
			w.wipe()
			if n := reach(w, secret); n > 0 {
				t.Errorf("the secret is still in %d places", n)
			}
		})
	}
}

// TestWindow checks that the zeros fill the whole window of a gzip.Reader.
func TestWindow(t *testing.T) {
	z, err := gzip.NewReader(strings.NewReader(window))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil || len(b) < 32<<10 || len(bytes.Trim(b, "\x00")) > 0 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// reach counts the buffers reachable from v that contain the secret, up to their
// capacity.
func reach(v any, secret string) (n int) {
	seen := map[uintptr]bool{}
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() { //nolint:exhaustive // The others contain no data.
		case reflect.Pointer:
			if !v.IsNil() && !seen[v.Pointer()] {
				seen[v.Pointer()] = true
				walk(v.Elem())
			}
		case reflect.Interface:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Struct:
			for _, field := range v.Fields() {
				walk(field)
			}
		case reflect.String:
			if strings.Contains(v.String(), secret) {
				n++
			}
		case reflect.Array:
			for i := range v.Len() {
				if k := v.Type().Elem().Kind(); k != reflect.Uint8 && k != reflect.Int {
					walk(v.Index(i))
				}
			}
		case reflect.Slice:
			if v.Type().Elem().Kind() != reflect.Uint8 || v.Cap() == 0 {
				return
			}
			if bytes.Contains(v.Slice(0, v.Cap()).Bytes(), []byte(secret)) {
				n++
			}
		}
	}
	walk(reflect.ValueOf(v))
	return n
}
