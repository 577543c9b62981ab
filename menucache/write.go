package menucache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/connectbot-hub/connecthub/internal/cache"
)

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
	n, err := m.cache.Delete(ctx, key)
	if err != nil {
		return 0, translate(err)
	}
	data := `{"cache_type":"menu","user_id":` + strconv.FormatInt(key.UserID, 10) + `,"menu_type":"` + key.Type + `"}`
	return n, m.announce(ctx, key.UserID, data)
}

// ClearUser removes all menus of a user from the cache at once, and does and returns what Clear does.
func (m *Menus) ClearUser(ctx context.Context, userID int64) (int, error) {
	n, err := m.DropUser(ctx, userID)
	if err != nil {
		return 0, err
	}
	return n, m.announce(ctx, userID, `{"cache_type":"menu","user_id":`+strconv.FormatInt(userID, 10)+`}`)
}

// DropUser does what ClearUser does, but tells nobody: for a caller who clears more than menus, and tells of it all at once.
// It fails with an InvalidError and ErrUnavailable.
func (m *Menus) DropUser(ctx context.Context, userID int64) (int, error) {
	if userID < 1 {
		return 0, &InvalidError{[]FieldProblem{{"user_id", wantUserID}}}
	}
	n, err := m.cache.Delete(ctx, m.allOf(userID)...)
	return n, translate(err)
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

// DropAll does what Invalidate does with all menus, but tells nobody, as DropUser. It fails with ErrUnavailable.
func (m *Menus) DropAll(ctx context.Context) error { return translate(m.cache.Invalidate(ctx, tagAll)) }
