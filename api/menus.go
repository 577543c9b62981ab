package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/menucache"
)

// outOfRange stands for a number that could not be read. Menus refuses it together with whatever else is wrong.
const outOfRange = -1

// The headers of menus. The slices are shared by all answers.
//
//nolint:gochecknoglobals // Constants, but for the language.
var (
	headerJSON    = []string{echo.MIMEApplicationJSON}
	headerPrivate = []string{"private, no-cache"}
	headerHit     = []string{"HIT"}
)

// GetMenu answers GET /v1/menus/{user_id}/{menu_type}.
func (s *Server) GetMenu(c echo.Context) error {
	key, err := menuKey(c, pathParam(c, "user_id"), pathParam(c, "menu_type"))
	if err != nil {
		return err
	}
	params, wrong := readMenuParams(c.Request().URL.RawQuery)
	r := menucache.Request{
		Key: key, Role: params.role, Language: params.lang, Format: menucache.Format(params.format),
	}
	if params.badges != "" {
		if r.Badges, err = s.deps.Menus.Definitions().ParseBadges(params.badges); err != nil {
			wrong = append(wrong, problemOf(err).fields...)
		}
	}
	answer, err := s.menu(c, r, wrong)
	if err != nil {
		return err
	}
	return writeMenu(c, &answer, matches(c.Request().Header["If-None-Match"], answer.ETag))
}

// RenderMenu answers POST /v1/menus/{user_id}/{menu_type}.
func (s *Server) RenderMenu(c echo.Context, userID MenuUserID, menuType MenuType) error {
	key, err := menuKey(c, userID, menuType)
	if err != nil {
		return err
	}
	r := menucache.Request{Key: key}
	wrong, err := readObject(c, func(name string, value jsontext.Value) string {
		switch name {
		case "role":
			return readText(value, &r.Role)
		case "lang":
			return readText(value, &r.Language)
		case "format":
			return readText(value, (*string)(&r.Format))
		case "badges":
			return readBadges(value, &r.Badges)
		}
		return unknownMember
	})
	if err != nil {
		return err
	}
	answer, err := s.menu(c, r, wrong)
	if err != nil {
		return err
	}
	return writeMenu(c, &answer, false)
}

// menu gets the menu, unless something is wrong already: then it finds out what else is.
func (s *Server) menu(c echo.Context, r menucache.Request, wrong []FieldProblem) (menucache.Answer, error) {
	if len(wrong) == 0 {
		return s.deps.Menus.Get(toTheEnd(c), r)
	}
	named := map[string]bool{"user_id": r.UserID != outOfRange}
	for _, f := range wrong {
		named[f.Field] = true
	}
	r.UserID = outOfRange // So that nothing can come of the call.
	_, err := s.deps.Menus.Get(toTheEnd(c), r)
	var more *menucache.InvalidError
	if errors.As(err, &more) {
		for _, f := range more.Fields {
			if !named[f.Field] {
				wrong = append(wrong, FieldProblem(f))
			}
		}
	}
	return menucache.Answer{}, invalidFields(wrong...)
}

// writeMenu answers with a menu, or says that the caller has it.
func writeMenu(c echo.Context, a *menucache.Answer, notModified bool) error {
	header := c.Response().Header()
	own := &[2]string{strconv.FormatInt(int64(a.Age/time.Second), 10), a.ETag}
	header["Age"], header["Etag"] = own[:1:1], own[1:]
	header[echo.HeaderCacheControl] = headerPrivate
	if header["X-Cache"] = headerHit; a.Outcome != "HIT" {
		header["X-Cache"] = []string{string(a.Outcome)}
	}
	if notModified {
		c.Response().WriteHeader(http.StatusNotModified)
		return nil
	}
	header[echo.HeaderContentType] = headerJSON
	_, err := c.Response().Write(a.Body)
	return err
}

