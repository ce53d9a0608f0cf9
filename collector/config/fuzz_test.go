package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"waitpoint_exporter/collector/config"
)

// FuzzFile checks that a configuration file is refused with file and line and without a
// secret in the message, wherever one is, or results in environments that can run.
func FuzzFile(f *testing.F) {
	paths, err := filepath.Glob("testdata/bad-*.yml")
	if err != nil || len(paths) == 0 {
		f.Fatal(len(paths), err)
	}
	for _, path := range append(paths, "../../deploy/waitpoint_exporter.yml") {
		content, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for i := range 4 {
			f.Add(string(content), uint(i*len(content)/3))
		}
	}
	path := filepath.Join(f.TempDir(), "fuzz.yml")
	secret := regexp.MustCompile("tr_prod_[0-9]{10}|hunter2")
	const masked = "masked"
	userInURL := regexp.MustCompile("(_url: https?://user:)" + masked + "@")
	f.Fuzz(func(t *testing.T, text string, at uint) {
		wrong, misplacedSecret := misplaced(text, at)
		if err := os.WriteFile(path, []byte(wrong), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.ReadFile(path, getenv); err != nil && strings.Contains(err.Error(), misplacedSecret) {
			t.Errorf("%q: %v", wrong, err)
		}
		// Secrets are only in fields for secrets.
		text = secret.ReplaceAllString(text, masked)
		text = strings.ReplaceAll(text, "secret_key: "+masked, "secret_key: tr_prod_0123456789")
		text = userInURL.ReplaceAllString(text, "${1}hunter2@")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		environments, err := config.ReadFile(path, getenv)
		if err != nil {
			if !strings.HasPrefix(err.Error(), path+":") || secret.MatchString(err.Error()) {
				t.Errorf("%s", err)
			}
			return
		}
		if len(environments) == 0 {
			t.Error("no environments, and no error")
		}
		seen := map[[2]string]bool{}
		for _, e := range environments {
			if e.Name == "" || seen[[2]string{e.Project, e.Name}] {
				t.Errorf("an environment is named %q", e.Title())
			}
			seen[[2]string{e.Project, e.Name}] = true
			if e.Refresh.Interval <= 0 || e.Refresh.Timeout <= 0 || e.Refresh.VerifyInterval <= 0 ||
				e.Refresh.Staleness() < 3*e.Refresh.Interval {
				t.Errorf("%+v", e.Refresh)
			}
			if e.API.Reserve < 0 || e.API.Reserve >= 1 || e.API.Concurrency < 1 || e.Tokens.Period < 0 || e.Tags.Limit < 0 {
				t.Errorf("%+v %+v %+v", e.API, e.Tokens, e.Tags)
			}
			if slices.ContainsFunc(append(slices.Clone(e.Tokens.NearTimeout), e.Tokens.StuckAfter...),
				func(t config.Threshold) bool { return t.Duration <= 0 }) {
				t.Errorf("%+v", e.Tokens)
			}
			if shown := fmt.Sprintf("%v %+v %#v", e, e, e.Key); secret.MatchString(shown) {
				t.Errorf("%s", shown)
			}
		}
		again, err := config.ReadFile(path, getenv)
		if err != nil || !slices.EqualFunc(environments, again, config.Environment.Equal) {
			t.Errorf("read again: %v", err)
		}
	})
}
