package api_test

import (
	"testing"

	"github.com/connectbot-hub/connecthub/api"
)

// startKeyedHub starts a hub with keys of these names and scopes, and returns their tokens by name.
func startKeyedHub(tb testing.TB, scopes map[string][]string) (*hub, map[string]string) {
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
	return startHub(tb, options{api: api.Config{Keys: keys}}), tokens
}
