package test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestOpenMetrics checks that the metric families of a scrape are not interleaved, as
// OpenMetrics requires. Otherwise a strict parser refuses the whole scrape.
func TestOpenMetrics(t *testing.T) {
	t.Parallel()
	p := startProcess(t, nil, "--demo", "--tokens.expected-wait=1h", "--tokens.ignore-tag=user:.*")
	client := newClient(t)
	p.await(t, client, `triggerdev_waitpoint_history_loaded{environment="demo"} 1`)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.address+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		t.Fatal(err)
	}
	families, err := familiesOf(string(body))
	if err != nil {
		t.Error(err)
	}
	for _, name := range []string{
		"go_memstats_alloc_bytes", "go_gc_heap_allocs_bytes", "process_cpu_seconds",
		"triggerdev_waitpoint_tagged_wait_duration_seconds",
	} {
		if !families[name] {
			t.Errorf("there is no family %s", name)
		}
	}
}

// familiesOf returns the names of the families in an OpenMetrics text, or an error if
// one is in two places or has samples that its type does not allow.
func familiesOf(text string) (map[string]bool, error) {
	suffixes := map[string][]string{
		"gauge": {""}, "unknown": {""}, "counter": {"_total", "_created"}, "info": {"_info"},
		"summary": {"", "_sum", "_count", "_created"}, "histogram": {"_bucket", "_sum", "_count", "_created"},
	}
	families, name, allowed := map[string]bool{}, "", []string(nil)
	sampled := false // The family has samples.
	body, ended := strings.CutSuffix(text, "# EOF\n")
	if !ended {
		return nil, errors.New("the text does not end with # EOF")
	}
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		if meta, ok := strings.CutPrefix(line, "# "); ok {
			fields := strings.SplitN(meta, " ", 3)
			if len(fields) < 3 {
				return nil, fmt.Errorf("%q has less than three fields", line)
			}
			if fields[1] != name || sampled {
				if name = fields[1]; families[name] {
					return nil, fmt.Errorf("%s: metadata after samples", name)
				}
				families[name], allowed, sampled = true, nil, false
			}
			if fields[0] == "TYPE" {
				allowed = suffixes[fields[2]]
			}
			continue
		}
		sampled = true
		sample, _, _ := strings.Cut(line, " ")
		sample, _, _ = strings.Cut(sample, "{")
		suffix, mine := strings.CutPrefix(sample, name)
		if !mine || !slices.Contains(allowed, suffix) {
			return nil, fmt.Errorf("sample %s stands under the family %s", sample, name)
		}
	}
	return families, nil
}
