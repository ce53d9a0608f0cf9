package client_test

import (
	"strings"
	"testing"

	"waitpoint_exporter/client"
)

func TestCheckKey(t *testing.T) {
	for _, tc := range []struct {
		key, want, reason string
	}{
		{"tr_prod_abcdefgh", "", "a secret key"},
		{"tr_preview_abcdefgh", "", "a preview key"},
		{"tr_other_abcdefgh", "", "an environment we do not know may come"},
		{"tr_abcdefgh", "", "no environment in it"},
		{"tr_dev_sk", "", "sk is part of the secret here"},
		{"", "empty", "a variable set to nothing"},
		{"tr_", "does not start with tr_", "cut short"},
		{"pk_prod_abcdefgh", "public", "the other key on the same page"},
		{"tr_prod_sk_abcdefgh", "restricted", "the service answers 403"},
		{"tr_preview_sk_abcdefgh", "restricted", "the service answers 403"},
		{"eyJhbGciOi.abcdefgh", "does not start with tr_", "a public access token"},
		{"tr_prod_abcdefgh\n", "control", "a file's last newline"},
		{" tr_prod_abcdefgh", "space", "pasted"},
		{"tr_prod_abcd\x00efgh", "control", "would break the header"},
		{"tr_prod_abcdéfgh", "non-ASCII", "would break the header"},
		{`"tr_prod_abcdefgh"`, "does not start with tr_", "quoted in an env file"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			err := client.CheckKey(tc.key)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%v, want none", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("%v, want one with %q", err, tc.want)
			case err != nil && strings.Contains(err.Error(), "abcd"):
				t.Errorf("the key is in the error: %v", err)
			}
		})
	}
}

func TestKeyEnvironment(t *testing.T) {
	for key, want := range map[string]string{
		"tr_dev_x": "dev", "tr_stg_x": "staging", "tr_prod_x": "prod", "tr_preview_x": "preview",
		"tr_prod_sk_x": "prod", "tr_x": "", "tr_other_x": "", "pk_prod_x": "", "": "", "tr_prod": "",
	} {
		if got := client.KeyEnvironment(key); got != want {
			t.Errorf("KeyEnvironment(%q) = %q, want %q", key, got, want)
		}
	}
}
