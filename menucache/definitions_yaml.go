package menucache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// readYAML returns the root of the only document.
func readYAML(file []byte) (*yaml.Node, *Fault) {
	if len(file) > maxDefinitionsFile {
		return nil, &Fault{Problem: fmt.Sprintf("the file has more than %d bytes", maxDefinitionsFile)}
	}
	for i := 0; i < len(file); {
		c, size := utf8.DecodeRune(file[i:])
		if c == utf8.RuneError && size == 1 {
			return nil, &Fault{Line: lineAt(file, i), Problem: "is not UTF-8"}
		}
		if unicode.IsControl(c) && c != '\n' && c != '\r' && c != '\t' {
			return nil, &Fault{Line: lineAt(file, i), Problem: "has a control character"}
		}
		i += size
	}
	dec := yaml.NewDecoder(bytes.NewReader(file))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		return nil, &Fault{Problem: "the file is empty"}
	} else if err != nil {
		return nil, syntaxFault(file, err)
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		return nil, &Fault{Line: second.Line, Problem: "a second document begins: the file must be one"}
	case !errors.Is(err, io.EOF):
		return nil, syntaxFault(file, err)
	}
	return doc.Content[0], nil
}

// syntaxFault says where and why a file is not YAML. The decoder's errors are such as "yaml: line 3: mapping values are not
// allowed in this context".
func syntaxFault(file []byte, err error) *Fault {
	problem := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if rest, ok := strings.CutPrefix(problem, "line "); ok {
		number, rest, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			line, problem = n, rest
		}
	}
	if rest, ok := strings.CutPrefix(problem, "unknown anchor '"); ok {
		name, _, _ := strings.Cut(rest, "'")
		line = lineAt(file, bytes.Index(file, []byte("*"+name)))
	}
	expected, _ := strings.CutPrefix(problem, "did not find expected ")
	switch {
	case expected == "key" || expected == "'-' indicator" || strings.HasPrefix(problem, "found a tab "):
		// The decoder's line is one before the mapping or list that goes wrong. Where it does is where reading stopped.
		reader := &byteReader{file: file}
		dec := yaml.NewDecoder(reader)
		for {
			var node yaml.Node
			if dec.Decode(&node) != nil {
				break
			}
		}
		line = lineAt(file, reader.read-1)
	case strings.HasPrefix(expected, "','") || expected == "node content" || expected == "<document start>":
		// The decoder's line is counted from 0; for brackets it is where one was opened.
		line++
	}
	return &Fault{Line: line, Problem: "is not YAML: " + problem}
}

// lineAt returns the line of a position, 0 for one below 0.
func lineAt(file []byte, at int) int {
	if at < 0 {
		return 0
	}
	return 1 + bytes.Count(file[:at], []byte{'\n'})
}

// byteReader gives out one byte at a time, so that its reader reads no more than it needs.
type byteReader struct {
	file []byte
	read int
}

func (r *byteReader) Read(p []byte) (int, error) {
	if r.read == len(r.file) {
		return 0, io.EOF
	}
	r.read++
	return copy(p, r.file[r.read-1:r.read]), nil
}

// definitionsReader fills in definitions and gathers what is wrong.
type definitionsReader struct {
	d      *Definitions
	faults []Fault
}

func (r *definitionsReader) fault(node *yaml.Node, menu, format string, args ...any) {
	r.faults = append(r.faults, Fault{Line: node.Line, Menu: menu, Problem: fmt.Sprintf(format, args...)})
}

// plain refuses what makes a file mean more than is written: anchors can be nested until no memory holds what they
// stand for.
func (r *definitionsReader) plain(node *yaml.Node, menu string) {
	if node.Kind == yaml.AliasNode || node.Anchor != "" {
		r.fault(node, menu, "anchors and aliases are not taken")
		return
	}
	if node.Style&yaml.TaggedStyle != 0 {
		r.fault(node, menu, "tags are not taken")
	}
	for _, child := range node.Content {
		r.plain(child, menu)
	}
}

// member is one of a mapping.
type member struct {
	name       string
	key, value *yaml.Node
}

// mapping returns the members of a mapping, in order, without those that are named twice.
func (r *definitionsReader) mapping(node *yaml.Node, menu, what string) []member {
	if node.Kind != yaml.MappingNode {
		r.fault(node, menu, "%s must be a mapping of names to values", what)
		return nil
	}
	first := map[string]int{}
	var members []member
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if !isText(key) {
			r.fault(key, menu, "%s has a member whose name is no text", what)
			continue
		}
		if line, ok := first[key.Value]; ok {
			r.fault(key, menu, "%s has %s twice, first in line %d", what, printable(key.Value), line)
			continue
		}
		first[key.Value] = key.Line
		members = append(members, member{key.Value, key, node.Content[i+1]})
	}
	return members
}

// record returns the members of a mapping by name, after naming those that are not known.
func (r *definitionsReader) record(node *yaml.Node, menu, what string, known ...string) map[string]*yaml.Node {
	values := map[string]*yaml.Node{}
	for _, m := range r.mapping(node, menu, what) {
		if !slices.Contains(known, m.name) {
			r.fault(m.key, menu, "%s has an unknown member %s", what, printable(m.name))
			continue
		}
		values[m.name] = m.value
	}
	return values
}

// names returns the texts of a list, each without a problem and there once.
func (r *definitionsReader) names(node *yaml.Node, menu, what string, most int, problem func(*yaml.Node) string) []string {
	if node.Kind != yaml.SequenceNode || len(node.Content) == 0 {
		r.fault(node, menu, "%s must be a list that is not empty", what)
		return nil
	}
	if len(node.Content) > most {
		r.fault(node, menu, "%s must be at most %d", what, most)
		return nil
	}
	var names []string
	for _, item := range node.Content {
		switch problem := problem(item); {
		case problem != "":
			r.fault(item, menu, "%s: %s", what, problem)
		case slices.Contains(names, item.Value):
			r.fault(item, menu, "%s: %s is there twice", what, item.Value)
		default:
			names = append(names, item.Value)
		}
	}
	return names
}

// nameProblem says why a value cannot be a name of ours: of a type, role, badge or option.
func nameProblem(node *yaml.Node) string {
	if name := node.Value; isText(node) && name != "" && len(name) <= 64 && name[0] >= 'a' && name[0] <= 'z' &&
		!strings.ContainsFunc(name, func(c rune) bool { return c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') }) {
		return ""
	}
	return quoted(node.Value) + " is no name: a lower case letter, then lower case letters, digits and _, at most 64 in all"
}

// languageProblem says why a value cannot be the language of a BCP 47 tag.
func languageProblem(node *yaml.Node) string {
	if tag := node.Value; isText(node) && (len(tag) == 2 || len(tag) == 3) &&
		!strings.ContainsFunc(tag, func(c rune) bool { return c < 'a' || c > 'z' }) {
		return ""
	}
	return quoted(node.Value) + " is no language: two or three lower case letters"
}

func isText(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!str" }

// textProblem says why a value cannot be a label or an action.
func textProblem(node *yaml.Node) string {
	switch {
	case node.Kind == yaml.ScalarNode && isBlank(node.Value):
		return "is blank"
	case !isText(node):
		return "must be text (a number, or such a word as true, goes in quotes)"
	case strings.ContainsFunc(node.Value, unicode.IsControl):
		return "must be one line without control characters"
	}
	return ""
}
