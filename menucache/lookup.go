package menucache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/internal/cache"
)

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
