package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/connectbot-hub/connecthub/api"
)

// nobody is the user whose menus are asked for to see whether that works: Telegram gives no such id.
const nobody = 1<<63 - 1

// cacheCheck takes a user's menu through the cache.
type cacheCheck struct {
	client *hubClient
	// path is that of the user's menus, id the user.
	path string
	id   int64

	begun bool
	// role is the default role. It does not see the options kept of menuType, which the role kin does.
	role, menuType, kin string
	kept                []string
	built               *answer
}

func newCacheCheck(client *hubClient, userID int64) *cacheCheck {
	return &cacheCheck{client: client, id: userID, path: "/v1/menus/" + strconv.FormatInt(userID, 10)}
}

func (c *cacheCheck) steps() []step {
	return []step{
		{"cache", "read the definitions", quiet(c.define)},
		{"cache", "clear the test user's menus", quiet(c.clear)},
		{"cache", "build a menu", quiet(settled(c.build))},
		{"cache", "get it from the cache", quiet(c.hit)},
		{"cache", "get it again, unchanged", quiet(c.unchanged)},
		{"cache", "keep options of other roles from the user", c.separate},
		{"cache", "set a menu and read it back", quiet(c.set)},
		{"cache", "clear it", quiet(c.clearOne)},
		{"cache", "build it anew", quiet(settled(c.rebuild))},
	}
}

// settled tries a step again for a moment: another hub behind the same address may not have heard yet of a change.
func settled(step func(context.Context) error) func(context.Context) error {
	const lag, every = 300 * time.Millisecond, 30 * time.Millisecond
	return func(ctx context.Context) error {
		enough := time.After(lag)
		again := time.NewTicker(every)
		defer again.Stop()
		for {
			err := step(ctx)
			if err == nil {
				return nil
			}
			select {
			case <-enough:
				return err
			case <-again.C:
			}
		}
	}
}

// define picks a menu that the default role may have, with an option that it may not see if there is one.
func (c *cacheCheck) define(ctx context.Context) error {
	var d api.MenuDefinitions
	if err := c.client.call(ctx, http.MethodGet, "/v1/menus/definitions", nil, nil, &d); err != nil {
		return err
	}
	if len(d.Roles) == 0 {
		return errors.New("there are no roles")
	}
	c.role = d.Roles[0]
	hidden := func(roles []string) bool { return len(roles) > 0 && !slices.Contains(roles, c.role) }
	for _, m := range d.Menus {
		if hidden(m.Roles) || len(c.kept) > 0 {
			continue
		}
		if c.menuType == "" {
			c.menuType = m.Type
		}
		for _, o := range m.Options {
			if hidden(o.Roles) {
				c.menuType, c.kin = m.Type, o.Roles[0]
				c.kept = append(c.kept, o.Key)
			}
		}
	}
	if c.menuType == "" {
		return errors.New("no menu is for the role " + c.role)
	}
	return nil
}

func (c *cacheCheck) clear(ctx context.Context) error {
	c.begun = true
	return c.client.call(ctx, http.MethodDelete, c.path, nil, nil, &api.MenusCleared{})
}

// close clears what the check has left behind, whatever became of it.
func (c *cacheCheck) close(ctx context.Context) {
	if c.begun {
		_ = c.clear(context.WithoutCancel(ctx)) // It expires by itself.
	}
}

// get gets the menu as a role.
func (c *cacheCheck) get(ctx context.Context, role string) (*answer, error) {
	return c.client.get(ctx, c.path+"/"+url.PathEscape(c.menuType), given("role", role))
}

// expect gets the menu as the default role, and wants it to come from where it should.
func (c *cacheCheck) expect(ctx context.Context, outcome string) (*answer, error) {
	got, err := c.get(ctx, c.role)
	if err != nil {
		return nil, err
	}
	switch from := got.header.Get("X-Cache"); from {
	case outcome:
		return got, nil
	case "BYPASS":
		return nil, errors.New("it was not cached (X-Cache is BYPASS): Redis or the menu source does not answer the hub, see /health")
	default:
		return nil, fmt.Errorf("X-Cache is %q, not %s", from, outcome)
	}
}

