package api_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// FuzzScope checks what is accepted as a scope: an action and something that really is a channel or a pattern of types, so
// that no slip of the pen allows more than it says.
func FuzzScope(f *testing.F) {
	for _, scope := range []string{
		"*", "menus", "temp", "match", "admin", "publish:*", "publish:user:*", "publish:service:*", "publish:user:123", "publish:global",
		"publish:service:matching", "publish:user.*", "publish:user.login", "subscribe:*", "subscribe:user:*", "subscribe:user:0",
		"subscribe:user.*", "publish:", "publish", ":", "", "**", "*:*", "publish:**", "publish:user:**", "Publish:*", " *", "publish:*\n",
		"subscribe:service:*:x", "publish:gap", "publish:user", "temp:", "temp:sessions", "temp:user_*", "temp:user_123", "temp:user_0",
		"temp:user_007", "temp:user_", "temp:user_x", "temp:*", "temp:conversations", "temp:a b", "temp:user_9223372036854775808", "menus:main",
		"source:*", "source:bot", "source:", "source", "source:**", "source: bot", "source:a\nb", "source:django-connectbot", "source:почта",
		"source:\xff", "source:" + strings.Repeat("a", 129),
	} {
		f.Add(scope)
	}
	f.Fuzz(func(t *testing.T, scope string) {
		action, what, _ := strings.Cut(scope, ":")
		good := slices.Contains([]string{"*", "menus", "temp", "match", "admin"}, scope)
		if action == "publish" || action == "subscribe" {
			_, noChannel := events.ParseChannel(what)
			_, noTypes := events.ParsePattern(what)
			good = noChannel == nil || slices.Contains([]string{"*", "user:*", "service:*"}, what) || action == "publish" && noTypes == nil
			good = good && what != "user" && what != "service"
		}
		if action == "temp" && what != "" {
			err := tempdata.CheckNamespace(what)
			id, _ := strings.CutPrefix(what, "user_")
			n, notWhole := strconv.ParseInt(id, 10, 64)
			good = err == nil || what == "user_*" || what == "conversations" ||
				errors.Is(err, tempdata.ErrReserved) && notWhole == nil && what == tempdata.UserNamespace(n) && n > 0
		}
		if action == "source" {
			visible := !strings.ContainsFunc(what, func(r rune) bool { return !unicode.IsPrint(r) || r == '*' })
			good = what == "*" || what != "" && len(what) <= 128 && utf8.ValidString(what) && what == strings.TrimSpace(what) && visible
		}
		err := api.ParseScope(scope)
		if (err == nil) != good {
			t.Fatalf("%q: %v", scope, err)
		}
		if err != nil && (len(err.Error()) > 1000 || strings.ContainsFunc(err.Error(), unicode.IsControl) || !utf8.ValidString(err.Error())) {
			t.Fatalf("%q: the error is not fit for a log: %q", scope, err)
		}
		// A key takes the scope exactly when the parser does.
		if _, _, keyErr := api.NewKey("id", "name", []string{scope}); (keyErr == nil) != (err == nil) {
			t.Fatalf("%q: the parser says %v, and a key %v", scope, err, keyErr)
		}
	})
}
