package menucache

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/internal/cache"
)

// Config says how Menus keeps menus. Redis, RedisURL and Announce are required.
type Config struct {
	// Redis keeps the menus, and RedisURL is what it was opened with: a connection of another kind is made from it.
	Redis    *redis.Client
	RedisURL string
	// Queue keeps the writes that the menu source has not got yet, and the ids of long actions: it should be a database
	// that nobody clears. Default: Redis.
	Queue *redis.Client
	// Prefix is what the keys in Redis begin with. Default: hub.
	Prefix string
	// Django makes the menus be kept under the keys, and in the form, of the Django bot, so that both share them.
	// DjangoPrefix is what its keys begin with. Default: connectbot:1.
	Django       bool
	DjangoPrefix string
	// Definitions are what menus are built from. Default: DefaultDefinitions.
	Definitions *Definitions
	// Source holds users' own menus. Default: none. It stays the caller's to close.
	Source *Source
	// TTL is how long a menu is kept, 1 s to MaxTTL. In the last Stale of it, a menu that was built or came from the source
	// is made anew while the old one is returned; negative: it is not. Defaults: 30 min and a sixth of TTL.
	TTL, Stale time.Duration
	// SourceMissTTL is how long a menu counts as fresh that was built because the source has none, at least 1 ms. Default: 1 min.
	SourceMissTTL time.Duration
	// LocalBytes bounds what is kept in the process. Default: 64 MiB.
	LocalBytes uint64
	// WarmTop is how many of the menus most asked for are made ready after Start, at most MaxWarm. Default: 0.
	WarmTop int
	// Announce tells others that menus were cleared: those of a user, or of everybody if the id is 0. Data is a JSON object.
	Announce func(ctx context.Context, userID int64, data []byte) error
	// Logger gets what needs attention. Default: nobody.
	Logger *zap.Logger
}

func (c Config) withDefaults() Config {
	c.Queue = cmp.Or(c.Queue, c.Redis)
	c.Prefix = cmp.Or(c.Prefix, "hub")
	c.DjangoPrefix = cmp.Or(c.DjangoPrefix, "connectbot:1")
	if c.Definitions == nil {
		c.Definitions = DefaultDefinitions()
	}
	c.TTL = cmp.Or(c.TTL, 30*time.Minute)
	c.Stale = max(cmp.Or(c.Stale, c.TTL/6), 0)
	c.SourceMissTTL = cmp.Or(c.SourceMissTTL, time.Minute)
	c.Logger = cmp.Or(c.Logger, zap.NewNop())
	return c
}

func (c Config) validate() error {
	switch {
	case c.Redis == nil || c.RedisURL == "" || c.Announce == nil:
		return errors.New("menucache: Redis, RedisURL and Announce are required")
	case c.TTL < time.Second || c.TTL > MaxTTL:
		return fmt.Errorf("menucache: TTL must be from 1s to %v", MaxTTL)
	case c.Stale >= c.TTL:
		return errors.New("menucache: Stale must be less than TTL")
	case c.SourceMissTTL < time.Millisecond:
		return errors.New("menucache: SourceMissTTL must be at least 1ms")
	case c.WarmTop < 0 || c.WarmTop > MaxWarm:
		return fmt.Errorf("menucache: WarmTop must be from 0 to %d", MaxWarm)
	}
	return nil
}

// sourceAttempts is how often a queued write is tried: for about half an hour, as the pauses grow to 15 s on average.
const sourceAttempts = 120

// djangoTTL is how long the bot keeps a menu, from which is judged when it wrote one.
const djangoTTL = 30 * time.Minute

// Menus returns users' menus, from the cache, the menu source or the builder. See the package for what it guarantees.
type Menus struct {
	cfg         Config
	redis       *cache.Redis
	cache       *cache.Cache[Key, *entry]
	queue       *writeBehind // nil without a source
	definitions atomic.Pointer[Definitions]
	bypassed    atomic.Int64 // menus that were built because the source failed
	callbacks   *callbacks

	stop context.CancelFunc
	work sync.WaitGroup
}

