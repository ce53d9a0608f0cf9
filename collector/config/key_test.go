package config_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/config"
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

// TestKeyOfAnotherKind checks that a key file may be replaced by a key for the same kind of
// environment, and by one for another kind only with a reload, which makes it another
// environment: the tokens of two never have the same labels.
func TestKeyOfAnotherKind(t *testing.T) {
	path := write(t, "key", "tr_prod_0123456789")
	file := write(t, "config.yml", "environments: [{name: a, secret_key_file: "+path+"}]\n")
	load := func() config.Environment {
		t.Helper()
		got, err := config.ReadFile(file, getenv)
		if err != nil {
			t.Fatal(err)
		}
		return got[0]
	}
	before := load()
	service := simulator.New(simulator.Options{})
	for key, want := range map[string]string{
		"tr_prod_9876543210": "<nil>", "tr_prod_sk_9876543210": "<nil>", "tr_unheard_9876543210": "<nil>",
		"tr_dev_9876543210": "the key is for dev, and was for prod when the configuration was loaded: " +
			"want a key for prod, or reload the configuration (SIGHUP)",
		"tr_stg_9876543210": "the key is for staging, and was for prod when the configuration was loaded: " +
			"want a key for prod, or reload the configuration (SIGHUP)",
	} {
		service.Environment(simulator.EnvironmentOptions{Key: key})
		if err := os.WriteFile(path, []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
		api, err := client.New(client.Options{
			APIURL: "http://api.test", Key: before.Key.Source(t.Context(), time.Second),
			Transport: simulator.Transport(service), MaxAttempts: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = api.Pager(client.ListOptions{}).Next(t.Context())
		if got := fmt.Sprint(err); !strings.HasSuffix(got, want) || err != nil && client.ReasonOf(err) != client.ReasonAuth {
			t.Errorf("%.8s: reason %s:\ngot  %s\nwant %s", key, client.ReasonOf(err), got, want)
		}
		// A reload keeps an environment whose key is for the same kind.
		if kind := client.KeyEnvironment(key); kind != "" && load().Equal(before) != (kind == "prod") {
			t.Errorf("%.8s: taken for the same environment: %t", key, kind != "prod")
		}
	}
}
