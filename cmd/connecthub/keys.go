package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/connectbot-hub/connecthub/api"
)

type keysCommand struct {
	New    keysNewCommand    `cmd:"" help:"Make a key. Its token is shown once and kept nowhere."`
	Ls     keysLsCommand     `cmd:"" help:"Show the keys of a file, without their tokens' hashes."`
	Rotate keysRotateCommand `cmd:"" help:"Make a new key in the place of one, which stays valid for a while."`
	Revoke keysRevokeCommand `cmd:"" help:"Take a key out of its file."`
}

type keysNewCommand struct {
	Name  string   `required:"" help:"The service that will use the key; also the source of its events."`
	ID    string   `name:"id" help:"The key's id in logs. Default: random."`
	Scope []string `required:"" placeholder:"SCOPE" help:"What it allows: publish:*, publish:user:*, publish:service:matching, publish:user.* (by type), subscribe:*, subscribe:user:123, …, menus, temp, temp:sessions (a namespace), temp:user_123, temp:user_*, temp:conversations, match, admin, source:* (publish in any name), source:django-connectbot, or * for everything. Repeat for more."`
	File  string   `setting:"HUB_KEYS_FILE" placeholder:"FILE" help:"The keys file to add it to. Unset: the entry is shown."`

	auditSettings `embed:""`
}

// takenUp is what becomes of a change to a keys file.
const takenUp = "A running hub that reads the file takes that up within 2 seconds."

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
		return showToken(a.stdout, token)
	}
	err = c.auditedChange(a, "key_created", []zap.Field{zap.String("id", key.ID), zap.String("name", key.Name), zap.Strings("scopes", key.Scopes)},
		func() error { return api.AddToKeysFile(c.File, key) })
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(a.stdout, "Key %s of %s was added to %s. %s\n", key.ID, key.Name, c.File, takenUp); err != nil {
		return err
	}
	return showToken(a.stdout, token)
}

func showToken(to io.Writer, token string) error {
	_, err := fmt.Fprintf(to, "Its token, which is not shown again:\n%s\n", token)
	return err
}

// auditedChange changes a keys file and writes down what came of it, if there is a file for that. While that cannot be written,
// nothing is changed.
func (c *auditSettings) auditedChange(a *app, action string, what []zap.Field, change func() error) error {
	tell := zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zapcore.EncoderConfig{MessageKey: "msg"}), zapcore.AddSync(a.stderr), zap.ErrorLevel))
	audit, err := c.openAudit(zapcore.NewNopCore(), tell, a.version)
	if err != nil {
		return err
	}
	defer audit.close()
	err = change()
	outcome := "done"
	if err != nil {
		outcome = "failed"
	}
	audit.Info(action, append(what, zap.Int("uid", os.Getuid()), zap.String("outcome", outcome))...)
	return err
}

// ofFile is the keys file that a command works on.
type ofFile struct {
	File string `required:"" setting:"HUB_KEYS_FILE" placeholder:"FILE" help:"The keys file."`
}

type keysLsCommand struct {
	JSON bool `name:"json" help:"Show JSON."`
	Hash bool `help:"Show the hashes of the tokens too."`

	ofFile `embed:""`
}

