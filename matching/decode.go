package matching

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// people is a list that is not read on when it is too long, so that no request takes more memory than it should.
type people[T any] []T

// errNoList says what a list must be.
var errNoList = errors.New("must be an array")

// UnmarshalJSONFrom reads an array of at most MaxPeople.
func (p *people[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '[' {
		if err := dec.SkipValue(); err != nil {
			return err
		}
		return errNoList
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		if len(*p) == MaxPeople {
			return ErrTooMany
		}
		var one T
		if err := json.UnmarshalDecode(dec, &one); err != nil {
			return err
		}
		*p = append(*p, one)
	}
	_, err := dec.ReadToken()
	return err
}

// userID is a user's id: a whole number, or a string of its digits.
type userID int64

var errNoUserID = errors.New("must be a whole number from 1 to 9223372036854775807")

// UnmarshalJSONFrom reads either form.
func (id *userID) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if kind := token.Kind(); kind != '0' && kind != '"' {
		return errNoUserID
	}
	n, err := strconv.ParseInt(token.String(), 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != token.String() {
		return errNoUserID
	}
	*id = userID(n)
	return nil
}

// decode reads a request's JSON. What is wrong with it is told without repeating it.
func decode(body []byte, into any, strict bool) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return fmt.Errorf("%w: it is empty", ErrMalformed)
	}
	err := json.Unmarshal(body, into, json.RejectUnknownMembers(strict), json.MatchCaseInsensitiveNames(false))
	var syntax *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrTooMany):
		return ErrTooMany
	case errors.Is(err, jsontext.ErrDuplicateName):
		if errors.As(err, &syntax) {
			return &InvalidError{Fields: []FieldProblem{{field(syntax.JSONPointer), "is there twice"}}}
		}
	case errors.As(err, &semantic):
		return &InvalidError{Fields: []FieldProblem{{field(semantic.JSONPointer), semanticProblem(semantic)}}}
	case errors.As(err, &syntax):
		return fmt.Errorf("%w: it breaks off or is no JSON at byte %d", ErrMalformed, syntax.ByteOffset)
	}
	return fmt.Errorf("%w: it cannot be read", ErrMalformed)
}

func semanticProblem(err *json.SemanticError) string {
	for _, told := range []error{errNoList, errNoUserID} {
		if errors.Is(err, told) {
			return told.Error()
		}
	}
	if errors.Is(err, json.ErrUnknownName) {
		return "is not known"
	}
	return "must be " + wanted(err.GoType)
}

// wanted says what JSON a type is read from.
func wanted(t reflect.Type) string {
	if t == nil {
		return "something else"
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "an array"
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "something else"
}

// field writes the place of a member as errors name it: employees[3].id. Names that callers made up are cut.
func field(pointer jsontext.Pointer) string {
	var text strings.Builder
	for token := range pointer.Tokens() {
		if _, err := strconv.Atoi(token); err == nil {
			text.WriteString("[" + token + "]")
			continue
		}
		if text.Len() > 0 {
			text.WriteByte('.')
		}
		text.WriteString(printable(token))
	}
	if text.Len() == 0 {
		return "(body)"
	}
	return text.String()
}

// printable is a name as it may be repeated to the caller.
func printable(name string) string {
	const longest = 64
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '�' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	if clean == "" {
		return "(empty)"
	}
	for i := range clean {
		if i >= longest {
			return clean[:i] + "…"
		}
	}
	return clean
}

// firstKind is the kind of the JSON value that a text begins with.
func firstKind(body []byte) jsontext.Kind {
	return jsontext.Value(body).Kind()
}
