package menucache

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/djangocache"
)

// entry is a menu as it is cached, and for whom.
type entry struct {
	key  Key
	menu []byte
	etag string
	// role and language are whom the menu is for, "" for any.
	role, language string
	// definitions is the version of the definitions that the menu was built from, "" if it was set or came from the source.
	definitions string
	// options are those of a menu that was not built.
	options []Option
	// ttl is how long to keep the menu if not as long as usual.
	ttl time.Duration

	// The menu in Telegram's formats, as it was asked for last.
	inline, reply atomic.Pointer[rendering]
}

// rendering is a menu in another format.
type rendering struct {
	by   *Definitions
	body []byte
	etag string
}

// etagOf returns a strong validator.
func etagOf(body []byte) string {
	b := append(make([]byte, 0, len(`"1234567890123"`)), '"')
	return string(append(strconv.AppendUint(b, xxhash.Sum64(body), 36), '"'))
}

func (e *entry) size() int {
	n := 2*len(e.menu) + 128
	for _, o := range e.options {
		n += len(o.Key) + len(o.Label) + len(o.Action) + 48
	}
	return n
}

// envelope is the JSON in Redis. All but Hub is what the Django bot reads and writes.
type envelope struct {
	Data     jsontext.Value `json:"data"`
	UserID   int64          `json:"user_id"`
	MenuType string         `json:"menu_type"`
	CachedAt jsontext.Value `json:"cached_at"`
	Hub      *hubMembers    `json:"hub"`
}

// hubMembers are what the hub adds. Times are in milliseconds since 1970.
type hubMembers struct {
	Role        string `json:"role"`
	Language    string `json:"lang"`
	Definitions string `json:"defs"`
	StoredAt    int64  `json:"stored_at"`
	FreshUntil  int64  `json:"fresh_until"`
	ExpiresAt   int64  `json:"expires_at"`
	Epoch       int64  `json:"epoch"`
	ETag        string `json:"etag"`
}

// codec writes and reads entries. With django they are pickled, as the bot's are.
type codec struct {
	django bool
	// foreignLanguage returns the language of the menus that the Django bot writes.
	foreignLanguage func() string
}

// Encode implements cache.Codec.
func (c codec) Encode(e *entry, m cache.Meta) ([]byte, error) {
	if m.Missing {
		return nil, errors.New("menucache: a menu cannot be missing")
	}
	text := appendEnvelope(make([]byte, 0, len(e.menu)+envelopeSize), e, m)
	if !c.django {
		return text, nil
	}
	return djangocache.AppendString(nil, text)
}

// Decode implements cache.Codec.
func (c codec) Decode(raw []byte) (*entry, cache.Meta, error) {
	text := raw
	if c.django {
		var err error
		if text, err = djangocache.DecodeString(raw); err != nil {
			return nil, cache.Meta{}, err
		}
	}
	e, m, ok := cutEnvelope(text)
	foreign := false
	if !ok {
		var err error
		if e, m, foreign, err = parseEnvelope(text); err != nil {
			return nil, cache.Meta{}, err
		}
	}
	if e.definitions == "" {
		role, err := e.readMenu()
		if err != nil {
			return nil, cache.Meta{}, err
		}
		if foreign {
			e.role, e.language = role, c.foreignLanguage()
		}
	}
	if !plain(e.role, e.language, e.key.Type) {
		return nil, cache.Meta{}, errors.New("menucache: a cached menu whose role or type is no name")
	}
	return e, m, nil
}

// parseEnvelope reads what the hub did not write like that: mostly what the bot did. A menu that was changed since the hub
// wrote it counts as the bot's.
func parseEnvelope(text []byte) (e *entry, m cache.Meta, foreign bool, err error) {
	var env envelope
	// The bot's json.loads takes a member that comes twice, and half an emoji, and so must whoever reads what it wrote.
	lenient := []json.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
	if err := json.Unmarshal(text, &env, lenient...); err != nil {
		return nil, m, false, errors.New("menucache: a cached menu is no JSON") // The error may quote it.
	}
	if env.Data.Kind() != '{' || len(env.Data) > MaxMenuSize {
		return nil, m, false, fmt.Errorf("menucache: a cached menu of kind %q and %d bytes", env.Data.Kind(), len(env.Data))
	}
	if err := env.Data.Format(lenient...); err != nil { // Compact, and in UTF-8.
		return nil, m, false, errors.New("menucache: a cached menu is no JSON")
	}
	e = &entry{key: Key{env.UserID, env.MenuType}, menu: env.Data, etag: etagOf(env.Data)}
	hub := env.Hub
	if hub == nil || hub.ETag != strings.Trim(e.etag, `"`) || hub.Epoch <= 0 {
		return e, m, true, nil
	}
	e.role, e.language, e.definitions = hub.Role, hub.Language, hub.Definitions
	return e, cache.Meta{
		StoredAt: time.UnixMilli(hub.StoredAt), FreshUntil: time.UnixMilli(hub.FreshUntil),
		ExpiresAt: time.UnixMilli(hub.ExpiresAt), Epoch: hub.Epoch,
	}, false, nil
}

// readMenu reads what decides who may see a menu that was not built, and returns the role that it names.
func (e *entry) readMenu() (role string, err error) {
	read, err := scanMenu(e.menu)
	if err != nil {
		return "", err
	}
	e.options = make([]Option, len(read.options))
	for i, o := range read.options {
		e.options[i] = o.Option
	}
	role, _ = unquote(read.role)
	return role, nil
}