// Run shows the keys.
func (c *keysLsCommand) Run(a *app) error {
	keys, err := api.ReadKeysFile(c.File)
	if err != nil {
		return err
	}
	if !c.Hash {
		for _, key := range keys {
			key.SHA256 = ""
		}
	}
	if c.JSON {
		return showKeysJSON(a.stdout, keys)
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tNAME\tEXPIRES\tSCOPES") // What fails here fails at Flush.
	for _, key := range keys {
		expires := "never"
		switch {
		case !key.Expires.IsZero() && key.Expires.Before(time.Now()):
			expires = "expired " + key.Expires.UTC().Format(time.RFC3339)
		case !key.Expires.IsZero():
			expires = key.Expires.UTC().Format(time.RFC3339)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", key.ID, key.Name, expires, strings.Join(key.Scopes, " "), key.SHA256)
	}
	return table.Flush()
}

// shownKey is a key as ls shows it.
type shownKey struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Scopes     []string  `json:"scopes"`
	Expires    time.Time `json:"expires,omitzero"`
	RateLimit  int       `json:"rate_limit,omitempty"`
	MaxStreams int       `json:"max_streams,omitempty"`
	SHA256     string    `json:"sha256,omitempty"`
}

func showKeysJSON(to io.Writer, keys []*api.Key) error {
	shown := make([]shownKey, len(keys))
	for i, key := range keys {
		shown[i] = shownKey{key.ID, key.Name, key.Scopes, key.Expires, key.RateLimit, key.MaxStreams, key.SHA256}
	}
	enc := json.NewEncoder(to)
	enc.SetEscapeHTML(false)
	return enc.Encode(map[string][]shownKey{"keys": shown})
}

type keysRotateCommand struct {
	ID      string        `name:"id" required:"" help:"The key to replace."`
	Overlap time.Duration `default:"24h" help:"How long the old key stays valid beside the new one."`

	ofFile        `embed:""`
	auditSettings `embed:""`
}

// Run makes a new key in the place of another.
func (c *keysRotateCommand) Run(a *app) error {
	const longest = 366 * 24 * time.Hour
	if c.Overlap < 0 || c.Overlap > longest {
		return usageError("--overlap must be from 0s to " + longest.String())
	}
	var next, old *api.Key
	var token string
	err := c.auditedChange(a, "key_rotated", []zap.Field{zap.String("id", cutTo(c.ID)), zap.Stringer("overlap", c.Overlap)}, func() error {
		return api.ChangeKeysFile(c.File, func(keys []*api.Key) (_ []*api.Key, err error) {
			i, err := find(keys, c.ID)
			if err != nil {
				return nil, err
			}
			if next, old, token, err = keys[i].Rotate(c.Overlap, time.Now()); err != nil {
				return nil, fmt.Errorf("key %s: %w", c.ID, err)
			}
			keys[i] = old
			return slices.Insert(keys, i, next), nil
		})
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "Key %s of %s was added to %s; %s stays valid until %s. %s\n",
		next.ID, next.Name, c.File, old.ID, old.Expires.UTC().Format(time.RFC3339), takenUp)
	if err != nil {
		return err
	}
	return showToken(a.stdout, token)
}

type keysRevokeCommand struct {
	ID string `name:"id" required:"" help:"The key to revoke."`

	ofFile        `embed:""`
	auditSettings `embed:""`
}

// Run takes a key out of its file. The last one stays as one that has expired: of a file without keys a hub takes no notice.
func (c *keysRevokeCommand) Run(a *app) error {
	last := false
	err := c.auditedChange(a, "key_revoked", []zap.Field{zap.String("id", cutTo(c.ID))}, func() error {
		return api.ChangeKeysFile(c.File, func(keys []*api.Key) ([]*api.Key, error) {
			i, err := find(keys, c.ID)
			if err != nil {
				return nil, err
			}
			if last = len(keys) == 1; last {
				keys[i].Expires = time.Now().UTC().Truncate(time.Second)
				return keys, nil
			}
			return slices.Delete(keys, i, i+1), nil
		})
	})
	if err != nil {
		return err
	}
	how := ""
	if last {
		how = ", where it stays, expired, as it was the last"
	}
	_, err = fmt.Fprintf(a.stdout, "Key %s was revoked in %s%s. %s\n", c.ID, c.File, how, takenUp)
	return err
}

// find returns where a key is among others.
func find(keys []*api.Key, id string) (int, error) {
	i := slices.IndexFunc(keys, func(key *api.Key) bool { return key.ID == id })
	if i < 0 {
		return 0, fmt.Errorf("there is no key with the id %q", cutTo(id))
	}
	return i, nil
}

// cutTo makes a text that may be anything fit for a message.
func cutTo(text string) string {
	const longest = 128
	return text[:min(len(text), longest)]
}
