package tempdata

import "time"

// layout says under which key of Redis a value is, and in what form. The native one and that of the Django bot are its
// two implementations. They may be used by many goroutines at once.
type layout interface {
	// redisKey returns the key of a value. Its names are valid, and Key.Namespace has no colon in the bot's layout.
	redisKey(Key) string
	// parse is the reverse of redisKey, false for what it does not return. For the bot's layout a namespace ends at the
	// first colon.
	parse(redisKey string) (Key, bool)
	// encode writes JSON without insignificant white space, so that no other call, of this process or another, returns the
	// same bytes for the same key: the entity tag of a value is a hash of them.
	encode(key Key, data []byte, at time.Time) ([]byte, error)
	// decode reads what is kept. What is damaged, or not safe to read, gives ErrUnreadable, wrapped with why, but never
	// with what it holds.
	decode(key Key, raw string) (content, error)
}

// content is what a value holds.
type content struct {
	// data is compact JSON, typ what Python calls it, see Value.Type, and at when it was written, to the microsecond; the
	// zero Time if nothing tells.
	data []byte
	typ  string
	at   time.Time
}
