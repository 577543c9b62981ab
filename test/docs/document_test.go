package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the module, from this package.
const root = "../.."

// read returns a file of the module.
func read(tb testing.TB, name string) string {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		tb.Fatal(err)
	}
	return string(raw)
}

// section is a part of a document: from its heading to the next, of whatever level.
type section struct{ title, text string }

// sections cuts a document at its headings, but for what looks like one inside a block of code.
func sections(text string) (all []section) {
	current, inCode := section{}, false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			inCode = !inCode
		}
		if title := strings.TrimLeft(line, "#"); !inCode && title != line && strings.HasPrefix(title, " ") {
			all = append(all, current)
			current = section{title: strings.TrimSpace(title)}
			continue
		}
		current.text += line
	}
	return append(all, current)[1:]
}

// rows returns the cells of the tables in a text, without their heads.
func rows(text string) (all [][]string) {
	body := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(line, "|"):
			body = false
		case strings.HasPrefix(line, "|---"):
			body = true
		case body:
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			all = append(all, cells)
		}
	}
	return all
}

var span = regexp.MustCompile("`([^`\n]+)`")

// spans returns what a text has in backquotes, each within one line.
func spans(text string) (all []string) {
	for _, found := range span.FindAllStringSubmatch(text, -1) {
		all = append(all, found[1])
	}
	return all
}

// documents returns the names of all documents for users.
func documents(tb testing.TB) []string {
	tb.Helper()
	all, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(all) == 0 {
		tb.Fatalf("%d documents, %v", len(all), err)
	}
	names := []string{"README.md"}
	for _, path := range all {
		names = append(names, filepath.Join("docs", filepath.Base(path)))
	}
	return names
}
