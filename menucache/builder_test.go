package menucache_test

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/connectbot-hub/connecthub/menucache"
)

func build(tb testing.TB, d *menucache.Definitions, userID int64, menuType, role, language string) []byte {
	tb.Helper()
	menu, err := d.Build(userID, menuType, role, language)
	if err != nil {
		tb.Fatal(err)
	}
	return menu
}

func optionsOf(tb testing.TB, menu []byte) []menucache.Option {
	tb.Helper()
	options, err := menucache.ParseOptions(menu)
	if err != nil {
		tb.Fatal(err)
	}
	return options
}

// botMenus are menus that the Django bot wrote, without white space and without its escapes, by their keys.
func botMenus(tb testing.TB) map[string]string {
	tb.Helper()
	raw, err := os.ReadFile("testdata/bot-menus.json")
	if err != nil {
		tb.Fatal(err)
	}
	var recorded []struct{ Key, Value string }
	if err := json.Unmarshal(raw, &recorded); err != nil {
		tb.Fatal(err)
	}
	menus := map[string]string{}
	for _, r := range recorded {
		var entry struct{ Data json.RawMessage }
		if err := json.Unmarshal([]byte(r.Value), &entry); err != nil {
			tb.Fatal(err)
		}
		menus[r.Key] = canonical(tb, entry.Data)
	}
	return menus
}

// canonical writes JSON without white space and escapes, and leaves the order of members as it is.
func canonical(tb testing.TB, raw []byte) string {
	tb.Helper()
	value := jsontext.Value(slices.Clone(raw))
	if err := value.Format(jsontext.PreserveRawStrings(false)); err != nil {
		tb.Fatal(err)
	}
	return string(value)
}

func TestBuildEqualsTheBot(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	bot := botMenus(t)
	for _, test := range []struct {
		userID                     int64
		menuType, role, key, value string
	}{
		{124, "main", "admin", "connectbot:1:menu:user:124:main", ""},
		{125, "main", "user", "connectbot:1:menu:user:125:main", ""},
		{
			126, "preferences", "user", "",
			`{"type":"preferences","user_id":126,"options":[` +
				`{"key":"interests","label":"❤️ Интересы","action":"edit_interests"},` +
				`{"key":"notifications","label":"🔔 Уведомления","action":"edit_notifications"},` +
				`{"key":"privacy","label":"🔒 Приватность","action":"edit_privacy"},` +
				`{"key":"back","label":"⬅️ Назад","action":"main_menu"}]}`,
		},
	} {
		want := test.value
		if test.key != "" {
			want = bot[test.key]
		}
		if got := string(build(t, d, test.userID, test.menuType, test.role, "ru")); got != want {
			t.Errorf("%s of %d: got\n%s\nwant\n%s", test.menuType, test.userID, got, want)
		}
	}
}

