package menucache_test

import (
	"fmt"
	"log"

	"github.com/connectbot-hub/connecthub/menucache"
)

// A user's menu is built from the definitions and written as what the bot's caller needs.
func ExampleDefinitions() {
	definitions := menucache.DefaultDefinitions()
	language, ok := definitions.Language("en-US")
	if !ok {
		log.Fatal("no such language")
	}
	menu, err := definitions.Build(124, "calendar", definitions.DefaultRole(), language)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(menu))

	badges, err := definitions.ParseBadges("confirm:3")
	if err != nil {
		log.Fatal(err)
	}
	shorten := func(action string) (string, error) { return menucache.CallbackID(action), nil }
	markup, err := definitions.Render(menucache.FormatTelegramInline, "calendar", menu, badges, shorten)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(markup))
	// Output:
	// {"type":"calendar","user_id":124,"options":[{"key":"confirm","label":"✅ Confirm","action":"confirm_meeting"},{"key":"decline","label":"⏭️ Decline","action":"decline_meeting"},{"key":"refresh","label":"🔄 Refresh","action":"refresh_calendar"},{"key":"back","label":"⬅️ Back to menu","action":"main_menu"}]}
	// {"inline_keyboard":[[{"text":"✅ Confirm (3)","callback_data":"confirm_meeting"},{"text":"⏭️ Decline","callback_data":"decline_meeting"}],[{"text":"🔄 Refresh","callback_data":"refresh_calendar"},{"text":"⬅️ Back to menu","callback_data":"main_menu"}]]}
}

// Every fault of a definitions file is named with its line and menu.
func ExampleParseDefinitions() {
	_, err := menucache.ParseDefinitions([]byte(`
languages: [ru, en]
roles: [user]
menus:
  main:
    columns: 9
    options:
      - {key: profile, action: show_profile, labels: {en: Profile}}
`))
	fmt.Println(err)
	// Output:
	// line 6, menu main: columns must be a whole number from 1 to 8
	// line 8, menu main: option profile has no label in ru
}

// A menu that a caller sets is refused with every fault.
func ExampleDefinitions_CheckMenu() {
	key := menucache.Key{UserID: 124, Type: "main"}
	_, _, err := menucache.DefaultDefinitions().CheckMenu(key, []byte(`{
		"user_id": 125,
		"options": [{"key": "profile", "label": " ", "action": "show_profile"}]
	}`))
	fmt.Println(err)
	// Output:
	// menucache: invalid user_id must be 124, as where the menu is set; options[0].label (profile) must be text that is not blank
}
