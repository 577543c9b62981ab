package jobqueue

import (
	"strconv"
	"time"
)

// reply is what queue.lua returned. What is not there, or something else, reads as the zero value.
type reply []any

func (r reply) text(i int) string {
	if i >= len(r) {
		return ""
	}
	text, _ := r[i].(string)
	return text
}

// has tells whether there is a text, which may be "".
func (r reply) has(i int) bool {
	if i >= len(r) {
		return false
	}
	_, is := r[i].(string)
	return is
}

// number reads an integer, or a text that is one.
func (r reply) number(i int) int64 {
	if i >= len(r) {
		return 0
	}
	if number, is := r[i].(int64); is {
		return number
	}
	number, _ := strconv.ParseInt(r.text(i), 10, 64)
	return number
}

// moment reads microseconds since 1970, of which 0 is the zero time.
func (r reply) moment(i int) time.Time {
	if micros := r.number(i); micros != 0 {
		return time.UnixMicro(micros).UTC()
	}
	return time.Time{}
}

func (r reply) duration(i int) time.Duration { return time.Duration(r.number(i)) * time.Microsecond }

func (r reply) list(i int) reply {
	if i >= len(r) {
		return nil
	}
	list, _ := r[i].([]any)
	return list
}
