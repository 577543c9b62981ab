package api_test

import (
	"testing"

	"github.com/connectbot-hub/connecthub/api"
)

// startKeyedHub starts a hub with keys of these names and scopes, and returns their tokens by name.
func startKeyedHub(tb testing.TB, scopes map[string][]string) (*hub, map[string]string) {
	tb.Helper()
	return startKeyedHubWith(tb, scopes, options{})
}

// startKeyedHubWith is startKeyedHub for a hub that differs from the usual one.
func startKeyedHubWith(tb testing.TB, scopes map[string][]string, o options) (*hub, map[string]string) {
	tb.Helper()
	tokens := make(map[string]string, len(scopes))
	var all []*api.Key
	for name, list := range scopes {
		key, token, err := api.NewKey("id-"+name, name, list)
		if err != nil {
			tb.Fatal(err)
		}
		all, tokens[name] = append(all, key), token
	}
	keys, err := api.NewKeys(all...)
	if err != nil {
		tb.Fatal(err)
	}
	o.api.Keys = keys
	return startHub(tb, o), tokens
}
