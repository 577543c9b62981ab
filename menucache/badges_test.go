package menucache_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/menucache"
)

// wantInvalid checks that an error names exactly these fields at fault.
func wantInvalid(tb testing.TB, err error, fields ...string) {
	tb.Helper()
	var invalid *menucache.InvalidError
	if !errors.As(err, &invalid) {
		tb.Fatalf("got error %v", err)
	}
	var got []string
	for _, f := range invalid.Fields {
		got = append(got, f.Field+" "+f.Problem)
	}
	if strings.Join(got, "\n") != strings.Join(fields, "\n") {
		tb.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(fields, "\n"))
	}
}

func TestParseBadges(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprintf("b%d:1", i)
	}
	form := "must be name:count, several with commas between them, such as meetings:3,users:12"
	for _, test := range []struct {
		text    string
		want    map[string]int
		problem string
	}{
		{"", nil, ""},
		{" ", nil, ""},
		{"meetings:3", map[string]int{"meetings": 3}, ""},
		{"meetings:0,users:999999", map[string]int{"meetings": 0, "users": 999_999}, ""},
		{" meetings : 3 , users:12", map[string]int{"meetings": 3, "users": 12}, ""},
		{"a:b:3,Встречи:1", map[string]int{"a:b": 3, "Встречи": 1}, ""},
		{"meetings", nil, form},
		{",", nil, form},
		{"meetings:3,", nil, form},
		{":3", nil, "must name what each of them counts"},
		{"meetings:", nil, `must give "meetings" a whole number from 0 to 999999`},
		{"meetings:-1", nil, `must give "meetings" a whole number from 0 to 999999`},
		{"meetings:+1", nil, `must give "meetings" a whole number from 0 to 999999`},
		{"meetings:1.5", nil, `must give "meetings" a whole number from 0 to 999999`},
		{"meetings:1000000", nil, `must give "meetings" a whole number from 0 to 999999`},
		{"meetings:99999999999999999999", nil, `must give "meetings" a whole number from 0 to 999999`},
		{"meetings:3,meetings:3", nil, `names "meetings" twice`},
		{"a\x00:3", nil, "must have names of at most 128 bytes of UTF-8 without control characters"},
		{"a\xff:3", nil, "must have names of at most 128 bytes of UTF-8 without control characters"},
		{strings.Repeat("a", 129) + ":3", nil, "must have names of at most 128 bytes of UTF-8 without control characters"},
		{strings.Join(many, ","), nil, "must be at most 64"},
	} {
		got, err := d.ParseBadges(test.text)
		if test.problem != "" {
			wantInvalid(t, err, "badges "+test.problem)
		} else if err != nil || !maps.Equal(got, test.want) {
			t.Errorf("%q: got %v, %v", test.text, got, err)
		}
	}
	if got, err := d.ParseBadges(strings.Join(many[:64], ",")); err != nil || len(got) != 64 {
		t.Errorf("64 badges: got %d, %v", len(got), err)
	}
}

func TestCheckBadges(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	if err := d.CheckBadges(map[string]int{"meetings": 3, "a:b,c": 0}); err != nil {
		t.Error(err)
	}
	wantInvalid(t, d.CheckBadges(map[string]int{"meetings": -1, "users": 1_000_000, " ": 1, "coffee": 1}),
		"badges must name what each of them counts",
		`badges must give "meetings" a whole number from 0 to 999999`,
		`badges must give "users" a whole number from 0 to 999999`)
	many := map[string]int{}
	for i := range 65 {
		many[fmt.Sprint(i)] = i
	}
	wantInvalid(t, d.CheckBadges(many), "badges must be at most 64")
}

