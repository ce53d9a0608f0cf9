package access

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Bounds on files, in bytes, so that a wrong name, such as a device's, does not exhaust
// memory.
const (
	maxKeyFile    = 64 << 10
	maxConfigFile = 16 << 20
)

// fileReads reads files that may block for ever, such as pipes without a writer and
// files of a mount that hangs. Such a read cannot be cancelled, so there is at most one
// per file, which callers share. It is safe for concurrent use.
type fileReads struct {
	mu    sync.Mutex
	under map[string]*fileRead // Reads under way.
	kept  map[string][]byte    // The last keys from pipes, which may never send them again.
}

// fileRead is a read that has ended once done is closed.
type fileRead struct {
	done    chan struct{}
	content []byte
	err     error
}

// files is shared by the process, so that reads that block do not add up from one
// configuration to the next.
//
//nolint:gochecknoglobals // See above.
var files = fileReads{under: map[string]*fileRead{}, kept: map[string][]byte{}}

// ReadFile returns the content of a configuration file, or an error after loadTimeout.
func ReadFile(path string) ([]byte, error) {
	ctx, cancel := withTimeout(context.Background(), loadTimeout)
	defer cancel()
	return files.whole(ctx, path)
}

// whole returns the content of a file, or ctx's cause if ctx ends first.
func (r *fileReads) whole(ctx context.Context, path string) ([]byte, error) {
	r.mu.Lock()
	read := r.begin(path, func() ([]byte, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // It was only read.
		return all(f, path, maxConfigFile)
	})
	r.mu.Unlock()
	return read.wait(ctx, path)
}

// line is like whole for a file with a key. From a pipe it reads only the first line,
// since a writer may repeat it, and returns the last line read until there is a new
// one.
func (r *fileReads) line(ctx context.Context, path string) ([]byte, error) {
	r.mu.Lock()
	read := r.begin(path, func() ([]byte, error) { return r.key(path) })
	kept := r.kept[path]
	r.mu.Unlock()
	if kept != nil {
		return kept, nil
	}
	return read.wait(ctx, path)
}

// begin returns the file's read under way, or starts one; r.mu is held.
func (r *fileReads) begin(path string, do func() ([]byte, error)) *fileRead {
	if begun := r.under[path]; begun != nil {
		return begun
	}
	begun := &fileRead{done: make(chan struct{})}
	r.under[path] = begun
	go func() {
		begun.content, begun.err = do()
		r.mu.Lock()
		delete(r.under, path)
		r.mu.Unlock()
		close(begun.done)
	}()
	return begun
}

func (r *fileRead) wait(ctx context.Context, path string) ([]byte, error) {
	select {
	case <-r.done:
		return r.content, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("read %s: %w", path, context.Cause(ctx))
	}
}

func (r *fileReads) key(path string) (content []byte, err error) {
	pipe := false
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case err != nil || !pipe:
			delete(r.kept, path)
		case len(content) > 0:
			r.kept[path] = content
		}
	}()
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // It was only read.
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if pipe = info.Mode()&os.ModeNamedPipe != 0; !pipe {
		return all(f, path, maxKeyFile)
	}
	content, err = bufio.NewReader(io.LimitReader(f, maxKeyFile)).ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return content, err
}

// all returns the content, or an error if it has more than most bytes.
func all(f io.Reader, path string, most int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("read %s: has more than %d bytes", path, most)
	}
	return content, err
}
