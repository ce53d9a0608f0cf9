// Package size says how much a test does. A test is small in go test ./...,
// which a developer waits for, and full where WAITPOINT_FULL is set, as in
// .ci/run: a larger population, more seeds, a longer time. Both sizes hold the
// same promise, and either can fail.
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
