package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/connectbot-hub/connecthub/api"
)

type menuCommand struct {
	Get         menuGetCommand         `cmd:"" help:"Show a user's menu. Where it came from is said on standard error."`
	Set         menuSetCommand         `cmd:"" help:"Set a user's menu."`
	Clear       menuClearCommand       `cmd:"" help:"Clear a user's menus from the cache."`
	Warm        menuWarmCommand        `cmd:"" help:"Cache menus before anybody asks. Exit status 1 when one of them fails."`
	Invalidate  menuInvalidateCommand  `cmd:"" help:"Make all cached menus of a role, of a type or of everybody out of date."`
	List        menuListCommand        `cmd:"" help:"List the users with cached menus, and for how long they still are."`
	Definitions menuDefinitionsCommand `cmd:"" help:"Show what the hub builds menus from."`
}

// menuPath is the path of a user's menus, or of one of them.
func menuPath(userID int64, menuType string) (string, error) {
	path := "/v1/menus/" + strconv.FormatInt(userID, 10)
	switch menuType {
	case "":
		return path, nil
	case ".", "..": // Which would be another path.
		return "", usageError("the menu type must be one that connecthub menu definitions shows")
	}
	return path + "/" + url.PathEscape(menuType), nil
}

// given makes a query of parameters: names and values in turn, of which empty ones are left out.
func given(pairs ...string) url.Values {
	query := url.Values{}
	for pair := range slices.Chunk(pairs, 2) {
		if value := pair[len(pair)-1]; value != "" {
			query.Set(pair[0], value)
		}
	}
	return query
}

type menuGetCommand struct {
	Role   string `help:"The user's role. Default: the first of the definitions."`
	Lang   string `help:"The user's language. Default: the first of the definitions."`
	Format string `help:"json, telegram-inline or telegram-reply. Default: json."`
	Badges string `placeholder:"NAME:COUNT,…" help:"Counts to show behind labels, such as meetings:3."`

	hubClient `embed:""`

	UserID int64  `arg:"" help:"Whose menu."`
	Type   string `arg:"" name:"menu-type" default:"main" help:"Which menu. Default: main."`
}

// Run shows a menu.
func (c *menuGetCommand) Run(ctx context.Context, a *app) error {
	path, err := menuPath(c.UserID, c.Type)
	if err != nil {
		return err
	}
	got, err := c.get(ctx, path, given("role", c.Role, "lang", c.Lang, "format", c.Format, "badges", c.Badges))
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(a.stderr, "X-Cache: %s, Age: %s s\n", got.header.Get("X-Cache"), got.header.Get("Age")); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", bytes.TrimSpace(got.body))
	return err
}

// get asks the hub for JSON, which is left as it comes.
func (c *hubClient) get(ctx context.Context, path string, query url.Values) (*answer, error) {
	req, err := c.request(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return nil, err
	}
	got, err := c.send(req)
	if err != nil {
		return nil, err
	}
	if !json.Valid(got.body) {
		return nil, c.noHub(errors.New("it sends no JSON"))
	}
	return got, nil
}

type menuSetCommand struct {
	TTL   time.Duration `name:"ttl" placeholder:"30m" help:"How long the cache keeps it, in whole seconds. Default: as long as one that the hub builds."`
	Role  string        `help:"The role it is for. Default: the one that the menu names, else every role."`
	Lang  string        `help:"The language it is in. Default: it is for every language."`
	Write string        `enum:",through,behind" default:"" placeholder:"MODE" help:"through: the menu source must store it first. behind: the menu source gets it soon after. Default: it goes to the cache only."`

	hubClient `embed:""`

	UserID int64  `arg:"" help:"Whose menu."`
	Type   string `arg:"" name:"menu-type" help:"Which menu."`
	Menu   string `arg:"" help:"The menu: JSON, which begins with {, or a file with it; - reads it from standard input."`
}

// Run sets a menu and shows what became of it.
func (c *menuSetCommand) Run(ctx context.Context, a *app) error {
	path, err := menuPath(c.UserID, c.Type)
	if err != nil {
		return err
	}
	if c.TTL < 0 || c.TTL%time.Second != 0 {
		return usageError("--ttl must be whole seconds, such as 90s or 30m")
	}
	ttl := ""
	if c.TTL > 0 {
		ttl = strconv.FormatInt(int64(c.TTL/time.Second), 10)
	}
	menu, err := c.menu(a.stdin)
	if err != nil {
		return err
	}
	var written api.MenuWritten
	query := given("ttl", ttl, "role", c.Role, "lang", c.Lang, "write", c.Write)
	if err := c.call(ctx, http.MethodPut, path, query, menu, &written); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s of user %d: %s; the cache keeps it for %v\n",
		written.MenuType, written.UserID, written.Status, time.Duration(written.ExpiresIn)*time.Second)
	return err
}

