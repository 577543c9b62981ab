package events_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/events"
)

func TestCheckType(t *testing.T) {
	t.Parallel()
	for _, ok := range []string{
		"a", "0", "_", "-", "user.login", "test_event", "user.action.open_menu", "a.b.c", "gap.a", "slow-", "user.action.2-x",
		strings.Repeat("a", events.MaxTypeLength),
	} {
		if err := events.CheckType(ok); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for _, bad := range []string{
		"", ".", "a.", ".a", "a..b", "A", "a b", "a\n", "a:b", "a*", "user.*", "*", "é", "\xff", "gap", "slow", `a"`,
		strings.Repeat("a", events.MaxTypeLength+1),
	} {
		if err := events.CheckType(bad); !errors.Is(err, events.ErrBadType) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestPredefinedTypes checks the list that wire.md names.
func TestPredefinedTypes(t *testing.T) {
	t.Parallel()
	want := strings.Fields(`user.created user.updated user.deleted user.login user.logout activity.created activity.updated
		activity.cancelled activity.completed matching.request matching.completed matching.failed system.cache_cleared
		system.service_started system.service_stopped system.health_changed notification.sent notification.delivered notification.read
		system.maintenance user.menu_opened user.cache_cleared`)
	var got []string
	for _, info := range events.PredefinedTypes() {
		got = append(got, info.Type)
		if err := events.CheckType(info.Type); err != nil {
			t.Errorf("%s: %v", info.Type, err)
		}
		if !strings.HasSuffix(info.Description, ".") || len(info.Scopes) == 0 {
			t.Errorf("%s is not described: %+v", info.Type, info)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	events.PredefinedTypes()[0].Type = "changed"
	if events.PredefinedTypes()[0].Type == "changed" {
		t.Error("a caller can change the list")
	}
	if got := events.UserActionType("open_menu"); got != "user.action.open_menu" {
		t.Errorf("the type of an action is %s", got)
	}
}

func TestPattern(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		terms []string
		yes   string
		no    string
	}{
		{terms: nil, yes: "user.login system.maintenance x"},
		{terms: []string{"*"}, yes: "user.login x"},
		{terms: []string{"user.login"}, yes: "user.login", no: "user.logi user.login.x user.logout user"},
		{terms: []string{"user.*"}, yes: "user.login user.action.open", no: "user users.x xuser.a"},
		{terms: []string{"user.action.*"}, yes: "user.action.open", no: "user.action user.actions.x"},
		{terms: []string{"user.login", "system.*"}, yes: "user.login system.maintenance", no: "user.logout"},
		{terms: []string{"user.login", "*"}, yes: "anything"},
	} {
		p, err := events.ParsePattern(test.terms...)
		if err != nil {
			t.Errorf("%v: %v", test.terms, err)
			continue
		}
		for _, typ := range strings.Fields(test.yes) {
			if !p.Match(typ) {
				t.Errorf("%v does not select %s", test.terms, typ)
			}
		}
		for _, typ := range strings.Fields(test.no) {
			if p.Match(typ) {
				t.Errorf("%v selects %s", test.terms, typ)
			}
		}
	}
	for _, bad := range []string{
		"", "**", "user*", "user.*.x", "*.login", ".*", "user..*", "User.*", "user.* ", "gap", "slow", "?", "user.?",
		strings.Repeat("a", events.MaxTypeLength-1) + ".*",
	} {
		if _, err := events.ParsePattern("ok", bad); !errors.Is(err, events.ErrBadType) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// FuzzCheckType compares with a regular expression.
func FuzzCheckType(f *testing.F) {
	wellFormed := regexp.MustCompile(`\A[a-z0-9_-]+(\.[a-z0-9_-]+)*\z`)
	for _, s := range []string{"", "user.login", "gap", "slow", "a..b", "a.", ".a", "user.*", "A", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		want := wellFormed.MatchString(in) && len(in) <= events.MaxTypeLength && in != "gap" && in != "slow"
		if err := events.CheckType(in); (err == nil) != want || err != nil && !errors.Is(err, events.ErrBadType) {
			t.Fatalf("%q: %v", in, err)
		}
	})
}

// FuzzParsePattern checks that a pattern selects just what its term says.
func FuzzParsePattern(f *testing.F) {
	for _, s := range [][2]string{
		{"*", "user.login"}, {"user.*", "user.login"}, {"user.*", "user"}, {"user.login", "user.login"}, {"user*", "user"}, {".*", "."}, {"gap", "gap"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, term, typ string) {
		p, err := events.ParsePattern(term)
		stem, isPrefix := strings.CutSuffix(term, "*")
		// A prefix is fine if a type can begin so; its own length counts the asterisk.
		want := term == "*" || !isPrefix && events.CheckType(term) == nil ||
			isPrefix && strings.HasSuffix(stem, ".") && len(term) <= events.MaxTypeLength && events.CheckType(strings.TrimSuffix(stem, ".")+".x") == nil
		if len(term) == events.MaxTypeLength && isPrefix {
			want = err == nil // There the two ways of counting differ by one.
		}
		if (err == nil) != want || err != nil && !errors.Is(err, events.ErrBadType) {
			t.Fatalf("%q: %v", term, err)
		}
		if err == nil && p.Match(typ) != (typ == term && !isPrefix || isPrefix && strings.HasPrefix(typ, stem)) {
			t.Fatalf("%q selects %q: %v", term, typ, p.Match(typ))
		}
	})
}
