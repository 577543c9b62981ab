package docs_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEverySettingIsDescribed holds the tables of settings to .env.example, which is held to the flags: names and defaults.
func TestEverySettingIsDescribed(t *testing.T) {
	t.Parallel()
	settings := map[string]string{}
	for _, found := range regexp.MustCompile(`(?m)^# ([A-Z][A-Z_]+)=(.*)$`).FindAllStringSubmatch(read(t, ".env.example"), -1) {
		settings[found[1]] = found[2]
	}
	text := read(t, "docs/operations.md")
	_, text, begins := strings.Cut(text, "\n## Settings\n")
	text, _, ends := strings.Cut(text, "\n## ")
	if len(settings) == 0 || !begins || !ends {
		t.Fatal("there are no settings, or no chapter about them")
	}
	for _, row := range rows(text) {
		name := strings.Trim(row[0], "`")
		standard, known := settings[name]
		switch {
		case !known:
			t.Errorf("%s is no setting, or is there twice", name)
		case strings.Trim(row[1], "`") != standard:
			t.Errorf("the default of %s is %q, not %s", name, standard, row[1])
		}
		delete(settings, name)
	}
	for name := range settings {
		t.Errorf("%s is not described", name)
	}
}

// TestEveryAlertIsDescribed wants a section for each alert, where its runbook_url leads, and no other.
func TestEveryAlertIsDescribed(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(root, "deploy", "prometheus", "*.rules.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of rules, %v", len(files), err)
	}
	described := map[string]bool{}
	for _, s := range sections(read(t, "docs/operations.md")) {
		if strings.HasPrefix(s.title, "ConnectHub") {
			described[s.title] = len(strings.TrimSpace(s.text)) > 0
		}
	}
	rule := regexp.MustCompile(`(?m)^ *- alert: (\w+)\n(?:.*\n)*? *runbook_url: (\S+)$`)
	for _, file := range files {
		for _, found := range rule.FindAllStringSubmatch(read(t, strings.TrimPrefix(file, root)), -1) {
			name, url := found[1], found[2]
			if !described[name] {
				t.Errorf("%s is not described", name)
			}
			if anchor := "/docs/operations.md#" + strings.ToLower(name); !strings.HasSuffix(url, anchor) {
				t.Errorf("%s leads to %s, not to %s", name, url, anchor)
			}
			delete(described, name)
		}
	}
	for name := range described {
		t.Errorf("%s is no alert", name)
	}
}
