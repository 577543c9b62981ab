package jobqueue

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// compressAbove is the size from which on data is compressed, if that saves a tenth.
const compressAbove = 1 << 10

var errDamaged = errors.New("jobqueue: data in Redis is damaged")

// codec writes data as a blank and the data, or a z and the data compressed with zstd. It is safe for concurrent use, and
// there is nothing to close.
type codec struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

func newCodec() (codec, error) {
	const window = 1 << 20 // It has to be a power of 2.
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2),
		zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return codec{}, fmt.Errorf("jobqueue: compression: %w", err)
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(MaxSize))
	if err != nil {
		return codec{}, fmt.Errorf("jobqueue: decompression: %w", err)
	}
	return codec{encoder, decoder}, nil
}

func (c codec) encode(data []byte) []byte {
	if len(data) > compressAbove {
		if small := c.encoder.EncodeAll(data, []byte("z")); len(small) <= len(data)/10*9 {
			return small
		}
	}
	return append([]byte(" "), data...)
}

// decode returns data that is not nil, or an error.
func (c codec) decode(text string) ([]byte, error) {
	switch {
	case text != "" && text[0] == ' ':
		return []byte(text[1:]), nil
	case text != "" && text[0] == 'z':
		if data, err := c.decoder.DecodeAll([]byte(text[1:]), []byte{}); err == nil {
			return data, nil
		}
	}
	return nil, errDamaged
}
