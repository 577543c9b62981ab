package cache

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// epoch is when tags were invalidated last, as it is kept under one key in Redis: tag=microseconds, separated by spaces.
// The number of each invalidation is higher than all before, and the time by the clock of Redis unless that went back.
// The tag floor is when the epoch began: values that a Cache wrote before are from before the key was lost, and no good.
type epoch struct {
	text string
	at   map[string]int64
	last int64
}

const floorTag = "floor"

// maxNumber is what a number may be at most so that Lua can count with it: the time in the year 2255.
const maxNumber = 9e15

// parseEpoch never fails: what it cannot read counts as no epoch, under which nothing that a Cache wrote is valid.
func parseEpoch(text string) epoch {
	e := epoch{text: text, at: map[string]int64{}}
	for pair := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ' ' }) {
		tag, number, _ := strings.Cut(pair, "=")
		n, err := strconv.ParseUint(number, 10, 63)
		if tag == "" || err != nil || n == 0 || n > maxNumber {
			return epoch{}
		}
		e.at[tag] = int64(n)
		e.last = max(e.last, e.at[tag])
	}
	if _, ok := e.at[floorTag]; !ok {
		return epoch{}
	}
	return e
}

// checkTag returns why a tag cannot be in an epoch.
func checkTag(tag string) error {
	if tag == "" || tag == floorTag || strings.ContainsAny(tag, " =") {
		return errors.New("cache: a tag is a word without spaces and '=', and not floor")
	}
	return nil
}

// ownValid reports whether a value that a Cache stored at that epoch is still valid under e. One from after e was stored
// under an epoch that got lost.
func (e epoch) ownValid(at int64, tags []string) bool {
	return e.text != "" && at >= e.at[floorTag] && at >= e.lastOf(tags) && at <= e.last
}

// foreignSlack covers that the clocks of Redis and of this process differ.
const foreignSlack = 5 * time.Second

// foreignValid reports whether a value that something else wrote is valid under e. The zero time means that nobody knows
// when it was written.
func (e epoch) foreignValid(written time.Time, tags []string) bool {
	last := e.lastOf(tags)
	return last == 0 || !written.IsZero() && written.After(time.UnixMicro(last).Add(foreignSlack))
}

func (e epoch) lastOf(tags []string) int64 {
	var last int64
	for _, tag := range tags {
		last = max(last, e.at[tag])
	}
	return last
}