func TestBuildByRole(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	back := "back"
	everyone := map[string][]string{
		"main":        {"profile", "activities", "preferences"},
		"preferences": {"interests", "notifications", "privacy", back},
		"activities":  {"coffee", "lunch", "walk", "chess", "pingpong", "games", "photo", "masterclass", "clubs", back},
		"admin":       nil,
		"profile":     {"statistics", "achievements", "activity", back},
		"interests":   {"coffee", "lunch", "walk", "chess", "pingpong", "games", "photo", "masterclass", "clubs"},
		"calendar":    {"confirm", "decline", "refresh", back},
		"settings":    {"notifications", "profile_data", "language", "appearance", back},
		"help":        {"help_interests", "help_notifications", "contact_admin", back},
		"coffee":      {"message", "propose", "instructions", back},
	}
	admins := map[string]map[string][]string{
		"admin": {
			"main":  {"profile", "activities", "preferences", "admin_panel", "manage_users"},
			"admin": {"manage_users", "manage_activities", "admin_statistics", "broadcast", back},
		},
		"super_admin": {
			"main":  {"profile", "activities", "preferences", "admin_panel", "manage_users"},
			"admin": {"manage_users", "manage_activities", "admin_statistics", "broadcast", "manage_roles", back},
		},
	}
	for _, role := range d.Roles() {
		for _, menuType := range d.Types() {
			want, ok := admins[role][menuType]
			if !ok {
				want = everyone[menuType]
			}
			menu, err := d.Build(1, menuType, role, "en")
			if want == nil {
				if !errors.Is(err, menucache.ErrRoleNotAllowed) || menu != nil {
					t.Errorf("%s for %s: got error %v", menuType, role, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			var keys []string
			for _, o := range optionsOf(t, menu) {
				keys = append(keys, o.Key)
			}
			if !slices.Equal(keys, want) {
				t.Errorf("%s for %s: got %v, want %v", menuType, role, keys, want)
			}
			named := strings.Contains(string(menu), `"role":"`+role+`"`)
			if want := menuType == "main" || menuType == "admin"; named != want {
				t.Errorf("%s for %s: names the role: %t", menuType, role, named)
			}
		}
	}
}

// The labels of the bot's keyboards, to the byte.
func TestLabels(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	back := "⬅️ Назад в меню"
	for menuType, want := range map[string][]string{
		"main":     {"👤 Профиль", "🎯 Мои активности", "⚙️ Настройки", "🔧 Админ панель", "👥 Управление пользователями"},
		"profile":  {"📊 Статистика", "🏆 Достижения", "📈 Активность", back},
		"calendar": {"✅ Подтвердить", "⏭️ Отказаться", "🔄 Обновить", back},
		"settings": {"🔔 Уведомления", "👤 Данные профиля", "🌐 Язык", "📱 Оформление", back},
		"help":     {"❓ Как изменить интересы", "❓ Не приходят уведомления", "📞 Связаться с админом", back},
		"coffee":   {"💬 Написать сообщение", "📅 Предложить встречу", "📋 Инструкция", back},
		"interests": {
			"☕️ Тайный кофе", "🍝 Обед вслепую", "🚶 Слепая прогулка", "♟️ Шахматы", "🏓 Настольный теннис",
			"🎲 Настольные игры", "📸 Фотоквесты", "🧠 Мастер-классы", "📚 Клубы по интересам",
		},
	} {
		var got []string
		for _, o := range optionsOf(t, build(t, d, 1, menuType, "admin", "ru")) {
			got = append(got, o.Label)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", menuType, got, want)
		}
	}
	// Each option has a label of its own in each language.
	for _, m := range d.Describe().Menus {
		for _, o := range m.Options {
			if len(o.Labels) != 2 || o.Labels["ru"] == o.Labels["en"] {
				t.Errorf("%s, %s: %v", m.Type, o.Key, o.Labels)
			}
		}
	}
}

func TestLabelFallsBackToTheDefaultLanguage(t *testing.T) {
	t.Parallel()
	options := optionsOf(t, build(t, parse(t, small), 1, "main", "user", "en"))
	want := []menucache.Option{
		{Key: "coffee", Label: "Coffee", Action: "show_coffee"}, {Key: "chess", Label: "Шахматы", Action: "show_chess"},
	}
	if !slices.Equal(options, want) {
		t.Errorf("got %v", options)
	}
}

func TestBuildWritesAnyText(t *testing.T) {
	t.Parallel()
	file := replace(t, small, "{ru: Шахматы}", `{ru: '<b>&"\u2028'}`)
	file = replace(t, file, "action: show_chess", `action: 'a"\<'`)
	menu := build(t, parse(t, file), math.MaxInt64, "main", "user", "ru")
	want := `{"type":"main","user_id":9223372036854775807,"role":"user","options":[` +
		`{"key":"coffee","label":"Кофе","action":"show_coffee"},` +
		`{"key":"chess","label":"<b>&\"\\u2028","action":"a\"\\<"}]}`
	if string(menu) != want {
		t.Errorf("got\n%s\nwant\n%s", menu, want)
	}
}

func TestBuildRefusesWhatIsNotKnown(t *testing.T) {
	t.Parallel()
	d := menucache.DefaultDefinitions()
	for _, names := range [][3]string{{"none", "user", "ru"}, {"main", "none", "ru"}, {"main", "user", "none"}} {
		if menu, err := d.Build(1, names[0], names[1], names[2]); err == nil || menu != nil {
			t.Errorf("%v: got %s, %v", names, menu, err)
		}
	}
}