// matches reports whether the fields If-None-Match name an entity tag, as RFC 9110 has it (13.1.2). What is wrong in them is
// no match.
func matches(fields []string, tag string) bool {
	for _, list := range fields {
		if strings.Trim(list, " \t") == "*" {
			return true
		}
		for list = strings.TrimLeft(list, " \t,"); list != ""; list = strings.TrimLeft(list, " \t,") {
			opaque := strings.TrimPrefix(list, "W/") // The comparison is weak.
			if opaque == "" || opaque[0] != '"' {
				break
			}
			end := strings.IndexByte(opaque[1:], '"') + 2
			if end < 2 {
				break
			}
			if opaque[:end] == tag {
				return true
			}
			list = opaque[end:]
		}
	}
	return false
}

// PutMenu answers PUT /v1/menus/{user_id}/{menu_type}.
func (s *Server) PutMenu(c echo.Context, userID MenuUserID, menuType MenuType, params PutMenuParams) error {
	key, err := menuKey(c, userID, menuType)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	if err := readJSON(c, &body); err != nil {
		return err
	}
	written, err := s.deps.Menus.Set(toTheEnd(c), menucache.Write{
		Key: key, Menu: body.Bytes(), Role: params.Role, Language: params.Lang, TTL: readTTL(params.TTL),
		Mode: menucache.WriteMode(params.Write),
	})
	if err != nil {
		return err
	}
	return answerWritten(c, key, written)
}

// RefreshMenu answers POST /v1/menus/{user_id}/{menu_type}/refresh.
func (s *Server) RefreshMenu(c echo.Context, userID MenuUserID, menuType MenuType, params RefreshMenuParams) error {
	key, err := menuKey(c, userID, menuType)
	if err != nil {
		return err
	}
	written, err := s.deps.Menus.Renew(toTheEnd(c), key, readTTL(params.TTL))
	if err != nil {
		return notFoundAs(err, codeMenuNotCached, "The menu is not cached",
			"The user has no menu of this type in the cache. Get it, and it is.")
	}
	return answerWritten(c, key, written)
}

func answerWritten(c echo.Context, key menucache.Key, w menucache.Written) error {
	status := http.StatusOK
	if w.Status == string(MenuWrittenStatusQueued) {
		status = http.StatusAccepted
	}
	return c.JSON(status, MenuWritten{
		UserID: key.UserID, MenuType: key.Type, Status: MenuWrittenStatus(w.Status), ExpiresIn: seconds(w.ExpiresIn),
	})
}

// DeleteMenu answers DELETE /v1/menus/{user_id}/{menu_type}.
func (s *Server) DeleteMenu(c echo.Context, userID MenuUserID, menuType MenuType) error {
	key, err := menuKey(c, userID, menuType)
	if err != nil {
		return err
	}
	n, err := s.deps.Menus.Clear(toTheEnd(c), key)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, MenusCleared{Cleared: n})
}

// DeleteUserMenus answers DELETE /v1/menus/{user_id}.
func (s *Server) DeleteUserMenus(c echo.Context, userID MenuUserID) error {
	key, err := menuKey(c, userID, "")
	if err != nil {
		return err
	}
	n, err := s.deps.Menus.ClearUser(toTheEnd(c), key.UserID)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, MenusCleared{Cleared: n})
}

// InvalidateMenus answers POST /v1/menus/invalidate.
func (s *Server) InvalidateMenus(c echo.Context) error {
	var which menucache.Selection
	wrong, err := readObject(c, func(name string, value jsontext.Value) string {
		switch name {
		case "role":
			return readText(value, &which.Role)
		case "type":
			return readText(value, &which.Type)
		case "all":
			if which.All = value.Kind() == 't'; !which.All {
				return "must be true"
			}
			return ""
		}
		return unknownMember
	})
	if err != nil {
		return err
	}
	if len(wrong) > 0 {
		return invalidFields(wrong...)
	}
	if err := s.deps.Menus.Invalidate(toTheEnd(c), which); err != nil {
		return err
	}
	name := "all"
	switch {
	case which.Role != "":
		name = "role:" + which.Role
	case which.Type != "":
		name = "type:" + which.Type
	}
	return c.JSON(http.StatusOK, MenusInvalidated{Invalidated: name})
}

