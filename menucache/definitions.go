package menucache

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

//go:embed definitions.yaml
var defaultDefinitions []byte

// Definitions says which menus there are: their options by role, with labels by language, and how they are laid out.
// It never changes and may be used by many goroutines. ParseDefinitions makes one.
type Definitions struct {
	version   string
	roles     []string
	languages []string
	badges    []string
	menus     []*menu
	byType    map[string]*menu
	// keys and actions say, for each in any menu, which roles may see it in some menu.
	keys, actions map[string]roleSet
	// callbacks are the actions that do not go into a button as they are, by their ids.
	callbacks map[string]string
	// tags are what a menu is invalidated by, by its type and role; variants what it has to match, by role and language.
	tags     map[[2]string][]string
	variants map[[2]string]string
}

// roleSet has a bit for each of Definitions.roles.
type roleSet uint32

type menu struct {
	typ       string
	roles     roleSet
	namesRole bool
	varies    bool
	columns   int
	rows      [][]string
	options   []option
	// start is the JSON of a menu up to the user's id.
	start []byte
}

type option struct {
	key, action, badge string
	roles              roleSet
	labels             map[string]string
	// json is the option as it stands in a menu, by the index of the language.
	json [][]byte
}

func (m *menu) option(key string) *option {
	for i := range m.options {
		if m.options[i].key == key {
			return &m.options[i]
		}
	}
	return nil
}

// Option is one entry of a menu.
type Option struct {
	// Key tells it from the menu's other options.
	Key string
	// Label is what the user sees.
	Label string
	// Action is what a button of the option sends back.
	Action string
}

// DefaultDefinitions returns the definitions that are built in: the menus of the Django bot.
func DefaultDefinitions() *Definitions {
	d, err := ParseDefinitions(defaultDefinitions)
	if err != nil {
		panic("menucache: the definitions that are built in: " + err.Error())
	}
	return d
}

// Version is a short text that is the same for definitions of the same content, in every process, and another for
// those that differ in anything but how the file is written.
func (d *Definitions) Version() string { return d.version }

// Types returns the types of menus, in the order of the file.
func (d *Definitions) Types() []string {
	types := make([]string, len(d.menus))
	for i, m := range d.menus {
		types[i] = m.typ
	}
	return types
}

// Roles returns the roles, the default first.
func (d *Definitions) Roles() []string { return slices.Clone(d.roles) }

// Languages returns the languages, the default first.
func (d *Definitions) Languages() []string { return slices.Clone(d.languages) }

// Badges returns the names of badges, in the order of the file.
func (d *Definitions) Badges() []string { return slices.Clone(d.badges) }

// DefaultRole returns the role of a user of whom no other is known.
func (d *Definitions) DefaultRole() string { return d.roles[0] }

// DefaultLanguage returns the language in which every option has a label.
func (d *Definitions) DefaultLanguage() string { return d.languages[0] }

// HasType reports whether there is such a type of menu.
func (d *Definitions) HasType(menuType string) bool { return d.byType[menuType] != nil }

// HasRole reports whether there is such a role.
func (d *Definitions) HasRole(role string) bool { return slices.Contains(d.roles, role) }

// Language returns the language of Languages that a BCP 47 tag asks for: "ru" for "ru", "ru-RU" and "RU_ru", the default
// for "". It reports false for a language that is not there and for what is no tag.
func (d *Definitions) Language(tag string) (language string, ok bool) {
	if tag == "" {
		return d.DefaultLanguage(), true
	}
	if slices.Contains(d.languages, tag) {
		return tag, true
	}
	const longestTag = 64
	if len(tag) > longestTag {
		return "", false
	}
	subtags := strings.FieldsFunc(tag, func(r rune) bool { return r == '-' || r == '_' })
	length := len(subtags) - 1
	for _, subtag := range subtags {
		length += len(subtag)
		if len(subtag) > 8 || strings.ContainsFunc(subtag, notAlphanumeric) {
			return "", false
		}
	}
	if length != len(tag) { // A subtag is empty.
		return "", false
	}
	language = strings.ToLower(subtags[0])
	return language, slices.Contains(d.languages, language)
}

