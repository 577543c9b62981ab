// Command docgen writes docs.html, the page of the API, from openapi.yaml. "go generate" runs it in the folder of both.
//
// The page is one file that needs no script and no other request. The same contract always gives the same bytes:
// everything is in the order of the contract. It knows the parts of OpenAPI that this contract uses, and no others.
package main

import (
	"bytes"
	_ "embed"
	"html/template"
	"log"
	"os"

	"go.yaml.in/yaml/v3"
)

//go:embed docs.tmpl.html
var pageTemplate string

func main() {
	log.SetFlags(0)
	log.SetPrefix("docgen: ")
	if err := run("openapi.yaml", "docs.html"); err != nil {
		log.Fatal(err)
	}
}

// run reads the contract and writes the page.
func run(contractPath, pagePath string) error {
	contract, err := os.ReadFile(contractPath) //nolint:gosec // G304: main names the file.
	if err != nil {
		return err
	}
	var file yaml.Node
	if err := yaml.Unmarshal(contract, &file); err != nil {
		return err
	}
	html, err := render(file.Content[0])
	if err != nil {
		return err
	}
	return os.WriteFile(pagePath, html, 0o644) //nolint:gosec // G306: a source file like any other.
}

// render fills the template with the contract. The template walks the contract itself, with these functions.
func render(root *yaml.Node) ([]byte, error) {
	c := contract{root}
	tmpl, err := template.New("docs").Funcs(template.FuncMap{
		"curl": c.curl, "examples": c.examples, "facts": c.facts, "get": c.get, "isProblem": c.isProblem, "items": c.items,
		"markdown": c.markdown, "operations": c.operations, "pairs": c.pairs, "problemExample": c.problemExample,
		"text": c.text, "type": c.typeName, "words": c.words,
	}).Parse(pageTemplate)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := tmpl.Execute(&out, root); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
