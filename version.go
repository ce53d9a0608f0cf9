package main

import (
	"runtime/debug"
	"strings"

	"github.com/prometheus/common/version"
)

// setVersion takes the version from what the Go tool has put into the binary, where
// the build has not given it: after go build, go install or go run.
func setVersion() {
	info, ok := debug.ReadBuildInfo()
	if version.Version == "" && ok {
		version.Version = strings.Trim(info.Main.Version, "()")
	}
	if version.Branch == "" {
		version.Branch = "unknown"
	}
}
