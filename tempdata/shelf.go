package tempdata

import (
	"container/list"
	"errors"
	"time"
)

// shelf is what a lane keeps in memory for when Redis is away: what was read and written last, and what waits for Redis to
// come back. A nil shelf keeps nothing. Only one goroutine may use it.
type shelf struct {
	max, used int64
	spaces    map[string]map[string]*record
	// Every record is in one of these lists.
	recent  list.List // what was used last is in front
	waiting list.List // what has waited longest is in front
	// sure says that Redis is known to be the process that it was.
	sure bool
}

// record is what is kept of one key.
type record struct {
	space, name string
	memory      memory
	size        int64
	waits       bool
	place       *list.Element // nil once it is forgotten
}

// memory is what is known of one key.
type memory interface {
	// size is about how many bytes it takes.
	size() int64
	// restore returns what puts into Redis what waits for it, or with lost what Redis has lost.
	restore(*record) restoration
	// newer reports whether it is newer than what Redis has, "" for nothing, and has not expired.
	newer(theirs string) bool
	// doubt is called when Redis was restarted, and reports whether it may have lost this.
	doubt(now time.Time) bool
}

// restoration is an operation that ends the waiting of a record, if the record still is what it was when restore was called:
// another one of the same batch may have changed it.
type restoration interface {
	operation
	// abandon gives the record up.
	abandon(*shelf)
}

// recordSize is what a record takes besides what it holds, about.
const recordSize = 300

// newShelf returns a shelf for so many bytes, nil if that is negative.
func newShelf(limit int64) *shelf {
	if limit < 0 {
		return nil
	}
	return &shelf{max: limit, spaces: map[string]map[string]*record{}}
}

// find returns what is kept of a key, nil if nothing.
func (sh *shelf) find(space, name string) *record {
	if sh == nil {
		return nil
	}
	r := sh.spaces[space][name]
	if r != nil && !r.waits {
		sh.recent.MoveToFront(r.place)
	}
	return r
}

// keep keeps what is known of a key, if there is room.
func (sh *shelf) keep(space, name string, m memory) {
	if sh == nil {
		return
	}
	r := sh.find(space, name)
	if r == nil {
		r = sh.add(space, name, false)
	}
	r.memory = m
	sh.measure(r)
	sh.makeRoom(0)
}

// add makes a record of a key that has none.
func (sh *shelf) add(space, name string, waits bool) *record {
	r := &record{space: space, name: name, waits: waits}
	if waits {
		r.place = sh.waiting.PushBack(r)
	} else {
		r.place = sh.recent.PushFront(r)
	}
	names := sh.spaces[space]
	if names == nil {
		names = map[string]*record{}
		sh.spaces[space] = names
	}
	names[name] = r
	return r
}

// measure notes how large a record is now.
func (sh *shelf) measure(r *record) {
	size := r.memory.size() + recordSize
	sh.used += size - r.size
	r.size = size
}

// makeRoom forgets what was not used for the longest time until so many bytes are free, and reports whether they are. What
// waits is not forgotten.
func (sh *shelf) makeRoom(bytes int64) bool {
	for sh.used+bytes > sh.max && sh.recent.Len() > 0 {
		r, _ := sh.recent.Back().Value.(*record)
		sh.drop(r)
	}
	return sh.used+bytes <= sh.max
}

// waitsFor reports whether what is kept of a key waits for Redis.
func (sh *shelf) waitsFor(space, name string) bool {
	if sh == nil {
		return false
	}
	r := sh.spaces[space][name]
	return r != nil && r.waits
}

// waitsForAny reports whether anything waits of what a list names.
func (sh *shelf) waitsForAny(space string) bool {
	if sh == nil || sh.waiting.Len() == 0 {
		return false
	}
	for _, r := range sh.spaces[space] {
		if r.waits {
			return true
		}
	}
	return false
}

// forgetSettled forgets all of what a list names that does not wait.
func (sh *shelf) forgetSettled(space string) {
	for _, r := range sh.spaces[space] {
		if !r.waits {
			sh.drop(r)
		}
	}
}

// missing returns errMissing if what is known of a key is newer than what Redis has.
func (sh *shelf) missing(space, name, theirs string) error {
	if sh == nil || sh.sure {
		return nil
	}
	if r := sh.spaces[space][name]; r != nil && !r.waits && r.memory.newer(theirs) {
		return errMissing
	}
	return nil
}

// errMissing says that Redis has not what it had. It was deleted by others, or Redis lost it.
var errMissing = errors.New("tempdata: missing")

// await keeps what is known of a key until Redis is back. There should be room: see makeRoom.
func (sh *shelf) await(space, name string, m memory) {
	r := sh.find(space, name)
	if r == nil {
		r = sh.add(space, name, true)
	}
	sh.wait(r)
	r.memory = m
	sh.measure(r)
}

// wait makes a record wait.
func (sh *shelf) wait(r *record) {
	if !r.waits {
		sh.recent.Remove(r.place)
		r.waits, r.place = true, sh.waiting.PushBack(r)
	}
}

// settled ends the waiting of a record.
func (sh *shelf) settled(r *record) {
	if r.waits {
		sh.waiting.Remove(r.place)
		r.waits, r.place = false, sh.recent.PushFront(r)
	}
}

// drop forgets a record.
func (sh *shelf) drop(r *record) {
	if r == nil || r.place == nil {
		return
	}
	sh.settled(r)
	sh.recent.Remove(r.place)
	r.place = nil
	sh.used -= r.size
	names := sh.spaces[r.space]
	if delete(names, r.name); len(names) == 0 {
		delete(sh.spaces, r.space)
	}
}

// forget forgets a key.
func (sh *shelf) forget(space, name string) { sh.drop(sh.find(space, name)) }

// doubtAll makes everything wait that a restarted Redis may have lost.
func (sh *shelf) doubtAll(now time.Time) {
	if sh == nil {
		return
	}
	for e := sh.recent.Back(); e != nil; {
		r, _ := e.Value.(*record)
		if e = e.Prev(); r.memory.doubt(now) {
			sh.wait(r)
		}
	}
}

// next returns what puts the records that have waited longest into Redis, some of them, none if none waits.
func (sh *shelf) next() (some []restoration) {
	if sh == nil {
		return nil
	}
	size := 0
	for e := sh.waiting.Front(); e != nil && len(some) < longestBatch && size < largestBatch; e = e.Next() {
		r, _ := e.Value.(*record)
		op := r.memory.restore(r)
		some, size = append(some, op), size+op.size()
	}
	return some
}

// stats returns how many records there are, how many of them wait, and about how many bytes they take.
func (sh *shelf) stats() (records, waiting, bytes int64) {
	if sh == nil {
		return 0, 0, 0
	}
	return int64(sh.recent.Len() + sh.waiting.Len()), int64(sh.waiting.Len()), sh.used
}