func TestBadgesOnLabels(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	for _, test := range []struct {
		name, menuType string
		badges         map[string]int
		labels         map[string]string // That differ, by key.
	}{
		{"by name", "activities", map[string]int{"meetings": 3}, map[string]string{"coffee": "☕ Тайный кофе (3)"}},
		{"in another menu", "interests", map[string]int{"meetings": 3}, map[string]string{"coffee": "☕️ Тайный кофе (3)"}},
		{"by key", "profile", map[string]int{"statistics": 12}, map[string]string{"statistics": "📊 Статистика (12)"}},
		{"none", "activities", map[string]int{"meetings": 0}, nil},
		{"the key before the name", "activities", map[string]int{"meetings": 3, "coffee": 1}, map[string]string{"coffee": "☕ Тайный кофе (1)"}},
		{"no option has it", "help", map[string]int{"meetings": 3}, nil},
		{"of an option that others see", "main", map[string]int{"manage_users": 3, "users": 3}, nil},
		{
			"several", "activities",
			map[string]int{"meetings": 999_999, "chess": 1, "back": 2},
			map[string]string{"coffee": "☕ Тайный кофе (999999)", "chess": "♟️ Шахматы (1)", "back": "⬅️ Назад в меню (2)"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			menu := build(t, d, 1, test.menuType, "user", "ru")
			before := string(menu)
			got, err := d.Render(menucache.FormatJSON, test.menuType, menu, test.badges, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := before
			for _, o := range optionsOf(t, menu) {
				if label, ok := test.labels[o.Key]; ok {
					want = replace(t, want, `"label":"`+o.Label+`"`, `"label":"`+label+`"`)
				}
			}
			if string(got) != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if string(menu) != before {
				t.Error("the menu itself was changed")
			}
		})
	}
}

// What is not a label is left as it is, byte for byte.
func TestBadgesLeaveTheRest(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	menu := `{ "n" : 1.0e+2, "label":"x", "options" : [ {"label" : "\u2615 \"a\\" , "key":"coffee", "x":{"label":"y"}},` +
		`{"key":"\u0063hess","label":""}, {"key":"walk","label":5}, 7, {"label":"no key"} ] }`
	got, err := d.Render(menucache.FormatJSON, "activities", []byte(menu),
		map[string]int{"meetings": 3, "chess": 4, "walk": 5}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := replace(t, menu, `\"a\\"`, `\"a\\ (3)"`)
	want = replace(t, want, `"label":""`, `"label":" (4)"`)
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestUnknownBadge(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	menu := build(t, d, 1, "main", "user", "ru")
	for _, format := range d.Describe().Formats {
		_, err := d.Render(format, "main", menu, map[string]int{"meetings": 1, "mettings": 0, "chess": 1}, shorten)
		wantInvalid(t, err, `badges must not name "chess", "mettings": this menu has `+
			"meetings, notifications, achievements, users, profile, activities, preferences")
	}
	// Menus that callers set may have options of which the definitions know nothing.
	_, err := d.Render(menucache.FormatJSON, "main", []byte(`{"options":[{"key":"Моё","label":"x"}]}`), map[string]int{"Моё": 1}, nil)
	if err != nil {
		t.Error(err)
	}
}

func FuzzParseBadges(f *testing.F) {
	f.Add("meetings:3,users:12")
	f.Add(" a:b : 007 ,\x00:1")
	d := menucache.DefaultDefinitions()
	f.Fuzz(func(t *testing.T, text string) {
		badges, err := d.ParseBadges(text)
		if err != nil {
			var invalid *menucache.InvalidError
			if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || invalid.Fields[0].Field != "badges" {
				t.Fatal(err)
			}
			return
		}
		if err := d.CheckBadges(badges); err != nil {
			t.Fatalf("%v does not pass: %v", badges, err)
		}
		var again []string
		for name, count := range badges {
			again = append(again, fmt.Sprintf("%s:%d", name, count))
		}
		if got, err := d.ParseBadges(strings.Join(again, ",")); err != nil || !maps.Equal(got, badges) {
			t.Fatalf("%v read again: %v, %v", badges, got, err)
		}
	})
}
