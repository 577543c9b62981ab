package djangocache

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf8"
)

// The protocols that PROTO may name.
const (
	minProtocol = 2
	maxProtocol = 5
)

// reader takes a pickle apart. Once it ran short it gives zeros, so that its user asks only in the end.
type reader struct {
	rest  []byte
	short bool
}

// next returns the next n bytes, a part of the pickle.
func (r *reader) next(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.rest, r.short = nil, true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// uint reads a number of n bytes, least significant first.
func (r *reader) uint(n uint64) uint64 {
	var v uint64
	for i, c := range r.next(n) {
		v |= uint64(c) << (8 * i)
	}
	return v
}

// line reads decimal digits that a line break ends.
func (r *reader) line() (uint64, bool) {
	text, rest, found := bytes.Cut(r.rest, []byte{'\n'})
	if !found {
		r.rest, r.short = nil, true
		return 0, true
	}
	r.rest = rest
	n, err := strconv.ParseUint(string(text), 10, 32)
	return n, err == nil
}

// frame reads the length of a frame, which says only how much Python may read at once.
func (r *reader) frame() {
	if r.uint(8) > uint64(len(r.rest)) {
		r.short = true
	}
}

// unpickler is pickle's stack machine, without those opcodes that do anything but hold data.
//
// Values stay mutable only while the machine alone refers to them: a container is closed once another holds it or the
// memo gave it out, and a closed one takes no more. So no value contains itself, and what the parts of a value amount to
// is known when they are put in.
type unpickler struct {
	reader
	total int // Bytes of the pickle.
	op    int // Where the current opcode is.
	stack []any
	marks []int
	memo  map[uint64]any
	made  int // Values pushed and memorised.
	key   []byte
	keys  int // Bytes of the keys compared.
}

// container is a list, tuple or dict that the machine builds.
type container struct {
	kind   byte // The opcode for an empty one.
	items  []any
	pairs  []Pair
	index  map[string]int
	closed any // Its value, once nothing may be added.
	// What it amounts to when the shared parts are written out.
	size, values, depth int
}

// Unpickle reads a pickle that is neither deflated nor perhaps a number in digits, such as the bot keeps in hexadecimal
// for a scalar of its temporary data. It is otherwise as Decode.
func Unpickle(pickle []byte) (any, error) {
	u := unpickler{reader: reader{rest: pickle}, total: len(pickle)}
	if u.total > MaxSize {
		return nil, u.refuse(ErrUnsupported, "more than "+strconv.Itoa(MaxSize)+" bytes")
	}
	for {
		u.op = u.total - len(u.rest)
		op := u.next(1)
		if u.short {
			return nil, u.refuse(ErrDamaged, "the pickle has no end")
		}
		if op[0] == opStop {
			return u.stop()
		}
		err := u.do(op[0])
		switch {
		case u.short:
			return nil, u.refuse(ErrDamaged, "the pickle is cut off")
		case err != nil:
			return nil, err
		}
	}
}

func (u *unpickler) refuse(sentinel error, what string) error {
	return fmt.Errorf("%w: byte %d: %s", sentinel, u.op, what)
}

// do carries out one opcode. What it makes of an opcode that is cut off does not matter.
func (u *unpickler) do(op byte) error {
	switch op {
	case opProto:
		if v := u.uint(1); v < minProtocol || v > maxProtocol {
			return u.refuse(ErrUnsupported, "a protocol other than 2 to 5")
		}
		return nil
	case opFrame:
		u.frame()
		return nil
	case opMark:
		u.marks = append(u.marks, len(u.stack))
		return nil
	case opNone:
		return u.push(nil)
	case opNewTrue:
		return u.push(true)
	case opNewFalse:
		return u.push(false)
	case opBinInt1:
		return u.push(u.int(1))
	case opBinInt2:
		return u.push(u.int(2))
	case opBinInt:
		return u.push(int64(int32(u.uint(4)))) //nolint:gosec // The bits are those of a signed number.
	case opLong1:
		return u.long(u.uint(1))
	case opLong4:
		return u.long(u.uint(4))
	case opBinFloat:
		return u.push(math.Float64frombits(bits.ReverseBytes64(u.uint(8))))
	case opShortBinUnicode:
		return u.text(u.uint(1))
	case opBinUnicode:
		return u.text(u.uint(4))
	case opBinUnicode8:
		return u.text(u.uint(8))
	case opShortBinBytes:
		return u.bytes(u.uint(1))
	case opBinBytes:
		return u.bytes(u.uint(4))
	case opBinBytes8:
		return u.bytes(u.uint(8))
	case opPut, opBinPut, opLongBinPut, opMemoize, opGet, opBinGet, opLongBinGet:
		return u.doMemo(op)
	}
	return u.doContainer(op)
}

func (u *unpickler) doMemo(op byte) error {
	var slot uint64
	ok := true
	switch op {
	case opPut, opGet:
		slot, ok = u.line()
	case opBinPut, opBinGet:
		slot = u.uint(1)
	case opLongBinPut, opLongBinGet:
		slot = u.uint(4)
	case opMemoize:
		slot = uint64(len(u.memo))
	}
	if !ok {
		return u.refuse(ErrDamaged, "a memo slot that is no number")
	}
	switch op {
	case opGet, opBinGet, opLongBinGet:
		v, ok := u.memo[slot]
		if !ok {
			return u.refuse(ErrDamaged, "an empty memo slot")
		}
		if c, ok := v.(*container); ok {
			c.close()
		}
		return u.push(v)
	}
	if err := u.make(); err != nil {
		return err
	}
	if u.height() < 1 {
		return u.refuse(ErrDamaged, "nothing to memorise")
	}
	if u.memo == nil {
		u.memo = make(map[uint64]any)
	}
	u.memo[slot] = u.stack[len(u.stack)-1]
	return nil
}

func (u *unpickler) doContainer(op byte) error {
	switch op {
	case opEmptyList, opEmptyDict:
		return u.push(&container{kind: op})
	case opEmptyTuple:
		return u.tuple(nil)
	case opTuple1, opTuple2, opTuple3:
		items, err := u.pop(int(op-opTuple1) + 1)
		if err != nil {
			return err
		}
		return u.tuple(items)
	case opTuple:
		items, err := u.popMark()
		if err != nil {
			return err
		}
		return u.tuple(items)
	case opList, opDict:
		items, err := u.popMark()
		if err != nil {
			return err
		}
		c := &container{kind: opEmptyList}
		if op == opDict {
			c.kind = opEmptyDict
		}
		if err := u.fill(c, items); err != nil {
			return err
		}
		return u.push(c)
	case opAppend:
		items, err := u.pop(1)
		return u.fillTop(opEmptyList, items, err)
	case opAppends:
		items, err := u.popMark()
		return u.fillTop(opEmptyList, items, err)
	case opSetItem:
		items, err := u.pop(2)
		return u.fillTop(opEmptyDict, items, err)
	case opSetItems:
		items, err := u.popMark()
		return u.fillTop(opEmptyDict, items, err)
	}
	what, sentinel := refusal(op)
	return u.refuse(sentinel, what)
}

// make counts a value that the machine has to keep. A pickle that Python wrote makes none that are not part of its value.
func (u *unpickler) make() error {
	if u.made++; u.made > 2*MaxValues {
		return u.refuse(ErrUnsupported, "more than "+strconv.Itoa(MaxValues)+" values")
	}
	return nil
}

func (u *unpickler) push(v any) error {
	u.stack = append(u.stack, v)
	return u.make()
}

// height returns how many values lie on the stack above its last mark.
func (u *unpickler) height() int {
	if len(u.marks) == 0 {
		return len(u.stack)
	}
	return len(u.stack) - u.marks[len(u.marks)-1]
}

// pop takes n values off the stack. They stay there until the next push.
func (u *unpickler) pop(n int) ([]any, error) {
	if u.height() < n {
		return nil, u.refuse(ErrDamaged, "too few values on the stack")
	}
	rest := len(u.stack) - n
	items := u.stack[rest:]
	u.stack = u.stack[:rest]
	return items, nil
}

func (u *unpickler) popMark() ([]any, error) {
	if len(u.marks) == 0 {
		return nil, u.refuse(ErrDamaged, "no mark on the stack")
	}
	n := u.height()
	u.marks = u.marks[:len(u.marks)-1]
	rest := len(u.stack) - n
	items := u.stack[rest:]
	u.stack = u.stack[:rest]
	return items, nil
}

func (u *unpickler) int(n uint64) int64 {
	return int64(u.uint(n)) //nolint:gosec // Of one or two bytes.
}

func (u *unpickler) long(n uint64) error {
	const maxBytes = 1786 // No number of MaxDigits digits takes more.
	if n > math.MaxInt32 {
		return u.refuse(ErrDamaged, "an int of negative length")
	}
	v := u.next(n)
	if n > maxBytes {
		return u.refuse(ErrUnsupported, "an int of more than "+strconv.Itoa(MaxDigits)+" digits")
	}
	i := parseLong(v)
	if big, ok := i.(*big.Int); ok && tooLong(big) {
		return u.refuse(ErrUnsupported, "an int of more than "+strconv.Itoa(MaxDigits)+" digits")
	}
	return u.push(i)
}

func (u *unpickler) text(n uint64) error {
	b := u.next(n)
	if !utf8.Valid(b) {
		if hasOnlySurrogates(b) {
			return u.refuse(ErrUnsupported, "a str with half a surrogate pair, which UTF-8 cannot hold")
		}
		return u.refuse(ErrDamaged, "a str that is not UTF-8")
	}
	return u.push(string(b))
}

// hasOnlySurrogates reports whether b would be UTF-8 if that could hold surrogates, as a str of Python can.
func hasOnlySurrogates(b []byte) bool {
	for len(b) > 0 {
		_, n := utf8.DecodeRune(b)
		if n == 1 && b[0] >= utf8.RuneSelf {
			if len(b) < 3 || b[0] != 0xed || b[1]&0xe0 != 0xa0 || b[2]&0xc0 != 0x80 {
				return false
			}
			n = 3
		}
		b = b[n:]
	}
	return true
}

func (u *unpickler) bytes(n uint64) error { return u.push(append([]byte{}, u.next(n)...)) }

func (u *unpickler) tuple(items []any) error {
	c := &container{kind: opEmptyTuple}
	if err := u.fill(c, items); err != nil {
		return err
	}
	c.close()
	return u.push(c)
}

// fillTop puts items into the container on top of the stack, which has to be of a kind.
func (u *unpickler) fillTop(kind byte, items []any, err error) error {
	if err != nil {
		return err
	}
	if u.height() < 1 {
		return u.refuse(ErrDamaged, "too few values on the stack")
	}
	c, ok := u.stack[len(u.stack)-1].(*container)
	if !ok || c.kind != kind {
		return u.refuse(ErrDamaged, "items for a value that takes none")
	}
	return u.fill(c, items)
}

// fill puts items into a container: into a dict, keys and values by turns.
func (u *unpickler) fill(c *container, items []any) error {
	if c.closed != nil {
		return u.refuse(ErrUnsupported, "a value that changes after its use, or contains itself")
	}
	if c.kind != opEmptyDict {
		c.items = slices.Grow(c.items, len(items))
		for _, item := range items {
			c.items = append(c.items, c.take(item))
			if err := u.bounded(c.size, c.values, c.depth); err != nil {
				return err
			}
		}
		return nil
	}
	if len(items)%2 != 0 {
		return u.refuse(ErrDamaged, "a key without its value")
	}
	for ; len(items) > 0; items = items[2:] {
		key, value := c.take(items[0]), c.take(items[1])
		if err := u.bounded(c.size, c.values, c.depth); err != nil {
			return err
		}
		if err := u.set(c, key, value); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpickler) set(c *container, key, value any) error {
	id, err := appendKey(u.key[:0], key)
	switch {
	case errors.Is(err, errNaNKey):
		return u.refuse(ErrUnsupported, err.Error())
	case err != nil:
		return u.refuse(ErrDamaged, err.Error())
	}
	u.key = id
	// A large key that is shared may be compared often.
	if u.keys += len(id); u.keys > 8*MaxSize {
		return u.refuse(ErrUnsupported, "keys that are too large")
	}
	if c.index == nil {
		c.index = make(map[string]int)
	}
	if i, ok := c.index[string(id)]; ok {
		c.pairs[i].Value = value
		return nil
	}
	c.index[string(id)] = len(c.pairs)
	c.pairs = append(c.pairs, Pair{key, value})
	return nil
}

// take returns the value of an item and counts what it adds to c.
func (c *container) take(item any) any {
	size, values, depth := 0, 1, 0
	if inner, ok := item.(*container); ok {
		item = inner.close()
		size, values, depth = inner.total()
	} else {
		size = sizeOf(item)
	}
	c.size += size
	c.values += values
	c.depth = max(c.depth, depth)
	return item
}

// total returns the size of c, the number of its values and its depth, c itself included.
func (c *container) total() (size, values, depth int) {
	return c.size + 3, c.values + 1, c.depth + 1 // Of three opcodes at most.
}

func (c *container) close() any {
	if c.closed == nil {
		switch c.kind {
		case opEmptyList:
			c.closed = append(List{}, c.items...)
		case opEmptyTuple:
			c.closed = append(Tuple{}, c.items...)
		case opEmptyDict:
			c.closed = append(Dict{}, c.pairs...)
		}
		c.items, c.pairs, c.index = nil, nil, nil
	}
	return c.closed
}

// bounded says whether a container that amounts to this much may still grow.
func (u *unpickler) bounded(size, values, depth int) error {
	switch {
	case size > MaxSize-pickleFrame:
		return u.refuse(ErrUnsupported, "more than "+strconv.Itoa(MaxSize)+" bytes")
	case values > MaxValues:
		return u.refuse(ErrUnsupported, "more than "+strconv.Itoa(MaxValues)+" values")
	case depth > MaxDepth:
		return u.refuse(ErrUnsupported, "more than "+strconv.Itoa(MaxDepth)+" levels")
	}
	return nil
}

func (u *unpickler) stop() (any, error) {
	if u.height() < 1 {
		return nil, u.refuse(ErrDamaged, "no value on the stack")
	}
	whole := &container{}
	v := whole.take(u.stack[len(u.stack)-1])
	if err := u.bounded(whole.size, whole.values, whole.depth); err != nil {
		return nil, err
	}
	return v, nil
}
