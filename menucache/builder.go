package menucache

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Build makes a user's menu: compact JSON in UTF-8 with the members, and in the order, that the Django bot writes. It
// takes names that are in Types, Roles and Languages, and returns ErrRoleNotAllowed for a menu that is not for the role.
// The bytes belong to the caller.
func (d *Definitions) Build(userID int64, menuType, role, language string) ([]byte, error) {
	m, roleIndex, languageIndex := d.byType[menuType], d.role(role), slices.Index(d.languages, language)
	switch {
	case m == nil:
		return nil, fmt.Errorf("menucache: build: no menu type %q", menuType)
	case roleIndex < 0:
		return nil, fmt.Errorf("menucache: build: no role %q", role)
	case languageIndex < 0:
		return nil, fmt.Errorf("menucache: build: no language %q", language)
	case !m.roles.has(roleIndex):
		return nil, ErrRoleNotAllowed
	}
	size := len(m.start) + len(`-9223372036854775808,"role":"","options":[]}`) + len(role)
	for i := range m.options {
		size += len(m.options[i].json[languageIndex]) + 1
	}
	b := append(make([]byte, 0, size), m.start...)
	b = strconv.AppendInt(b, userID, 10)
	if m.namesRole {
		b = append(append(append(b, `,"role":"`...), role...), '"') // A role's name needs no escapes.
	}
	b = append(b, `,"options":[`...)
	comma := false
	for i := range m.options {
		o := &m.options[i]
		if !o.roles.has(roleIndex) {
			continue
		}
		if comma {
			b = append(b, ',')
		}
		b, comma = append(b, o.json[languageIndex]...), true
	}
	return append(b, "]}"...), nil
}

// encode makes what Build puts together.
func (m *menu) encode(languages []string) error {
	m.start = fmt.Appendf(nil, `{"type":"%s","user_id":`, m.typ)
	for i := range m.options {
		o := &m.options[i]
		o.json = make([][]byte, len(languages))
		action, err := jsontext.AppendQuote(nil, o.action)
		if err != nil {
			return fmt.Errorf("menucache: menu %s, option %s: action: %w", m.typ, o.key, err)
		}
		for j, language := range languages {
			label, ok := o.labels[language]
			if !ok && j > 0 {
				o.json[j] = o.json[0] // That of the default language.
				continue
			}
			quoted, err := jsontext.AppendQuote(nil, label)
			if err != nil {
				return fmt.Errorf("menucache: menu %s, option %s: label: %w", m.typ, o.key, err)
			}
			o.json[j] = fmt.Appendf(nil, `{"key":"%s","label":%s,"action":%s}`, o.key, quoted, action)
		}
	}
	return nil
}
