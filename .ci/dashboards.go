//go:build ignore

// Command dashboards reads dashboards strictly with Grafana's own schema. It is built
// by .ci/dashboards, in a module of its own.
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	failed := false
	for _, name := range os.Args[1:] {
		content, err := os.ReadFile(name)
		if err == nil {
			board := dashboard.NewDashboard()
			// The error is a list, which may be empty.
			if err = board.UnmarshalJSONStrict(content); err == nil || err.Error() == "" {
				err = board.Validate()
			}
		}
		if err != nil && err.Error() != "" {
			fmt.Printf("%s: %v\n", name, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}
