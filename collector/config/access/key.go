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
}

// String never shows the key.
func (Key) String() string { return "<secret>" }

// GoString never shows the key.
func (Key) GoString() string { return "<secret>" }

// Get returns the key, or an error if its file is not read within loadTimeout.
func (k Key) Get() (string, error) {
	ctx, cancel := withTimeout(context.Background(), loadTimeout)
	defer cancel()
	return k.read(ctx)
}

// Source returns a function that returns the key until ctx ends, or an error if its
// file is not read within timeout. Errors name the key's source.
func (k Key) Source(ctx context.Context, timeout time.Duration) func() (string, error) {
	return func() (string, error) {
		ctx, cancel := withTimeout(ctx, timeout)
		defer cancel()
		return k.read(ctx)
	}
}

func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d,
		fmt.Errorf("nothing came within %s: a pipe without a writer, or a mount that hangs", d))
}

func (k Key) read(ctx context.Context) (string, error) {
	value, from := strings.TrimSpace(k.Value), k.From
	if k.File != "" {
		content, err := files.line(ctx, k.File)
		if err != nil {
			if client.LooksLikeKey(filepath.Base(k.File)) {
				return "", fmt.Errorf("%s: this looks like a key itself; want the name of a file", k.From)
			}
			return "", fmt.Errorf("%s: %w", k.From, err)
		}
		value, from = strings.TrimSpace(string(content)), fmt.Sprintf("%s %s", k.From, k.File)
	}
	if err := client.CheckKey(value); err != nil {
		return "", fmt.Errorf("%s: %w", from, err)
	}
	return value, nil
}
