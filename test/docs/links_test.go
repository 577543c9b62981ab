package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLinksLeadSomewhere follows the links within the repository: to files, and to headings of documents.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, name := range append(documents(t), "CHANGELOG.md", "deploy/README.md") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, found := range link.FindAllStringSubmatch(read(t, name), -1) {
				target := found[1]
				if strings.Contains(target, "://") {
					continue
				}
				file, heading, hasHeading := strings.Cut(target, "#")
				path := filepath.Join(filepath.Dir(name), file)
				if file == "" {
					path = name
				}
				if _, err := os.Stat(filepath.Join(root, path)); err != nil {
					t.Errorf("%s: %v", target, err)
				} else if hasHeading && !anchors(read(t, path))[heading] {
					t.Errorf("%s: there is no such heading", target)
				}
			}
		})
	}
}

// anchors returns what the headings of a document are reached by on GitHub.
func anchors(text string) map[string]bool {
	all, left := map[string]bool{}, regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for _, s := range sections(text) {
		all[strings.ReplaceAll(left.ReplaceAllString(strings.ToLower(s.title), ""), " ", "-")] = true
	}
	return all
}
