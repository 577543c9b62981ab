package menucache

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// What Telegram takes. The Bot API documents the 64 bytes (InlineKeyboardButton.callback_data, 1-64 bytes). The numbers
// of buttons are those that Telegram's own library cuts keyboards to (tdlib, td/telegram/ReplyMarkup.cpp: 8 in a row of
// an inline keyboard) and that its servers enforce without documenting them: 100 inline buttons, and about 10 kB of
// markup, over which they answer "reply markup is too long" (github.com/tginfo/Telegram-Limits, issues 187 and 228).
// Reply keyboards may have more of all; one limit for both spares users a menu that works in one format only.
const (
	maxCallbackData = 64
	maxButtons      = 100
	maxColumns      = 8
	maxMarkup       = 10_000
)

const defaultColumns = 2

// callbackPrefix tells ids from actions.
const callbackPrefix = "cb:"

// CallbackID returns the id that stands for an action in a button: always the same, 27 bytes, beginning with cb:. Two
// actions have the same id with a chance of 2^-144.
func CallbackID(action string) string {
	sum := sha256.Sum256([]byte(action))
	return callbackPrefix + base64.RawURLEncoding.EncodeToString(sum[:18])
}

// needsID reports whether an action cannot stand in a button itself: it is too long, or could be taken for an id.
func needsID(action string) bool {
	return len(action) > maxCallbackData || strings.HasPrefix(action, callbackPrefix)
}

// ResolveCallback returns the action of the definitions that an id stands for.
func (d *Definitions) ResolveCallback(id string) (action string, ok bool) {
	action, ok = d.callbacks[id]
	return action, ok
}

// Render writes a menu in a format. Badges are put behind the labels of the options that they are for.
//
// FormatJSON gives the menu as it is but for the labels of options with a badge; without badges, it is menuJSON itself.
// The others are laid out as the definitions of menuType say; an option that these do not know follows in columns.
// An action that is longer than 64 bytes or begins with cb: is replaced by what shorten returns for it, such as its
// CallbackID; it is called for FormatTelegramInline only.
//
// It returns an InvalidError for a badge that is not known, or for an option that Telegram would not take, an error that
// wraps ErrMalformed for what is no JSON object, and the error of shorten.
func (d *Definitions) Render(
	format Format, menuType string, menuJSON []byte, badges map[string]int, shorten func(action string) (string, error),
) ([]byte, error) {
	if format == FormatJSON && len(badges) == 0 {
		return menuJSON, nil
	}
	options, err := scanOptions(menuJSON)
	if err != nil {
		return nil, err
	}
	m := d.byType[menuType]
	if err := d.knownBadges(m, options, badges); err != nil {
		return nil, err
	}
	switch format {
	case FormatJSON:
		return addCounts(m, menuJSON, options, badges), nil
	case FormatTelegramInline, FormatTelegramReply:
		return markup(format, m, options, badges, shorten)
	}
	return nil, fmt.Errorf("menucache: render: no format %q", format)
}

// addCounts puts the counts into the labels and leaves every other byte as it is.
func addCounts(m *menu, menuJSON []byte, options []shownOption, badges map[string]int) []byte {
	b := make([]byte, 0, len(menuJSON)+len(options)*len(" (999999)"))
	done := 0
	for _, o := range options {
		if o.labelEnd == 0 {
			continue
		}
		b = append(b, menuJSON[done:o.labelEnd-1]...) // Up to the closing quote.
		b, done = appendCount(b, m.count(o.Key, badges)), o.labelEnd-1
	}
	return append(b, menuJSON[done:]...)
}

