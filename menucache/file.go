package menucache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// DefaultFileInterval is how often a definitions file is looked at, unless told otherwise.
const DefaultFileInterval = 2 * time.Second

// DefinitionsFile watches a file of definitions. It compares content, so that it sees a file that was replaced, or that
// is reached by links, as well as one that was written to. Its methods may be called by many goroutines.
//
// New content is taken once it was read twice without a difference, a quarter of the interval apart, because a file that
// is still being written may look complete. A file with a fault, or that is gone, changes nothing; why is logged, once
// for the same content, and told by Err, until the file is well again.
type DefinitionsFile struct {
	path     string
	interval time.Duration
	logger   *zap.Logger

	reading  sync.Mutex // Held while content is read and acted upon, so that no older content comes after newer.
	taken    content    // What the definitions in use came from.
	judged   content    // What was last taken or found faulty.
	onChange func(*Definitions)

	mu     sync.Mutex
	err    error
	stop   context.CancelFunc
	closed bool
	done   sync.WaitGroup
}

// content is what a file holds, or why it cannot be read.
type content struct {
	bytes []byte
	err   error
}

func (c content) equal(other content) bool {
	if c.err != nil || other.err != nil {
		return c.err != nil && other.err != nil && c.err.Error() == other.err.Error()
	}
	return bytes.Equal(c.bytes, other.bytes)
}

// OpenDefinitionsFile reads a definitions file and returns what it holds, and a watcher that does nothing before Start. It
// looks every interval; 0 is DefaultFileInterval. The logger may be nil. The error names the file, and wraps the
// DefinitionsError of one that is faulty.
func OpenDefinitionsFile(path string, interval time.Duration, logger *zap.Logger) (*DefinitionsFile, *Definitions, error) {
	if interval == 0 {
		interval = DefaultFileInterval
	}
	if interval < 0 {
		return nil, nil, fmt.Errorf("menucache: the interval of the definitions file must be above 0, not %v", interval)
	}
	if logger == nil {
		logger = zap.NewNop()
	}
	f := &DefinitionsFile{path: path, interval: interval, logger: logger}
	read := f.read()
	d, err := f.parse(read)
	if err != nil {
		return nil, nil, err
	}
	f.taken, f.judged = read, read
	return f, d, nil
}

// Start begins to look at the file, and goes on until Close whatever becomes of the context. Each new content without
// fault is given to onChange, one call at a time, which may not call Reload or Close. It returns an error after Close,
// and if it was called before.
func (f *DefinitionsFile) Start(ctx context.Context, onChange func(*Definitions)) error {
	f.reading.Lock()
	defer f.reading.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return errFileClosed
	}
	if f.stop != nil {
		return errors.New("menucache: the definitions file was started before")
	}
	f.onChange = onChange
	ctx, f.stop = context.WithCancel(context.WithoutCancel(ctx))
	f.done.Go(func() { f.watch(ctx) })
	return nil
}

var errFileClosed = errors.New("menucache: the definitions file is closed")

// Reload looks at the file at once and acts on what it finds, without reading it twice; it returns when that is done. It
// logs what came of it even if nothing changed. Before Start and after Close it does nothing.
func (f *DefinitionsFile) Reload() {
	f.reading.Lock()
	defer f.reading.Unlock()
	f.mu.Lock()
	running := f.stop != nil && !f.closed
	f.mu.Unlock()
	if !running {
		return
	}
	read := f.read()
	if read.equal(f.taken) {
		f.logger.Info("the menu definitions have not changed", zap.String("file", f.path))
	}
	f.judge(read)
}

// Err says why the file as it is now is not in use, nil if it is.
func (f *DefinitionsFile) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Close ends the watching and waits until it has ended; onChange is not called any more. It may be called twice.
func (f *DefinitionsFile) Close() {
	f.mu.Lock()
	f.closed = true
	if f.stop != nil {
		f.stop()
	}
	f.mu.Unlock()
	f.done.Wait()
	f.reading.Lock() // A Reload that was under way has ended.
	defer f.reading.Unlock()
}

func (f *DefinitionsFile) watch(ctx context.Context) {
	timer := time.NewTimer(f.interval)
	defer timer.Stop()
	var pending *content // Seen once, and new.
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		pending = f.look(ctx, pending)
		if pending != nil {
			timer.Reset(max(f.interval/4, time.Millisecond))
		} else {
			timer.Reset(f.interval)
		}
	}
}

// look reads the file, acts on new content that is the same as pending, and returns other new content.
func (f *DefinitionsFile) look(ctx context.Context, pending *content) *content {
	f.reading.Lock()
	defer f.reading.Unlock()
	if ctx.Err() != nil {
		return nil
	}
	read := f.read()
	switch {
	case read.equal(f.judged):
		return nil
	case pending == nil || !read.equal(*pending):
		return &read
	}
	f.judge(read)
	return nil
}

// judge takes content into use or says why not. It is called with reading held.
func (f *DefinitionsFile) judge(read content) {
	f.judged = read
	if read.equal(f.taken) {
		if f.Err() != nil {
			f.setErr(nil)
			f.logger.Info("the menu definitions in use are back in their file", zap.String("file", f.path))
		}
		return
	}
	d, err := f.parse(read)
	f.setErr(err)
	if err != nil {
		f.logger.Error("the menu definitions stay as they are", zap.Error(err))
		return
	}
	f.taken = read
	f.onChange(d)
	f.logger.Info("took new menu definitions", zap.String("file", f.path), zap.String("version", d.Version()))
}

func (f *DefinitionsFile) setErr(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *DefinitionsFile) parse(read content) (*Definitions, error) {
	if read.err != nil {
		return nil, fmt.Errorf("menucache: read the menu definitions: %w", read.err)
	}
	d, err := ParseDefinitions(read.bytes)
	if err != nil {
		return nil, fmt.Errorf("menucache: the menu definitions in %s: %w", f.path, err)
	}
	return d, nil
}

func (f *DefinitionsFile) read() content {
	info, err := os.Stat(f.path)
	if err != nil {
		return content{err: err}
	}
	if !info.Mode().IsRegular() { // Opening a pipe would wait for a writer.
		return content{err: fmt.Errorf("%s is no regular file", f.path)}
	}
	file, err := os.Open(f.path)
	if err != nil {
		return content{err: err}
	}
	defer func() { _ = file.Close() }()
	read, err := io.ReadAll(io.LimitReader(file, maxDefinitionsFile+1))
	return content{bytes: read, err: err}
}
