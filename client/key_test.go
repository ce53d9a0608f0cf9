package client_test

import (
	"errors"
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
		{"tr_prod_ab\"cdefgh", "", "a quote within, which the service may refuse"},
		{"tr_other_abcdefgh", "", "an environment we do not know may come"},
		{"tr_abcdefgh", "", "no environment in it"},
		{"tr_dev_sk", "", "sk is part of the secret here"},
		{"", "empty", "a variable set to nothing"},
		{"tr_", "does not start with tr_", "cut short"},
		{"tr_dev_sk_abcdefgh", "", "a key of its own for an integration"},
		{"tr_stg_sk_abcdefgh", "", "a key of its own for an integration, staging"},
		{"tr_prod_sk_abcdefgh", "", "a key of its own for an integration, prod"},
		{"tr_preview_sk_abcdefgh", "", "a key of its own for an integration, preview"},
		{"tr_prod_pkabcdefgh0123456789abcd", "", "a root key that begins with pk by chance"},
		{"pk_prod_abcdefgh", "public one (pk_…): want the environment's secret key", "the other key on the same page"},
		{"tr_prod_pk_abcdefgh", "public one", "public, of one environment"},
		{"tr_preview_pkabcdefgh", "public one", "public, without an underscore"},
		{"tr_prod_pk_abcdefgh0123456789abcd", "public one", "public, and long"},
		{
			"tr_pat_abcdefgh", "personal access token (tr_pat_…), which is for the CLI: want an environment's",
			"what the CLI logs in with",
		},
		{"eyJhbGciOi.abcdefgh", "does not start with tr_", "a public access token"},
		{"tr_prod_abcdefgh\n", "control", "a file's last newline"},
		{" tr_prod_abcdefgh", "space", "pasted"},
		{"tr_prod_abcd\x00efgh", "NUL character", "would break the header"},
		{"\ufefftr_prod_abcdefgh", "begins with a byte order mark", "saved by an editor"},
		{"\xff\xfet\x00r\x00_\x00a\x00b\x00c\x00d\x00", "UTF-16", "saved by PowerShell"},
		{"\xfe\xff\x00t\x00r\x00_\x00a", "UTF-16", "saved in the other order"},
		{"t\x00r\x00_\x00a\x00b\x00", "UTF-16", "saved without a mark"},
		{"tr_prod_\u200babcdefgh", "invisible character", "copied from a page"},
		{"Bearer tr_prod_abcdefgh", "begins with Bearer", "copied from a header"},
		{"bearer\ttr_prod_abcdefgh", "begins with Bearer", "copied from a header, in lower case"},
		{"TRIGGER_SECRET_KEY=tr_prod_abcdefgh", "name of a variable", "copied from an env file"},
		{`export KEY="tr_prod_abcdefgh"`, "name of a variable", "copied from a script"},
		{"tr_prod_abcd=efgh", "", "an equals sign within"},
		{"tr_prod_abcdéfgh", "non-ASCII", "would break the header"},
		{`"tr_prod_abcdefgh"`, "quotes around it", "quoted in an env file"},
		{`'tr_prod_abcdefgh'`, "quotes around it", "quoted in an env file, single"},
		{"`tr_prod_abcdefgh`", "quotes around it", "copied from Markdown"},
		{"“tr_prod_abcdefgh”", "quotes around it", "copied from a text"},
		{`tr_prod_abcdefgh"`, "quotes around it", "half of a pair"},
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
		"tr_prod_sk_x": "prod", "tr_dev_sk_x": "dev", "tr_stg_sk_x": "staging", "tr_preview_sk_x": "preview", "tr_x": "",
		"tr_other_x": "", "pk_prod_x": "", "": "", "tr_prod": "",
	} {
		if got := client.KeyEnvironment(key); got != want {
			t.Errorf("KeyEnvironment(%q) = %q, want %q", key, got, want)
		}
	}
}

// TestLooksLikeKey checks that the service's keys are recognized, and names that only
// begin alike are not.
func TestLooksLikeKey(t *testing.T) {
	for want, texts := range map[bool][]string{
		true: {
			"tr_dev_x", "tr_stg_x", "tr_prod_x", "tr_preview_x", "tr_pat_x", "tr_dev_sk_x", "tr_prod_pk_x", "tr_preview_pkx",
			"pk_dev_x", "pk_stg_x", "pk_prod_x", "pk_preview_x", "\n\"tr_prod_x\"", "tr_prod_",
		},
		false: {
			"", "tr_", "pk_", "tr_shop", "pk_team", "tr_production_x", "tr_pattern", "pk_pat_x", "tr_prod", "prod",
			"xtr_prod_x", "str_dev_x", "sk_prod_x",
		},
	} {
		for _, text := range texts {
			if got := client.LooksLikeKey(text); got != want {
				t.Errorf("%q: %t, want %t", text, got, want)
			}
		}
	}
}

func TestHideKeys(t *testing.T) {
	for _, tc := range []struct {
		text, want, reason string
	}{
		{"", "", "nothing"},
		{"open x: no such file", "open x: no such file", "no key"},
		{`"tr_prod_abcd": want http`, `"tr_prod_…": want http`, "quoted"},
		{"--tr_dev_sk_abcd: unknown", "--tr_dev_…: unknown", "for an integration"},
		{"tr_stg_abcd=5m", "tr_stg_…", "a name and a value"},
		{"${tr_preview_abcd} is", "${tr_preview_…} is", "a variable"},
		{"unexpected tr_pat_abcd", "unexpected tr_pat_…", "personal"},
		{"'tr_prod_pk_abcd'", "'tr_prod_…'", "public, of one environment"},
		{"(pk_prod_abcd)", "(pk_…)", "public"},
		{"tr_other_abcd, tr_abcd", "tr_…, tr_…", "an environment that we do not know"},
		{"xtr_prod_abcd", "xtr_prod_…", "within a word"},
		{`"\ntr_other_abcd\n"`, `"\ntr_…"`, "between escapes"},
		{`"tr_prod_abc\"abcdé"`, `"tr_prod_…"`, "characters that no key has"},
		{"/keys/tr_prod_abcd/x.yml:4: name", "/keys/tr_prod_…/x.yml:4: name", "a part of a path"},
		{"tr_prod_abcd tr_dev_abcd", "tr_prod_… tr_dev_…", "two"},
		{"tr_prod_abcd…", "tr_prod_…", "cut short"},
		{"(tr_dev_, tr_stg_, tr_prod_ and tr_preview_ do)", "(tr_dev_, tr_stg_, tr_prod_ and tr_preview_ do)", "prefixes"},
		{"tr_<env>_… (pk_…), tr_pat_…: tr_", "tr_<env>_… (pk_…), tr_pat_…: tr_", "forms"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			err := errors.New(tc.text)
			got := client.HideKeys(err)
			if got.Error() != tc.want || !errors.Is(got, err) {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if again := client.HideKeys(got); again != got { //nolint:errorlint // It is the same error.
				t.Errorf("again: %s", again)
			}
		})
	}
	if err := client.HideKeys(nil); err != nil {
		t.Error(err)
	}
}
