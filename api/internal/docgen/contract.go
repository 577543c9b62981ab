package main

import (
	"fmt"
	"html/template"
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"
)

// contract is an OpenAPI document. Its methods take nodes as they stand in it, follow references by themselves, and
// give nothing for what is not there.
type contract struct{ root *yaml.Node }

// pair is a member of an object.
type pair struct {
	Key   string
	Value *yaml.Node
}

// operation is one method of one path.
type operation struct {
	ID, Method, Path string
	Node             *yaml.Node
}

// example is a value of a body, as text.
type example struct{ Summary, Text string }

// resolve returns the node a reference means.
func (c contract) resolve(n *yaml.Node) *yaml.Node {
	for _, member := range members(n) {
		if member.Key == "$ref" {
			return c.resolve(c.get(c.root, strings.Split(member.Value.Value, "/")[1:]...))
		}
	}
	return n
}

// members returns what an object holds.
func members(n *yaml.Node) []pair {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	var all []pair
	for i := 0; i < len(n.Content); i += 2 {
		all = append(all, pair{n.Content[i].Value, n.Content[i+1]})
	}
	return all
}

// pairs returns what an object holds at the end of a path of keys.
func (c contract) pairs(n *yaml.Node, keys ...string) []pair {
	return members(c.resolve(c.get(n, keys...)))
}

// get returns the node at the end of a path of keys, nil when there is none.
func (c contract) get(n *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		var found *yaml.Node
		for _, member := range members(c.resolve(n)) {
			if member.Key == key {
				found = member.Value
			}
		}
		n = found
	}
	return n
}

// items returns the elements of an array at the end of a path of keys.
func (c contract) items(n *yaml.Node, keys ...string) []*yaml.Node {
	if list := c.resolve(c.get(n, keys...)); list != nil && list.Kind == yaml.SequenceNode {
		return list.Content
	}
	return nil
}

// text returns the scalar at the end of a path of keys.
func (c contract) text(n *yaml.Node, keys ...string) string {
	if scalar := c.get(n, keys...); scalar != nil {
		return scalar.Value
	}
	return ""
}

// operations returns those that bear a tag.
func (c contract) operations(tag string) []operation {
	var all []operation
	for _, path := range c.pairs(c.root, "paths") {
		for _, method := range c.pairs(path.Value) {
			if c.items(method.Value, "tags")[0].Value == tag {
				id := c.text(method.Value, "operationId")
				all = append(all, operation{id, strings.ToUpper(method.Key), path.Key, method.Value})
			}
		}
	}
	return all
}

// typeName names the type of a schema, with a link when it is one of the contract's own.
func (c contract) typeName(schema *yaml.Node) template.HTML {
	for _, member := range members(schema) {
		if member.Key == "$ref" {
			name := member.Value.Value[strings.LastIndex(member.Value.Value, "/")+1:]
			return link("schema-"+name, name)
		}
	}
	of := func(container, key string) template.HTML {
		return template.HTML(container+" of ") + c.typeName(c.get(schema, key)) //nolint:gosec // G203: container is ours.
	}
	if choices := c.items(schema, "anyOf"); choices != nil {
		var names []string
		for _, choice := range choices {
			names = append(names, string(c.typeName(choice)))
		}
		return template.HTML(strings.Join(names, " or ")) //nolint:gosec // G203: typeName escapes.
	}
	names := c.text(schema, "type")
	if list := c.items(schema, "type"); len(list) == 6 { // JSON has no more.
		names = "any JSON"
	} else if list != nil {
		names = joinValues(list, " or ")
	}
	switch {
	case names == "array":
		return of("array", "items")
	case names == "object" && c.get(schema, "additionalProperties", "type") != nil:
		return of("map", "additionalProperties")
	}
	if format := c.text(schema, "format"); format != "" {
		names += ", " + format
	}
	return template.HTML(template.HTMLEscapeString(names)) //nolint:gosec // G203: escaped here.
}