func notAlphanumeric(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

// RoleAllowed reports whether menus of this type are for this role at all. It is false for what is not known.
func (d *Definitions) RoleAllowed(menuType, role string) bool {
	m := d.byType[menuType]
	return m != nil && m.roles.has(d.role(role))
}

// VariesByRole reports whether the roles that may have a menu of this type do not all get the same.
func (d *Definitions) VariesByRole(menuType string) bool {
	m := d.byType[menuType]
	return m != nil && m.varies
}

// MayShow reports whether a role may see all of these options, which may be of any menu. It may not see an option whose
// key, or whose action, occurs in the definitions but in no option that is for this role.
func (d *Definitions) MayShow(role string, options []Option) bool {
	index := d.role(role)
	shows := func(known map[string]roleSet, name string) bool {
		roles, ok := known[name]
		return !ok || roles == d.everyone() || roles.has(index)
	}
	for _, o := range options {
		if !shows(d.keys, o.Key) || !shows(d.actions, o.Action) {
			return false
		}
	}
	return true
}

// role returns the index of a role, -1 if there is no such role.
func (d *Definitions) role(name string) int { return slices.Index(d.roles, name) }

func (d *Definitions) everyone() roleSet { return 1<<len(d.roles) - 1 }

func (s roleSet) has(role int) bool { return role >= 0 && s&(1<<role) != 0 }

// names returns the roles of a set, none for everyone.
func (d *Definitions) names(s roleSet) []string {
	if s == d.everyone() {
		return nil
	}
	var names []string
	for i, role := range d.roles {
		if s.has(i) {
			names = append(names, role)
		}
	}
	return names
}

// Description is what definitions hold, to be read by people and programs. It belongs to whoever asked for it.
type Description struct {
	Version         string            `json:"version"`
	DefaultLanguage string            `json:"default_language"`
	Languages       []string          `json:"languages"`
	Roles           []string          `json:"roles"`
	Badges          []string          `json:"badges"`
	Formats         []Format          `json:"formats"`
	Menus           []MenuDescription `json:"menus"`
}

// MenuDescription describes one type of menu.
type MenuDescription struct {
	Type string `json:"type"`
	// Columns is how many buttons stand in a row, where Rows do not say otherwise.
	Columns int `json:"columns"`
	// Rows are keys of options.
	Rows [][]string `json:"rows,omitempty"`
	// Roles are all that may have the menu; empty for everyone.
	Roles   []string            `json:"roles,omitempty"`
	Options []OptionDescription `json:"options"`
}

// OptionDescription describes one option of a menu.
type OptionDescription struct {
	Key    string `json:"key"`
	Action string `json:"action"`
	// Labels are by language; one that is missing is that of the default language.
	Labels map[string]string `json:"labels"`
	// Badge is the name of the count shown behind the label; empty for none.
	Badge string `json:"badge,omitempty"`
	// Roles are all that see the option; empty for all that may have the menu.
	Roles []string `json:"roles,omitempty"`
}

// Describe returns what the definitions hold.
func (d *Definitions) Describe() Description {
	description := Description{
		Version: d.version, DefaultLanguage: d.DefaultLanguage(), Languages: d.Languages(), Roles: d.Roles(),
		Badges:  append([]string{}, d.badges...),
		Formats: []Format{FormatJSON, FormatTelegramInline, FormatTelegramReply},
		Menus:   make([]MenuDescription, len(d.menus)),
	}
	for i, m := range d.menus {
		md := MenuDescription{
			Type: m.typ, Columns: m.columns, Roles: d.names(m.roles), Options: make([]OptionDescription, len(m.options)),
		}
		for _, row := range m.rows {
			md.Rows = append(md.Rows, slices.Clone(row))
		}
		for j, o := range m.options {
			md.Options[j] = OptionDescription{Key: o.key, Action: o.action, Labels: maps.Clone(o.labels), Badge: o.badge}
			if o.roles != m.roles {
				md.Options[j].Roles = d.names(o.roles)
			}
		}
		description.Menus[i] = md
	}
	return description
}

// finish makes what follows from the checked content.
func (d *Definitions) finish() error {
	d.keys, d.actions, d.callbacks = map[string]roleSet{}, map[string]roleSet{}, map[string]string{}
	namesRole := []string{}
	for _, m := range d.menus {
		if m.namesRole {
			namesRole = append(namesRole, m.typ)
		}
		m.varies = m.namesRole
		for i := range m.options {
			o := &m.options[i]
			if o.roles != m.roles {
				m.varies = true
			}
			d.keys[o.key] |= o.roles
			d.actions[o.action] |= o.roles
			if needsID(o.action) {
				d.callbacks[CallbackID(o.action)] = o.action
			}
		}
		if err := m.encode(d.languages); err != nil {
			return err
		}
	}
	// The leading number is that of the way menus are built from definitions.
	content, err := json.Marshal(struct {
		Build       int
		Description Description
		NamesRole   []string
	}{1, d.Describe(), namesRole})
	if err != nil {
		return fmt.Errorf("menucache: hash the definitions: %w", err)
	}
	sum := sha256.Sum256(content)
	d.version = base64.RawURLEncoding.EncodeToString(sum[:9])
	d.tags, d.variants = map[[2]string][]string{}, map[[2]string]string{}
	for _, role := range d.roles {
		for _, m := range d.menus {
			d.tags[[2]string{m.typ, role}] = []string{tagAll, tagType + m.typ, tagRole + role}
		}
		for _, language := range d.languages {
			d.variants[[2]string{role, language}] = d.version + " " + role + " " + language
		}
	}
	return nil
}
