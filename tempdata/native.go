package tempdata

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
)

// native is the hub's own layout. A value is
//
//	1795310786325925.k3v9x0a1bz {"any":"JSON"}
//
// where the digits are when it was written, in microseconds since 1970, and what follows the dot is a nonce: five characters
// at random, and five that are a hash of all that follows the nonce. With z instead of the space, the JSON is compressed with
// zstd, in a window of at most MaxValueSize.
//
// The hash tells the hub's own values, which are known to be compact JSON and not damaged, from what somebody else wrote,
// which is parsed when it is read: a hash takes a small part of the time. It is no protection against those who may write to
// Redis.
type native struct {
	prefix  string
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

const (
	timeSize  = 16
	nonceSize = 10
	headSize  = timeSize + len(".") + nonceSize + len(" ")
	// compressAbove is the size from which on a value is compressed, if that saves a tenth.
	compressAbove = 1 << 10
	// nonces is how many there are of five characters.
	nonces = 36 * 36 * 36 * 36 * 36
)

// newNative returns the layout of keys that begin with prefix. There is nothing to close.
func newNative(prefix string) (*native, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2),
		zstd.WithWindowSize(MaxValueSize), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("tempdata: compression: %w", err)
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(MaxValueSize))
	if err != nil {
		return nil, fmt.Errorf("tempdata: decompression: %w", err)
	}
	return &native{prefix: prefix + ":temp:", encoder: encoder, decoder: decoder}, nil
}

func (n *native) redisKey(key Key) string { return n.prefix + key.Namespace + "/" + key.Name }

func (n *native) parse(redisKey string) (Key, bool) {
	path, found := strings.CutPrefix(redisKey, n.prefix)
	if !found {
		return Key{}, false
	}
	namespace, name, _ := strings.Cut(path, "/")
	if !isName(namespace) || !isName(name) {
		return Key{}, false
	}
	return Key{namespace, name}, true
}

func (n *native) encode(_ Key, data []byte, at time.Time) ([]byte, error) {
	if len(data) > MaxValueSize {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxValueSize)
	}
	micros := at.UnixMicro()
	if micros < 0 || micros >= 1e16 {
		return nil, errors.New("tempdata: the clock is wrong") // It is before 1970 or after 2286.
	}
	raw := make([]byte, headSize, headSize+len(data))
	putDigits(raw[:timeSize], uint64(micros), 10)
	raw[timeSize] = '.'
	raw = n.appendBody(raw[:headSize-1], data)
	nonce := raw[timeSize+1:][:nonceSize]
	putDigits(nonce[:nonceSize/2], rand.Uint64N(nonces), 36) //nolint:gosec // Nobody gains by guessing it.
	putDigits(nonce[nonceSize/2:], xxhash.Sum64(raw[headSize-1:])%nonces, 36)
	return raw, nil
}

// appendBody appends what follows the nonce, for which raw has room.
func (n *native) appendBody(raw, data []byte) []byte {
	if len(data) > compressAbove {
		if small := n.encoder.EncodeAll(data, append(raw, 'z')); len(small)-len(raw) <= len(data)/10*9 {
			return small
		}
	}
	return append(append(raw, ' '), data...)
}

// putDigits fills to with a number that has no more digits.
func putDigits(to []byte, number, base uint64) {
	for i := len(to) - 1; i >= 0; i-- {
		to[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[number%base]
		number /= base
	}
}

func (n *native) decode(_ Key, raw string) (content, error) {
	at, own, ok := parseHead(raw)
	if !ok {
		return content{}, fmt.Errorf("%w: no time and nonce before it", ErrUnreadable)
	}
	data := []byte(raw[headSize:])
	if raw[headSize-1] == 'z' {
		var err error
		if data, err = n.decoder.DecodeAll(data, nil); err != nil {
			return content{}, fmt.Errorf("%w: damaged, or of more than %d bytes", ErrUnreadable, MaxValueSize)
		}
	}
	if !own {
		var err error
		if data, err = compact(data, MaxValueSize); err != nil {
			return content{}, fmt.Errorf("%w: no JSON, or of more than %d bytes", ErrUnreadable, MaxValueSize)
		}
	}
	return content{data: data, typ: typeOf(data), at: at}, nil
}

// parseHead reads what is before the JSON, and whether the hub wrote all of it.
func parseHead(raw string) (at time.Time, own, ok bool) {
	if len(raw) <= headSize || raw[timeSize] != '.' || raw[headSize-1] != ' ' && raw[headSize-1] != 'z' {
		return at, false, false
	}
	micros, err := strconv.ParseUint(raw[:timeSize], 10, 63)
	if err != nil {
		return at, false, false
	}
	nonce := raw[timeSize+1:][:nonceSize]
	if strings.Trim(nonce, "0123456789abcdefghijklmnopqrstuvwxyz") != "" {
		return at, false, false
	}
	var sum [nonceSize / 2]byte
	putDigits(sum[:], xxhash.Sum64String(raw[headSize-1:])%nonces, 36)
	return time.UnixMicro(int64(micros)).UTC(), nonce[nonceSize/2:] == string(sum[:]), true
}
