package main

import (
	"encoding/json"
	"html/template"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// markdown turns a description into HTML: paragraphs, lists with "- ", and what words knows.
func (c contract) markdown(text string) template.HTML {
	var out strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if list, ok := strings.CutPrefix(block, "- "); ok {
			out.WriteString("<ul>\n")
			for item := range strings.SplitSeq(list, "\n- ") {
				out.WriteString("<li>" + string(c.words(item)) + "</li>\n")
			}
			out.WriteString("</ul>\n")
			continue
		}
		out.WriteString("<p>" + string(c.words(block)) + "</p>\n")
	}
	return template.HTML(out.String()) //nolint:gosec // G203: words escapes.
}

// words turns the words of a description into HTML: **bold**, and `code`, which is a link where it is the code of a problem.
func (c contract) words(text string) template.HTML {
	text = strings.Join(strings.Fields(text), " ")
	out := regexp.MustCompile("`[^`]+`|\\*\\*[^*]+\\*\\*|[^`*]+|.").ReplaceAllStringFunc(text, func(part string) string {
		escaped := template.HTMLEscapeString(strings.Trim(part, "`"))
		switch {
		case strings.HasPrefix(part, "**") && len(part) > 4:
			return "<strong>" + template.HTMLEscapeString(part[2:len(part)-2]) + "</strong>"
		case !strings.HasPrefix(part, "`"):
			return template.HTMLEscapeString(part)
		case c.isCode(strings.Trim(part, "`")):
			return string(link("problem-"+escaped, escaped))
		}
		return "<code>" + escaped + "</code>"
	})
	return template.HTML(out) //nolint:gosec // G203: every part is escaped.
}

// isCode reports whether a word is the code of a problem.
func (c contract) isCode(word string) bool {
	for _, p := range c.items(c.root, "x-problems") {
		if c.text(p, "code") == word {
			return true
		}
	}
	return false
}

// link returns a link to a place on the page. Both texts are names in the contract, which need no escaping.
func link(anchor, name string) template.HTML {
	return template.HTML(`<a href="#` + anchor + `"><code>` + name + `</code></a>`) //nolint:gosec // G203: names only.
}

// joinValues joins scalars.
func joinValues(list []*yaml.Node, separator string) string {
	var values []string
	for _, item := range list {
		values = append(values, item.Value)
	}
	return strings.Join(values, separator)
}

// toJSON writes a value of the contract as JSON, its members in their order, short ones on one line. Further lines begin
// with the margin.
func toJSON(value *yaml.Node, margin string) string {
	var parts []string
	brackets := "[]"
	switch value.Kind {
	case yaml.MappingNode:
		brackets = "{}"
		for _, member := range members(value) {
			parts = append(parts, quote(member.Key)+": "+toJSON(member.Value, margin+"  "))
		}
	case yaml.SequenceNode:
		for _, item := range value.Content {
			parts = append(parts, toJSON(item, margin+"  "))
		}
	default:
		if value.Tag == "!!str" {
			return quote(value.Value)
		}
		return value.Value
	}
	if line := strings.Join(parts, ", "); len(line) < 70 && !strings.Contains(line, "\n") {
		return brackets[:1] + line + brackets[1:]
	}
	inner := "\n" + margin + "  "
	return brackets[:1] + inner + strings.Join(parts, ","+inner) + "\n" + margin + brackets[1:]
}

func quote(s string) string {
	quoted, _ := json.Marshal(s) // A string always has a JSON form.
	return string(quoted)
}

// shellQuote quotes a text for a POSIX shell.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