// menu returns the menu as it was given.
func (c *menuSetCommand) menu(stdin io.Reader) (menu []byte, err error) {
	const largest = 1 << 20
	switch {
	case c.Menu == "-":
		menu, err = io.ReadAll(io.LimitReader(stdin, largest+1))
	case bytes.HasPrefix(bytes.TrimSpace([]byte(c.Menu)), []byte("{")):
		menu = []byte(c.Menu)
	default:
		menu, err = os.ReadFile(c.Menu)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("the menu cannot be read: %w", err)
	case len(menu) > largest:
		return nil, usageError("the menu has more than 1 MiB")
	case !json.Valid(menu):
		return nil, usageError(`the menu is not JSON; quote it for the shell, as in '{"options":[]}'`)
	}
	return menu, nil
}

type menuClearCommand struct {
	hubClient `embed:""`

	UserID int64  `arg:"" help:"Whose menus."`
	Type   string `arg:"" name:"menu-type" optional:"" help:"Which menu. Default: all of the user."`
}

// Run clears menus and shows how many there were.
func (c *menuClearCommand) Run(ctx context.Context, a *app) error {
	path, err := menuPath(c.UserID, c.Type)
	if err != nil {
		return err
	}
	var cleared api.MenusCleared
	if err := c.call(ctx, http.MethodDelete, path, nil, nil, &cleared); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "Cleared: %d\n", cleared.Cleared)
	return err
}

type menuWarmCommand struct {
	Type []string `placeholder:"TYPE" help:"The menus to cache for each user. Repeat for more. Default: main."`
	Role string   `help:"The users' role. Default: the first of the definitions."`
	Lang string   `help:"The users' language. Default: the first of the definitions."`
	Top  int      `placeholder:"N" help:"Not users, but so many of the menus that were asked for most."`

	hubClient `embed:""`

	UserID []int64 `arg:"" optional:"" help:"Whose menus."`
}

// Run warms the cache and shows what became of the menus.
func (c *menuWarmCommand) Run(ctx context.Context, a *app) error {
	request := map[string]any{}
	switch {
	case (len(c.UserID) > 0) == (c.Top != 0):
		return usageError("say whose menus: USER-ID ..., or --top N, but not both")
	case c.Top != 0 && (len(c.Type) > 0 || c.Role != "" || c.Lang != ""):
		return usageError("--top goes without --type, --role and --lang: each menu has its own")
	case c.Top != 0:
		request["top"] = c.Top
	default:
		request["users"] = c.UserID
	}
	if len(c.Type) > 0 {
		request["types"] = c.Type
	}
	for name, value := range map[string]string{"role": c.Role, "lang": c.Lang} {
		if value != "" {
			request[name] = value
		}
	}
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	c.patience = 40 * time.Second // More than the hub takes to answer.
	var warmed api.MenusWarmed
	if err := c.call(ctx, http.MethodPost, "/v1/menus/warm", nil, body, &warmed); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(a.stdout, "Built: %d, cached before: %d, failed: %d\n", warmed.Built, warmed.Cached, warmed.Failed); err != nil {
		return err
	}
	if warmed.Failed > 0 {
		return errSilent
	}
	return nil
}

type menuInvalidateCommand struct {
	Role string `xor:"which" help:"The menus of this role."`
	Type string `xor:"which" help:"The menus of this type."`
	All  bool   `xor:"which" help:"All menus."`

	hubClient `embed:""`
}

// Run makes menus out of date and shows which.
func (c *menuInvalidateCommand) Run(ctx context.Context, a *app) error {
	var which any
	switch {
	case c.Role != "":
		which = map[string]string{"role": c.Role}
	case c.Type != "":
		which = map[string]string{"type": c.Type}
	case c.All:
		which = map[string]bool{"all": true}
	default:
		return usageError("say which menus: --role ROLE, --type TYPE or --all")
	}
	body, err := json.Marshal(which)
	if err != nil {
		return err
	}
	var invalidated api.MenusInvalidated
	if err := c.call(ctx, http.MethodPost, "/v1/menus/invalidate", nil, body, &invalidated); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "Invalidated: %s\n", invalidated.Invalidated)
	return err
}

type menuListCommand struct {
	hubClient `embed:""`
}

// Run shows the users, one a line.
func (c *menuListCommand) Run(ctx context.Context, a *app) error {
	for cursor := ""; ; {
		var page api.MenuUserList
		if err := c.call(ctx, http.MethodGet, "/v1/menus", given("limit", "1000", "cursor", cursor), nil, &page); err != nil {
			return err
		}
		for _, u := range page.Users {
			if _, err := fmt.Fprintf(a.stdout, "%d  %v\n", u.UserID, time.Duration(u.ExpiresIn)*time.Second); err != nil {
				return err
			}
		}
		if page.NextCursor == nil {
			return nil
		}
		cursor = *page.NextCursor
	}
}

type menuDefinitionsCommand struct {
	hubClient `embed:""`
}

// Run shows the definitions.
func (c *menuDefinitionsCommand) Run(ctx context.Context, a *app) error {
	got, err := c.get(ctx, "/v1/menus/definitions", nil)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", bytes.TrimSpace(got.body))
	return err
}
