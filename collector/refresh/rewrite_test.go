package refresh_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// A rewriter passes the service's answers on and changes the text of its pages.
type rewriter struct {
	http.RoundTripper

	change func(body string) string
}

func (w rewriter) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.RoundTripper.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	return rewrite(resp, w.change)
}

// rewrite changes the text of an answer.
func rewrite(resp *http.Response, change func(string) string) (*http.Response, error) {
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // The body has been read.
	if err != nil {
		return nil, err
	}
	text := change(string(body))
	resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	return resp, nil
}

// tokensOf returns a function that changes only the tokens of a page, in place.
func tokensOf(change func(tokens []map[string]any)) func(body string) string {
	return func(body string) string {
		var page struct {
			Data       []map[string]any `json:"data"`
			Pagination json.RawMessage  `json:"pagination"`
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			return err.Error() // The client will not accept it as a page, either.
		}
		change(page.Data)
		out, err := json.Marshal(page)
		if err != nil {
			return err.Error()
		}
		return string(out)
	}
}
