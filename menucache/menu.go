package menucache

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

var (
	// ErrMalformed is returned, wrapped with the place, for a menu that is not one JSON object in UTF-8.
	ErrMalformed = errors.New("menucache: malformed JSON")
	// ErrTooLarge is returned for a menu over MaxMenuSize.
	ErrTooLarge = fmt.Errorf("menucache: a menu has at most %d bytes", MaxMenuSize)
)

// maxDepth bounds how deep arrays and objects of a menu lie in each other: readers in other languages give up early.
const maxDepth = 64

// CheckMenu checks a menu that a caller sets and returns it without insignificant white space, and nothing else changed,
// and the role that it names, "" if it names none.
//
// The menu is one JSON object without duplicate members. Of its members type and user_id, if they are there, are the
// key's; role is one of Roles. Member options is required: an array of objects with key, label and action, of which Telegram could make
// an inline keyboard, and no two of which have the same key. Others may be there.
//
// It returns ErrTooLarge, an error that wraps ErrMalformed, or an InvalidError that names every fault.
func (d *Definitions) CheckMenu(key Key, raw []byte) (menu []byte, role string, err error) {
	if len(raw) > MaxMenuSize {
		return nil, "", ErrTooLarge
	}
	if err := checkJSON(raw); err != nil {
		return nil, "", err
	}
	compacted := jsontext.Value(bytes.Clone(raw))
	if err := compacted.Compact(); err != nil {
		return nil, "", malformed(err)
	}
	read, err := scanMenu(compacted)
	if err != nil {
		return nil, "", err
	}
	role, fields := d.checkMembers(key, &read)
	fields = append(fields, checkOptions(&read)...)
	if len(fields) > 0 {
		return nil, "", &InvalidError{Fields: fields}
	}
	if err := checkMarkup(d.byType[key.Type], read.options); err != nil {
		return nil, "", err
	}
	return compacted, role, nil
}

// ParseOptions reads the options of a menu of whatever origin: a member that is missing or no string is "", and where
// options is missing or no array there are none. It returns an error that wraps ErrMalformed for what is no JSON object.
func ParseOptions(menuJSON []byte) ([]Option, error) {
	read, err := scanOptions(menuJSON)
	if err != nil {
		return nil, err
	}
	options := make([]Option, len(read))
	for i := range read {
		options[i] = read[i].Option
	}
	return options, nil
}

// checkJSON checks that this is one JSON object, without duplicate members and not too deep.
func checkJSON(raw []byte) error {
	if deeperThan(raw, maxDepth) {
		return &InvalidError{Fields: []FieldProblem{{"menu", fmt.Sprintf("is nested deeper than %d levels", maxDepth)}}}
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	kind := dec.PeekKind()
	if err := dec.SkipValue(); err != nil {
		return malformed(err)
	}
	if kind != '{' {
		return fmt.Errorf("%w: want an object", ErrMalformed)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows the object", ErrMalformed)
	}
	return nil
}

// deeperThan reports whether arrays and objects lie deeper in each other than so many levels.
func deeperThan(raw []byte, levels int) bool {
	level, inString := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			inString = !inString
		case inString && c == '\\':
			i++
		case inString:
		case c == '{' || c == '[':
			if level++; level > levels {
				return true
			}
		case c == '}' || c == ']':
			level--
		}
	}
	return false
}

// malformed turns the decoder's error into one of ours, with the place but without the content.
func malformed(err error) error {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", ErrMalformed)
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return &InvalidError{Fields: []FieldProblem{{fieldPath(syntax.JSONPointer), "is named twice"}}}
	}
	return fmt.Errorf("%w: at byte %d", ErrMalformed, syntax.ByteOffset)
}

// fieldPath writes a JSON pointer as a field of InvalidError.
func fieldPath(pointer jsontext.Pointer) string {
	var path strings.Builder
	for token := range pointer.Tokens() {
		if _, err := strconv.ParseUint(token, 10, 32); err == nil {
			path.WriteString("[" + token + "]")
			continue
		}
		if path.Len() > 0 {
			path.WriteByte('.')
		}
		path.WriteString(cmp.Or(printable(token), "(empty)"))
	}
	return printable(path.String())
}

// checkMembers checks what a menu says of itself and returns the role that it names.
func (d *Definitions) checkMembers(key Key, read *menuMembers) (role string, fields []FieldProblem) {
	if text, ok := unquote(read.typ); read.typ != "" && (!ok || text != key.Type) {
		fields = append(fields, FieldProblem{"type", fmt.Sprintf("must be %s, as where the menu is set", quoted(key.Type))})
	}
	if read.userID != "" && read.userID != strconv.FormatInt(key.UserID, 10) {
		fields = append(fields, FieldProblem{"user_id", fmt.Sprintf("must be %d, as where the menu is set", key.UserID)})
	}
	role, ok := unquote(read.role)
	if read.role != "" && (!ok || !d.HasRole(role)) {
		fields = append(fields, FieldProblem{"role", "must be one of " + strings.Join(d.roles, ", ")})
	}
	if read.optionsKind != '[' {
		fields = append(fields, FieldProblem{"options", "must be given, as an array"})
	}
	return role, fields
}

