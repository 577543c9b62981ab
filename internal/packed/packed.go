// Package packed writes bytes as packages jobqueue and once keep them in Redis: compressed where that saves a tenth.
//
// The form is a blank and the bytes, or a z and the bytes compressed with zstd (RFC 8878).
package packed

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// ErrDamaged says that a text is nothing that Pack wrote.
var ErrDamaged = errors.New("packed: damaged")

const (
	plain      = ' '
	compressed = 'z'
	// compressAbove is the size from which on bytes are compressed.
	compressAbove = 1 << 10
	// window bounds the memory that each compression takes. It has to be a power of 2.
	window = 1 << 20
)

// Packer packs and unpacks. It is safe for concurrent use, and there is nothing to close.
type Packer struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

// New makes a Packer that unpacks at most so many bytes from what is compressed, at least 1 MiB.
func New(most uint64) (*Packer, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2),
		zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("packed: compression: %w", err)
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(max(most, window)))
	if err != nil {
		return nil, fmt.Errorf("packed: decompression: %w", err)
	}
	return &Packer{encoder, decoder}, nil
}

// Pack returns what Unpack reads.
func (p *Packer) Pack(data []byte) []byte {
	if len(data) > compressAbove {
		if small := p.encoder.EncodeAll(data, []byte{compressed}); len(small) <= len(data)/10*9 {
			return small
		}
	}
	return append([]byte{plain}, data...)
}

// Unpack returns what was packed, never nil, or ErrDamaged.
func (p *Packer) Unpack(text string) ([]byte, error) {
	switch {
	case text != "" && text[0] == plain:
		return []byte(text[1:]), nil
	case text != "" && text[0] == compressed:
		if data, err := p.decoder.DecodeAll([]byte(text[1:]), []byte{}); err == nil {
			return data, nil
		}
	}
	return nil, ErrDamaged
}
