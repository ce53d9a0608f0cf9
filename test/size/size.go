// Package size selects the size of tests. Tests are small by default, because
// developers wait for go test ./..., and full where WAITPOINT_FULL is set, as in
// .ci/run: with a larger population, more seeds or a longer time. Both sizes check
// the same, and either can fail.
package size

import "os"

// Full reports whether tests run in full.
func Full() bool { return os.Getenv("WAITPOINT_FULL") != "" }

// Of returns small, or full where tests run in full.
func Of[T any](small, full T) T {
	if Full() {
		return full
	}
	return small
}
