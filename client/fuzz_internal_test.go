package client

import (
	"strconv"
	"testing"
	"time"
)

// FuzzPeriod checks that the service reads the period as intended. It reads 1M as a
// minute and a bare number as milliseconds, so neither may be sent.
func FuzzPeriod(f *testing.F) {
	for _, seconds := range []int64{1, 59, 60, 61, 3600, 86400, 30 * 86400, 365 * 86400, 1<<31 - 1} {
		f.Add(seconds)
	}
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}
	f.Fuzz(func(t *testing.T, seconds int64) {
		d := time.Duration(seconds) * time.Second
		o := ListOptions{Period: d}
		if err := o.Validate(); (err == nil) != (d >= 0) {
			t.Fatalf("a period of %s: %v", d, err)
		}
		if d <= 0 {
			return
		}
		sent := o.query().Get("filter[createdAt][period]")
		n, err := strconv.ParseInt(sent[:len(sent)-1], 10, 64)
		if unit := units[sent[len(sent)-1]]; err != nil || n <= 0 || time.Duration(n)*unit != d {
			t.Errorf("a period of %s is sent as %q", d, sent)
		}
	})
}
