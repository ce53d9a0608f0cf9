package access

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

// Bounds on files, in bytes, so that a wrong name, such as a device's, does not exhaust
// memory.
const (
	maxKeyFile    = 64 << 10
	maxConfigFile = 16 << 20
)

// fileReads reads files that may block for ever, such as pipes without a writer and
// files of a mount that hangs. Such a read cannot be cancelled, so callers share it
// while the path names the same file. It is safe for concurrent use.
type fileReads struct {
	mu    sync.Mutex
	under map[string]*fileRead // Reads under way.
	kept  map[string][]byte    // The last keys from pipes, which may never send them again.
}

// fileRead is the read of a path. It has ended once done is closed.
type fileRead struct {
	done    chan struct{}
	content []byte
	err     error

	file  os.FileInfo // The file that is read; nil until it is known.
	looks int         // How many goroutines find out which file the path names now.
	again time.Time   // When one more may, although the others hang.
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
	return files.read(ctx, path, false)
}

// read returns the content of a file, or ctx's cause if ctx ends first. If the file has
// a key and is a pipe, it returns the last key read until there is a new one.
func (r *fileReads) read(ctx context.Context, path string, isKey bool) ([]byte, error) {
	r.mu.Lock()
	begun, kept := r.under[path], r.kept[path]
	if begun == nil {
		begun = &fileRead{done: make(chan struct{})}
		r.under[path] = begun
	}
	// A look that hangs is repeated ever less often.
	if now := time.Now(); begun.looks == 0 || now.After(begun.again) {
		begun.again = now.Add(loadTimeout << begun.looks)
		begun.looks++
		go r.run(begun, path, isKey)
	}
	r.mu.Unlock()
	if isKey && kept != nil {
		return kept, nil
	}
	select {
	case <-begun.done:
		return begun.content, begun.err
	case <-ctx.Done():
		return nil, &fs.PathError{Op: "read", Path: path, Err: context.Cause(ctx)}
	}
}

// run reads the file that the path names now, however long that takes, unless that read
// is under way. A read of the file that the path named before no longer counts.
func (r *fileReads) run(begun *fileRead, path string, isKey bool) {
	file, err := os.Stat(path)
	r.mu.Lock()
	defer r.mu.Unlock()
	begun.looks--
	same := err == nil && begun.file != nil && os.SameFile(file, begun.file)
	if r.under[path] != begun || same {
		return
	}
	begun.file = file
	r.mu.Unlock()
	data, piped, err := content(path, isKey)
	r.mu.Lock()
	if r.under[path] != begun || begun.file != file {
		return
	}
	switch {
	case isKey && (err != nil || !piped):
		delete(r.kept, path)
	case isKey && len(data) > 0:
		r.kept[path] = data
	}
	delete(r.under, path)
	begun.content, begun.err = data, err
	close(begun.done)
}

// content reads a file, and reports whether it is a pipe. Of a pipe with a key it reads
// only the first line, since a writer may repeat it.
func content(path string, isKey bool) (content []byte, piped bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = f.Close() }() // It was only read.
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	most := int64(maxConfigFile)
	if isKey {
		most = maxKeyFile
	}
	if piped = info.Mode()&os.ModeNamedPipe != 0; piped && isKey {
		content, err = bufio.NewReader(io.LimitReader(f, most)).ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return content, piped, err
	}
	content, err = io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(content)) > most {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("has more than %d bytes", most)}
	}
	return content, piped, err
}
