package api

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// PutTempValue answers PUT /v1/temp/{namespace}/{key}.
func (s *Server) PutTempValue(c echo.Context) error {
	a, err := ofNamespace(pathParam(c, "namespace"))
	if err != nil {
		return err
	}
	return s.putValue(c, a, pathParam(c, "key"), a.query(c, "ttl"))
}

// PutUserTempValue answers PUT /v1/users/{user_id}/temp/{key}.
func (s *Server) PutUserTempValue(c echo.Context) error {
	a := ofUser(pathParam(c, "user_id"))
	return s.putValue(c, a, pathParam(c, "key"), a.query(c, "ttl"))
}

func (s *Server) putValue(c echo.Context, a *subject, key, ttl string) error {
	body := bodies.Get().(*bytes.Buffer)
	defer func() { body.Reset(); bodies.Put(body) }()
	if err := readJSON(c, body); err != nil {
		return err
	}
	condition := a.condition(c)
	written, err := s.deps.Temp.Put(toTheEnd(c), tempdata.Put{
		Key: a.key(key), Data: body.Bytes(), TTL: readTTL(ttl), Condition: condition,
	})
	if err != nil {
		return a.told(err)
	}
	status := http.StatusOK
	if written.Created {
		status = http.StatusCreated
	}
	return answerValue(c, status, a, key, written)
}

// answerValue tells of a value that is kept.
func answerValue(c echo.Context, status int, a *subject, key string, w tempdata.Written) error {
	tempHeader(c, w.ETag, w.Degraded)
	o := object(nil).text("namespace", a.namespace).text("key", key).expires(w.ExpiresIn)
	return answerJSON(c, status, o.end(w.Degraded))
}

// answerJSON answers with JSON that is there already.
func answerJSON(c echo.Context, status int, body []byte) error {
	header := c.Response().Header()
	header[echo.HeaderContentType] = headerJSON
	if len(body) > 1<<10 { // Of less, package http itself tells the length.
		header[echo.HeaderContentLength] = []string{strconv.Itoa(len(body))}
	}
	c.Response().WriteHeader(status)
	_, err := c.Response().Write(body)
	return err
}

// GetTempValue answers GET /v1/temp/{namespace}/{key}.
func (s *Server) GetTempValue(c echo.Context) error {
	a, err := ofNamespace(pathParam(c, "namespace"))
	if err != nil {
		return err
	}
	return s.getValue(c, a, pathParam(c, "key"), a.query(c, "meta"))
}

// GetUserTempValue answers GET /v1/users/{user_id}/temp/{key}.
func (s *Server) GetUserTempValue(c echo.Context) error {
	a := ofUser(pathParam(c, "user_id"))
	return s.getValue(c, a, pathParam(c, "key"), a.query(c, "meta"))
}

// HeadTempValue answers HEAD /v1/temp/{namespace}/{key}.
func (s *Server) HeadTempValue(c echo.Context, namespace TempNamespace, key TempKey, _ HeadTempValueParams) error {
	a, err := ofNamespace(namespace)
	if err != nil {
		return err
	}
	return s.getValue(c, a, key, "")
}

// HeadUserTempValue answers HEAD /v1/users/{user_id}/temp/{key}.
func (s *Server) HeadUserTempValue(c echo.Context, userID UserID, key TempKey, _ HeadUserTempValueParams) error {
	a := ofUser(userID)
	return s.getValue(c, a, key, "")
}

func (s *Server) getValue(c echo.Context, a *subject, key, meta string) error {
	whole := a.boolean("meta", meta)
	v, err := s.deps.Temp.Get(toTheEnd(c), a.key(key))
	if err != nil {
		return valueNotFound(a.told(err))
	}
	if notModified(c, v.ETag, v.ExpiresIn, v.Degraded) {
		return nil
	}
	if !whole {
		return answerJSON(c, http.StatusOK, v.Data)
	}
	o := object(nil).text("namespace", a.namespace).text("key", key).raw("data", v.Data).text("type", v.Type)
	if v.CreatedAt.IsZero() {
		o = o.raw("created_at", []byte("null"))
	} else {
		o = o.text("created_at", events.FormatTimestamp(v.CreatedAt))
	}
	return answerJSON(c, http.StatusOK, o.expires(v.ExpiresIn).end(v.Degraded))
}

// notModified sets the headers of what is there, and answers when the caller has it.
func notModified(c echo.Context, tag string, expires time.Duration, degraded bool) bool {
	header := tempHeader(c, tag, degraded)
	if expires > 0 {
		header["Expires-In"] = []string{strconv.FormatInt(seconds(expires), 10)}
	}
	if !matches(c.Request().Header["If-None-Match"], tag) {
		return false
	}
	c.Response().WriteHeader(http.StatusNotModified)
	return true
}

func valueNotFound(err error) error {
	return notFoundAs(err, codeValueNotFound, "There is no such value", "There is nothing under this key. Perhaps it has expired.")
}

// DeleteTempValue answers DELETE /v1/temp/{namespace}/{key}.
func (s *Server) DeleteTempValue(c echo.Context, namespace TempNamespace, key TempKey, _ DeleteTempValueParams) error {
	a, err := ofNamespace(namespace)
	if err != nil {
		return err
	}
	return s.deleteValue(c, a, key)
}

