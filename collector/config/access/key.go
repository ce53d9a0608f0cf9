// Package access provides the key and the transport for the API. Their files may be
// replaced at any time, and may block.
package access

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"waitpoint_exporter/client"
)

// loadTimeout bounds how long loading a configuration waits for a file.
const loadTimeout = 30 * time.Second

// A Key provides the secret key for each request, so that a key that is replaced in its
// file takes effect at once.
type Key struct {
	// Value is the key, From the name of its source. Value is trimmed: a Kubernetes
	// secret often ends in a newline.
	Value, From string
	// File, if set, is read for each request instead.
	File string
	// Kind is the kind of environment that the key's prefix named when the configuration
	// was loaded, from client.KeyEnvironment. A key of another kind is refused: its tokens
	// would have the labels of this one. Empty for any.
	Kind string
}

// String never shows the key.
func (Key) String() string { return "<secret>" }

// GoString never shows the key.
func (Key) GoString() string { return "<secret>" }

// Get returns the key, or an error if its file is not read within loadTimeout.
func (k Key) Get() (string, error) { return k.Source(context.Background(), loadTimeout)() }

// Source returns a function that returns the key until ctx ends, or an error if its
// file is not read within timeout. Errors name the key's source.
func (k Key) Source(ctx context.Context, timeout time.Duration) func() (string, error) {
	return func() (string, error) {
		value, from := k.Value, k.From
		if k.File != "" {
			ctx, cancel := withTimeout(ctx, timeout)
			defer cancel()
			content, err := files.read(ctx, k.File, true)
			switch {
			case err != nil && client.LooksLikeKey(filepath.Base(k.File)):
				return "", fmt.Errorf("%s: this looks like a key itself; want the name of a file", k.From)
			case err != nil:
				return "", fmt.Errorf("%s: %w", k.From, err)
			}
			value, from = string(content), k.From+" "+k.File
		}
		value = strings.TrimSpace(value)
		if err := client.CheckKey(value); err != nil {
			return "", fmt.Errorf("%s: %w", from, err)
		}
		if kind := client.KeyEnvironment(value); k.Kind != "" && kind != "" && kind != k.Kind {
			return "", fmt.Errorf("%s: the key is for %s, and was for %s when the configuration was loaded: "+
				"want a key for %s, or reload the configuration (SIGHUP)", from, kind, k.Kind, k.Kind)
		}
		return value, nil
	}
}

func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d,
		fmt.Errorf("neither end of line nor end of file came within %s: "+
			"a pipe without a writer or with one that keeps it open, or a mount that hangs", d))
}
