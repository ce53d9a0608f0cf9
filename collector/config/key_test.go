package config_test

import (
	"testing"

	"waitpoint_exporter/collector/config/access"
)

// TestKeyEnds holds that white space at the ends of a key does not count,
// wherever the key came from.
func TestKeyEnds(t *testing.T) {
	const want = "tr_prod_sk_0123456789"
	for _, given := range []string{want, want + "\n", " " + want + "\r\n"} {
		for _, key := range []access.Key{{Value: given, From: "KEY"}, {File: write(t, "key", given), From: "file"}} {
			if got, err := key.Get(); got != want || err != nil {
				t.Errorf("%q: %q, %v", given, got, err)
			}
		}
	}
}