// facts returns the bounds of a schema, as short phrases.
func (c contract) facts(schema *yaml.Node) []string {
	var all []string
	for _, fact := range []struct{ key, format string }{
		{"const", "always `%s`"},
		{"enum", "one of %s"},
		{"pattern", "pattern `%s`"},
		{"minimum", "at least %s"},
		{"maximum", "at most %s"},
		{"minLength", "characters: at least %s"},
		{"maxLength", "characters: at most %s"},
		{"minItems", "items: at least %s"},
		{"maxItems", "items: at most %s"},
		{"default", "default `%s`"},
	} {
		value := c.get(c.resolve(schema), fact.key)
		switch {
		case value == nil:
		case fact.key == "enum":
			all = append(all, fmt.Sprintf(fact.format, "`"+joinValues(value.Content, "`, `")+"`"))
		case value.Kind == yaml.ScalarNode:
			all = append(all, fmt.Sprintf(fact.format, value.Value))
		default: // An object or an array, as a default.
			all = append(all, fmt.Sprintf(fact.format, toJSON(value, "")))
		}
	}
	for _, value := range c.items(schema, "examples") {
		all = append(all, "such as `"+strings.Trim(toJSON(value, ""), `"`)+"`")
	}
	if items := c.get(schema, "items"); items != nil {
		for _, fact := range c.facts(items) {
			all = append(all, "each "+fact)
		}
	}
	return all
}

// examples returns the examples of a media type.
func (c contract) examples(media *yaml.Node) []example {
	var all []example
	if single := c.get(media, "example"); single != nil {
		all = append(all, example{"Example", toJSON(single, "")})
	}
	for _, e := range c.pairs(media, "examples") {
		value := c.get(e.Value, "value")
		text := value.Value // A stream is text.
		if value.Kind != yaml.ScalarNode {
			text = toJSON(value, "")
		}
		all = append(all, example{c.text(e.Value, "summary"), text})
	}
	return all
}

// isProblem reports whether a response tells of a problem.
func (c contract) isProblem(response *yaml.Node) bool {
	return c.get(response, "content", "application/problem+json") != nil
}

// problemExample returns the contract's example of a code.
func (c contract) problemExample(code string) string {
	for _, response := range c.pairs(c.root, "components", "responses") {
		for _, e := range c.examples(c.get(response.Value, "content", "application/problem+json")) {
			if strings.Contains(e.Text, fmt.Sprintf("%q: %q", "code", code)) {
				return e.Text
			}
		}
	}
	return ""
}

// curl returns a command that shows an operation in use, with the examples of what it requires.
func (c contract) curl(op operation) string {
	path, query, args := op.Path, "", ""
	if c.get(op.Node, "security") == nil {
		args += " \\\n  -H \"Authorization: Service $SERVICE_AUTH_TOKEN\""
	}
	for _, param := range c.items(op.Node, "parameters") {
		name, value := c.text(param, "name"), c.get(param, "example")
		switch in := c.text(param, "in"); {
		case value == nil:
		case in == "path":
			path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(value.Value))
		case in == "header":
			args += " \\\n  -H " + shellQuote(name+": "+value.Value)
		case c.text(param, "required") == "true" && value.Kind == yaml.SequenceNode:
			for _, v := range value.Content {
				query += "&" + name + "=" + v.Value
			}
		case c.text(param, "required") == "true":
			query += "&" + name + "=" + value.Value
		}
	}
	bodies := c.pairs(op.Node, "requestBody", "content")
	if len(bodies) > 0 {
		first := c.pairs(bodies[0].Value, "examples")[0].Value
		args += " \\\n  -H 'Content-Type: " + bodies[0].Key + "' \\\n  -d " + shellQuote(toJSON(c.get(first, "value"), ""))
	}
	command := "curl -sS"
	if c.get(op.Node, "responses", "200", "content", "text/event-stream") != nil {
		command = "curl -sSN"
	}
	switch {
	case op.Method == "HEAD":
		command += " -I"
	case op.Method != "GET" && (op.Method != "POST" || len(bodies) == 0): // curl sends a body with POST by itself.
		command += " -X " + op.Method
	}
	if query != "" {
		path += "?" + query[1:]
	}
	return command + " " + shellQuote(c.text(c.items(c.root, "servers")[0], "url")+path) + args
}
