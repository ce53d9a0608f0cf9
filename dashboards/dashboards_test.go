package dashboards_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"waitpoint_exporter/dashboards"
)

var update = flag.Bool("update", false, "write the JSON")

func boards() map[string]*dashboards.Dashboard {
	return map[string]*dashboards.Dashboard{
		"waitpoints.json":         dashboards.Waitpoints(),
		"waitpoint-exporter.json": dashboards.Exporter(),
	}
}

// TestGenerated checks that the JSON is what is made here.
func TestGenerated(t *testing.T) {
	hold := func(name string, want []byte) {
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil { //nolint:gosec // Everyone may read it.
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what is made here: run go generate ./dashboards, then make rules", name)
		}
	}
	hold("README.md", []byte(dashboards.Describe(dashboards.Waitpoints(), dashboards.Exporter())))
	for name, board := range boards() {
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(board); err != nil {
			t.Fatal(err)
		}
		hold(name, want.Bytes())
	}
}
