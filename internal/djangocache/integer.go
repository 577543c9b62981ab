package djangocache

import (
	"bytes"
	"math/big"
	"slices"
	"strconv"
)

// parseInt reads what Python's int() does from bytes: digits, a sign before them, single underscores between them, ASCII
// white space around it all.
func parseInt(raw []byte) (any, bool) {
	text := bytes.Trim(raw, " \t\n\v\f\r")
	digits := text
	if len(digits) > 0 && (digits[0] == '+' || digits[0] == '-') {
		digits = digits[1:]
	}
	count := 0
	digit := false
	for _, c := range digits {
		switch {
		case '0' <= c && c <= '9':
			digit = true
			count++
		case c == '_' && digit:
			digit = false
		default:
			return nil, false
		}
	}
	if !digit || count > MaxDigits {
		return nil, false
	}
	if count < len(digits) {
		text = bytes.ReplaceAll(text, []byte{'_'}, nil)
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return n, true
	}
	n, ok := new(big.Int).SetString(string(text), 10)
	return n, ok
}

// parseLong reads a whole number in two's complement, least significant byte first.
func parseLong(b []byte) any {
	if len(b) <= 8 {
		var n uint64
		for i, c := range b {
			n |= uint64(c) << (8 * i)
		}
		unused := 64 - 8*len(b)
		return int64(n<<unused) >> unused //nolint:gosec // The bits are those of a signed number.
	}
	b = slices.Clone(b)
	slices.Reverse(b)
	n := new(big.Int).SetBytes(b)
	if b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

// appendLong writes n as parseLong reads it.
func appendLong(dst []byte, n *big.Int) []byte {
	size := n.BitLen()/8 + 1 // One bit is for the sign.
	if n.Sign() < 0 {
		n = new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), uint(8*size)))
	}
	start := len(dst)
	dst = append(dst, n.FillBytes(make([]byte, size))...)
	slices.Reverse(dst[start:])
	return dst
}
