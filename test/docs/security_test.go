package docs_test

import (
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEveryRiskIsShownByTests holds docs/security.md to the OWASP API Security Top 10, and the tests that it names to those
// that there are.
func TestEveryRiskIsShownByTests(t *testing.T) {
	t.Parallel()
	text := read(t, "docs/security.md")
	there := testsOfTheModule(t)
	name := regexp.MustCompile(`^(Test|Fuzz)[A-Z]\w*$`)
	for _, found := range spans(text) {
		if name.MatchString(found) && !there[found] {
			t.Errorf("%s is no test", found)
		}
	}
	risks := map[string]bool{}
	for _, s := range sections(text) {
		if !strings.HasPrefix(s.title, "The OWASP") {
			continue
		}
		for _, row := range rows(s.text) {
			risk, _, _ := strings.Cut(strings.TrimLeft(row[0], "*"), "*")
			risks[risk] = len(row) == 3 && slices.ContainsFunc(spans(row[2]), name.MatchString)
		}
	}
	for _, risk := range strings.Fields("API1 API2 API3 API4 API5 API6 API7 API8 API9 API10") {
		if !risks[risk] {
			t.Errorf("%s is missing, or shown by no test", risk)
		}
	}
}

// testsOfTheModule returns the names of all tests and fuzz targets.
func testsOfTheModule(tb testing.TB) map[string]bool {
	tb.Helper()
	there, declared := map[string]bool{}, regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	module := os.DirFS(root)
	err := fs.WalkDir(module, ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git"):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := fs.ReadFile(module, path)
		for _, found := range declared.FindAllSubmatch(source, -1) {
			there[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return there
}
