package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/tempdata"
)

// BatchTempValues answers POST /v1/temp/{namespace}/batch.
func (s *Server) BatchTempValues(c echo.Context, namespace TempNamespace) error {
	a, err := ofNamespace(namespace)
	if err != nil {
		return err
	}
	return s.batch(c, a)
}

// BatchUserTempValues answers POST /v1/users/{user_id}/temp/batch.
func (s *Server) BatchUserTempValues(c echo.Context, userID UserID) error {
	a := ofUser(userID)
	return s.batch(c, a)
}

func (s *Server) batch(c echo.Context, a *subject) error {
	var names []string
	var items []tempdata.Item
	given := ""
	wrong, err := readObject(c, func(name string, value jsontext.Value) string {
		if name != "get" && name != "set" {
			return unknownMember
		}
		if given != "" {
			return "must not be given together with " + given
		}
		if given = name; name == "get" {
			return readNames(value, &names)
		}
		return a.readItems(value, &items)
	})
	if err != nil {
		return err
	}
	for _, w := range wrong {
		a.fail(w.Field, w.Problem)
	}
	if given == "" {
		a.fail("get", "must be given, or set: exactly one of the two")
	}
	switch {
	case names != nil:
		return s.getMany(c, a, names)
	case items != nil:
		return s.setMany(c, a, items)
	}
	return a.told(nil) // As neither could be read, this is not nil.
}

// readNames reads an array of strings.
func readNames(value jsontext.Value, into *[]string) (problem string) {
	if json.Unmarshal(value, into) != nil || *into == nil {
		*into = nil
		return "must be an array of keys"
	}
	return ""
}

// readItems reads the values to set.
func (a *subject) readItems(value jsontext.Value, into *[]tempdata.Item) (problem string) {
	var all []json.RawMessage
	if json.Unmarshal(value, &all) != nil || all == nil {
		return "must be an array of values with their keys"
	}
	*into = make([]tempdata.Item, len(all))
	for i, raw := range all {
		place := "set[" + strconv.Itoa(i) + "]"
		if jsontext.Value(raw).Kind() != '{' {
			a.fail(place, "must be an object with key and data")
			continue
		}
		item := &(*into)[i]
		wrong, err := readMembers(bytes.NewBuffer(raw), func(name string, value jsontext.Value) string {
			switch name {
			case "key":
				return readText(value, &item.Name)
			case "data":
				item.Data = bytes.Clone(value)
				return ""
			case "ttl":
				item.TTL = outOfRange
				if value.Kind() == '0' {
					item.TTL = readTTL(string(value))
				}
				return ""
			}
			return unknownMember
		})
		if err != nil {
			return "must be an array of values with their keys" // Not after it was read as JSON before.
		}
		for _, w := range wrong {
			a.fail(place+"."+w.Field, w.Problem)
		}
		if item.Data == nil {
			a.fail(place+".data", "is required")
		}
	}
	return ""
}

func (s *Server) getMany(c echo.Context, a *subject, names []string) error {
	values, err := s.deps.Temp.GetMany(toTheEnd(c), a.namespace, names)
	if err != nil {
		return a.told(err)
	}
	degraded := false
	list := []byte{'['}
	for i, v := range values {
		if i > 0 {
			list = append(list, ',')
		}
		o := object(nil).text("key", names[i]).flag("found", v.ETag != "")
		if v.ETag != "" {
			o = o.raw("data", v.Data).text("etag", v.ETag).expires(v.ExpiresIn)
			degraded = degraded || v.Degraded
		}
		list = append(list, o.end(false)...)
	}
	tempHeader(c, "", degraded)
	return answerJSON(c, http.StatusOK, object(nil).raw("values", append(list, ']')).end(degraded))
}

func (s *Server) setMany(c echo.Context, a *subject, items []tempdata.Item) error {
	written, err := s.deps.Temp.PutMany(toTheEnd(c), a.namespace, items)
	if err != nil {
		return a.told(err)
	}
	answer := TempResults{Results: make([]TempResult, len(written))}
	for i, w := range written {
		answer.Results[i] = TempResult{Key: items[i].Name, Etag: w.ETag, ExpiresIn: seconds(w.ExpiresIn)}
		answer.Degraded = answer.Degraded || w.Degraded
	}
	tempHeader(c, "", answer.Degraded)
	return c.JSON(http.StatusOK, answer)
}
