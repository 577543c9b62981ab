package menucache_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/connectbot-hub/connecthub/menucache"
)

// The markup as the Bot API defines it, with every member that is required and those that the hub gives.
type (
	inlineKeyboardMarkup struct {
		InlineKeyboard [][]inlineKeyboardButton `json:"inline_keyboard"`
	}
	inlineKeyboardButton struct {
		Text         string  `json:"text"`
		CallbackData *string `json:"callback_data"`
	}
	replyKeyboardMarkup struct {
		Keyboard       [][]keyboardButton `json:"keyboard"`
		ResizeKeyboard bool               `json:"resize_keyboard"`
	}
	keyboardButton struct {
		Text string `json:"text"`
	}
)

func shorten(action string) (string, error) { return menucache.CallbackID(action), nil }

// decodeStrictly reads JSON that may have no other members than the target.
func decodeStrictly(tb testing.TB, raw []byte, into any) {
	tb.Helper()
	if !utf8.Valid(raw) {
		tb.Fatalf("no UTF-8: %q", raw)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		tb.Fatalf("%v: %s", err, raw)
	}
}

func inline(
	tb testing.TB, d *menucache.Definitions, menuType string, menu []byte, badges map[string]int,
) [][]inlineKeyboardButton {
	tb.Helper()
	raw, err := d.Render(menucache.FormatTelegramInline, menuType, menu, badges, shorten)
	if err != nil {
		tb.Fatal(err)
	}
	var m inlineKeyboardMarkup
	decodeStrictly(tb, raw, &m)
	return m.InlineKeyboard
}

// rowsOf shows a keyboard by its actions.
func rowsOf(keyboard [][]inlineKeyboardButton) string {
	var rows []string
	for _, row := range keyboard {
		var actions []string
		for _, b := range row {
			actions = append(actions, *b.CallbackData)
		}
		rows = append(rows, strings.Join(actions, " "))
	}
	return strings.Join(rows, " | ")
}

// menuOf makes a menu whose options have these keys, which are also their labels and actions.
func menuOf(tb testing.TB, keys ...string) []byte {
	tb.Helper()
	options := []map[string]string{}
	for _, key := range keys {
		options = append(options, map[string]string{"key": key, "label": key, "action": key})
	}
	menu, err := json.Marshal(map[string]any{"options": options})
	if err != nil {
		tb.Fatal(err)
	}
	return menu
}

func TestMarkup(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	menu := build(t, d, 1, "main", "user", "ru")
	for format, want := range map[menucache.Format]string{
		menucache.FormatTelegramInline: `{"inline_keyboard":[[{"text":"👤 Профиль","callback_data":"show_profile"},` +
			`{"text":"🎯 Мои активности (3)","callback_data":"show_activities"}],` +
			`[{"text":"⚙️ Настройки","callback_data":"show_preferences"}]]}`,
		menucache.FormatTelegramReply: `{"keyboard":[[{"text":"👤 Профиль"},{"text":"🎯 Мои активности (3)"}],` +
			`[{"text":"⚙️ Настройки"}]],"resize_keyboard":true}`,
	} {
		got, err := d.Render(format, "main", menu, map[string]int{"activities": 3}, shorten)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s: got\n%s\nwant\n%s", format, got, want)
		}
	}
	if got, err := d.Render(menucache.FormatJSON, "main", menu, nil, nil); err != nil || &got[0] != &menu[0] {
		t.Errorf("JSON without badges is not the menu itself: %s, %v", got, err)
	}
	if _, err := d.Render("xml", "main", menu, nil, nil); err == nil {
		t.Error("a format that is not known")
	}
}

func TestNoOptionsIsAnEmptyKeyboard(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	for _, menu := range []string{`{}`, `{"options":[]}`, `{"options":null}`, `{"options":{"a":1}}`} {
		for format, want := range map[menucache.Format]string{
			menucache.FormatTelegramInline: `{"inline_keyboard":[]}`,
			menucache.FormatTelegramReply:  `{"keyboard":[],"resize_keyboard":true}`,
		} {
			if got, err := d.Render(format, "main", []byte(menu), nil, nil); err != nil || string(got) != want {
				t.Errorf("%s of %s: got %s, %v", format, menu, got, err)
			}
		}
	}
}

