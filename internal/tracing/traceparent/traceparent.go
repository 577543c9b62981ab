// Package traceparent reads and writes the header traceparent of W3C Trace Context, section 3.2: version, trace id, parent
// id and flags, in lower case hexadecimal.
//
// Guarantee: what Valid lets through is plain ASCII of at most 256 bytes, fit for a header, for JSON and for a log line.
package traceparent

import "encoding/hex"

// Length is how many bytes a traceparent of version 00, the present one, has.
const Length = 55

const longest = 256

// Valid checks the form. Versions above 00 may go on after another hyphen.
func Valid(text string) bool {
	if len(text) < Length || len(text) > longest {
		return false
	}
	version, trace, parent, flags := text[:2], text[3:35], text[36:52], text[53:55]
	switch {
	case text[2] != '-' || text[35] != '-' || text[52] != '-':
		return false
	case !isHex(version) || !isHex(trace) || !isHex(parent) || !isHex(flags):
		return false
	case version == "ff" || isZero(trace) || isZero(parent):
		return false
	case len(text) == Length:
		return true
	}
	return version != "00" && text[Length] == '-' && isVisible(text[Length:])
}

// Current returns the text if it is valid and of version 00, and else "".
func Current(text string) string {
	if len(text) != Length || text[:2] != "00" || !Valid(text) {
		return ""
	}
	return text
}

// IDs returns the trace id and the parent id of a text that is Valid, and else two empty texts.
func IDs(text string) (trace, parent string) {
	if !Valid(text) {
		return "", ""
	}
	return text[3:35], text[36:52]
}

// Format writes a traceparent of version 00. Neither id may be all zeros.
func Format(trace [16]byte, parent [8]byte, flags byte) string {
	var text [Length]byte
	copy(text[:], "00-")
	hex.Encode(text[3:], trace[:])
	text[35] = '-'
	hex.Encode(text[36:], parent[:])
	text[52] = '-'
	hex.Encode(text[53:], []byte{flags})
	return string(text[:])
}

func isHex(s string) bool {
	for i := range len(s) {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return true
}

func isZero(s string) bool {
	for i := range len(s) {
		if s[i] != '0' {
			return false
		}
	}
	return true
}

func isVisible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
