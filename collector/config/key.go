package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"waitpoint_exporter/client"
)

// Bounds on files, in bytes; far more than there is a use for.
const (
	maxKeyFile    = 64 << 10
	maxConfigFile = 16 << 20
)

// A Key gives the secret key when a request needs it, so that one that is
// replaced in its file is used from then on.
type Key struct {
	// Value is the key itself, From the name of where it came from. White space at
	// its ends does not count: a Kubernetes secret often ends in a newline.
	Value, From string
	// File, if set, is read each time instead.
	File string
}

// String never shows the key.
func (Key) String() string { return "<secret>" }

// GoString never shows the key.
func (Key) GoString() string { return "<secret>" }

// Get returns the key. Its errors name where the key should come from.
func (k Key) Get() (string, error) {
	value, from := strings.TrimSpace(k.Value), k.From
	if k.File != "" {
		content, err := readFile(k.File, maxKeyFile)
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

// readFile reads a file of so many bytes at most: a wrong name, such as that of a
// device, is not to take all memory.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // It was only read.
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("read %s: there are more than %d bytes in it", path, most)
	}
	return content, err
}