func TestLayout(t *testing.T) {
	t.Parallel()
	file := `languages: [ru]
roles: [user, admin]
menus:
  two: {options: [{key: a, action: a, labels: {ru: a}}]}
  three: {columns: 3, options: [{key: a, action: a, labels: {ru: a}}]}
  rows:
    columns: 2
    rows: [[a], [c, b], [h], [d, h2, e]]
    options:
      - {key: a, action: a, labels: {ru: a}}
      - {key: b, action: b, labels: {ru: b}}
      - {key: c, action: c, labels: {ru: c}}
      - {key: d, action: d, labels: {ru: d}}
      - {key: e, action: e, labels: {ru: e}}
      - {key: f, action: f, labels: {ru: f}}
      - {key: h, action: h, labels: {ru: h}, roles: [admin]}
      - {key: h2, action: h2, labels: {ru: h2}, roles: [admin]}
      - {key: g, action: g, labels: {ru: g}}
      - {key: i, action: i, labels: {ru: i}}
`
	d := parse(t, file)
	for _, test := range []struct {
		menuType string
		menu     []byte
		want     string
	}{
		{"two", menuOf(t, "a", "b", "c"), "a b | c"},
		{"two", menuOf(t, "a", "b"), "a b"},
		{"three", menuOf(t, "a", "b", "c", "d"), "a b c | d"},
		{"unknown", menuOf(t, "a", "b", "c"), "a b | c"},
		{"rows", build(t, d, 1, "rows", "admin", "ru"), "a | c b | h | d h2 e | f g | i"},
		{"rows", build(t, d, 1, "rows", "user", "ru"), "a | c b | d e | f g | i"},
		{"rows", menuOf(t, "x", "b", "y", "z"), "b | x y | z"},
		{"rows", menuOf(t, "x", "a", "a"), "a | x a"},
	} {
		if got := rowsOf(inline(t, d, test.menuType, test.menu, nil)); got != test.want {
			t.Errorf("%s: got %s, want %s", test.menuType, got, test.want)
		}
	}
	admin := menucache.DefaultDefinitions()
	if got, want := rowsOf(inline(t, admin, "admin", build(t, admin, 1, "admin", "admin", "ru"), nil)),
		"manage_users manage_activities | show_admin_statistics send_broadcast | main_menu"; got != want {
		t.Errorf("admin: got %s, want %s", got, want)
	}
}

