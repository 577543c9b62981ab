package menucache_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/menucache"
)

// small is a definitions file to change in tests.
const small = `languages: [ru, en]
roles: [user, admin]
badges: [meetings]
menus:
  main:
    names_role: true
    columns: 3
    rows: [[chess, coffee]]
    options:
      - key: coffee
        action: show_coffee
        labels: {ru: Кофе, en: Coffee}
        badge: meetings
      - {key: chess, action: show_chess, labels: {ru: Шахматы}}
      - {key: panel, action: panel, labels: {ru: Панель}, roles: [admin]}
  admin:
    roles: [admin]
    options:
      - {key: users, action: show_users, labels: {ru: Люди}}
      - {key: back, action: main_menu, labels: {ru: Назад}}
  other:
    options:
      - {key: back, action: main_menu, labels: {ru: Назад}}
`

func parse(tb testing.TB, file string) *menucache.Definitions {
	tb.Helper()
	d, err := menucache.ParseDefinitions([]byte(file))
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// replace changes the only place where old is.
func replace(tb testing.TB, text, old, replacement string) string {
	tb.Helper()
	if strings.Count(text, old) != 1 {
		tb.Fatalf("%q is there %d times", old, strings.Count(text, old))
	}
	return strings.Replace(text, old, replacement, 1)
}

func TestFaultsNameLineAndMenu(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, old, replacement string
		want                   []string
	}{
		{"open bracket", "menus:\n", "menus: [\n", []string{"line 4: is not YAML: did not find expected ',' or ']'"}},
		{"wrong indentation", "    columns: 3", "   columns: 3", []string{"line 7: is not YAML: did not find expected key"}},
		{"wrong indentation of an option", "        badge: meetings", "       badge: meetings", []string{"line 13: is not YAML: did not find expected '-' indicator"}},
		{"open brace", "labels: {ru: Шахматы}}", "labels: {ru: Шахматы}", []string{"line 14: is not YAML: did not find expected ',' or '}'"}},
		{"open bracket on the first line", "languages: [ru, en]", "languages: [ru, en", []string{"line 2: is not YAML: did not find expected ',' or ']'"}},
		{"colon in braces", "Шахматы", "a: b", []string{"line 14: is not YAML: did not find expected ',' or '}'"}},
		{"bad escape", "Шахматы", `"\xZZ"`, []string{"line 14: is not YAML: did not find expected hexdecimal number"}},
		{"open quote", "Шахматы", "'Шахматы", []string{"line 14: is not YAML: found unexpected end of stream"}},
		{"colon", "badge: meetings", "badge: a: b", []string{"line 13: is not YAML: mapping values are not allowed in this context"}},
		{"tab", "    columns: 3", "\tcolumns: 3", []string{"line 7: is not YAML: found a tab character that violates indentation"}},
		{"no mapping", small, "- a\n", []string{"line 1: the file must be a mapping of names to values"}},
		{"empty", small, "", []string{"the file is empty"}},
		{"only a comment", small, "# Nothing.\n", []string{"the file is empty"}},
		{"null", small, "~\n", []string{"line 1: the file must be a mapping of names to values"}},
		{"two documents", "  other:\n", "---\n  other:\n", []string{"line 21: a second document begins: the file must be one"}},
		{"no UTF-8", "Шахматы", "\xff", []string{"line 14: is not UTF-8"}},
		{"control character", "Шахматы", "\x00", []string{"line 14: has a control character"}},
		{"alias", "roles: [admin]\n    options", "roles: *all\n    options", []string{"line 17: is not YAML: unknown anchor 'all' referenced"}},
		{"anchor", "languages: [ru, en]", "languages: &all [ru, en]", []string{"line 1: anchors and aliases are not taken"}},
		{"tag", "{ru: Шахматы}", "{ru: !!str 5}", []string{"line 14: tags are not taken"}},
		{
			"missing members", small, "badges: [a]\n",
			[]string{"line 1: the file has no languages", "line 1: the file has no roles", "line 1: the file has no menus"},
		},
		{"unknown member", "badges: [meetings]", "badges: [meetings]\ncolour: red", []string{"line 4: the file has an unknown member colour"}},
		{"unknown member of a menu", "columns: 3", "colums: 3", []string{"line 7, menu main: it has an unknown member colums"}},
		{"unknown member of an option", "badge: meetings", "bagde: meetings", []string{"line 13, menu main: option coffee has an unknown member bagde"}},
		{"member twice", "columns: 3", "columns: 3\n    columns: 2", []string{"line 8, menu main: it has columns twice, first in line 7"}},
		{"menu twice", "  other:\n", "  main:\n", []string{"line 21: menus has main twice, first in line 5"}},
		{"option twice", "key: chess,", "key: coffee,", []string{
			"line 8, menu main: row 1 names an unknown option chess",
			"line 14, menu main: option coffee is there twice, first in line 10",
		}},
		{"language twice", "[ru, en]", "[ru, en, ru]", []string{"line 1: languages: ru is there twice"}},
		{"label twice", "{ru: Шахматы}", "{ru: Шахматы, ru: Шашки}", []string{"line 14, menu main: option chess: labels has ru twice, first in line 14"}},
		{"no label in the default language", "{ru: Шахматы}", "{en: Chess}", []string{"line 14, menu main: option chess has no label in ru"}},
		{"no labels", ", labels: {ru: Шахматы}", "", []string{"line 14, menu main: option chess has no label in ru"}},
		{"labels no mapping", "{ru: Шахматы}", "Шахматы", []string{"line 14, menu main: option chess: labels must be a mapping of names to values"}},
		{"label in an unknown language", "{ru: Шахматы}", "{ru: Шахматы, de: Schach}", []string{"line 14, menu main: option chess has a label in de, which is none of languages"}},
		{"blank label", "{ru: Шахматы}", `{ru: " \u200b\u2800"}`, []string{"line 14, menu main: option chess: its label in ru is blank"}},
		{"null label", "{ru: Шахматы}", `{ru: }`, []string{"line 14, menu main: option chess: its label in ru is blank"}},
		{"number as label", "{ru: Шахматы}", `{ru: 5}`, []string{"line 14, menu main: option chess: its label in ru must be text (a number, or such a word as true, goes in quotes)"}},
		{"two lines", "{ru: Шахматы}", `{ru: "a\nb"}`, []string{"line 14, menu main: option chess: its label in ru must be one line without control characters"}},
		{"no key", "key: chess, ", "", []string{
			"line 8, menu main: row 1 names an unknown option chess",
			"line 14, menu main: option 2 has no key",
		}},
		{"bad key", "{key: users,", "{key: Users,", []string{`line 19, menu admin: option 1: its key "Users" is no name: a lower case letter, then lower case letters, digits and _, at most 64 in all`}},
		{"no action", "action: show_chess, ", "", []string{"line 14, menu main: option chess has no action"}},
		{"blank action", "action: show_chess", `action: " "`, []string{"line 14, menu main: option chess: its action is blank"}},
		{"long action", "action: show_chess", "action: " + strings.Repeat("a", 1025), []string{"line 14, menu main: option chess: its action has more than 1024 bytes"}},
		{"unknown badge", "badge: meetings", "badge: mettings", []string{"line 13, menu main: option coffee: its badge is none of badges"}},
		{"unknown role of an option", "{ru: Панель}, roles: [admin]", "{ru: Панель}, roles: [boss]", []string{"line 15, menu main: option panel: roles: unknown role boss"}},
		{"unknown role of a menu", "roles: [admin]\n    options", "roles: [boss, admin]\n    options", []string{"line 17, menu admin: roles: unknown role boss"}},
		{"empty roles", "{ru: Панель}, roles: [admin]", "{ru: Панель}, roles: []", []string{"line 15, menu main: option panel: roles must be a list that is not empty"}},
		{"option for nobody", "labels: {ru: Люди}", "labels: {ru: Люди}, roles: [user]", []string{"line 19, menu admin: option users is for no role that the menu is for"}},
		{"columns too many", "columns: 3", "columns: 9", []string{"line 7, menu main: columns must be a whole number from 1 to 8"}},
		{"columns none", "columns: 3", "columns: 0", []string{"line 7, menu main: columns must be a whole number from 1 to 8"}},
		{"columns no number", "columns: 3", `columns: "3"`, []string{"line 7, menu main: columns must be a whole number from 1 to 8"}},
		{"names_role no bool", "names_role: true", `names_role: "true"`, []string{"line 6, menu main: names_role must be true or false"}},
		{"row of an unknown key", "[[chess, coffee]]", "[[chess, tea]]", []string{"line 8, menu main: row 1 names an unknown option tea"}},
		{"row with a key twice", "[[chess, coffee]]", "[[chess], [coffee, chess]]", []string{"line 8, menu main: row 2 names option chess, which is in a row already"}},
		{"rows no lists", "[[chess, coffee]]", "[chess]", []string{"line 8, menu main: row 1 must be a list of 1 to 8 keys"}},
		{"empty row", "[[chess, coffee]]", "[[]]", []string{"line 8, menu main: row 1 must be a list of 1 to 8 keys"}},
		{"rows no list", "[[chess, coffee]]", "chess", []string{"line 8, menu main: rows must be a list of lists of keys"}},
		{"no options", "    options:\n      - {key: users, action: show_users, labels: {ru: Люди}}\n      - {key: back, action: main_menu, labels: {ru: Назад}}\n  other", "  other", []string{"line 16, menu admin: it has no options"}},
		{"option no mapping", "- {key: users, action: show_users, labels: {ru: Люди}}", "- users", []string{"line 19, menu admin: option 1 must be a mapping with key, action and labels"}},
		{"menu no mapping", "  other:\n    options:\n      - {key: back, action: main_menu, labels: {ru: Назад}}", "  other: 5", []string{"line 21, menu other: it must be a mapping of names to values"}},
		{"bad type", "  other:", "  Other:", []string{`line 21: menus: "Other" is no name: a lower case letter, then lower case letters, digits and _, at most 64 in all`}},
		{"no menus", small[strings.Index(small, "menus:"):], "menus: {}\n", []string{"line 4: menus must be 1 to 256"}},
		{"bad language", "[ru, en]", "[ru, en, DE]", []string{`line 1: languages: "DE" is no language: two or three lower case letters`}},
		{"bad role", "roles: [user, admin]", "roles: [user, admin, 5]", []string{`line 2: roles: "5" is no name: a lower case letter, then lower case letters, digits and _, at most 64 in all`}},
		{"too many roles", "roles: [user, admin]", "roles: [user, admin" + strings.Repeat(", x", 15) + "]", []string{"line 2: roles must be at most 16"}},
		{"role no text", "roles: [user, admin]", "roles: [user, admin, [x]]", []string{`line 2: roles: "" is no name: a lower case letter, then lower case letters, digits and _, at most 64 in all`}},
		{"member no text", "columns: 3", "5: 3", []string{"line 7, menu main: it has a member whose name is no text"}},
		{"fault in a second document", "  other:\n", "---\n  other: [}\n", []string{"line 22: is not YAML: did not find expected node content"}},
		{"no badges", "badges: [meetings]", "badges: []", []string{
			"line 3: badges must be a list that is not empty",
			"line 13, menu main: option coffee: its badge is none of badges",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := menucache.ParseDefinitions([]byte(replace(t, small, test.old, test.replacement)))
			var faulty *menucache.DefinitionsError
			if !errors.As(err, &faulty) {
				t.Fatalf("got error %v", err)
			}
			if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", err, strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestFaultsOfSize(t *testing.T) {
	t.Parallel()
	options := func(n int, label, action string) string {
		var b strings.Builder
		b.WriteString("languages: [ru]\nroles: [user]\nmenus:\n  big:\n    options:\n")
		for i := range n {
			fmt.Fprintf(&b, "    - {key: k%d, action: %s%d, labels: {ru: %s}}\n", i, action, i, label)
		}
		return b.String()
	}
	for _, test := range []struct{ name, file, want string }{
		{"file", "# " + strings.Repeat("x", 1<<20), "the file has more than 1048576 bytes"},
		{"buttons", options(101, "a", "a"), "line 4, menu big: it shows more than 100 options to role user, which is what Telegram takes"},
		{"markup", options(100, strings.Repeat("я", 30), "a"), "line 4, menu big: it is more than the 10000 bytes of markup that Telegram takes in ru"},
		{"menu", options(70, "a", strings.Repeat("a", 1000)), "line 4, menu big: it is larger than 65536 bytes in ru"},
		{
			"no option for a role",
			"languages: [ru]\nroles: [user, admin]\nmenus:\n  m:\n    options:\n    - {key: a, action: a, labels: {ru: a}, roles: [admin]}\n",
			"line 4, menu m: it shows no option to role user",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := menucache.ParseDefinitions([]byte(test.file))
			if err == nil || err.Error() != test.want {
				t.Errorf("got error %v, want %s", err, test.want)
			}
		})
	}
	if _, err := menucache.ParseDefinitions([]byte(options(100, "a", "a"))); err != nil {
		t.Errorf("100 options: %v", err)
	}
}

// A file whose anchors stand for more than any memory holds is refused without looking at what they stand for.
func TestAliasBomb(t *testing.T) {
	t.Parallel()
	file := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := range 30 {
		name := string(rune('b' + i%25))
		file += fmt.Sprintf("%s%d: &%s%d [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n", name, i, name, i)
	}
	if _, err := menucache.ParseDefinitions([]byte(file)); err == nil {
		t.Error("it was taken")
	}
}

func TestEveryFaultIsFound(t *testing.T) {
	t.Parallel()
	file := strings.NewReplacer("columns: 3", "columns: 99", "Шахматы", "''", "show_users", "''", "badge: meetings", "badge: x").
		Replace(small)
	_, err := menucache.ParseDefinitions([]byte(file))
	var faulty *menucache.DefinitionsError
	if !errors.As(err, &faulty) {
		t.Fatal(err)
	}
	var lines []int
	for _, f := range faulty.Faults {
		lines = append(lines, f.Line)
	}
	if !slices.Equal(lines, []int{7, 13, 14, 19}) {
		t.Errorf("got faults in lines %v:\n%v", lines, err)
	}
}

func TestErrorIsNotEndless(t *testing.T) {
	t.Parallel()
	_, err := menucache.ParseDefinitions([]byte("a:\n" + strings.Repeat("- &a x\n", 1000)))
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 101 || lines[100] != "and 900 more" {
		t.Errorf("got %d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	d := parse(t, small)
	if d.Version() == "" || d.Version() != parse(t, "# A comment.\n"+small).Version() {
		t.Error("a comment changes the version")
	}
	if again := parse(t, small); again.Version() != d.Version() {
		t.Error("the version is not the same each time")
	}
	for _, change := range [][2]string{
		{"names_role: true", "names_role: false"},
		{"columns: 3", "columns: 2"},
		{"Панель", "Пульт"},
		{"roles: [user, admin]", "roles: [admin, user]"},
		{"[[chess, coffee]]", "[[coffee, chess]]"},
		{"badges: [meetings]", "badges: [meetings, others]"},
		{"action: panel", "action: panels"},
		{"[ru, en]", "[ru, en, de]"},
	} {
		if parse(t, replace(t, small, change[0], change[1])).Version() == d.Version() {
			t.Errorf("the same version with %s", change[1])
		}
	}
}

func TestAccessors(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	for _, test := range []struct {
		name      string
		got, want []string
	}{
		{"types", d.Types(), []string{
			"main", "preferences", "activities", "admin", "profile", "interests", "calendar", "settings", "help", "coffee",
		}},
		{"roles", d.Roles(), []string{"user", "admin", "super_admin"}},
		{"languages", d.Languages(), []string{"ru", "en"}},
		{"badges", d.Badges(), []string{"meetings", "notifications", "achievements", "users"}},
	} {
		if !slices.Equal(test.got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, test.got, test.want)
		}
	}
	if d.DefaultRole() != "user" || d.DefaultLanguage() != "ru" {
		t.Errorf("defaults: %s, %s", d.DefaultRole(), d.DefaultLanguage())
	}
	if !d.HasType("main") || d.HasType("") || d.HasType("none") || !d.HasRole("admin") || d.HasRole("") {
		t.Error("what there is and what not is mixed up")
	}
	d.Roles()[0], d.Languages()[0], d.Badges()[0] = "x", "x", "x"
	if d.DefaultRole() != "user" || d.DefaultLanguage() != "ru" || d.Badges()[0] != "meetings" {
		t.Error("a returned slice reaches into the definitions")
	}
}

func TestLanguage(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	for tag, want := range map[string]string{
		"": "ru", "ru": "ru", "RU": "ru", "en": "en", "en-US": "en", "EN_us": "en", "en-Latn-GB": "en", "ru-x-abc": "ru",
		"de": "", "deu": "", "-": "", "en-": "", "-en": "", "en--US": "", "en US": "", "ru,en": "", "ру": "", "e": "",
		"en-" + strings.Repeat("a", 9): "", "en" + strings.Repeat("-abcdefg", 10): "",
	} {
		if got, ok := d.Language(tag); ok != (want != "") || ok && got != want {
			t.Errorf("%q: got %q, %t, want %q", tag, got, ok, want)
		}
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	for _, menuType := range d.Types() {
		restricted := menuType == "admin"
		for role, allowed := range map[string]bool{
			"user": !restricted, "admin": true, "super_admin": true, "": false, "guest": false,
		} {
			if got := d.RoleAllowed(menuType, role); got != allowed {
				t.Errorf("%s for %q: got %t, want %t", menuType, role, got, allowed)
			}
		}
		if got, want := d.VariesByRole(menuType), menuType == "main" || menuType == "admin"; got != want {
			t.Errorf("%s varies by role: got %t, want %t", menuType, got, want)
		}
	}
	if d.RoleAllowed("none", "user") || d.VariesByRole("none") {
		t.Error("a type that is not known")
	}
	if parse(t, small).VariesByRole("admin") {
		t.Error("a menu that is only restricted as a whole varies")
	}
}

func TestMayShow(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	// Of every menu that is built for one role, each role may see what is built for it itself, and no more.
	for _, menuType := range d.Types() {
		for _, builtFor := range d.Roles() {
			if !d.RoleAllowed(menuType, builtFor) {
				continue
			}
			options := optionsOf(t, build(t, d, 1, menuType, builtFor, "ru"))
			for _, role := range d.Roles() {
				want := true
				switch {
				case menuType == "admin" && builtFor == "super_admin":
					want = role == "super_admin"
				case menuType == "admin" || menuType == "main" && builtFor != "user":
					want = role != "user"
				}
				if got := d.MayShow(role, options); got != want {
					t.Errorf("%s built for %s, shown to %s: got %t", menuType, builtFor, role, got)
				}
			}
		}
	}
	for _, test := range []struct {
		role   string
		option menucache.Option
		want   bool
	}{
		{"user", menucache.Option{Key: "mine", Action: "mine"}, true},
		{"user", menucache.Option{}, true},
		{"user", menucache.Option{Key: "back", Action: "main_menu"}, true},
		{"user", menucache.Option{Key: "manage_users", Action: "mine"}, false},
		{"user", menucache.Option{Key: "mine", Action: "manage_users"}, false},
		{"guest", menucache.Option{Key: "admin_panel", Action: "admin_panel"}, false},
		{"guest", menucache.Option{Key: "profile", Action: "show_profile"}, true},
		{"admin", menucache.Option{Key: "manage_users", Action: "manage_users"}, true},
		{"admin", menucache.Option{Key: "manage_roles", Action: "manage_roles"}, false},
	} {
		if got := d.MayShow(test.role, []menucache.Option{{Key: "profile"}, test.option}); got != test.want {
			t.Errorf("%v to %s: got %t", test.option, test.role, got)
		}
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	d := parse(t, small)
	want := `{"version":"` + d.Version() + `","default_language":"ru","languages":["ru","en"],"roles":["user","admin"],` +
		`"badges":["meetings"],"formats":["json","telegram-inline","telegram-reply"],"menus":[` +
		`{"type":"main","columns":3,"rows":[["chess","coffee"]],"options":[` +
		`{"key":"coffee","action":"show_coffee","labels":{"en":"Coffee","ru":"Кофе"},"badge":"meetings"},` +
		`{"key":"chess","action":"show_chess","labels":{"ru":"Шахматы"}},` +
		`{"key":"panel","action":"panel","labels":{"ru":"Панель"},"roles":["admin"]}]},` +
		`{"type":"admin","columns":2,"roles":["admin"],"options":[` +
		`{"key":"users","action":"show_users","labels":{"ru":"Люди"}},` +
		`{"key":"back","action":"main_menu","labels":{"ru":"Назад"}}]},` +
		`{"type":"other","columns":2,"options":[{"key":"back","action":"main_menu","labels":{"ru":"Назад"}}]}]}`
	got, err := json.Marshal(d.Describe())
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	description := d.Describe()
	description.Menus[0].Options[0].Labels["ru"] = "x"
	description.Menus[0].Rows[0][0] = "x"
	if again, err := json.Marshal(d.Describe()); err != nil || string(again) != want {
		t.Error("a description reaches into the definitions")
	}
	withoutBadges := strings.Replace(replace(t, small, "badges: [meetings]\n", ""), "        badge: meetings\n", "", 1)
	if parse(t, withoutBadges).Describe().Badges == nil {
		t.Error("no badges are described as null")
	}
}

func FuzzParseDefinitions(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte("languages: [ru]\nroles: [user]\nmenus: {m: {options: [{key: a, action: 'cb:', labels: {ru: a}}]}}"))
	f.Fuzz(func(t *testing.T, file []byte) {
		d, err := menucache.ParseDefinitions(file)
		if err != nil {
			var faulty *menucache.DefinitionsError
			if !errors.As(err, &faulty) || len(faulty.Faults) == 0 || err.Error() == "" {
				t.Fatalf("an error without faults: %v", err)
			}
			return
		}
		badges := map[string]int{}
		for _, badge := range d.Badges() {
			badges[badge] = 999_999
		}
		for _, menuType := range d.Types() {
			for _, role := range d.Roles() {
				for _, language := range d.Languages() {
					menu, err := d.Build(1, menuType, role, language)
					if errors.Is(err, menucache.ErrRoleNotAllowed) && !d.RoleAllowed(menuType, role) {
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					if _, _, err := d.CheckMenu(menucache.Key{UserID: 1, Type: menuType}, menu); err != nil {
						t.Fatalf("built a menu that could not be set: %v: %s", err, menu)
					}
					if !d.MayShow(role, optionsOf(t, menu)) {
						t.Fatalf("%s may not see what was built for it: %s", role, menu)
					}
					for _, format := range d.Describe().Formats {
						if _, err := d.Render(format, menuType, menu, badges, shorten); err != nil {
							t.Fatalf("%s: %v: %s", format, err, menu)
						}
					}
				}
			}
		}
	})
}
