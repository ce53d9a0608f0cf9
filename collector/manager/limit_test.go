package manager_test

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/manager"
	"waitpoint_exporter/test/size"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
)

// lowest records the lowest remaining in the answers.
type lowest struct {
	http.RoundTripper

	mu       sync.Mutex
	requests int
	remains  int
}

func (l *lowest) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	remaining, err := strconv.Atoi(resp.Header.Get("X-Ratelimit-Remaining"))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	l.remains = min(l.remains, remaining)
	return resp, err
}

// sofar returns the number of requests so far, and the lowest remaining.
func (l *lowest) sofar() (requests, remains int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.requests, l.remains
}

// TestOneKey checks that the branches of a preview environment, which have the same
// key, together leave the reserve of their common limit and use one share of it, also
// across a reload.
func TestOneKey(t *testing.T) {
	t.Parallel()
	const branches = 12
	part := size.Of(10, 1) // Everything is a tenth of the service's default, to save requests.
	limit, step := 750/part, 250/part
	share := 6 * step / 4 // Of a minute's refill.
	synctest.Test(t, func(t *testing.T) {
		service := simulator.New(simulator.Options{Latency: 20 * time.Millisecond})
		const preview = "tr_preview_0123456789"
		for i := range branches {
			service.Environment(simulator.EnvironmentOptions{
				Key: preview, Branch: fmt.Sprintf("branch-%d", i), Limit: simulator.Limit{Size: limit, Refill: step},
			}).
				Populate(simulator.Population{Tokens: 10_000 / part, Waiting: 5_000 / part, Seed: uint64(i)})
		}
		seen := &lowest{RoundTripper: plain{simulator.Transport(service)}, remains: limit}
		m := manager.New(
			t.Context(),
			manager.Options{Registry: prometheus.NewRegistry(), Logger: log.NewNopLogger(), Transport: seen},
		)
		t.Cleanup(m.Stop)
		path := t.TempDir() + "/config.yml"
		refreshEach := func(interval string) {
			t.Helper()
			var text strings.Builder
			text.WriteString("environments:\n")
			for i := range branches {
				fmt.Fprintf(
					&text,
					"  - {name: branch-%d, preview_branch: branch-%d, api_url: \"http://api.test%s\", secret_key: "+
						"%s, refresh: {interval: %s, verify_interval: 1d}}\n",
					i,
					i,
					strings.Repeat("/", i%2),
					preview,
					interval,
				)
			}
			apply(t, m, path, text.String())
		}
		refreshEach("1m")
		time.Sleep(5 * time.Minute)
		for i := range branches {
			if got := samples(t, m, fmt.Sprintf("branch-%d", i)); got["waitpoint_history_loaded"] != 1 {
				t.Errorf("branch-%d has not been loaded after 5 minutes", i)
			}
		}
		before, remains := seen.sofar()
		if before < branches*100/part || remains < limit/2 {
			t.Errorf("%d requests, bucket down to %d of a reserve of %d", before, remains, limit/2)
		}
		time.Sleep(10 * time.Minute)
		// 50 requests for WAITING, 12 times a minute, would be 600; the share is 375.
		requests, _ := seen.sofar()
		if used := requests - before; used > share*11 || used < share*8 {
			t.Errorf("%d requests in ten minutes; a quarter of what is refilled is %d", used, share*10)
		}
		refreshEach("59s")
		time.Sleep(2 * time.Minute)
		if _, remains := seen.sofar(); remains < limit/2 {
			t.Errorf("bucket down to %d of a reserve of %d after a reload", remains, limit/2)
		}
	})
}

// TestOneRotatedKey checks that environments with the same key have one limit also if a
// reload changes one of them after the key has been replaced in its file.
func TestOneRotatedKey(t *testing.T) {
	t.Parallel()
	const branches, limit, step = 4, 80, 20
	synctest.Test(t, func(t *testing.T) {
		service := simulator.New(simulator.Options{Latency: 20 * time.Millisecond})
		seen := &lowest{RoundTripper: plain{simulator.Transport(service)}, remains: limit}
		m := manager.New(
			t.Context(),
			manager.Options{Registry: prometheus.NewRegistry(), Logger: log.NewNopLogger(), Transport: seen},
		)
		t.Cleanup(m.Stop)
		folder := t.TempDir()
		const first, second = "tr_preview_0123456789", "tr_preview_sk_9876543210"
		for i := range branches {
			e := service.Environment(simulator.EnvironmentOptions{
				Key: first, Branch: fmt.Sprintf("branch-%d", i), Limit: simulator.Limit{Size: limit, Refill: step},
			})
			e.Populate(simulator.Population{Tokens: 3000, Waiting: 3000, Seed: uint64(i)})
			if i == branches-1 {
				e.AddKeys(simulator.Key{Value: second})
			}
		}
		put := func(key string) {
			if err := os.WriteFile(folder+"/key", []byte(key), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		load := func(changed int) {
			var text strings.Builder
			text.WriteString("environments:\n")
			for i := range branches {
				interval := "1m"
				if i < changed {
					interval = "59s"
				}
				fmt.Fprintf(&text, "  - {name: branch-%d, preview_branch: branch-%d, api_url: \"http://api.test\", "+
					"secret_key_file: key, refresh: {interval: %s}}\n", i, i, interval)
			}
			apply(t, m, folder+"/config.yml", text.String())
		}
		put(first)
		load(0)
		time.Sleep(5 * time.Minute)
		put(second)
		time.Sleep(5 * time.Minute)
		load(branches / 2)
		time.Sleep(15 * time.Minute)
		_, remains := seen.sofar()
		if remains < limit/2 {
			t.Errorf("bucket down to %d of a reserve of %d", remains, limit/2)
		}
	})
}
