package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"
)

// unknownMember is what is wrong with a member that take does not know.
const unknownMember = "is not known"

// readObject reads a body that is one JSON object, and hands its members to take, which says what is wrong with one, "" if
// nothing. It returns what is wrong with all of them, or the problem that the body as a whole is.
func readObject(c echo.Context, take func(name string, value jsontext.Value) (problem string)) ([]FieldProblem, error) {
	var body bytes.Buffer
	if err := readJSON(c, &body); err != nil {
		return nil, err
	}
	return readMembers(&body, take)
}

// readMembers is readObject for a body that has been read, or a part of one. A value is good until take returns.
func readMembers(body *bytes.Buffer, take func(name string, value jsontext.Value) (problem string)) ([]FieldProblem, error) {
	dec := jsontext.NewDecoder(body)
	if dec.PeekKind() != '{' {
		if err := dec.SkipValue(); err != nil {
			return nil, unreadable(err)
		}
		return nil, notAnObject("want an object")
	}
	_, _ = dec.ReadToken() // The brace that PeekKind saw.
	var wrong []FieldProblem
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		if err != nil {
			return nil, unreadable(err)
		}
		name := token.String()
		value, err := dec.ReadValue()
		if err != nil {
			return nil, unreadable(err)
		}
		if problem := take(name, value); problem != "" && len(wrong) < maxWrong {
			wrong = append(wrong, FieldProblem{Field: printable(name), Problem: problem})
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, unreadable(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, notAnObject("something follows the object")
	}
	return wrong, nil
}

// maxWrong bounds how many wrong members are told of.
const maxWrong = 100

// unreadable tells where a body is wrong, and nothing of what it holds.
func unreadable(err error) *problem {
	var syntax *jsontext.SyntacticError
	switch {
	case !errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return notAnObject("it ends too early")
	case errors.Is(err, jsontext.ErrDuplicateName):
		return invalidField(printable(strings.TrimPrefix(string(syntax.JSONPointer), "/")), "is named twice")
	}
	return notAnObject("at byte " + strconv.FormatInt(syntax.ByteOffset, 10))
}

// printable makes a member's name fit to be repeated in an answer.
func printable(name string) string {
	const longest = 128
	if len(name) > longest {
		name = strings.ToValidUTF8(name[:longest], "") + "…"
	}
	return cmp.Or(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, name), "(empty)")
}

// readText reads a string that is not empty.
func readText(value jsontext.Value, into *string) (problem string) {
	if value.Kind() != '"' {
		return "must be a string"
	}
	text, _ := jsontext.AppendUnquote(nil, value) // The decoder has checked it.
	if len(text) == 0 {
		return "must not be empty"
	}
	*into = string(text)
	return ""
}

// readBadges reads an object of counts.
func readBadges(value jsontext.Value, into *map[string]int) (problem string) {
	var counts map[string]*int // A null would count as 0.
	if err := json.Unmarshal(value, &counts); err != nil || counts == nil {
		return wantBadges
	}
	badges := make(map[string]int, len(counts))
	for name, count := range counts {
		if count == nil {
			return wantBadges
		}
		badges[name] = *count
	}
	*into = badges
	return ""
}

const wantBadges = `must be an object of whole numbers, such as {"meetings": 3}`

// object writes a JSON object, member by member. What it holds is passed on as it is, where encoding/json would escape it
// for HTML.
type object []byte

func (o object) name(name string) object {
	if o == nil {
		o = append(make(object, 0, 128), '{')
	} else {
		o = append(o, ',')
	}
	return append(append(append(o, '"'), name...), '"', ':')
}

// raw adds JSON.
func (o object) raw(name string, value []byte) object { return append(o.name(name), value...) }

// text adds a string of valid UTF-8.
func (o object) text(name, value string) object {
	quoted, _ := jsontext.AppendQuote(o.name(name), value)
	return quoted
}

// number adds a whole number.
func (o object) number(name string, n int64) object { return strconv.AppendInt(o.name(name), n, 10) }

// flag adds a boolean.
func (o object) flag(name string, value bool) object { return strconv.AppendBool(o.name(name), value) }

// expires adds for how long something is kept, null for ever.
func (o object) expires(in time.Duration) object {
	if in == 0 {
		return o.raw("expires_in", []byte("null"))
	}
	return o.number("expires_in", seconds(in))
}

// end closes the object, after saying whether it comes from memory.
func (o object) end(degraded bool) []byte {
	if degraded {
		o = o.flag("degraded", true)
	}
	return append(o, '}')
}
