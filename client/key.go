// What can be told of a secret key by looking at it. Which keys may list tokens
// is for the service to say: the form of a key proves nothing. No error here
// holds any part of a key, and only the known prefixes are ever shown.

package client

import (
	"errors"
	"strings"
)

// What can be wrong with a key.
var (
	errKeyEmpty      = errors.New("the key is empty: want a secret key, tr_<env>_…")
	errKeyQuoted     = errors.New("the key has quotes around it: want the key alone, without them")
	errKeyCharacters = errors.New("the key has a space, a control or a non-ASCII character in it: " +
		"want a secret key, tr_<env>_…, and nothing else")
	errKeyPersonal = errors.New("the key is a personal access token (tr_pat_…), which is for the CLI: " +
		"want an environment's secret key, tr_<env>_…")
	errKeyPublic = errors.New("the key is a public one (pk_…): want the environment's secret key, tr_<env>_…")
	errKeyPrefix = errors.New("the key does not start with tr_: " +
		"want the secret key from the dashboard's page of API keys")
)

// CheckKey returns an error if the key cannot be a secret key: empty, in quotes,
// with characters that no key has, a personal access token, public, or not
// starting with tr_. A nil error does not mean that the service knows the key,
// nor that it lets it list tokens.
func CheckKey(key string) error {
	if key != strings.Trim(key, "\"'`“”‘’") {
		return errKeyQuoted
	}
	if err := checkSendable(key); err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(key, "tr_pat_"):
		return errKeyPersonal
	case publicKey(key):
		return errKeyPublic
	case !strings.HasPrefix(key, "tr_") || key == "tr_":
		return errKeyPrefix
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

// publicKey reports whether the key has the form pk_… or tr_<env>_pk….
func publicKey(key string) bool {
	if strings.HasPrefix(key, "pk_") {
		return true
	}
	secret := strings.TrimPrefix(key, keyPrefix(key))
	if len(secret) == len(key) || !strings.HasPrefix(secret, "pk") {
		return false
	}
	// One root key in four thousand begins with these two letters by chance: they
	// have 20 or more characters, all of them letters and digits.
	return len(secret) < 20 || strings.ContainsAny(secret, "_-.")
}

// LooksLikeKey tells whether a text, such as the name of a file, may be a key that
// was put in the wrong place, of whatever sort, and is not to be shown.
func LooksLikeKey(s string) bool {
	s = strings.TrimLeft(s, " \t\r\n\"'`")
	return strings.HasPrefix(s, "tr_") || strings.HasPrefix(s, "pk_")
}

// KeyEnvironment returns the kind of environment that a secret key opens, by its
// prefix: dev, staging, prod or preview. Empty if the prefix is none of the four.
func KeyEnvironment(key string) string {
	kind := strings.TrimSuffix(strings.TrimPrefix(keyPrefix(key), "tr_"), "_")
	if kind == "stg" {
		return "staging"
	}
	return kind
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