// DeleteUserTempValue answers DELETE /v1/users/{user_id}/temp/{key}.
func (s *Server) DeleteUserTempValue(c echo.Context, userID UserID, key TempKey, _ DeleteUserTempValueParams) error {
	a := ofUser(userID)
	return s.deleteValue(c, a, key)
}

func (s *Server) deleteValue(c echo.Context, a *subject, key string) error {
	condition := a.condition(c)
	written, err := s.deps.Temp.Delete(toTheEnd(c), a.key(key), condition)
	if err != nil {
		return valueNotFound(a.told(err))
	}
	tempHeader(c, "", written.Degraded)
	return c.JSON(http.StatusOK, TempDeleted{Namespace: a.namespace, Key: key, Deleted: true, Degraded: written.Degraded})
}

// TouchTempValue answers POST /v1/temp/{namespace}/{key}/touch.
func (s *Server) TouchTempValue(c echo.Context, namespace TempNamespace, key TempKey, params TouchTempValueParams) error {
	a, err := ofNamespace(namespace)
	if err != nil {
		return err
	}
	return s.touchValue(c, a, key, params.TTL)
}

// TouchUserTempValue answers POST /v1/users/{user_id}/temp/{key}/touch.
func (s *Server) TouchUserTempValue(c echo.Context, userID UserID, key TempKey, params TouchUserTempValueParams) error {
	a := ofUser(userID)
	return s.touchValue(c, a, key, params.TTL)
}

func (s *Server) touchValue(c echo.Context, a *subject, key, ttl string) error {
	condition := a.condition(c)
	written, err := s.deps.Temp.Touch(toTheEnd(c), a.key(key), readTTL(ttl), condition)
	if err != nil {
		return valueNotFound(a.told(err))
	}
	return answerValue(c, http.StatusOK, a, key, written)
}

// ListTempKeys answers GET /v1/temp/{namespace}.
func (s *Server) ListTempKeys(c echo.Context, namespace TempNamespace, params ListTempKeysParams) error {
	a, err := ofNamespace(namespace)
	if err != nil {
		return err
	}
	return s.listKeys(c, a, params.Cursor, params.Limit)
}

// ListUserTempKeys answers GET /v1/users/{user_id}/temp.
func (s *Server) ListUserTempKeys(c echo.Context, userID UserID, params ListUserTempKeysParams) error {
	a := ofUser(userID)
	return s.listKeys(c, a, params.Cursor, params.Limit)
}

func (s *Server) listKeys(c echo.Context, a *subject, cursor, limit string) error {
	page, err := s.deps.Temp.List(toTheEnd(c), a.namespace, readCursor(cursor), readLimit(limit))
	if err != nil {
		return err
	}
	list := TempKeyList{Keys: make([]TempListedKey, len(page.Items)), NextCursor: nextCursor(writeCursor(page.Next))}
	for i, item := range page.Items {
		list.Keys[i] = TempListedKey{Key: item.Name, ExpiresIn: secondsOrEver(item.ExpiresIn)}
	}
	return c.JSON(http.StatusOK, list)
}

// writeCursor makes a cursor of the Store fit for a URL, as it is.
func writeCursor(cursor string) string { return base64.RawURLEncoding.EncodeToString([]byte(cursor)) }

// readCursor is the reverse of writeCursor. What that did not write gives a cursor that the Store refuses.
func readCursor(text string) string {
	cursor, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "?"
	}
	return string(cursor)
}

// secondsOrEver is for how long something is kept, nil for ever.
func secondsOrEver(in time.Duration) *int64 {
	if in == 0 {
		return nil
	}
	n := seconds(in)
	return &n
}

// ClearTempValues answers DELETE /v1/temp/{namespace}.
func (s *Server) ClearTempValues(c echo.Context, namespace TempNamespace) error {
	a, err := ofNamespace(namespace)
	if err != nil {
		return err
	}
	return s.clearValues(c, a)
}

// ClearUserTempValues answers DELETE /v1/users/{user_id}/temp.
func (s *Server) ClearUserTempValues(c echo.Context, userID UserID) error {
	a := ofUser(userID)
	return s.clearValues(c, a)
}

func (s *Server) clearValues(c echo.Context, a *subject) error {
	if err := a.unconditional(c); err != nil {
		return err
	}
	n, err := s.deps.Temp.Clear(toTheEnd(c), a.namespace)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, TempCount{Cleared: n})
}

// query reads the only parameter that an operation has in its query, as the generated code reads those of others, but
// without copies and reflection.
func (a *subject) query(c echo.Context, name string) (value string) {
	for query := c.Request().URL.RawQuery; query != ""; {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		n, v, _ := strings.Cut(pair, "=")
		if n, err := url.QueryUnescape(n); err != nil || n != name {
			continue
		}
		v, err := url.QueryUnescape(v)
		if err != nil || value != "" {
			a.fail(name, "must be given once and be well formed")
			return ""
		}
		value = v
	}
	return value
}
