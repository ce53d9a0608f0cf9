package test

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"waitpoint_exporter/client/simulator"
)

// TestSecretKeys runs the program with a key of each kind. The first refresh must
// succeed, and the environment is named after the key's prefix.
func TestSecretKeys(t *testing.T) {
	t.Parallel()
	for key, name := range map[string]string{
		"tr_prod_0123456789": "prod", "tr_prod_sk_0123456789": "prod", "tr_dev_sk_0123456789": "dev",
		"tr_stg_sk_0123456789": "staging", "tr_preview_sk_0123456789": "preview",
	} {
		t.Run(key, func(t *testing.T) {
			options := simulator.EnvironmentOptions{Key: key}
			env := []string{"TRIGGER_SECRET_KEY=" + key + "\n"}
			if name == "preview" {
				options.Branch = "b1"
				env = append(env, "TRIGGER_PREVIEW_BRANCH=b1")
			}
			service := simulator.New(simulator.Options{})
			service.Environment(options)
			api := httptest.NewServer(service)
			defer api.Close()
			p := startProcess(t, env, "--trigger.api-url="+api.URL)
			want := `triggerdev_waitpoint_up{environment="` + name + `"} 1`
			for deadline := time.Now().Add(20 * time.Second); !exposes(t, p.address, want); {
				if time.Now().After(deadline) {
					t.Fatalf("no %s: %s", want, p.logs)
				}
				<-time.After(20 * time.Millisecond)
			}
		})
	}
}

// exposes reports whether a scrape contains the line.
func exposes(t *testing.T, address, line string) bool {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := new(http.Client).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // It was only read.
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == line {
			return true
		}
	}
	return false
}
