package menucache

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// Limits of a definitions file.
const (
	maxDefinitionsFile = 1 << 20
	maxLanguages       = 32
	maxRoles           = 16
	maxMenus           = 256
	maxAction          = 1024
)

// ParseDefinitions reads a definitions file: one YAML document of at most 1 MiB without anchors and tags, in the form
// that the comment at the head of definitions.yaml explains. What it takes, Build and Render can write: no menu of the
// definitions is larger than MaxMenuSize or than Telegram takes. The error is a DefinitionsError.
func ParseDefinitions(file []byte) (*Definitions, error) {
	root, fault := readYAML(file)
	if fault != nil {
		return nil, &DefinitionsError{Faults: []Fault{*fault}}
	}
	r := definitionsReader{d: &Definitions{byType: map[string]*menu{}}}
	if r.plain(root, ""); len(r.faults) == 0 {
		r.read(root)
	}
	if len(r.faults) > 0 {
		slices.SortStableFunc(r.faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
		return nil, &DefinitionsError{Faults: r.faults}
	}
	if err := r.d.finish(); err != nil {
		return nil, &DefinitionsError{Faults: []Fault{{Problem: err.Error()}}}
	}
	return r.d, nil
}

func (r *definitionsReader) read(root *yaml.Node) {
	top := r.record(root, "", "the file", "languages", "roles", "badges", "menus")
	if root.Kind != yaml.MappingNode {
		return
	}
	for _, name := range []string{"languages", "roles", "menus"} {
		if top[name] == nil {
			r.fault(root, "", "the file has no %s", name)
		}
	}
	if node := top["languages"]; node != nil {
		r.d.languages = r.names(node, "", "languages", maxLanguages, languageProblem)
	}
	if node := top["roles"]; node != nil {
		r.d.roles = r.names(node, "", "roles", maxRoles, nameProblem)
	}
	if node := top["badges"]; node != nil {
		r.d.badges = r.names(node, "", "badges", maxBadges, nameProblem)
	}
	node := top["menus"]
	if node == nil {
		return
	}
	menus := r.mapping(node, "", "menus")
	if node.Kind == yaml.MappingNode && len(menus) == 0 || len(menus) > maxMenus {
		r.fault(node, "", "menus must be 1 to %d", maxMenus)
		return
	}
	for _, m := range menus {
		if problem := nameProblem(m.key); problem != "" {
			r.fault(m.key, "", "menus: %s", problem)
			continue
		}
		read := r.menu(m)
		r.d.menus, r.d.byType[read.typ] = append(r.d.menus, read), read
	}
}

func (r *definitionsReader) menu(from member) *menu {
	m := &menu{typ: from.name, columns: defaultColumns, roles: r.d.everyone()}
	before := len(r.faults)
	lines := map[string]int{} // Of the options, by key.
	values := r.record(from.value, m.typ, "it", "roles", "names_role", "columns", "rows", "options")
	if node := values["roles"]; node != nil {
		m.roles = r.roles(node, m.typ, "roles")
	}
	if node := values["names_role"]; node != nil {
		m.namesRole = node.Value == "true"
		if node.Kind != yaml.ScalarNode || node.ShortTag() != "!!bool" {
			r.fault(node, m.typ, "names_role must be true or false")
		}
	}
	if node := values["columns"]; node != nil {
		n, err := strconv.Atoi(node.Value)
		if m.columns = n; err != nil || node.ShortTag() != "!!int" || n < 1 || n > maxColumns {
			r.fault(node, m.typ, "columns must be a whole number from 1 to %d", maxColumns)
		}
	}
	switch node := values["options"]; {
	case from.value.Kind != yaml.MappingNode:
	case node == nil:
		r.fault(from.key, m.typ, "it has no options")
	case node.Kind != yaml.SequenceNode || len(node.Content) == 0:
		r.fault(node, m.typ, "options must be a list that is not empty")
	default:
		for i, item := range node.Content {
			o := r.option(item, m, i+1)
			if line, ok := lines[o.key]; ok {
				r.fault(item, m.typ, "option %s is there twice, first in line %d", o.key, line)
				continue
			}
			if o.key != "" {
				lines[o.key] = item.Line
			}
			m.options = append(m.options, o)
		}
	}
	if node := values["rows"]; node != nil {
		r.rows(node, m, lines)
	}
	if len(r.faults) == before && len(r.d.languages) > 0 && len(r.d.roles) > 0 {
		r.sizes(from.key, m)
	}
	return m
}

// roles returns the set of a list of roles.
func (r *definitionsReader) roles(node *yaml.Node, menu, what string) roleSet {
	var set roleSet
	for _, name := range r.names(node, menu, what, maxRoles, nameProblem) {
		i := r.d.role(name)
		if i >= 0 {
			set |= 1 << i
		} else if len(r.d.roles) > 0 {
			r.fault(node, menu, "%s: unknown role %s", what, name)
		}
	}
	return set
}

func (r *definitionsReader) option(node *yaml.Node, m *menu, number int) option {
	o := option{roles: m.roles, labels: map[string]string{}}
	what := fmt.Sprintf("option %d", number)
	if node.Kind != yaml.MappingNode {
		r.fault(node, m.typ, "%s must be a mapping with key, action and labels", what)
		return o
	}
	// The key comes first, whatever the order, because the other faults are told with it.
	for i := 0; i+1 < len(node.Content); i += 2 {
		if key := node.Content[i+1]; node.Content[i].Value == "key" && nameProblem(key) == "" {
			o.key, what = key.Value, "option "+key.Value
			break
		}
	}
	values := r.record(node, m.typ, what, "key", "action", "labels", "badge", "roles")
	if key := values["key"]; key == nil {
		r.fault(node, m.typ, "%s has no key", what)
	} else if o.key == "" {
		r.fault(key, m.typ, "%s: its key %s", what, nameProblem(key))
	}
	if action := values["action"]; action == nil {
		r.fault(node, m.typ, "%s has no action", what)
	} else if problem := textProblem(action); problem != "" {
		r.fault(action, m.typ, "%s: its action %s", what, problem)
	} else if o.action = action.Value; len(o.action) > maxAction {
		r.fault(action, m.typ, "%s: its action has more than %d bytes", what, maxAction)
	}
	if labels := values["labels"]; labels != nil {
		r.labels(labels, m.typ, what, o.labels)
	} else if len(r.d.languages) > 0 {
		r.fault(node, m.typ, "%s has no label in %s", what, r.d.languages[0])
	}
	if badge := values["badge"]; badge != nil {
		if o.badge = badge.Value; !isText(badge) || !slices.Contains(r.d.badges, badge.Value) {
			r.fault(badge, m.typ, "%s: its badge is none of badges", what)
		}
	}
	if roles := values["roles"]; roles != nil {
		before := len(r.faults)
		o.roles = r.roles(roles, m.typ, what+": roles") & m.roles
		if o.roles == 0 && len(r.faults) == before && len(r.d.roles) > 0 {
			r.fault(roles, m.typ, "%s is for no role that the menu is for", what)
		}
	}
	return o
}

func (r *definitionsReader) labels(node *yaml.Node, menu, what string, labels map[string]string) {
	members := r.mapping(node, menu, what+": labels")
	for _, l := range members {
		if !slices.Contains(r.d.languages, l.name) && len(r.d.languages) > 0 {
			r.fault(l.key, menu, "%s has a label in %s, which is none of languages", what, printable(l.name))
		}
		if problem := textProblem(l.value); problem != "" {
			r.fault(l.value, menu, "%s: its label in %s %s", what, printable(l.name), problem)
		}
		labels[l.name] = l.value.Value
	}
	if len(r.d.languages) == 0 || node.Kind != yaml.MappingNode {
		return
	}
	if _, ok := labels[r.d.languages[0]]; !ok {
		r.fault(node, menu, "%s has no label in %s", what, r.d.languages[0])
	}
}

func (r *definitionsReader) rows(node *yaml.Node, m *menu, known map[string]int) {
	if node.Kind != yaml.SequenceNode || len(node.Content) == 0 {
		r.fault(node, m.typ, "rows must be a list of lists of keys")
		return
	}
	seen := map[string]bool{}
	for i, rowNode := range node.Content {
		if rowNode.Kind != yaml.SequenceNode || len(rowNode.Content) < 1 || len(rowNode.Content) > maxColumns {
			r.fault(rowNode, m.typ, "row %d must be a list of 1 to %d keys", i+1, maxColumns)
			continue
		}
		var row []string
		for _, key := range rowNode.Content {
			switch {
			case !isText(key) || known[key.Value] == 0:
				r.fault(key, m.typ, "row %d names an unknown option %s", i+1, printable(key.Value))
			case seen[key.Value]:
				r.fault(key, m.typ, "row %d names option %s, which is in a row already", i+1, key.Value)
			default:
				seen[key.Value] = true
				row = append(row, key.Value)
			}
		}
		m.rows = append(m.rows, row)
	}
}

// sizes checks, for each role and language, that the menu is one: it shows something, and is neither too large for the
// cache nor for Telegram, whatever its badges count.
func (r *definitionsReader) sizes(node *yaml.Node, m *menu) {
	// The JSON around the values, and more than enough for the rest of the menu or markup.
	const perOption, perButton, rest = `{"key":"","label":"","action":""},`, `],[{"text":" (999999)","callback_data":""},`, 256
	length := func(text string) int {
		quoted, err := jsontext.AppendQuote(nil, text)
		if err != nil {
			return maxDefinitionsFile // Cannot be: the file is UTF-8.
		}
		return len(quoted)
	}
	type lengths struct {
		action, data int
		labels       []int
	}
	options := make([]lengths, len(m.options))
	for i, o := range m.options {
		options[i] = lengths{action: length(o.action), data: length(o.action)}
		if needsID(o.action) {
			options[i].data = maxCallbackData
		}
		for _, language := range r.d.languages {
			label, ok := o.labels[language]
			if !ok {
				label = o.labels[r.d.languages[0]]
			}
			options[i].labels = append(options[i].labels, length(label))
		}
	}
	problems := map[string]bool{}
	for role, name := range r.d.roles {
		if !m.roles.has(role) {
			continue
		}
		shown := 0
		for _, o := range m.options {
			if o.roles.has(role) {
				shown++
			}
		}
		if shown == 0 {
			problems[fmt.Sprintf("it shows no option to role %s", name)] = true
		}
		if shown > maxButtons {
			problems[fmt.Sprintf("it shows more than %d options to role %s, which is what Telegram takes", maxButtons, name)] = true
		}
		for language, tag := range r.d.languages {
			size, markup := len(m.typ)+rest, rest
			for i, o := range m.options {
				if o.roles.has(role) {
					size += len(perOption) + len(o.key) + options[i].labels[language] + options[i].action
					markup += len(perButton) + options[i].labels[language] + options[i].data
				}
			}
			if size > MaxMenuSize {
				problems[fmt.Sprintf("it is larger than %d bytes in %s", MaxMenuSize, tag)] = true
			}
			if markup > maxMarkup {
				problems[fmt.Sprintf("it is more than the %d bytes of markup that Telegram takes in %s", maxMarkup, tag)] = true
			}
		}
	}
	for _, problem := range slices.Sorted(maps.Keys(problems)) {
		r.fault(node, m.typ, "%s", problem)
	}
}