func checkOptions(read *menuMembers) []FieldProblem {
	if len(read.options) > maxButtons {
		return []FieldProblem{{"options", tooManyOptions(len(read.options))}}
	}
	var fields []FieldProblem
	first := map[string]int{}
	for i := range read.options {
		o := &read.options[i]
		if !o.object {
			fields = append(fields, FieldProblem{fmt.Sprintf("options[%d]", i), "must be an object with key, label and action"})
			continue
		}
		if isBlank(o.Key) {
			fields = append(fields, blankMember(i, "key", ""))
		} else if j, ok := first[o.Key]; ok {
			problem := fmt.Sprintf("(%s) is also that of options[%d]", printable(o.Key), j)
			fields = append(fields, FieldProblem{fmt.Sprintf("options[%d].key", i), problem})
		} else {
			first[o.Key] = i
		}
		if isBlank(o.Label) {
			fields = append(fields, blankMember(i, "label", o.Key))
		}
		if isBlank(o.Action) {
			fields = append(fields, blankMember(i, "action", o.Key))
		}
	}
	return fields
}

// menuMembers is what the hub reads of a menu. The first three are JSON, "" where the member is missing.
type menuMembers struct {
	typ, userID, role string
	optionsKind       jsontext.Kind
	options           []shownOption
}

// shownOption is an option as it stands in a menu.
type shownOption struct {
	Option
	// labelEnd is where in the menu the label's JSON string ends; 0 if the label is no string.
	labelEnd int
	// object is false for an entry that is no JSON object; it has no key, label and action.
	object bool
}

func scanOptions(menuJSON []byte) ([]shownOption, error) {
	read, err := scanMenu(menuJSON)
	return read.options, err
}

// scanMenu reads a menu that need not be well made, as long as it is JSON. Of members that are named twice, the last
// one counts, as it does for other readers.
func scanMenu(menuJSON []byte) (menuMembers, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(menuJSON),
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	var read menuMembers
	if dec.PeekKind() != '{' {
		return read, fmt.Errorf("%w: want an object", ErrMalformed)
	}
	err := scanObject(dec, func(name string) error {
		switch name {
		case "type":
			return scanRaw(dec, &read.typ)
		case "user_id":
			return scanRaw(dec, &read.userID)
		case "role":
			return scanRaw(dec, &read.role)
		case "options":
			read.optionsKind, read.options = dec.PeekKind(), nil
			if read.optionsKind == '[' {
				return scanArray(dec, func() error {
					o, err := scanOption(dec)
					read.options = append(read.options, o)
					return err
				})
			}
		}
		return dec.SkipValue()
	})
	if err != nil {
		return menuMembers{}, malformed(err)
	}
	return read, nil
}

func scanOption(dec *jsontext.Decoder) (shownOption, error) {
	var o shownOption
	if dec.PeekKind() != '{' {
		return o, dec.SkipValue()
	}
	o.object = true
	err := scanObject(dec, func(name string) error {
		switch name {
		case "key":
			_, err := scanText(dec, &o.Key)
			return err
		case "label":
			isText, err := scanText(dec, &o.Label)
			o.labelEnd = 0
			if isText {
				o.labelEnd = int(dec.InputOffset())
			}
			return err
		case "action":
			_, err := scanText(dec, &o.Action)
			return err
		}
		return dec.SkipValue()
	})
	return o, err
}

// scanObject calls member for each member of the object that comes next; it reads the value.
func scanObject(dec *jsontext.Decoder, member func(name string) error) error {
	_, err := dec.ReadToken()
	for err == nil && dec.PeekKind() != '}' {
		var name jsontext.Token
		if name, err = dec.ReadToken(); err == nil {
			err = member(name.String())
		}
	}
	if err == nil {
		_, err = dec.ReadToken()
	}
	return err
}

// scanArray calls element for each element of the array that comes next; it reads the element.
func scanArray(dec *jsontext.Decoder, element func() error) error {
	_, err := dec.ReadToken()
	for err == nil && dec.PeekKind() != ']' {
		err = element()
	}
	if err == nil {
		_, err = dec.ReadToken()
	}
	return err
}

func scanRaw(dec *jsontext.Decoder, to *string) error {
	value, err := dec.ReadValue()
	*to = string(value)
	return err
}

// scanText reads a value into text, "" if it is no string.
func scanText(dec *jsontext.Decoder, text *string) (isText bool, err error) {
	*text = ""
	if dec.PeekKind() != '"' {
		return false, dec.SkipValue()
	}
	token, err := dec.ReadToken()
	if err != nil {
		return false, err
	}
	*text = strings.ToValidUTF8(token.String(), "\ufffd")
	return true, nil
}

// unquote returns the text of a JSON string that was checked, and false for other JSON and for none.
func unquote(raw string) (text string, ok bool) {
	if raw == "" || raw[0] != '"' {
		return "", false
	}
	unquoted, err := jsontext.AppendUnquote(nil, raw)
	return string(unquoted), err == nil
}
