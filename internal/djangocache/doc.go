// Package djangocache reads and writes what the Django bot keeps in Redis through django-redis: whole numbers as digits,
// anything else pickled and then deflated.
//
// A value is nil, bool, int64, *big.Int (beyond int64), float64, string (valid UTF-8), []byte, List, Tuple or Dict. A part
// that a pickle shares may be shared in the value too, so what was read is for reading only.
//
// Guarantee: reading runs nothing. Of pickle's opcodes only those are known that make None, bool, int, float, str,
// bytes, list, tuple and dict; one that could import a name, call it or build an object is refused with ErrUnsafe.
// Reading ends for every input, and allocates some 50 MB for the worst of them, whatever lengths the bytes claim. What was
// read can be written again. Everything here may be used by many goroutines at once.
//
// Limit: sets, bytearrays, the text opcodes of protocols 0 and 1, and values that contain themselves are not read. At
// protocol 2 Python pickles bytes as a call, so bytes are read from protocol 3 on; the bot writes protocol 4.
package djangocache
