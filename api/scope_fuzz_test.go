package api_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/events"
)

// FuzzScope checks what is accepted as a scope: an action and something that really is a channel or a pattern of types, so
// that no slip of the pen allows more than it says.
func FuzzScope(f *testing.F) {
	for _, scope := range []string{
		"*", "menus", "temp", "match", "admin", "publish:*", "publish:user:*", "publish:service:*", "publish:user:123", "publish:global",
		"publish:service:matching", "publish:user.*", "publish:user.login", "subscribe:*", "subscribe:user:*", "subscribe:user:0",
		"subscribe:user.*", "publish:", "publish", ":", "", "**", "*:*", "publish:**", "publish:user:**", "Publish:*", " *", "publish:*\n",
		"subscribe:service:*:x", "publish:gap", "publish:user",
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
		err := api.ParseScope(scope)
		if (err == nil) != good {
			t.Fatalf("%q: %v", scope, err)
		}
		// A key takes the scope exactly when the parser does.
		if _, _, keyErr := api.NewKey("id", "name", []string{scope}); (keyErr == nil) != (err == nil) {
			t.Fatalf("%q: the parser says %v, and a key %v", scope, err, keyErr)
		}
	})
}
