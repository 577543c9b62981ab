package main

import (
	"encoding/json"
	"fmt"

	"github.com/connectbot-hub/connecthub/api"
)

type keysCommand struct {
	New keysNewCommand `cmd:"" help:"Make a key. Its token is shown once and kept nowhere."`
}

type keysNewCommand struct {
	Name  string   `required:"" help:"The service that will use the key; also the source of its events."`
	ID    string   `name:"id" help:"The key's id in logs. Default: random."`
	Scope []string `required:"" placeholder:"SCOPE" help:"What it allows: publish:*, publish:user:*, publish:service:matching, publish:user.* (by type), subscribe:*, subscribe:user:123, …, menus, temp, temp:sessions (a namespace), temp:user_123, temp:user_*, temp:conversations, admin, or * for everything. Repeat for more."`
	File  string   `setting:"HUB_KEYS_FILE" placeholder:"FILE" help:"The keys file to add it to. Unset: the entry is shown."`
}

// Run makes a key.
func (c *keysNewCommand) Run(a *app) error {
	for _, scope := range c.Scope {
		if err := api.ParseScope(scope); err != nil {
			return usageError("--scope: " + err.Error())
		}
	}
	key, token, err := api.NewKey(c.ID, c.Name, c.Scope)
	if err != nil {
		return usageError(err.Error())
	}
	if c.File == "" {
		entry, err := json.MarshalIndent(map[string][]*api.Key{"keys": {key}}, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stdout, "A keys file with this key (set HUB_KEYS_FILE to its path):\n\n%s\n\n", entry)
		if err != nil {
			return err
		}
	} else {
		if err := api.AddToKeysFile(c.File, key); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(a.stdout, "Key %s of %s was added to %s. Restart the hub to use it.\n", key.ID, key.Name, c.File); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(a.stdout, "Its token, which is not shown again:\n%s\n", token)
	return err
}