func markup(
	format Format, m *menu, options []shownOption, badges map[string]int, shorten func(string) (string, error),
) ([]byte, error) {
	if err := checkButtons(format, options); err != nil {
		return nil, err
	}
	start, end := `{"inline_keyboard":[`, `]}`
	if format == FormatTelegramReply {
		start, end = `{"keyboard":[`, `],"resize_keyboard":true}`
	}
	b := append(make([]byte, 0, len(start)+len(end)+len(options)*128), start...)
	var label []byte
	row := -1
	for place := range layout(m, options) {
		o := &options[place.option]
		switch {
		case place.row == row:
			b = append(b, ',')
		case row < 0:
			b = append(b, '[')
		default:
			b = append(b, `],[`...)
		}
		row = place.row
		label = appendCount(append(label[:0], o.Label...), m.count(o.Key, badges))
		var err error
		if b, err = appendMember(append(b, '{'), "text", label); err != nil {
			return nil, err
		}
		if format == FormatTelegramInline {
			data := o.Action
			if needsID(data) {
				if data, err = shorten(data); err != nil {
					return nil, fmt.Errorf("menucache: shorten the action of option %s: %w", quoted(o.Key), err)
				}
				if data == "" || len(data) > maxCallbackData {
					return nil, fmt.Errorf("menucache: the id of the action of option %s has %d bytes", quoted(o.Key), len(data))
				}
			}
			if b, err = appendMember(append(b, ','), "callback_data", data); err != nil {
				return nil, err
			}
		}
		b = append(b, '}')
		if len(b)+len("]")+len(end) > maxMarkup {
			return nil, &InvalidError{Fields: []FieldProblem{{
				fmt.Sprintf("options[%d]", place.option),
				fmt.Sprintf("(%s) is more than fits: Telegram takes %d bytes of markup", printable(o.Key), maxMarkup),
			}}}
		}
	}
	if row >= 0 {
		b = append(b, ']')
	}
	return append(b, end...), nil
}

func appendMember[T string | []byte](b []byte, name string, value T) ([]byte, error) {
	b = append(append(append(b, '"'), name...), `":`...)
	b, err := jsontext.AppendQuote(b, value)
	if err != nil {
		return nil, fmt.Errorf("menucache: write %s: %w", name, err)
	}
	return b, nil
}

// checkButtons finds the options that cannot be buttons.
func checkButtons(format Format, options []shownOption) error {
	if len(options) > maxButtons {
		return &InvalidError{Fields: []FieldProblem{{"options", tooManyOptions(len(options))}}}
	}
	var fields []FieldProblem
	for i := range options {
		o := &options[i]
		if isBlank(o.Label) {
			fields = append(fields, blankMember(i, "label", o.Key))
		}
		if format == FormatTelegramInline && isBlank(o.Action) {
			fields = append(fields, blankMember(i, "action", o.Key))
		}
	}
	if len(fields) > 0 {
		return &InvalidError{Fields: fields}
	}
	return nil
}

func tooManyOptions(n int) string {
	return fmt.Sprintf("must be at most %d, which is what Telegram takes, not %d", maxButtons, n)
}

// blankMember says that an option lacks text where it needs some.
func blankMember(index int, member, key string) FieldProblem {
	of := ""
	if !isBlank(key) {
		of = "(" + printable(key) + ") "
	}
	return FieldProblem{fmt.Sprintf("options[%d].%s", index, member), of + "must be text that is not blank"}
}

// isBlank reports whether text shows nothing: Telegram strips such characters and then finds the text empty (tdlib,
// td/telegram/misc.cpp: clean_input_string and strip_empty_characters).
func isBlank(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		switch r {
		case '\u2800', '\ufffc', '\u030a', '\u0333', '\u033f': // An empty braille pattern, an object, lines.
			return false
		}
		return !unicode.IsSpace(r) && !unicode.IsControl(r) && !unicode.Is(unicode.Cf, r)
	})
}

// place is where a button stands.
type place struct{ row, option int }

// layout gives the places of all options, row by row: first the rows of the definition with those of its keys that are
// there, then what is left in columns. Rows are numbered from 0 without gaps.
func layout(m *menu, options []shownOption) func(yield func(place) bool) {
	columns := defaultColumns
	var rows [][]string
	if m != nil {
		columns, rows = m.columns, m.rows
	}
	return func(yield func(place) bool) {
		var placed [maxButtons]bool
		row := 0
		for _, keys := range rows {
			before := row
			for _, key := range keys {
				i := slices.IndexFunc(options, func(o shownOption) bool { return o.Key == key })
				if i < 0 {
					continue
				}
				if !yield(place{before, i}) {
					return
				}
				placed[i], row = true, before+1
			}
		}
		column := 0
		for i := range options {
			if placed[i] {
				continue
			}
			if column == columns {
				row, column = row+1, 0
			}
			if !yield(place{row, i}) {
				return
			}
			column++
		}
	}
}

// checkMarkup returns the InvalidError of a menu that Telegram would not take as an inline keyboard.
func checkMarkup(m *menu, options []shownOption) error {
	_, err := markup(FormatTelegramInline, m, options, nil, func(action string) (string, error) {
		return CallbackID(action), nil
	})
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		return invalid
	}
	return err
}
