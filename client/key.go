// What can be told of a secret key by looking at it. Nothing here shows more of a
// key than one of the four known prefixes.

package client

import (
	"errors"
	"strings"
)

// What can be wrong with a key. No error holds any part of it.
var (
	errKeyEmpty      = errors.New("the key is empty: want a secret key, tr_…")
	errKeyCharacters = errors.New("the key has a space, a control or a non-ASCII character in it: want a secret key, tr_…, and nothing else")
	errKeyPublic     = errors.New("the key is a public one (pk_…): want the secret key, tr_…")
	errKeyPrefix     = errors.New("the key does not start with tr_: want the secret key from the dashboard's page of API keys")
	errKeyRestricted = errors.New("the key is a restricted one (tr_…_sk_…): only the unrestricted secret key can list tokens")
)

// CheckKey returns an error if the key cannot be one that lists tokens: empty,
// with characters that no key has, public, restricted, or not starting with
// tr_. Nothing of the key is in the error. A nil error does not mean that the
// service knows the key.
func CheckKey(key string) error {
	if err := checkSendable(key); err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(key, "pk_"):
		return errKeyPublic
	case !strings.HasPrefix(key, "tr_") || key == "tr_":
		return errKeyPrefix
	case restricted(key):
		return errKeyRestricted
	}
	return nil
}

// checkSendable refuses what must not go into a header. Whether the key is of
// the right sort is for CheckKey, or for the service, to say.
func checkSendable(key string) error {
	if key == "" {
		return errKeyEmpty
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return errKeyCharacters
		}
	}
	return nil
}

// restricted reports whether the key has the form tr_<environment>_sk_….
func restricted(key string) bool {
	parts := strings.SplitN(key, "_", 4)
	return len(parts) == 4 && parts[0] == "tr" && parts[2] == "sk"
}

// LooksLikeKey tells whether a text, such as the name of a file, may be a key that
// was put in the wrong place, of whatever sort, and is not to be shown.
func LooksLikeKey(s string) bool {
	return strings.HasPrefix(s, "tr_") || strings.HasPrefix(s, "pk_")
}

// KeyEnvironment returns the kind of environment that a secret key opens, by its
// prefix: dev, staging, prod or preview. Empty if the prefix is none of the four.
func KeyEnvironment(key string) string {
	switch keyPrefix(key) {
	case "tr_dev_":
		return "dev"
	case "tr_stg_":
		return "staging"
	case "tr_prod_":
		return "prod"
	case "tr_preview_":
		return "preview"
	}
	return ""
}

// keyPrefix returns the part of a key that may be shown, or nothing if it is
// none of the four known ones: it may then be part of the secret.
func keyPrefix(key string) string {
	for _, prefix := range []string{"tr_dev_", "tr_stg_", "tr_prod_", "tr_preview_"} {
		if strings.HasPrefix(key, prefix) {
			return prefix
		}
	}
	return ""
}