// New makes Menus; it does no I/O. Start has to be called before anything else, and Close at the end.
func New(cfg Config) (*Menus, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	m := &Menus{cfg: cfg}
	m.definitions.Store(cfg.Definitions)
	if cfg.Source != nil {
		var err error
		if m.queue, err = newWriteBehind(cfg.Queue, cfg.Prefix, cfg.Source, writeBehindConfig{
			MaxAttempts: sourceAttempts, Logger: cfg.Logger,
		}); err != nil {
			return nil, err
		}
	}
	m.redis = cache.NewRedis(cfg.Redis, cfg.RedisURL, cfg.Prefix+":menu:changed", cfg.Logger)
	prefix, foreignTTL := cfg.Prefix+":menu:user:", time.Duration(0)
	if cfg.Django {
		prefix, foreignTTL = cfg.DjangoPrefix+":menu:user:", djangoTTL
	}
	timeout := time.Second
	if cfg.Source != nil {
		timeout += 2 * cfg.Source.cfg.Timeout
	}
	var err error
	m.cache, err = cache.New(cache.Config[Key, *entry]{
		Redis:    m.redis,
		Prefix:   prefix,
		RedisKey: func(k Key) string { return prefix + k.field() },
		Parse: func(name string) (Key, bool) {
			k, err := parseField(strings.TrimPrefix(name, prefix))
			return k, err == nil
		},
		LockPrefix: cfg.Prefix + ":menu:lock:",
		EpochKey:   cfg.Prefix + ":menu:epoch",
		Index:      cfg.Prefix + ":menu:users",
		Group:      func(k Key) string { return strconv.FormatInt(k.UserID, 10) },
		Siblings:   func(k Key) []Key { return m.allOf(k.UserID) },
		Codec:      codec{cfg.Django, func() string { return m.Definitions().DefaultLanguage() }},
		Tags:       func(k Key, e *entry) []string { return m.tags(k, e) },
		Match:      m.match,
		TTL:        cfg.TTL - cfg.Stale,
		TTLOf:      func(e *entry) time.Duration { return e.ttl },
		Stale:      cfg.Stale,
		ForeignTTL: foreignTTL,
		LocalBytes: cfg.LocalBytes,
		Weigh: func(e *entry) int {
			if e == nil {
				return 0
			}
			return e.size()
		},
		LoadTimeout: timeout,
		Logger:      cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	m.callbacks = newCallbacks(cfg.Queue, cfg.Prefix, m.redis.Away)
	return m, nil
}

// Start begins to follow what changes in Redis, to deliver queued writes and to warm the cache. That Redis is away is no
// error.
func (m *Menus) Start(ctx context.Context) error {
	if err := m.redis.Start(ctx); err != nil {
		return err
	}
	if m.queue != nil {
		if err := m.queue.Start(ctx); err != nil {
			return err
		}
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	m.stop = stop
	m.work.Go(func() { m.keepPopular(running) })
	return nil
}

// Close ends what Start began, and waits for it. Queued writes stay queued. It may be called twice.
func (m *Menus) Close() {
	if m.stop != nil {
		m.stop()
	}
	m.work.Wait()
	if m.queue != nil {
		m.queue.Close()
	}
	m.cache.Close()
	m.callbacks.close()
	m.redis.Close()
}

// Definitions returns what menus are built from now.
func (m *Menus) Definitions() *Definitions { return m.definitions.Load() }

// SetDefinitions makes menus be built from others. A menu that was built from other definitions is not returned any more,
// and no menu is built from both.
func (m *Menus) SetDefinitions(d *Definitions) { m.definitions.Store(d) }

// Check returns an error while Redis is away, in which menus are served from memory and built.
func (m *Menus) Check(context.Context) error {
	if m.redis.Away() {
		return errors.New("Redis does not answer: menus come from memory or are built, and cannot be set or cleared") //nolint:staticcheck // ST1005: Redis is a name.
	}
	return nil
}

// Tracked reports whether Redis tells of what other programs change in the cache.
func (m *Menus) Tracked() bool { return m.redis.Tracked() }

// Get returns a menu. It fails with an InvalidError, with ErrRoleNotAllowed, with ErrUnavailable when a button needs an id
// that cannot be kept, and with the context's error.
func (m *Menus) Get(ctx context.Context, r Request) (Answer, error) {
	d := m.Definitions()
	if err := d.check(&r); err != nil {
		return Answer{}, err
	}
	if !d.RoleAllowed(r.Type, r.Role) {
		return Answer{}, ErrRoleNotAllowed
	}
	result, err := m.lookup(ctx, d, r.Key, r.Role, r.Language)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Age: result.Age, Outcome: Outcome(result.Outcome)}
	a.Body, a.ETag, err = m.render(ctx, d, r, result.Value)
	return a, err
}

// lookup returns a user's menu as JSON. A source that fails does not keep it from being built.
func (m *Menus) lookup(ctx context.Context, d *Definitions, key Key, role, language string) (cache.Result[*entry], error) {
	result, err := m.cache.Lookup(ctx, key, d.variant(role, language), func(ctx context.Context) (*entry, error) {
		return m.load(ctx, d, key, role, language)
	})
	if err == nil && result.Value.key != key && result.Value.key != (Key{}) {
		err = errors.New("menucache: a cached menu is another user's, or of another type")
	}
	switch {
	case err == nil || ctx.Err() != nil || errors.Is(err, cache.ErrClosed):
		return result, translate(err)
	case !errors.Is(err, ErrSourceUnavailable): // That was said when it failed.
		m.cfg.Logger.Warn("a menu was built for want of a better one", zap.Error(err))
	}
	m.bypassed.Add(1)
	e, err := build(d, key, role, language)
	return cache.Result[*entry]{Value: e, Outcome: cache.Bypass}, err
}

// load returns a menu for the cache: the user's own, from the queue or the source, or else one that is built.
func (m *Menus) load(ctx context.Context, d *Definitions, key Key, role, language string) (*entry, error) {
	if m.cfg.Source == nil {
		return build(d, key, role, language)
	}
	own, err := m.own(ctx, key, role, language)
	if errors.Is(err, ErrNotFound) {
		e, err := build(d, key, role, language)
		if err == nil {
			e.ttl = min(m.cfg.SourceMissTTL, m.cfg.TTL)
		}
		return e, err
	}
	if err != nil {
		m.cfg.Logger.Warn("the menu source failed", zap.Error(err))
		return nil, err
	}
	menu, named, err := d.CheckMenu(key, own)
	if err != nil {
		m.cfg.Logger.Warn("the menu source has a menu that is not well made", zap.String("menu_type", key.Type))
		return nil, fmt.Errorf("%w: it has a menu that is not well made", ErrSourceUnavailable)
	}
	e := &entry{key: key, menu: menu, etag: etagOf(menu), role: role, language: language}
	if e.options, err = ParseOptions(menu); err != nil {
		return nil, err
	}
	if named != "" && named != role || !d.MayShow(role, e.options) {
		return build(d, key, role, language) // It is for another role, which the user has no more, or not yet.
	}
	return e, nil
}

// pendingPatience is how long the queue may take to say whether a newer menu is on its way to the source.
const pendingPatience = 300 * time.Millisecond

// own returns the menu that the source has of a user, or is about to get.
func (m *Menus) own(ctx context.Context, key Key, role, language string) ([]byte, error) {
	if m.cfg.Queue != m.cfg.Redis || !m.redis.Away() {
		asking, cancel := context.WithTimeout(ctx, pendingPatience)
		queued, found, err := m.queue.pending(asking, key)
		cancel()
		if err != nil && (m.cfg.Queue != m.cfg.Redis || !m.redis.Away()) {
			return nil, fmt.Errorf("%w: whether a newer menu is on its way to it is not known: %w", ErrSourceUnavailable, err)
		}
		if found {
			return queued, nil
		}
	}
	return m.cfg.Source.Get(ctx, key, role, language)
}

func build(d *Definitions, key Key, role, language string) (*entry, error) {
	menu, err := d.Build(key.UserID, key.Type, role, language)
	if err != nil {
		return nil, err
	}
	return &entry{key: key, menu: menu, etag: etagOf(menu), role: role, language: language, definitions: d.version}, nil
}

// variant is what match compares an entry with.
func (d *Definitions) variant(role, language string) string {
	return d.variants[[2]string{role, language}]
}

// match reports whether an entry may be shown to a role, in a language, while some definitions are in force.
func (m *Menus) match(e *entry, variant string) bool {
	version, rest, _ := strings.Cut(variant, " ")
	role, language, _ := strings.Cut(rest, " ")
	if e.definitions != "" {
		return e.definitions == version && e.role == role && e.language == language
	}
	d := m.Definitions()
	if d.version != version {
		return false // They were replaced just now; the caller's are not at hand.
	}
	if e.role != "" && e.role != role || e.language != "" && e.language != language {
		return false
	}
	return d.MayShow(role, e.options)
}

// tags are what an entry is invalidated by. One that is for any role goes with every role.
func (m *Menus) tags(key Key, e *entry) []string {
	d := m.Definitions()
	if tags, ok := d.tags[[2]string{key.Type, e.role}]; ok {
		return tags
	}
	tags := []string{tagAll, tagType + key.Type}
	if e.role != "" {
		return append(tags, tagRole+e.role)
	}
	for _, role := range d.roles {
		tags = append(tags, tagRole+role)
	}
	return tags
}

const (
	tagAll  = "all"
	tagType = "type:"
	tagRole = "role:"
)

// allOf returns the keys of all menus that a user can have.
func (m *Menus) allOf(userID int64) []Key {
	types := m.Definitions().Types()
	keys := make([]Key, len(types))
	for i, t := range types {
		keys[i] = Key{userID, t}
	}
	return keys
}

// render writes a menu in the format asked for.
func (m *Menus) render(ctx context.Context, d *Definitions, r Request, e *entry) (body []byte, etag string, err error) {
	kept := &e.inline
	switch {
	case len(r.Badges) > 0:
		kept = nil
	case r.Format == FormatJSON:
		return e.menu, e.etag, nil
	case r.Format == FormatTelegramReply:
		kept = &e.reply
	}
	if kept != nil {
		if k := kept.Load(); k != nil && k.by == d {
			return k.body, k.etag, nil
		}
	}
	body, err = d.Render(r.Format, r.Type, e.menu, r.Badges, func(action string) (string, error) {
		return m.callbacks.id(ctx, d, action)
	})
	if err != nil {
		return nil, "", err
	}
	etag = etagOf(body)
	if kept != nil {
		kept.Store(&rendering{d, body, etag})
	}
	return body, etag, nil
}

// check completes a request, or says what is wrong with it.
func (d *Definitions) check(r *Request) error {
	var wrong []FieldProblem
	if r.UserID < 1 {
		wrong = append(wrong, FieldProblem{"user_id", wantUserID})
	}
	if !d.HasType(r.Type) {
		wrong = append(wrong, FieldProblem{"menu_type", oneOf(d.Types())})
	}
	wrong = append(wrong, d.checkAudience(&r.Role, &r.Language, d.DefaultRole(), d.DefaultLanguage())...)
	switch r.Format {
	case "":
		r.Format = FormatJSON
	case FormatJSON, FormatTelegramInline, FormatTelegramReply:
	default:
		wrong = append(wrong, FieldProblem{
			"format", oneOf([]string{string(FormatJSON), string(FormatTelegramInline), string(FormatTelegramReply)}),
		})
	}
	if len(r.Badges) > 0 {
		var invalid *InvalidError
		if err := d.CheckBadges(r.Badges); errors.As(err, &invalid) {
			wrong = append(wrong, invalid.Fields...)
		}
	}
	if len(wrong) > 0 {
		return &InvalidError{wrong}
	}
	return nil
}

const wantUserID = "must be a whole number from 1 to 9223372036854775807"

// checkAudience completes a role and a language, or says what is wrong with them.
func (d *Definitions) checkAudience(role, language *string, defaultRole, defaultLanguage string) (wrong []FieldProblem) {
	if *role = cmp.Or(*role, defaultRole); *role != "" && !d.HasRole(*role) {
		wrong = append(wrong, FieldProblem{"role", oneOf(d.roles)})
	}
	if *language == "" {
		*language = defaultLanguage
		return wrong
	}
	known, ok := d.Language(*language)
	if !ok {
		return append(wrong, FieldProblem{"lang", oneOf(d.languages)})
	}
	*language = known
	return wrong
}

func oneOf(known []string) string { return "must be one of " + strings.Join(known, ", ") }

// Set keeps a menu, and stores it in the menu source first if the write says so. It fails with an InvalidError,
// ErrMalformed, ErrTooLarge and ErrSourceRefused, which change nothing, and with ErrUnavailable and ErrSourceUnavailable,
// after which readers get either the old menu or the new.
func (m *Menus) Set(ctx context.Context, w Write) (Written, error) {
	d := m.Definitions()
	e, err := m.checkWrite(d, &w)
	if err != nil {
		return Written{}, err
	}
	written := Written{ExpiresIn: w.TTL}
	switch w.Mode {
	case WriteThrough:
		written.Status = "stored"
		err = m.cache.Replace(ctx, w.Key, w.TTL, func(ctx context.Context) (*entry, error) {
			err := m.queue.through(ctx, w.Key, e.menu)
			if errors.Is(err, ErrSourceRefused) {
				err = fmt.Errorf("%w: %w", err, cache.ErrUnchanged)
			}
			return e, err
		})
	case WriteBehind:
		written.Status = "queued"
		err = m.cache.Replace(ctx, w.Key, w.TTL, func(ctx context.Context) (*entry, error) {
			_, err := m.queue.add(ctx, w.Key, e.menu)
			return e, err
		})
	default:
		written.Status = "cached"
		err = m.cache.Set(ctx, w.Key, e, w.TTL)
	}
	return written, translate(err)
}

func (m *Menus) checkWrite(d *Definitions, w *Write) (*entry, error) {
	w.TTL = cmp.Or(w.TTL, m.cfg.TTL)
	wrong := d.checkKey(w.Key)
	wrong = append(wrong, checkTTL(w.TTL)...)
	wrong = append(wrong, d.checkAudience(&w.Role, &w.Language, "", "")...)
	switch w.Mode {
	case WriteCache:
	case WriteThrough, WriteBehind:
		if m.cfg.Source == nil {
			wrong = append(wrong, FieldProblem{"write", "must not be given: this hub has no menu source"})
		}
	default:
		wrong = append(wrong, FieldProblem{"write", oneOf([]string{string(WriteThrough), string(WriteBehind)})})
	}
	if len(wrong) > 0 {
		return nil, &InvalidError{wrong}
	}
	menu, named, err := d.CheckMenu(w.Key, w.Menu)
	if err != nil {
		return nil, err
	}
	if named != "" && w.Role != "" && named != w.Role {
		return nil, &InvalidError{[]FieldProblem{{"role", "must be the role that the menu names, " + named}}}
	}
	if w.Mode != WriteCache {
		w.Role = cmp.Or(w.Role, named)
	}
	if w.Mode != WriteCache && w.Role != named {
		wrong = append(wrong, FieldProblem{"role", "must be named by the menu itself, as its member role: the menu source gets only the menu"})
	}
	if w.Mode != WriteCache && w.Language != "" {
		wrong = append(wrong, FieldProblem{"lang", "must not be given with write: the menu source gets only the menu"})
	}
	if len(wrong) > 0 {
		return nil, &InvalidError{wrong}
	}
	e := &entry{key: w.Key, menu: menu, etag: etagOf(menu), role: cmp.Or(w.Role, named), language: w.Language}
	if e.options, err = ParseOptions(menu); err != nil {
		return nil, err
	}
	if e.role == "" {
		return e, nil
	}
	if !d.RoleAllowed(w.Type, e.role) {
		wrong = append(wrong, FieldProblem{"role", "is not one that this menu is for"})
	}
	for i := range e.options {
		if !d.MayShow(e.role, e.options[i:i+1]) {
			wrong = append(wrong, FieldProblem{
				"options[" + strconv.Itoa(i) + "]", "is not for the role " + e.role + ": option " + quoted(e.options[i].Key),
			})
		}
	}
	if len(wrong) > 0 {
		return nil, &InvalidError{wrong}
	}
	return e, nil
}

func (d *Definitions) checkKey(key Key) (wrong []FieldProblem) {
	if key.UserID < 1 {
		wrong = append(wrong, FieldProblem{"user_id", wantUserID})
	}
	if !d.HasType(key.Type) {
		wrong = append(wrong, FieldProblem{"menu_type", oneOf(d.Types())})
	}
	return wrong
}

func checkTTL(ttl time.Duration) []FieldProblem {
	if ttl < time.Second || ttl > MaxTTL {
		return []FieldProblem{{"ttl", "must be a whole number of seconds from 1 to " + strconv.Itoa(int(MaxTTL/time.Second))}}
	}
	return nil
}

// Renew keeps a cached menu for another TTL from now; 0 is Config.TTL. It fails with an InvalidError, ErrNotFound and
// ErrUnavailable.
func (m *Menus) Renew(ctx context.Context, key Key, ttl time.Duration) (Written, error) {
	ttl = cmp.Or(ttl, m.cfg.TTL)
	if wrong := append(m.Definitions().checkKey(key), checkTTL(ttl)...); len(wrong) > 0 {
		return Written{}, &InvalidError{wrong}
	}
	if err := m.cache.Touch(ctx, key, ttl); err != nil {
		return Written{}, translate(err)
	}
	return Written{Status: "cached", ExpiresIn: ttl}, nil
}

// Clear removes one menu from the cache, tells the user's channel, and returns how many there were, 0 or 1. It fails with
// an InvalidError, ErrUnavailable and ErrNotAnnounced.
func (m *Menus) Clear(ctx context.Context, key Key) (int, error) {
	if wrong := m.Definitions().checkKey(key); len(wrong) > 0 {
		return 0, &InvalidError{wrong}
	}
	return m.clear(ctx, key.UserID, `{"cache_type":"menu","user_id":`+strconv.FormatInt(key.UserID, 10)+`,"menu_type":"`+key.Type+`"}`, key)
}

// ClearUser removes all menus of a user from the cache at once, and does and returns what Clear does.
func (m *Menus) ClearUser(ctx context.Context, userID int64) (int, error) {
	if userID < 1 {
		return 0, &InvalidError{[]FieldProblem{{"user_id", wantUserID}}}
	}
	return m.clear(ctx, userID, `{"cache_type":"menu","user_id":`+strconv.FormatInt(userID, 10)+`}`, m.allOf(userID)...)
}

func (m *Menus) clear(ctx context.Context, userID int64, data string, keys ...Key) (int, error) {
	n, err := m.cache.Delete(ctx, keys...)
	if err != nil {
		return 0, translate(err)
	}
	return n, m.announce(ctx, userID, data)
}

func (m *Menus) announce(ctx context.Context, userID int64, data string) error {
	if err := m.cfg.Announce(context.WithoutCancel(ctx), userID, []byte(data)); err != nil {
		return fmt.Errorf("%w: %w", ErrNotAnnounced, err)
	}
	return nil
}

// Invalidate makes all cached menus that a selection means count as none, in the same time however many they are, and
// tells the global channel. It fails as Clear does.
func (m *Menus) Invalidate(ctx context.Context, s Selection) error {
	d := m.Definitions()
	var tag, data string
	switch {
	case s.Role != "" && s.Type == "" && !s.All:
		if !d.HasRole(s.Role) {
			return &InvalidError{[]FieldProblem{{"role", oneOf(d.roles)}}}
		}
		tag, data = tagRole+s.Role, `{"cache_type":"menu","role":"`+s.Role+`"}`
	case s.Type != "" && s.Role == "" && !s.All:
		if !d.HasType(s.Type) {
			return &InvalidError{[]FieldProblem{{"type", oneOf(d.Types())}}}
		}
		tag, data = tagType+s.Type, `{"cache_type":"menu","menu_type":"`+s.Type+`"}`
	case s.All && s.Role == "" && s.Type == "":
		tag, data = tagAll, `{"cache_type":"menu"}`
	default:
		return &InvalidError{[]FieldProblem{{"role", "must be given, or type, or all: exactly one of the three"}}}
	}
	if err := m.cache.Invalidate(ctx, tag); err != nil {
		return translate(err)
	}
	return m.announce(ctx, 0, data)
}

// Users returns a page of at most limit users, 1 to MaxPage, who have menus in the cache, after the page whose Next is
// the cursor; "" begins. It fails with an InvalidError and ErrUnavailable.
func (m *Menus) Users(ctx context.Context, cursor string, limit int) (UserPage, error) {
	if limit < 1 || limit > MaxPage {
		return UserPage{}, &InvalidError{[]FieldProblem{{"limit", "must be a whole number from 1 to " + strconv.Itoa(MaxPage)}}}
	}
	from, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return UserPage{}, &InvalidError{[]FieldProblem{{"cursor", wantCursor}}}
	}
	groups, next, err := m.cache.List(ctx, string(from), limit)
	if err != nil {
		return UserPage{}, translate(err)
	}
	page := UserPage{Users: make([]CachedUser, 0, len(groups)), Next: base64.RawURLEncoding.EncodeToString([]byte(next))}
	for _, g := range groups {
		if id, err := strconv.ParseInt(g.Name, 10, 64); err == nil {
			page.Users = append(page.Users, CachedUser{id, g.ExpiresIn})
		}
	}
	return page, nil
}

const wantCursor = "must be the next_cursor of an earlier page"

// Callback returns the action that an id in a button stands for. It fails with ErrNotFound and ErrUnavailable.
func (m *Menus) Callback(ctx context.Context, id string) (string, error) {
	return m.callbacks.action(ctx, m.Definitions(), id)
}

// DeadWrites returns a page of at most limit writes, 1 to MaxPage, that were given up. It fails with an InvalidError and
// ErrUnavailable.
func (m *Menus) DeadWrites(ctx context.Context, cursor string, limit int) (DeadWritePage, error) {
	if limit < 1 || limit > MaxPage {
		return DeadWritePage{}, &InvalidError{[]FieldProblem{{"limit", "must be a whole number from 1 to " + strconv.Itoa(MaxPage)}}}
	}
	if m.queue == nil {
		return DeadWritePage{}, nil
	}
	return m.queue.dead(ctx, cursor, limit)
}

// RetryWrite queues a write again that was given up. It fails with ErrNotFound and ErrUnavailable.
func (m *Menus) RetryWrite(ctx context.Context, id string) error {
	if m.queue == nil {
		return ErrNotFound
	}
	return m.queue.retry(ctx, id)
}

// translate puts the errors of the cache into this package's terms.
func translate(err error) error {
	switch {
	case errors.Is(err, cache.ErrUnavailable), errors.Is(err, cache.ErrClosed):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case errors.Is(err, cache.ErrNotFound):
		return ErrNotFound
	case errors.Is(err, cache.ErrCursor):
		return &InvalidError{[]FieldProblem{{"cursor", wantCursor}}}
	}
	return err
}
