package api

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/tempdata"
)

// subject is whose temporary data a request is about, and what is wrong with the request that the Store does not see.
type subject struct {
	// field is what requests call it: namespace, user_id or conversation_id.
	field string
	// namespace is that of values; conversation and userID are what else it may be.
	namespace, conversation string
	userID                  int64
	// own is what is wrong with it, wrong what else is.
	own, wrong []FieldProblem
}

// nobody stands for a user's id that is none. The Store refuses it together with whatever else is wrong.
const nobody = 0

const wantUserID = "must be a whole number from 1 to 9223372036854775807"

// ofNamespace refuses a namespace that has calls of its own.
func ofNamespace(namespace string) (*subject, error) {
	a := &subject{field: "namespace", namespace: namespace}
	err := tempdata.CheckNamespace(namespace)
	var invalid *tempdata.InvalidError
	switch {
	case errors.As(err, &invalid):
		a.own = []FieldProblem{FieldProblem(invalid.Fields[0])}
	case namespace == conversations:
		return nil, reserved("The namespace conversations is that of histories. Use /v1/conversations/{conversation_id}/messages.")
	case err != nil:
		return nil, reserved("The namespace " + namespace + " is that of a user. Use /v1/users/" +
			strings.TrimPrefix(namespace, userPrefix) + "/temp.")
	}
	return a, nil
}

func ofUser(userID string) *subject {
	a := &subject{field: "user_id"}
	var ok bool
	if a.userID, ok = wholeNumber(userID); !ok {
		a.userID, a.own = nobody, []FieldProblem{{Field: "user_id", Problem: wantUserID}}
	}
	a.namespace = tempdata.UserNamespace(a.userID)
	return a
}

func ofConversation(id string) *subject {
	a := &subject{field: "conversation_id", conversation: id}
	var invalid *tempdata.InvalidError
	if errors.As(tempdata.CheckNamespace(id), &invalid) { // Which is what it may not be called either.
		a.own = []FieldProblem{{Field: a.field, Problem: invalid.Fields[0].Problem}}
	}
	return a
}

// fail notes that something is wrong with the request. From then on the subject is none, so that nothing can come of a call
// but that the Store tells what else is wrong.
func (a *subject) fail(field, problem string) {
	a.wrong = append(a.wrong, FieldProblem{Field: field, Problem: problem})
	a.userID, a.namespace, a.conversation = nobody, tempdata.UserNamespace(nobody), ""
}

// told is what the Store says of the request, with what was wrong before.
func (a *subject) told(err error) error {
	if len(a.wrong) == 0 {
		return err
	}
	all := append(slices.Clone(a.own), a.wrong...)
	var invalid *tempdata.InvalidError
	if errors.As(err, &invalid) {
		for _, f := range invalid.Fields {
			known := f.Field == "user_id" || f.Field == a.field
			for _, w := range a.wrong {
				known = known || w.Field == f.Field
			}
			if !known {
				all = append(all, FieldProblem(f))
			}
		}
	}
	return invalidFields(all...)
}

func (a *subject) key(name string) tempdata.Key {
	return tempdata.Key{Namespace: a.namespace, Name: name}
}

func (a *subject) form(name string) tempdata.FormKey {
	return tempdata.FormKey{UserID: a.userID, Form: name}
}

// boolean reads a parameter that is true or false, which it is when it is not given.
func (a *subject) boolean(name, text string) bool {
	if text != "" && text != "true" && text != "false" {
		a.fail(name, "must be true or false")
	}
	return text == "true"
}

// condition reads when a change is to be made.
func (a *subject) condition(c echo.Context) (when tempdata.Condition) {
	header := c.Request().Header
	if lines := header["If-Match"]; lines != nil {
		tags, ok := entityTags(lines)
		switch {
		case !ok:
			a.fail("If-Match", `must be * or entity tags such as "46097b6ca318730251ce" with commas between them`)
		case tags == nil:
			when.Exists = true
		default:
			when.Tags = tags
		}
	}
	if lines := header["If-None-Match"]; lines != nil {
		if tags, ok := entityTags(lines); !ok || tags != nil {
			a.fail("If-None-Match", "must be *")
		}
		when.Absent = true
	}
	return when
}

// unconditional refuses a condition of a call that heeds none: what clears must not clear what it was told to leave.
func (a *subject) unconditional(c echo.Context) error {
	for _, name := range [...]string{"If-Match", "If-None-Match"} {
		if _, given := c.Request().Header[name]; given {
			a.fail(name, "is not known here")
		}
	}
	return a.told(nil)
}

// entityTags reads the fields of If-Match as RFC 9110 has them (13.1.1): no tags for *, else one at least. Weak tags are
// among them as they are, so that they match nothing.
func entityTags(lines []string) (tags []string, ok bool) {
	list := strings.Join(lines, ",")
	if strings.Trim(list, " \t") == "*" {
		return nil, true
	}
	for list = strings.TrimLeft(list, " \t,"); list != ""; list = strings.TrimLeft(list, " \t,") {
		size := entityTag(list)
		if size == 0 {
			return nil, false
		}
		tags = append(tags, list[:size])
		list = strings.TrimLeft(list[size:], " \t")
		if list != "" && list[0] != ',' {
			return nil, false
		}
	}
	return tags, len(tags) > 0
}

// entityTag returns the size of the entity tag that a text begins with, 0 if it begins with none.
func entityTag(text string) int {
	from := 0
	if strings.HasPrefix(text, "W/") {
		from = len("W/")
	}
	if from >= len(text) || text[from] != '"' {
		return 0
	}
	for i := from + 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return i + 1
		case c < '!' || c == 0x7f:
			return 0
		}
	}
	return 0
}

// tempHeader tells of temporary data in the headers of an answer. A tag or a time that is zero is not told.
func tempHeader(c echo.Context, tag string, degraded bool) http.Header {
	header := c.Response().Header()
	if tag != "" {
		header["Etag"] = []string{tag}
	}
	if degraded {
		header["Degraded"] = headerMemory
	}
	return header
}

// headerMemory is shared by all answers.
var headerMemory = []string{"memory"} //nolint:gochecknoglobals // A constant, but for the language.
