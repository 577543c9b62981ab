package menucache_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/menucache"
)

func TestCheckMenuTakes(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	key := menucache.Key{UserID: 9007199254740993, Type: "main"}
	for _, test := range []struct{ menu, want, role string }{
		{`{"options":[]}`, `{"options":[]}`, ""},
		{
			` { "type" : "main" , "user_id":9007199254740993, "role":"admin","options" : [ ] } `,
			`{"type":"main","user_id":9007199254740993,"role":"admin","options":[]}`, "admin",
		},
		{
			`{"z":[1.0e+2,-0,1E400,{"a":null}],"a":"\u2615 \/","options":[{"x":1,"action":"a","label":" l ","key":"k","y":[ ]}]}`,
			`{"z":[1.0e+2,-0,1E400,{"a":null}],"a":"\u2615 \/","options":[{"x":1,"action":"a","label":" l ","key":"k","y":[]}]}`, "",
		},
		{`{"options":[{"key":"a","label":"A","action":"` + strings.Repeat("x", 20_000) + `"}]}`, "", ""},
		{`{"options":[],"other":"` + strings.Repeat("x", menucache.MaxMenuSize-25) + `"}`, "", ""},
	} {
		raw := []byte(test.menu)
		got, role, err := d.CheckMenu(key, raw)
		if err != nil {
			t.Errorf("%.200s: %v", test.menu, err)
			continue
		}
		if test.want == "" {
			test.want = test.menu
		}
		if string(got) != test.want || role != test.role {
			t.Errorf("got %s, %q, want %s, %q", got, role, test.want, test.role)
		}
		if string(raw) != test.menu {
			t.Error("the caller's bytes were changed")
		}
	}
}

func TestCheckMenuTakesWhatIsBuilt(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	for _, menuType := range d.Types() {
		menu := build(t, d, 5, menuType, "super_admin", "en")
		got, _, err := d.CheckMenu(menucache.Key{UserID: 5, Type: menuType}, menu)
		if err != nil || !bytes.Equal(got, menu) {
			t.Errorf("%s: %s, %v", menuType, got, err)
		}
	}
	for name, menu := range botMenus(t) {
		var who struct {
			UserID int64 `json:"user_id"`
		}
		if err := json.Unmarshal([]byte(menu), &who); err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.CheckMenu(menucache.Key{UserID: who.UserID, Type: "main"}, []byte(menu)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckMenuNamesEveryFault(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	nested := strings.Repeat("[", 64) + strings.Repeat("]", 64)
	for _, test := range []struct {
		menu string
		want []string
	}{
		{`{"type":"admin","user_id":6,"role":"boss","options":{}}`, []string{
			`type must be "main", as where the menu is set`, "user_id must be 5, as where the menu is set",
			"role must be one of user, admin, super_admin", "options must be given, as an array",
		}},
		{`{"type":null,"user_id":"5","role":null,"options":null}`, []string{
			`type must be "main", as where the menu is set`, "user_id must be 5, as where the menu is set",
			"role must be one of user, admin, super_admin", "options must be given, as an array",
		}},
		{`{"user_id":5.0,"options":[]}`, []string{"user_id must be 5, as where the menu is set"}},
		{`{"options":[{"key":"a","label":"","action":"x"},{"key":"b","action":"x"},{"key":"c","label":"C","action":"\t"},` +
			`{"key":"a","label":"A","action":"x"},{"label":"A","action":"x"},{"key":5,"label":5,"action":5},5,{"key":"d","label":"\u200b\u2800","action":"x"}]}`, []string{
			"options[0].label (a) must be text that is not blank",
			"options[1].label (b) must be text that is not blank",
			"options[2].action (c) must be text that is not blank",
			"options[3].key (a) is also that of options[0]",
			"options[4].key must be text that is not blank",
			"options[5].key must be text that is not blank",
			"options[5].label must be text that is not blank",
			"options[5].action must be text that is not blank",
			"options[6] must be an object with key, label and action",
			"options[7].label (d) must be text that is not blank",
		}},
		{string(menuOf(t, many...)), []string{"options must be at most 100, which is what Telegram takes, not 101"}},
		{
			`{"options":[{"key":"a","label":"A","action":"x"},{"key":"b","label":"` + strings.Repeat("x", 10_000) + `","action":"x"}]}`,
			[]string{"options[1] (b) is more than fits: Telegram takes 10000 bytes of markup"},
		},
		{`{}`, []string{"options must be given, as an array"}},
		{`{"option":[]}`, []string{"options must be given, as an array"}},
		{`{"a":1,"a":2}`, []string{"a is named twice"}},
		{`{"options":[{},{"key":"a","key":"b"}]}`, []string{"options[1].key is named twice"}},
		{`{"x~y":{"":{"z":1,"z":2}}}`, []string{"x~y.(empty).z is named twice"}},
		{`{"a":` + nested + `}`, []string{"menu is nested deeper than 64 levels"}},
	} {
		menu, role, err := d.CheckMenu(menucache.Key{UserID: 5, Type: "main"}, []byte(test.menu))
		wantInvalid(t, err, test.want...)
		if menu != nil || role != "" {
			t.Errorf("%.200s: got %s, %q with an error", test.menu, menu, role)
		}
	}
}

func TestCheckMenuRefusesWhatIsNoObject(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	secret := "s3cr3t"
	for _, menu := range []string{
		``, ` `, `[]`, `"` + secret + `"`, `5`, `null`, `{`, `{"a":`, `{"a":1`, `{"a":1,}`, `{a:1}`, `{"a":1}{"b":2}`, `{"a":1} x`,
		`{"a":"` + "\xff" + secret + `"}`, `{"a":"\ud800"}`, `{"a":01}`, `{'a':1}`, `{"a":` + secret + `}`, `{"a":NaN}`,
	} {
		_, _, err := d.CheckMenu(menucache.Key{UserID: 5, Type: "main"}, []byte(menu))
		if !errors.Is(err, menucache.ErrMalformed) || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: got error %v", menu, err)
		}
	}
	large := `{"a":"` + strings.Repeat("x", menucache.MaxMenuSize-7) + `"}`
	if _, _, err := d.CheckMenu(menucache.Key{UserID: 5, Type: "main"}, []byte(large)); !errors.Is(err, menucache.ErrTooLarge) {
		t.Errorf("%d bytes: got error %v", len(large), err)
	}
}

func TestParseOptions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		menu string
		want []menucache.Option
	}{
		{`{}`, nil},
		{`{"options":null}`, nil},
		{`{"options":{"key":"a"}}`, nil},
		{`{"options":[],"x":[{"key":"a"}]}`, nil},
		{
			`{"options":[{"key":"a","label":"\u2615","action":"x","more":{"key":"b"}},{"key":5},5,{"label":"L"}],"x":1}`,
			[]menucache.Option{{Key: "a", Label: "☕", Action: "x"}, {}, {}, {Label: "L"}},
		},
		{`{"options":[{"key":"a"}],"options":[{"key":"b","key":"c"}]}`, []menucache.Option{{Key: "c"}}},
		{`{"options":[{"key":"a","label":"\ud800"}]}`, []menucache.Option{{Key: "a", Label: "\ufffd"}}},
		{"{\"options\":[{\"key\":\"a\",\"label\":\"\xff\"}]}", []menucache.Option{{Key: "a", Label: "\ufffd"}}},
	} {
		if got := optionsOf(t, []byte(test.menu)); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.menu, got, test.want)
		}
	}
	for _, menu := range []string{``, `5`, `[{"key":"a"}]`, `{"options":[{"key":"a"`, `{"options":[{"key":}]}`} {
		if _, err := menucache.ParseOptions([]byte(menu)); !errors.Is(err, menucache.ErrMalformed) {
			t.Errorf("%s: got error %v", menu, err)
		}
	}
}

