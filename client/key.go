// Checks of a secret key's form. Only the service decides whether a key may list
// tokens. Errors contain no part of a key except a known prefix.

package client

import (
	"cmp"
	"errors"
	"regexp"
	"strings"
	"unicode"
)

// CheckKey returns an error if the key cannot be a secret key: it is empty, quoted,
// public, a personal access token, has characters that no key has, or does not start
// with tr_. A nil error does not mean that the service accepts the key.
func CheckKey(key string) error {
	switch err := checkSendable(key); {
	case keyAssigned.MatchString(key):
		return errors.New("the key begins with the name of a variable and =: want the key alone, tr_<env>_…")
	case keyBearer.MatchString(key):
		return errors.New("the key begins with Bearer, which the exporter adds itself: want the key alone, tr_<env>_…")
	case key != strings.Trim(key, "\"'`“”‘’"):
		return errors.New("the key has quotes around it: want the key alone, without them")
	case err != nil:
		return err
	case strings.HasPrefix(key, "tr_pat_"):
		return errors.New("the key is a personal access token (tr_pat_…), which is for the CLI: " +
			"want an environment's secret key, tr_<env>_…")
	case publicKey(key):
		return errors.New("the key is a public one (pk_…): want the environment's secret key, tr_<env>_…")
	case !strings.HasPrefix(key, "tr_") || key == "tr_":
		return errors.New("the key does not start with tr_: want the secret key from the dashboard's page of API keys")
	}
	return nil
}

var (
	keyAssigned = regexp.MustCompile("^(?:export\\s+)?\\w+=\\s*[\"'`]?(?:tr|pk)_")
	keyBearer   = regexp.MustCompile(`(?i)^bearer\s`)
)

// checkSendable returns an error if the key cannot be sent in a header.
func checkSendable(key string) error {
	switch {
	case key == "":
		return errors.New("the key is empty: want a secret key, tr_<env>_…")
	case utf16Key(key):
		return errors.New("the key is in UTF-16: want it in UTF-8, without a byte order mark")
	case strings.HasPrefix(key, "\ufeff"):
		return errors.New("the key begins with a byte order mark: want it without one, tr_<env>_…")
	case strings.Contains(key, "\x00"):
		return errors.New("the key has a NUL character in it: want a secret key, tr_<env>_…, and nothing else")
	case strings.ContainsFunc(key, func(r rune) bool { return unicode.Is(unicode.Cf, r) }):
		return errors.New("the key has an invisible character in it, such as a zero-width space: " +
			"want it without, tr_<env>_…")
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the key has a space, a control or a non-ASCII character in it: " +
			"want a secret key, tr_<env>_…, and nothing else")
	}
	return nil
}

// utf16Key reports whether the key is in UTF-16, as files of Windows are.
func utf16Key(key string) bool {
	for _, start := range []string{"\xff\xfe", "\xfe\xff", "t\x00r\x00", "\x00t\x00r"} {
		if strings.HasPrefix(key, start) {
			return true
		}
	}
	return false
}

// publicKey reports whether the key has the form pk_… or tr_<env>_pk….
func publicKey(key string) bool {
	secret := strings.TrimPrefix(key, keyPrefix(key))
	// One root key in four thousand starts with pk by chance. Root keys have 20 or
	// more characters, only letters and digits.
	root := len(secret) >= 20 && !strings.ContainsAny(secret, "_-.")
	return strings.HasPrefix(key, "pk_") || secret != key && strings.HasPrefix(secret, "pk") && !root
}

// keyStart matches the beginning of each kind of key that the service has.
var keyStart = regexp.MustCompile("^[\\s\"'`]*(?:(?:tr|pk)_(?:dev|stg|prod|preview)|tr_pat)_")

// LooksLikeKey reports whether a text, such as a label, is a key of any kind that was
// given in the wrong place and must not be shown. Names such as tr_shop are none.
func LooksLikeKey(s string) bool { return keyStart.MatchString(s) }

// keyText matches whatever may be a key of any kind, also within a word: text that hides
// too much is better than text that shows a key. The secret part ends where no key goes
// on; in a quoted text it may have escapes.
var keyText = regexp.MustCompile("(?:tr|pk)_(?:[^\\s\"'`:;,/(){}\\[\\]<>…\\\\]|\\\\.)*…?")

// HideKeys returns the error with a text in which each key is replaced by its prefix and
// an ellipsis. It returns an error without keys, or nil, unchanged.
func HideKeys(err error) error {
	if err == nil || hideKeys(err.Error()) == err.Error() {
		return err
	}
	return &redactedError{text: hideKeys(err.Error()), err: err}
}

func hideKeys(text string) string {
	return keyText.ReplaceAllStringFunc(text, func(key string) string {
		prefix := cmp.Or(keyPrefix(key), key[:len("tr_")])
		if strings.HasPrefix(key, "tr_pat_") {
			prefix = "tr_pat_"
		}
		if key == prefix {
			return key
		}
		return prefix + "…"
	})
}

// KeyEnvironment returns the kind of environment that a secret key's prefix names:
// dev, staging, prod or preview. It is empty if the prefix is unknown.
func KeyEnvironment(key string) string {
	kind := strings.TrimSuffix(strings.TrimPrefix(keyPrefix(key), "tr_"), "_")
	if kind == "stg" {
		return "staging"
	}
	return kind
}

// keyPrefix returns the prefix of a key, which may be shown, or "" if it is unknown.
func keyPrefix(key string) string {
	for _, prefix := range []string{"tr_dev_", "tr_stg_", "tr_prod_", "tr_preview_"} {
		if strings.HasPrefix(key, prefix) {
			return prefix
		}
	}
	return ""
}
