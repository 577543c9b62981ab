package tempdata

import (
	"crypto/sha1" //nolint:gosec // G505: scripts in Redis can compute no other hash, and nothing secret depends on it.
	"encoding/hex"
	"slices"
	"strings"
)

// tagSize is how many hexadecimal digits an entity tag has: 80 bits.
const tagSize = 20

// tagOf is tagOf in condition.lua, of the value itself: "" for nothing.
func tagOf[T string | []byte](raw T) string { return strings.Trim(etagOf(raw), `"`) }

// etagOf is tagOf as HTTP writes it.
func etagOf[T string | []byte](raw T) string {
	if len(raw) == 0 {
		return ""
	}
	sum := sha1.Sum([]byte(raw)) //nolint:gosec // G401: see the import.
	var tag [tagSize + 2]byte
	tag[0], tag[tagSize+1] = '"', '"'
	hex.Encode(tag[1:], sum[:tagSize/2])
	return string(tag[:])
}

// quoted makes an entity tag as HTTP writes it, "" of "".
func quoted(tag string) string {
	if tag == "" {
		return ""
	}
	return `"` + tag + `"`
}

// code writes a condition as the scripts read it.
func (c Condition) code() string {
	switch {
	case c.Absent && (c.Exists || len(c.Tags) > 0):
		return never
	case c.Absent:
		return "-"
	case len(c.Tags) > 0:
		code := "="
		for _, tag := range c.Tags {
			if len(tag) == tagSize+2 { // Others are not ours.
				code += " " + strings.Trim(tag, `"`)
			}
		}
		return code
	case c.Exists:
		return "*"
	}
	return ""
}

// never is a condition that nothing meets: to have none of no tags.
const never = "="

// hasTag is the condition to have a tag, or with "" to be nothing.
func hasTag(tag string) string {
	if tag == "" {
		return "-"
	}
	return "= " + strings.Trim(tag, `"`)
}

// met is met in condition.lua.
func met(condition, tag string) bool {
	switch condition {
	case "":
		return true
	case "*":
		return tag != ""
	case "-":
		return tag == ""
	}
	return tag != "" && slices.Contains(strings.Fields(condition)[1:], tag)
}
