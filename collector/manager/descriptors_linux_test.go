package manager_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/manager"
)

// TestDescriptors checks that no socket or file stays open, however answers fail, when
// an environment's settings change during them.
func TestDescriptors(t *testing.T) {
	open := func() int {
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	service := simulator.New(simulator.Options{Seed: 1})
	truth := service.Environment(simulator.EnvironmentOptions{Key: key("a")})
	truth.Populate(simulator.Population{Seed: 1, Tokens: 500, Waiting: 150})
	before := open()
	api := httptest.NewUnstartedServer(service)
	api.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	api.Start()
	m := manager.New(t.Context(), manager.Options{Registry: prometheus.NewRegistry(), Logger: log.NewNopLogger()})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte(key("a")), 0o600); err != nil {
		t.Fatal(err)
	}
	for round := range 60 {
		kinds := []simulator.Fault{
			{Kind: simulator.FaultNulls},
			{Kind: simulator.FaultCut},
			{Kind: simulator.FaultDrop},
			{Kind: simulator.FaultHang},
			{Kind: simulator.FaultDrip, Delay: time.Millisecond},
			{Kind: simulator.FaultEndless},
			{Kind: simulator.FaultHTML},
			{Kind: simulator.FaultStatus, Status: http.StatusBadGateway},
			{Kind: simulator.FaultRedirect, Header: http.Header{"Location": {"/elsewhere"}}},
		}
		remove := service.Inject(kinds[round%len(kinds)])
		path := filepath.Join(dir, "config.yml")
		text := fmt.Sprintf(
			"environments: [{name: a, api_url: %q, secret_key_file: key, tags: {limit: %d}}]\n",
			api.URL,
			round+1,
		)
		environments := configured(t, path, text)
		asked := truth.Count()
		if err := m.Apply(environments); err != nil {
			t.Fatal(err)
		}
		for truth.Count() == asked {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(round%3) * 5 * time.Millisecond) // It stops anywhere in a page.
		remove()
	}
	m.Stop()
	// Abandoned connections are closed in the background, and the service closes its
	// ends after the exporter's.
	after := open()
	for range 500 {
		if after = open(); after <= before+1 { // The service's listener is open.
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if after > before+1 {
		t.Errorf("%d files and sockets are open, %d were before", after, before)
	}
	api.Close()
}