func TestLongActionsGetIDs(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	for _, test := range []struct {
		action string
		short  bool
	}{
		{strings.Repeat("a", 64), false},
		{strings.Repeat("a", 65), true},
		{strings.Repeat("я", 32), false},
		{strings.Repeat("я", 32) + "a", true},
		{strings.Repeat("☕", 21) + "a", false},
		{strings.Repeat("☕", 21) + "ab", true},
		{"cb:", true},
		{menucache.CallbackID("x"), true},
		{"CB:", false},
	} {
		menu, err := json.Marshal(map[string]any{"options": []any{
			map[string]string{"key": "k", "label": "l", "action": test.action},
		}})
		if err != nil {
			t.Fatal(err)
		}
		var shortened []string
		raw, err := d.Render(menucache.FormatTelegramInline, "main", menu, nil, func(action string) (string, error) {
			shortened = append(shortened, action)
			return menucache.CallbackID(action), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var m inlineKeyboardMarkup
		decodeStrictly(t, raw, &m)
		want, asked := test.action, []string(nil)
		if test.short {
			want, asked = menucache.CallbackID(test.action), []string{test.action}
		}
		if got := *m.InlineKeyboard[0][0].CallbackData; got != want || !slices.Equal(shortened, asked) {
			t.Errorf("%s: got %s, shortened %q", test.action, got, shortened)
		}
	}
}

func TestShortenMayFail(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	menu := menuOf(t, strings.Repeat("a", 65))
	away := errors.New("away")
	_, err := d.Render(menucache.FormatTelegramInline, "main", menu, nil, func(string) (string, error) { return "", away })
	if !errors.Is(err, away) {
		t.Errorf("got error %v", err)
	}
	for _, id := range []string{"", strings.Repeat("a", 65)} {
		_, err := d.Render(menucache.FormatTelegramInline, "main", menu, nil, func(string) (string, error) { return id, nil })
		if err == nil {
			t.Errorf("an id of %d bytes went into a button", len(id))
		}
	}
}

func TestCallbackID(t *testing.T) {
	t.Parallel()
	if got := menucache.CallbackID("action"); got != "cb:vZOMaI9Jt3x_xTfGuSIuLJfr" {
		t.Errorf("an id changed, and with it every button that was sent: %s", got)
	}
	long := "open_" + strings.Repeat("я", 40)
	file := replace(t, small, "action: show_chess", "action: "+long)
	file = replace(t, file, "action: show_users", "action: 'cb:users'")
	d := parse(t, file)
	for action, known := range map[string]bool{long: true, "cb:users": true, "show_coffee": false} {
		if got, ok := d.ResolveCallback(menucache.CallbackID(action)); ok != known || known && got != action {
			t.Errorf("%s: got %q, %t", action, got, ok)
		}
	}
	if got := rowsOf(inline(t, d, "main", build(t, d, 1, "main", "user", "ru"), nil)); !strings.Contains(got, menucache.CallbackID(long)) {
		t.Errorf("got %s", got)
	}
}

// A menu that never went through CheckMenu, such as one of the bot's, may have what Telegram refuses.
func TestRenderNamesWhatTelegramRefuses(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for _, test := range []struct {
		menu   string
		inline []string
		reply  []string
	}{
		{
			`{"options":[{"key":"a","label":" ","action":"a"},{"key":"b","label":"b"},{"label":5,"action":"c"},7]}`,
			[]string{
				"options[0].label (a) must be text that is not blank", "options[1].action (b) must be text that is not blank",
				"options[2].label must be text that is not blank", "options[3].label must be text that is not blank",
				"options[3].action must be text that is not blank",
			},
			[]string{
				"options[0].label (a) must be text that is not blank", "options[2].label must be text that is not blank",
				"options[3].label must be text that is not blank",
			},
		},
		{string(menuOf(t, many...)), []string{"options must be at most 100, which is what Telegram takes, not 101"}, nil},
		{
			string(menuOf(t, "a", "b", strings.Repeat("x", 10_000))),
			[]string{"options[2] (" + strings.Repeat("x", 128) + "…) is more than fits: Telegram takes 10000 bytes of markup"},
			nil,
		},
	} {
		if test.reply == nil {
			test.reply = test.inline
		}
		_, err := d.Render(menucache.FormatTelegramInline, "main", []byte(test.menu), nil, shorten)
		wantInvalid(t, err, test.inline...)
		_, err = d.Render(menucache.FormatTelegramReply, "main", []byte(test.menu), nil, shorten)
		wantInvalid(t, err, test.reply...)
	}
	for _, menu := range []string{``, `[]`, `{"options":[}`, `{"options":[{"key":"a"`, `nonsense`} {
		if _, err := d.Render(menucache.FormatTelegramInline, "main", []byte(menu), nil, shorten); !errors.Is(err, menucache.ErrMalformed) {
			t.Errorf("%s: got error %v", menu, err)
		}
	}
}

// Whatever the menu and the badges, what Render gives is markup that Telegram takes.
func TestMarkupKeepsTelegramsLimits(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	rapid.Check(t, func(t *rapid.T) {
		options := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) map[string]string {
			return map[string]string{
				"key":    rapid.OneOf(rapid.SampledFrom([]string{"coffee", "chess", "back"}), rapid.String()).Draw(t, "key"),
				"label":  rapid.OneOf(rapid.StringN(1, 40, -1), rapid.SampledFrom([]string{"☕", " ", "\u200b"})).Draw(t, "label"),
				"action": rapid.OneOf(rapid.StringN(1, 80, -1), rapid.Just("cb:x"), rapid.Just(strings.Repeat("я", 33))).Draw(t, "action"),
			}
		}), 0, 120).Draw(t, "options")
		menu, err := json.Marshal(map[string]any{"options": options})
		if err != nil {
			t.Fatal(err)
		}
		menuType := rapid.SampledFrom(append(d.Types(), "unknown")).Draw(t, "type")
		badges := map[string]int{"meetings": rapid.IntRange(0, 999_999).Draw(t, "count")}
		buttons := 0
		raw, err := d.Render(menucache.FormatTelegramReply, menuType, menu, badges, shorten)
		if !invalidOrNil(t, err) {
			var m replyKeyboardMarkup
			if err := json.Unmarshal(raw, &m); err != nil {
				t.Fatal(err)
			}
			for _, row := range m.Keyboard {
				checkRow(t, len(row))
				for _, b := range row {
					buttons++
					checkText(t, b.Text)
				}
			}
			checkSize(t, raw, buttons, len(options))
		}
		raw, err = d.Render(menucache.FormatTelegramInline, menuType, menu, badges, shorten)
		if invalidOrNil(t, err) {
			return
		}
		var m inlineKeyboardMarkup
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		buttons = 0
		for _, row := range m.InlineKeyboard {
			checkRow(t, len(row))
			for _, b := range row {
				buttons++
				checkText(t, b.Text)
				if n := len(*b.CallbackData); n < 1 || n > 64 {
					t.Fatalf("callback_data of %d bytes", n)
				}
			}
		}
		checkSize(t, raw, buttons, len(options))
	})
}

// invalidOrNil reports whether a menu was refused as it may be.
func invalidOrNil(t *rapid.T, err error) (refused bool) {
	var invalid *menucache.InvalidError
	if err != nil && !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	return err != nil
}

func checkRow(t *rapid.T, n int) {
	if n < 1 || n > 8 {
		t.Fatalf("a row of %d buttons", n)
	}
}

func checkText(t *rapid.T, text string) {
	if strings.Trim(text, " \t\r\n\u200b\u2800") == "" {
		t.Fatalf("a button that shows nothing: %q", text)
	}
}

func checkSize(t *rapid.T, raw []byte, buttons, options int) {
	if !utf8.Valid(raw) || len(raw) > 10_000 || buttons > 100 || buttons != options {
		t.Fatalf("%d bytes with %d buttons for %d options", len(raw), buttons, options)
	}
}
