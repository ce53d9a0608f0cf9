package refresh_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/refresh"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
)

// TestFailuresAreLogged checks that failures are logged when they begin, when their reason
// changes and when they end, and not with each refresh.
func TestFailuresAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := simulator.New(simulator.Options{})
		service.Environment(simulator.EnvironmentOptions{Key: key}).Populate(simulator.Population{Seed: 1, Tokens: 100, Waiting: 10})
		api, err := client.New(client.Options{
			APIURL: "http://api.test", Key: func() (string, error) { return key, nil }, Transport: simulator.Transport(service),
		})
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var got []string
		subject := refresh.New(api, refresh.Options{
			Interval: time.Minute, MaxStaleness: time.Hour, VerifyInterval: time.Hour, Concurrency: 1,
			Metrics: refresh.NewMetrics(prometheus.NewRegistry(), nil),
			Logger: log.LoggerFunc(func(fields ...any) error {
				mu.Lock()
				defer mu.Unlock()
				if i := slices.Index(fields, any("reason")); i >= 0 {
					got = append(got, fmt.Sprint(fields[i+1]))
				} else if strings.Contains(fmt.Sprint(fields...), "succeeded again") {
					got = append(got, "succeeded")
				}
				return nil
			}),
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- subject.Run(ctx) }()
		time.Sleep(5 * time.Minute)
		remove := func() {}
		for _, status := range []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusUnauthorized, http.StatusInternalServerError} {
			remove()
			remove = service.Inject(simulator.Fault{Kind: simulator.FaultStatus, Status: status})
			time.Sleep(10 * time.Minute)
			// Something in between seems to answer, so the error has advice of its own.
			if s := subject.State(); !s.Advised {
				t.Errorf("%d: %s", status, s.Err)
			}
		}
		remove()
		time.Sleep(10 * time.Minute)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if want := []string{"server", "auth", "server", "succeeded"}; !slices.Equal(got, want) {
			t.Errorf("logged %q, want %q", got, want)
		}
	})
}