func (c *cacheCheck) build(ctx context.Context) (err error) {
	c.built, err = c.expect(ctx, "MISS")
	return err
}

func (c *cacheCheck) hit(ctx context.Context) error {
	got, err := c.expect(ctx, "HIT")
	if err != nil {
		return err
	}
	return c.same(got)
}

// same returns an error unless a menu is the one that was built.
func (c *cacheCheck) same(got *answer) error {
	tag := got.header.Get("ETag")
	if tag == "" || tag != c.built.header.Get("ETag") || !bytes.Equal(got.body, c.built.body) {
		return errors.New("it is not the menu that was built")
	}
	return nil
}

func (c *cacheCheck) unchanged(ctx context.Context) error {
	req, err := c.client.request(ctx, http.MethodGet, c.path+"/"+url.PathEscape(c.menuType), given("role", c.role), nil)
	if err != nil {
		return err
	}
	req.Header.Set("If-None-Match", c.built.header.Get("ETag"))
	got, err := c.client.send(req)
	if err != nil {
		return err
	}
	if got.status != http.StatusNotModified || len(got.body) > 0 {
		return fmt.Errorf("the status is %d, not 304", got.status)
	}
	return nil
}

// separate leaves another role's menu in the cache and asks as the default role, as when an administrator is none any more.
func (c *cacheCheck) separate(ctx context.Context) (note string, err error) {
	if len(c.kept) == 0 {
		return "there are none", nil
	}
	if _, err := c.get(ctx, c.kin); err != nil {
		return "", err
	}
	got, err := c.get(ctx, c.role)
	if err != nil {
		return "", err
	}
	options, err := c.options(got)
	if err != nil {
		return "", err
	}
	for _, o := range options {
		if slices.Contains(c.kept, o.Key) {
			return "", fmt.Errorf("the role %s is shown the option %s, which is not for it", c.role, o.Key)
		}
	}
	return "", nil
}

func (c *cacheCheck) options(got *answer) ([]api.MenuOption, error) {
	var menu api.Menu
	if err := json.Unmarshal(got.body, &menu); err != nil {
		return nil, c.client.noHub(err)
	}
	return menu.Options, nil
}

// set leaves the menu in the cache for a minute at most, should the check be cut off.
func (c *cacheCheck) set(ctx context.Context) error {
	mark := uuid.NewString()
	body, err := json.Marshal(map[string]any{
		"type": c.menuType, "user_id": c.id, "options": []map[string]string{{"key": "check", "label": "Проверка", "action": mark}},
	})
	if err != nil {
		return err
	}
	path := c.path + "/" + url.PathEscape(c.menuType)
	if err := c.client.call(ctx, http.MethodPut, path, given("role", c.role, "ttl", "60"), body, &api.MenuWritten{}); err != nil {
		return err
	}
	return settled(func(ctx context.Context) error {
		got, err := c.expect(ctx, "HIT")
		if err != nil {
			return err
		}
		options, err := c.options(got)
		if err == nil && (len(options) != 1 || options[0].Action != mark) {
			err = errors.New("another menu comes back")
		}
		return err
	})(ctx)
}

func (c *cacheCheck) clearOne(ctx context.Context) error {
	var cleared api.MenusCleared
	if err := c.client.call(ctx, http.MethodDelete, c.path+"/"+url.PathEscape(c.menuType), nil, nil, &cleared); err != nil {
		return err
	}
	if cleared.Cleared != 1 {
		return fmt.Errorf("%d menus were cleared, not 1", cleared.Cleared)
	}
	return nil
}

func (c *cacheCheck) rebuild(ctx context.Context) error {
	got, err := c.expect(ctx, "MISS")
	if err != nil {
		return err
	}
	return c.same(got)
}