func FuzzCheckMenu(f *testing.F) {
	d := menucache.DefaultDefinitions()
	key := menucache.Key{UserID: 5, Type: "admin"}
	f.Add(build(f, d, 5, "admin", "admin", "ru"))
	f.Add([]byte(`{"options":[{"key":"manage_users","label":"\u2615","action":"cb:x","a":[1.0]}],"role":"user"}`))
	f.Add([]byte(`{"a":{"b":1,"b":2}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		menu, role, err := d.CheckMenu(key, raw)
		if err != nil {
			var invalid *menucache.InvalidError
			if !errors.Is(err, menucache.ErrMalformed) && !errors.Is(err, menucache.ErrTooLarge) && !errors.As(err, &invalid) {
				t.Fatal(err)
			}
			// Menus of other origin are read leniently.
			if _, err := menucache.ParseOptions(raw); err != nil && !errors.Is(err, menucache.ErrMalformed) &&
				!errors.As(err, &invalid) {
				t.Fatal(err)
			}
			return
		}
		var want bytes.Buffer
		if err := json.Compact(&want, raw); err != nil || !bytes.Equal(menu, want.Bytes()) {
			t.Fatalf("%s became %s, %v", raw, menu, err)
		}
		if again, sameRole, err := d.CheckMenu(key, menu); err != nil || sameRole != role || !bytes.Equal(again, menu) {
			t.Fatalf("%s read again: %s, %v", menu, again, err)
		}
		for _, format := range d.Describe().Formats {
			rendered, err := d.Render(format, key.Type, menu, map[string]int{"manage_users": 0}, shorten)
			if err != nil || !json.Valid(rendered) {
				t.Fatalf("%s: %v: %s", format, err, rendered)
			}
		}
	})
}