// WarmMenus answers POST /v1/menus/warm.
func (s *Server) WarmMenus(c echo.Context) error {
	var w menucache.Warming
	wrong, err := readObject(c, func(name string, value jsontext.Value) string {
		switch name {
		case "users":
			if json.Unmarshal(value, &w.Users) != nil || len(w.Users) == 0 {
				return "must be an array of user ids"
			}
			return ""
		case "types":
			if json.Unmarshal(value, &w.Types) != nil || len(w.Types) == 0 {
				return "must be an array of menu types"
			}
			return ""
		case "role":
			return readText(value, &w.Role)
		case "lang":
			return readText(value, &w.Language)
		case "top":
			if json.Unmarshal(value, &w.Top) != nil || w.Top < 1 {
				return "must be a whole number from 1 to " + strconv.Itoa(menucache.MaxWarm)
			}
			return ""
		}
		return unknownMember
	})
	if err != nil {
		return err
	}
	if len(wrong) > 0 {
		return invalidFields(wrong...)
	}
	warmed, err := s.deps.Menus.Warm(toTheEnd(c), w)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, MenusWarmed{Built: warmed.Built, Cached: warmed.Cached, Failed: warmed.Failed})
}

// ListMenuUsers answers GET /v1/menus.
func (s *Server) ListMenuUsers(c echo.Context, params ListMenuUsersParams) error {
	page, err := s.deps.Menus.Users(c.Request().Context(), params.Cursor, readLimit(params.Limit))
	if err != nil {
		return err
	}
	list := MenuUserList{Users: make([]MenuUser, len(page.Users)), NextCursor: nextCursor(page.Next)}
	for i, u := range page.Users {
		list.Users[i] = MenuUser{UserID: u.ID, ExpiresIn: seconds(u.ExpiresIn)}
	}
	return c.JSON(http.StatusOK, list)
}

// GetMenuDefinitions answers GET /v1/menus/definitions.
func (s *Server) GetMenuDefinitions(c echo.Context) error {
	return c.JSON(http.StatusOK, s.deps.Menus.Definitions().Describe())
}

// GetMenuCallback answers GET /v1/menus/callbacks/{id}.
func (s *Server) GetMenuCallback(c echo.Context, id string) error {
	data, err := s.deps.Menus.Callback(c.Request().Context(), id)
	if err != nil {
		return notFoundAs(err, codeCallbackNotFound, "The callback is not known", "No button has this id, or it is too long ago.")
	}
	return c.JSON(http.StatusOK, MenuCallback{ID: id, CallbackData: data})
}

// ListDeadWrites answers GET /v1/menus/dead-writes.
func (s *Server) ListDeadWrites(c echo.Context, params ListDeadWritesParams) error {
	page, err := s.deps.Menus.DeadWrites(c.Request().Context(), params.Cursor, readLimit(params.Limit))
	if err != nil {
		return err
	}
	list := DeadWriteList{DeadWrites: make([]DeadWrite, len(page.Writes)), NextCursor: nextCursor(page.Next)}
	for i, w := range page.Writes {
		list.DeadWrites[i] = DeadWrite{
			ID: w.ID, UserID: w.Key.UserID, MenuType: w.Key.Type, Attempts: w.Attempts, Problem: w.Problem,
			At: events.FormatTimestamp(w.At),
		}
	}
	return c.JSON(http.StatusOK, list)
}

