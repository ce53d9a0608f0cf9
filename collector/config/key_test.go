package config_test

import (
	"testing"

	"waitpoint_exporter/collector/config/access"
)

// TestKeyEnds checks that white space at the ends of a key is ignored, wherever the key
// is from.
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
