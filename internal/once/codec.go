package once

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// How a value begins in Redis: with a byte that says whether the rest is compressed with zstd, in a window of at most
// MaxValueSize.
const (
	plain      = ' '
	compressed = 'z'
	// compressAbove is the size from which on a value is compressed, if that saves a tenth.
	compressAbove = 1 << 10
)

var errUnreadable = errors.New("once: what is kept is damaged")

// newCodec returns what compresses and what does the opposite. There is nothing to close.
func newCodec() (*zstd.Encoder, *zstd.Decoder, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2),
		zstd.WithWindowSize(MaxValueSize), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, nil, fmt.Errorf("once: compression: %w", err)
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(MaxValueSize))
	if err != nil {
		return nil, nil, fmt.Errorf("once: decompression: %w", err)
	}
	return encoder, decoder, nil
}

func (o *Once) encode(value []byte) ([]byte, error) {
	if len(value) > MaxValueSize {
		return nil, ErrTooLarge
	}
	if len(value) > compressAbove {
		if small := o.encoder.EncodeAll(value, []byte{compressed}); len(small) <= len(value)/10*9 {
			return small, nil
		}
	}
	return append([]byte{plain}, value...), nil
}

// decode returns a value that is never nil.
func (o *Once) decode(text string) ([]byte, error) {
	if text != "" {
		switch text[0] {
		case plain:
			return []byte(text[1:]), nil
		case compressed:
			value, err := o.decoder.DecodeAll([]byte(text[1:]), []byte{})
			if err != nil {
				return nil, errUnreadable
			}
			return value, nil
		}
	}
	return nil, errUnreadable
}
