package tempdata

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// mergePatch applies a JSON merge patch (RFC 7396) to target, nil if there is nothing yet. Both are compact JSON, and so is
// the result, of at most as many bytes as they have together. Members that are not patched keep their bytes and their order,
// new ones follow in the order of the patch. Like them it is at most maxDepth deep. A patch that breaks this is ErrMalformed,
// a target that does ErrUnreadable.
func mergePatch(target, patch []byte) ([]byte, error) {
	if tooDeep(patch) {
		return nil, errTooDeep()
	}
	c, err := readChange(jsontext.NewDecoder(bytes.NewBuffer(patch)), patch)
	if err != nil {
		return nil, malformed(err)
	}
	var dec *jsontext.Decoder
	if target != nil {
		dec = jsontext.NewDecoder(bytes.NewBuffer(target))
	}
	result, err := c.apply(make([]byte, 0, len(target)+len(patch)), dec)
	if err != nil || tooDeep(target) { // No result is deeper than both of what it was made from.
		return nil, fmt.Errorf("%w: no JSON that can be patched", ErrUnreadable)
	}
	return result, nil
}

// change is what a patch makes of one value.
type change struct {
	// name is that of the member, as the patch writes it.
	name []byte
	// value is what becomes of it, nil if only its members change. A JSON null removes it.
	value   []byte
	members []change
	// byName finds members by their unescaped names.
	byName map[string]int
	// done is set once the target's member was changed.
	done bool
}

func readChange(dec *jsontext.Decoder, patch []byte) (change, error) {
	if dec.PeekKind() != '{' {
		value, err := readBytes(dec, patch)
		return change{value: value}, err
	}
	c := change{byName: map[string]int{}}
	_, _ = dec.ReadToken() // The brace that PeekKind saw.
	for dec.PeekKind() != '}' {
		name, err := readBytes(dec, patch)
		if err != nil {
			return change{}, err
		}
		member, err := readChange(dec, patch)
		if err != nil {
			return change{}, err
		}
		member.name = name
		c.byName[string(unquoted(name))] = len(c.members)
		c.members = append(c.members, member)
	}
	_, err := dec.ReadToken()
	return c, err
}

// readBytes reads a value and returns where it is in text, which dec reads: what dec returns is good only until it goes on.
func readBytes(dec *jsontext.Decoder, text []byte) ([]byte, error) {
	value, err := dec.ReadValue()
	if err != nil {
		return nil, err
	}
	end := int(dec.InputOffset())
	return text[end-len(value) : end], nil
}

func unquoted(name []byte) []byte {
	if bytes.IndexByte(name, '\\') < 0 {
		return name[1 : len(name)-1]
	}
	text, _ := jsontext.AppendUnquote(nil, name) // The decoder has checked it.
	return text
}

func (c *change) removes() bool { return string(c.value) == "null" }

// apply appends what the change makes of the value that target is about to read, or of nothing if target is nil.
func (c *change) apply(dst []byte, target *jsontext.Decoder) ([]byte, error) {
	isObject := target != nil && target.PeekKind() == '{'
	if target != nil && (c.value != nil || !isObject) {
		if err := target.SkipValue(); err != nil {
			return nil, err
		}
	}
	if c.value != nil {
		return append(dst, c.value...), nil
	}
	dst = append(dst, '{')
	if isObject {
		var err error
		if dst, err = c.applyToMembers(dst, target); err != nil {
			return nil, err
		}
	}
	for i := range c.members {
		if m := &c.members[i]; !m.done && !m.removes() {
			var err error
			if dst, err = m.apply(appendName(dst, m.name), nil); err != nil {
				return nil, err
			}
		}
	}
	return append(dst, '}'), nil
}

// applyToMembers appends what becomes of the members that an object has, without braces.
func (c *change) applyToMembers(dst []byte, target *jsontext.Decoder) ([]byte, error) {
	_, _ = target.ReadToken() // The brace that PeekKind saw.
	for target.PeekKind() != '}' {
		name, err := target.ReadValue()
		if err != nil {
			return nil, err
		}
		i, changed := c.byName[string(unquoted(name))]
		switch {
		case !changed:
			dst = appendName(dst, name)
			var value jsontext.Value
			if value, err = target.ReadValue(); err == nil {
				dst = append(dst, value...)
			}
		case c.members[i].removes():
			c.members[i].done = true
			err = target.SkipValue()
		default:
			c.members[i].done = true
			dst, err = c.members[i].apply(appendName(dst, name), target)
		}
		if err != nil {
			return nil, err
		}
	}
	_, err := target.ReadToken()
	return dst, err
}

// appendName appends the name of an object's next member.
func appendName(dst, quoted []byte) []byte {
	if dst[len(dst)-1] != '{' { // No member ends with it.
		dst = append(dst, ',')
	}
	return append(append(dst, quoted...), ':')
}
