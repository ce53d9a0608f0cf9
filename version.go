package main

import (
	"runtime/debug"
	"strings"

	"github.com/prometheus/common/version"
)

// setVersion sets the version from the binary's build information if the build did not
// set it, as with go build, go install and go run.
func setVersion() {
	info, ok := debug.ReadBuildInfo()
	if version.Version == "" && ok {
		version.Version = strings.Trim(info.Main.Version, "()")
	}
	if version.Branch == "" {
		version.Branch = "unknown"
	}
}
