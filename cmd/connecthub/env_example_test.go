package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var exampleLine = regexp.MustCompile(`(?m)^# ([A-Z][A-Z_]+)=(.*)$`)

// TestTheExampleHoldsEverySetting checks .env.example against the flags: names and defaults.
func TestTheExampleHoldsEverySetting(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	example := map[string]string{}
	before := ""
	for text := range strings.Lines(string(raw)) {
		text = strings.TrimSuffix(text, "\n")
		if text != "" && !strings.HasPrefix(text, "#") {
			t.Errorf("%q is not commented out", text)
		}
		if found := exampleLine.FindStringSubmatch(text); found != nil {
			if _, twice := example[found[1]]; twice {
				t.Errorf("%s is there twice", found[1])
			}
			example[found[1]] = found[2]
			if !strings.HasPrefix(before, "# ") {
				t.Errorf("%s is not described", found[1])
			}
		}
		before = text
	}
	known := settings(t)
	for name, flag := range known {
		switch shown, ok := example[name]; {
		case !ok:
			t.Errorf("%s is missing", name)
		case shown != flag.Default:
			t.Errorf("the default of %s is %q, not %q", name, flag.Default, shown)
		}
	}
	for name := range example {
		if known[name] == nil {
			t.Errorf("%s is no setting", name)
		}
	}
}
