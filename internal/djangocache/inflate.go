package djangocache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/zlib"
)

// maxKept bounds the buffers that the pools keep, in bytes: a rare large value does not stay in memory.
const maxKept = 64 << 10

// inflaters and deflaters keep the tables of the algorithm, which cost more to make than a value to read.
var (
	inflaters = sync.Pool{New: func() any { return new(inflater) }} //nolint:gochecknoglobals // A pool must be shared.
	deflaters = sync.Pool{New: func() any { return new(deflater) }} //nolint:gochecknoglobals // A pool must be shared.
)

type inflater struct {
	src bytes.Reader
	z   interface {
		io.Reader
		zlib.Resetter
	}
	out []byte
}

// inflate returns what raw was deflated from, to be used until release. A stream that is no whole zlib stream with the
// right checksum is an error, bytes after it are not.
func (f *inflater) inflate(raw []byte) ([]byte, error) {
	f.src.Reset(raw)
	if f.z == nil {
		z, err := zlib.NewReader(&f.src)
		if err != nil {
			return nil, err
		}
		resetter, ok := z.(interface {
			io.Reader
			zlib.Resetter
		})
		if !ok {
			return nil, errors.New("the zlib reader cannot be used twice")
		}
		f.z = resetter
	} else if err := f.z.Reset(&f.src, nil); err != nil {
		return nil, err
	}
	for f.out = f.out[:0]; ; {
		f.out = slices.Grow(f.out, 512)
		n, err := f.z.Read(f.out[len(f.out):cap(f.out)])
		f.out = f.out[:len(f.out)+n]
		switch {
		case len(f.out) > MaxSize:
			return nil, fmt.Errorf("%w: it inflates to more than %d bytes", ErrUnsupported, MaxSize)
		case errors.Is(err, io.EOF):
			return f.out, nil
		case err != nil:
			return nil, err
		}
	}
}

func (f *inflater) release() {
	f.src.Reset(nil)
	if cap(f.out) > maxKept {
		f.out = nil
	}
	inflaters.Put(f)
}

type deflater struct {
	z   *zlib.Writer
	out bytes.Buffer
}

// deflate returns pickle as django-redis stores it.
func deflate(pickle []byte) ([]byte, error) {
	if len(pickle) <= 15 {
		return pickle, nil
	}
	f := deflaters.Get().(*deflater)
	defer f.release()
	if f.z == nil {
		z, err := zlib.NewWriterLevel(&f.out, 6)
		if err != nil {
			return nil, err
		}
		f.z = z
	} else {
		f.z.Reset(&f.out)
	}
	if _, err := f.z.Write(pickle); err != nil {
		return nil, err
	}
	if err := f.z.Close(); err != nil {
		return nil, err
	}
	return bytes.Clone(f.out.Bytes()), nil
}

func (f *deflater) release() {
	f.out.Reset()
	if f.out.Cap() > maxKept {
		f.out = bytes.Buffer{}
	}
	deflaters.Put(f)
}