// RetryDeadWrite answers POST /v1/menus/dead-writes/{id}/retry.
func (s *Server) RetryDeadWrite(c echo.Context, id string) error {
	if err := s.deps.Menus.RetryWrite(toTheEnd(c), id); err != nil {
		return notFoundAs(err, codeDeadWriteNotFound, "The write is not known",
			"No write that was given up has this id. Perhaps it was sent again already.")
	}
	return c.JSON(http.StatusOK, DeadWriteQueued{ID: id, Status: DeadWriteQueuedStatusQueued})
}

// toTheEnd is a context that does not end with the request: a caller who closes its side of the connection early may still
// read the answer. Nothing here takes long.
func toTheEnd(c echo.Context) context.Context { return context.WithoutCancel(c.Request().Context()) }

// menuKey reads whose menu of which type is meant.
func menuKey(c echo.Context, userID, menuType string) (menucache.Key, error) {
	id, ok := wholeNumber(userID)
	if !ok {
		if allow := passedOver(c.Path(), userID); allow != "" {
			c.Response().Header().Set(echo.HeaderAllow, allow)
			return menucache.Key{}, echo.ErrMethodNotAllowed
		}
		id = outOfRange
	}
	return menucache.Key{UserID: id, Type: menuType}, nil
}

// passedOver returns the methods of the path that Echo passed over, as it has not the method of the request, to take a
// name in it for the user's id; "" when there is no such path.
func passedOver(route, userID string) (allow string) {
	switch route {
	case "/v1/menus/:user_id":
		switch userID {
		case "definitions", "dead-writes":
			return "OPTIONS, GET"
		case "invalidate", "warm":
			return "OPTIONS, POST"
		}
	case "/v1/menus/:user_id/:menu_type":
		if userID == "callbacks" {
			return "OPTIONS, GET"
		}
	}
	return ""
}

// pathParam returns a parameter of the path. Echo leaves it escaped if the path does not stand for itself.
func pathParam(c echo.Context, name string) string {
	value := c.Param(name)
	if c.Request().URL.RawPath == "" {
		return value
	}
	unescaped, err := url.PathUnescape(value)
	if err != nil {
		return value // Not from package net/http, which has unescaped the path before.
	}
	return unescaped
}

// wholeNumber reads a number from 1 to 9223372036854775807 without a sign and without leading zeros.
func wholeNumber(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n > 0 && text[0] >= '1' && text[0] <= '9'
}

// readTTL reads whole seconds, 0 for none given.
func readTTL(text string) time.Duration {
	if text == "" {
		return 0
	}
	n, ok := wholeNumber(text)
	if !ok || n > int64(menucache.MaxTTL/time.Second) {
		return outOfRange
	}
	return time.Duration(n) * time.Second
}

// readLimit reads how much a page may hold.
func readLimit(text string) int {
	if text == "" {
		return 100
	}
	n, ok := wholeNumber(text)
	if !ok || n > menucache.MaxPage {
		return outOfRange
	}
	return int(n)
}

// seconds rounds up, so that what is kept for less than one does not look like gone.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

func nextCursor(cursor string) *string {
	if cursor == "" {
		return nil
	}
	return &cursor
}

// menuParams are the parameters in the query of GetMenu.
type menuParams struct{ role, lang, format, badges string }

// readMenuParams reads them as the generated code reads those of other operations, but without copies and reflection, which
// would take as long as all the rest that this package does for a menu. An empty value is none, and other parameters are
// left alone.
func readMenuParams(query string) (p menuParams, wrong []FieldProblem) {
	for query != "" {
		var name, value string
		name, query, _ = strings.Cut(query, "&")
		name, value, _ = strings.Cut(name, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			continue
		}
		var into *string
		switch name {
		case "role":
			into = &p.role
		case "lang":
			into = &p.lang
		case "format":
			into = &p.format
		case "badges":
			into = &p.badges
		default:
			continue
		}
		if value, err = url.QueryUnescape(value); err != nil || *into != "" {
			wrong = append(wrong, FieldProblem{Field: name, Problem: "must be given once and be well formed"})
			continue
		}
		*into = value
	}
	return p, wrong
}
