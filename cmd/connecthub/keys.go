package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
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

	Expires string `placeholder:"WHEN" help:"When it stops letting anybody in: a time such as 2027-01-31T00:00:00Z, or a duration from now on such as 720h. Default: never."`

	auditSettings `embed:""`
}

// never is what --expires says of a key that does not.
const never = "never"

// expiryIn returns when a key is to expire, the zero time for never.
func expiryIn(text string, now time.Time) (time.Time, error) {
	if text == "" || text == never {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if d, notOne := time.ParseDuration(text); notOne == nil {
		at, err = now.Add(d), nil
	}
	at = at.UTC().Truncate(time.Second)
	if err != nil || !at.After(now) || at.Year() > 9999 {
		return time.Time{}, usageError("--expires must be never, a time to come such as 2027-01-31T00:00:00Z, or a duration such as 720h, not " + strconv.Quote(cutTo(text)))
	}
	return at, nil
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
	expires, err := expiryIn(c.Expires, time.Now())
	if err != nil {
		return err
	}
	key, token, err := api.NewKey(c.ID, c.Name, c.Scope)
	if err != nil {
		return usageError(err.Error())
	}
	key.Expires = expires
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
	err = c.auditedChange(a, "key_created", key.ID, func(attempt func(...zap.Field) error) error {
		if err := attempt(zap.String("name", key.Name), zap.Strings("scopes", key.Scopes), expiryField(key)); err != nil {
			return err
		}
		return api.AddToKeysFile(c.File, key)
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "Key %s of %s was added to %s.%s %s\n%s", key.ID, key.Name, c.File, endOf(key), takenUp, namesakes(c.File, key))
	if err != nil {
		return err
	}
	return showToken(a.stdout, token)
}

// expiryField is what the audit log says of a key's end, nothing if it has none.
func expiryField(key *api.Key) zap.Field {
	if key.Expires.IsZero() {
		return zap.Skip()
	}
	return zap.String("expires", key.Expires.UTC().Format(time.RFC3339))
}

// endOf says when a new key expires, if it does.
func endOf(key *api.Key) string {
	if key.Expires.IsZero() {
		return ""
	}
	return " It expires at " + key.Expires.UTC().Format(time.RFC3339) + "."
}

// namesakes says what it means that other keys in a file have the name of one, if there are any.
func namesakes(path string, key *api.Key) string {
	keys, err := api.ReadKeysFile(path)
	if err != nil || !slices.ContainsFunc(keys, func(o *api.Key) bool { return o.Name == key.Name && o.ID != key.ID }) {
		return ""
	}
	return fmt.Sprintf("Note: the file has other keys of %s. They are one service: they share its source, its idempotency keys and its limits.\n", key.Name)
}

func showToken(to io.Writer, token string) error {
	_, err := fmt.Fprintf(to, "Its token, which is not shown again:\n%s\n", token)
	return err
}

// auditedChange changes a keys file with a key of that id, and writes down what is attempted and what came of it, if there is a
// file for that. Before it changes anything, change calls attempt with what else is to be written, and goes no further if that
// fails.
func (c *auditSettings) auditedChange(a *app, action, id string, change func(attempt func(...zap.Field) error) error) error {
	audit, err := c.openAudit(zapcore.NewNopCore(), zap.NewNop(), a.version)
	if err != nil {
		return err
	}
	defer audit.close()
	what := []zap.Field{zap.String("id", id), zap.Int("uid", os.Getuid())}
	write := func(outcome string) error {
		if err := audit.record(action, append(slices.Clone(what), zap.String("outcome", outcome))...); err != nil {
			return &settingError{"AUDIT_LOG_FILE", "cannot be written: " + err.Error()}
		}
		return nil
	}
	err = change(func(more ...zap.Field) error {
		what = append(what, more...)
		return write("attempted")
	})
	if errors.As(err, new(*settingError)) {
		return err // There is nothing to write it into.
	}
	outcome := "done"
	if err != nil {
		outcome = "failed"
	}
	if untold := write(outcome); untold != nil {
		_, _ = fmt.Fprintf(a.stderr, "connecthub: that it is %s is missing in the audit log, that it was attempted is not: %v\n", outcome, untold)
	}
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
		expires := never
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
	Expires string        `placeholder:"WHEN" help:"When the new key stops letting anybody in: a time such as 2027-01-31T00:00:00Z, a duration from now on such as 720h, or never. Default: when the old one would have."`

	ofFile        `embed:""`
	auditSettings `embed:""`
}

// Run makes a new key in the place of another.
func (c *keysRotateCommand) Run(a *app) error {
	const longest = 366 * 24 * time.Hour
	if c.Overlap < 0 || c.Overlap > longest {
		return usageError("--overlap must be from 0s to " + longest.String())
	}
	expires, err := expiryIn(c.Expires, time.Now())
	if err != nil {
		return err
	}
	var next, old *api.Key
	var token string
	err = c.auditedChange(a, "key_rotated", cutTo(c.ID), func(attempt func(...zap.Field) error) error {
		return api.ChangeKeysFile(c.File, func(keys []*api.Key) (_ []*api.Key, err error) {
			i, err := find(keys, c.ID)
			if err != nil {
				return nil, err
			}
			if next, old, token, err = keys[i].Rotate(c.Overlap, time.Now()); err != nil {
				return nil, fmt.Errorf("key %s: %w", c.ID, err)
			}
			if c.Expires != "" {
				next.Expires = expires
			}
			keys[i] = old
			return slices.Insert(keys, i, next), attempt(zap.String("name", next.Name), zap.String("new_id", next.ID),
				zap.Stringer("overlap", c.Overlap), expiryField(next))
		})
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "Key %s of %s was added to %s; %s stays valid until %s.%s %s\n",
		next.ID, next.Name, c.File, old.ID, old.Expires.UTC().Format(time.RFC3339), endOf(next), takenUp)
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
	err := c.auditedChange(a, "key_revoked", cutTo(c.ID), func(attempt func(...zap.Field) error) error {
		return api.ChangeKeysFile(c.File, func(keys []*api.Key) ([]*api.Key, error) {
			i, err := find(keys, c.ID)
			if err != nil {
				return nil, err
			}
			if err := attempt(zap.String("name", keys[i].Name)); err != nil {
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
