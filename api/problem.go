package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/menucache"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// problem is an error that says itself how it is answered: RFC 9457.
type problem struct {
	status int
	code   string
	title  string
	detail string
	// retryAfter is in seconds; 0 means that trying again does not help.
	retryAfter int
	fields     []FieldProblem
	// currentETag is that of what there is, where a condition is not met; "" if there is nothing.
	currentETag string
}

func (p *problem) Error() string { return p.code + ": " + p.detail }

const (
	codeMalformed        = "malformed_json"
	codeUnauthorized     = "unauthorized"
	codeForbidden        = "forbidden"
	codeHostNotAllowed   = "host_not_allowed"
	codeNotFound         = "not_found"
	codeMethodNotAllowed = "method_not_allowed"
	codeTooLarge         = "payload_too_large"
	codeMediaType        = "unsupported_media_type"
	codeInvalidFields    = "invalid_fields"
	codeKeyReused        = "idempotency_key_reused"
	codeTooManyStreams   = "too_many_streams"
	codeInternal         = "internal_error"
	codeRedisUnavailable = "redis_unavailable"
	codeShuttingDown     = "shutting_down"

	codeRoleNotAllowed    = "role_not_allowed"
	codeMenuNotCached     = "menu_not_cached"
	codeCallbackNotFound  = "callback_not_found"
	codeDeadWriteNotFound = "dead_write_not_found"
	codeNotAnnounced      = "not_announced"
	codeSourceUnavailable = "menu_source_unavailable"
	codeSourceRefused     = "menu_source_refused"

	codeNamespaceReserved = "namespace_reserved"
	codeValueNotFound     = "value_not_found"
	codeFormNotFound      = "form_not_found"
	codeStepNotFound      = "step_not_found"
	codeHistoryNotFound   = "history_not_found"
	codeLeaseNotFound     = "lease_not_found"
	codeValueUnreadable   = "value_unreadable"
	codeLeaseHeld         = "lease_held"
	codeLeaseLost         = "lease_lost"
	codePrecondition      = "precondition_failed"
	codeMemoryFull        = "memory_full"
	codeContended         = "contended"
)

func malformed(detail string) *problem {
	return &problem{status: http.StatusBadRequest, code: codeMalformed, title: "Malformed JSON", detail: detail}
}

// notAnObject tells where a body ceases to be a JSON object.
func notAnObject(where string) *problem {
	return malformed("The body is no JSON object: " + where + ".")
}

// after returns what an error says after one that it wraps.
func after(err, wrapped error) string {
	_, text, _ := strings.Cut(err.Error(), wrapped.Error()+": ")
	return text
}

// unauthorized is the same for no key, a wrong one, and one that was revoked or has expired: it tells nobody which there are.
func unauthorized() *problem {
	return &problem{
		status: http.StatusUnauthorized, code: codeUnauthorized, title: "A valid key is required",
		detail: "Send the token of a valid key in the header Authorization: Service <token>.",
	}
}

func forbidden(detail string) *problem {
	return &problem{status: http.StatusForbidden, code: codeForbidden, title: "The key does not allow this", detail: detail}
}

func invalidFields(fields ...FieldProblem) *problem {
	fields = fields[:min(len(fields), maxWrong)]
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Field + " " + f.Problem
	}
	return &problem{
		status: http.StatusUnprocessableEntity, code: codeInvalidFields, title: "Invalid content",
		detail: strings.Join(names, "; ") + ".", fields: fields,
	}
}

// invalidContent is invalidFields for what a domain package says of them.
func invalidContent[F ~struct{ Field, Problem string }](problems []F) *problem {
	fields := make([]FieldProblem, len(problems))
	for i, p := range problems {
		fields[i] = FieldProblem(struct{ Field, Problem string }(p))
	}
	return invalidFields(fields...)
}

func invalidField(field, what string) *problem {
	return invalidFields(FieldProblem{Field: field, Problem: what})
}

func tooLarge(detail string) *problem {
	return &problem{status: http.StatusRequestEntityTooLarge, code: codeTooLarge, title: "Too large", detail: detail}
}

func shuttingDown() *problem {
	return &problem{
		status: http.StatusServiceUnavailable, code: codeShuttingDown, title: "The hub is shutting down",
		detail: "Try again: another hub, or this one once it is back, will answer.", retryAfter: 1,
	}
}

// problemOf is the one place where errors get a status and a code. What it does not know is an internal error, of which
// nothing is told.
func problemOf(err error) *problem {
	var known *problem
	var invalid *events.InvalidError
	var httpErr *echo.HTTPError
	if p := problemOfMenus(err); p != nil {
		return p // First, as one of these may wrap what package events says.
	}
	if p := problemOfTemp(err); p != nil {
		return p
	}
	if p := problemOfMatching(err); p != nil {
		return p
	}
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &invalid):
		return invalidContent(invalid.Fields)
	case errors.Is(err, events.ErrMalformed):
		return notAnObject(after(err, events.ErrMalformed))
	case errors.Is(err, events.ErrTooLarge):
		return tooLarge("An event has at most " + strconv.Itoa(events.MaxEventSize) + " bytes.")
	case errors.Is(err, events.ErrIDReused):
		p := keyReused("The channel has an event of another type with this id. Use a new id for a new event.", "")
		p.fields = []FieldProblem{{Field: "id", Problem: "was used for an event of another type"}}
		return p
	case errors.Is(err, events.ErrKeyReused):
		return keyReused("The same Idempotency-Key came with another event. Use a new key for a new event.", "was used for another event")
	case errors.Is(err, events.ErrUnavailable):
		return redisAway("Try again; with an Idempotency-Key or an id of your own the event is published once.")
	case errors.Is(err, events.ErrClosed):
		return shuttingDown()
	case errors.Is(err, context.Canceled):
		return shuttingDown() // Nobody reads this: the client has gone.
	case errors.As(err, &httpErr):
		return problemOfEcho(httpErr)
	}
	return &problem{
		status: http.StatusInternalServerError, code: codeInternal, title: "Internal error",
		detail: "Something went wrong in the hub. The request id finds it in the log.",
	}
}

func keyReused(detail, what string) *problem {
	return &problem{
		status: http.StatusUnprocessableEntity, code: codeKeyReused, title: "The idempotency key was used before",
		detail: detail, fields: []FieldProblem{{Field: "Idempotency-Key", Problem: what}},
	}
}

// problemOfMenus is problemOf for what package menucache returns; nil for what it does not know.
func problemOfMenus(err error) *problem {
	var invalid *menucache.InvalidError
	switch {
	case errors.As(err, &invalid):
		return invalidContent(invalid.Fields)
	case errors.Is(err, menucache.ErrMalformed):
		return notAnObject(after(err, menucache.ErrMalformed))
	case errors.Is(err, menucache.ErrTooLarge):
		return tooLarge("A menu has at most " + strconv.Itoa(menucache.MaxMenuSize) + " bytes.")
	case errors.Is(err, menucache.ErrRoleNotAllowed):
		return &problem{
			status: http.StatusForbidden, code: codeRoleNotAllowed, title: "The menu is not for this role",
			detail: "The menu type is not for the role that the request names, or for the default role if it names none.",
		}
	case errors.Is(err, menucache.ErrNotAnnounced):
		return notAnnounced("The menus are cleared")
	case errors.Is(err, menucache.ErrUnavailable):
		return redisAway("Try again; to send the request twice does no harm.")
	case errors.Is(err, menucache.ErrSourceUnavailable):
		return &problem{
			status: http.StatusServiceUnavailable, code: codeSourceUnavailable, title: "The menu source is unavailable",
			detail:     "The menu source did not answer, or failed. Try again; to send the request twice does no harm.",
			retryAfter: 5,
		}
	case errors.Is(err, menucache.ErrSourceRefused):
		return &problem{
			status: http.StatusBadGateway, code: codeSourceRefused, title: "The menu source refused the menu",
			detail: "The menu source refused the menu. The cache keeps what it had.",
		}
	}
	return nil
}

// problemOfTemp is what an error of package tempdata is, nil if it is none of them. What is not found has a name of its own
// wherever it is looked for: see notFoundAs.
func problemOfTemp(err error) *problem {
	var invalid *tempdata.InvalidError
	var unmet *tempdata.PreconditionError
	var held *tempdata.LeaseHeldError
	switch {
	case errors.As(err, &invalid):
		return invalidContent(invalid.Fields)
	case errors.As(err, &unmet):
		return &problem{
			status: http.StatusPreconditionFailed, code: codePrecondition, title: "The condition does not hold",
			detail:      "What is there is not what If-Match or If-None-Match asks for. Nothing was changed.",
			currentETag: unmet.ETag,
		}
	case errors.Is(err, tempdata.ErrMalformed):
		return malformed("The body is no JSON that can be kept: " + after(err, tempdata.ErrMalformed) + ".")
	case errors.Is(err, tempdata.ErrTooLarge):
		if limit := after(err, tempdata.ErrTooLarge); strings.ContainsAny(limit, "123456789") {
			return tooLarge("What was sent is too large: " + limit + ".")
		}
		return tooLarge("A value, a form with all its steps, and what is appended at once have at most " +
			strconv.Itoa(tempdata.MaxValueSize) + " bytes, and a form has at most " + strconv.Itoa(tempdata.MaxSteps) + " steps.")
	case errors.Is(err, tempdata.ErrKeyReused):
		return keyReused("The same Idempotency-Key came with another publish. Choose a new key for each submission.",
			"was used to submit with another publish")
	case errors.Is(err, tempdata.ErrReserved):
		return reserved("In a user's namespace the keys that begin with form_data_ are the steps of a form. " +
			"Use /v1/users/{user_id}/forms.")
	case errors.Is(err, tempdata.ErrUnreadable):
		return &problem{
			status: http.StatusConflict, code: codeValueUnreadable, title: "The value cannot be read",
			detail: "Another program wrote what is there, and it is damaged or would build an object. " +
				"It may be deleted and written over.",
		}
	case errors.As(err, &held):
		return &problem{
			status: http.StatusConflict, code: codeLeaseHeld, title: "Another caller has the lease",
			detail: "Another caller has the lease, for at most " + strconv.FormatInt(seconds(held.ExpiresIn), 10) +
				" seconds more. Try again, or wait for it with the parameter wait.",
			retryAfter: 1, // The holder will hardly need it for so long.
		}
	case errors.Is(err, tempdata.ErrContended):
		return &problem{
			status: http.StatusServiceUnavailable, code: codeContended, title: "Changed by others meanwhile",
			detail: "The form was changed by others again and again. Nothing was changed. Try again.", retryAfter: 1,
		}
	case errors.Is(err, tempdata.ErrFull):
		return &problem{
			status: http.StatusServiceUnavailable, code: codeMemoryFull, title: "The memory for temporary data is full",
			detail:     "Redis is away, and the memory of the hub for what waits for it is full. Nothing was changed.",
			retryAfter: 1,
		}
	case errors.Is(err, tempdata.ErrNotDone):
		return redisAway("Nothing was changed. Try again.")
	case errors.Is(err, tempdata.ErrUnavailable):
		return redisAway("Try again; to send the request twice does no harm.")
	case errors.Is(err, tempdata.ErrClosed):
		return shuttingDown()
	}
	return nil
}

// redisAway is what the caller should do when Redis does not answer.
func redisAway(advice string) *problem {
	return &problem{
		status: http.StatusServiceUnavailable, code: codeRedisUnavailable, title: "Redis is unavailable",
		detail: "Redis did not answer, or refused. " + advice, retryAfter: 1,
	}
}

func reserved(detail string) *problem {
	return &problem{status: http.StatusForbidden, code: codeNamespaceReserved, title: "The name is reserved", detail: detail}
}

func notAnnounced(what string) *problem {
	return &problem{
		status: http.StatusServiceUnavailable, code: codeNotAnnounced, title: "Cleared, but not announced",
		detail:     what + ", but the event that tells of it could not be published. Try again; to clear twice does no harm.",
		retryAfter: 1,
	}
}

// notFoundAs says what it is that was not found.
func notFoundAs(err error, code, title, detail string) error {
	if errors.Is(err, menucache.ErrNotFound) || errors.Is(err, tempdata.ErrNotFound) {
		// The error stays with it: it may have been answered from memory.
		return fmt.Errorf("%w: %w", &problem{status: http.StatusNotFound, code: code, title: title, detail: detail}, err)
	}
	return err
}

// bindingError finds the parameter in what the generated wrapper says when it cannot bind one.
var bindingError = regexp.MustCompile(`^(?:Invalid format for parameter|Expected one value for) ([A-Za-z_-]+)(.*)$`)

func problemOfEcho(err *echo.HTTPError) *problem {
	text, _ := err.Message.(string)
	if m := bindingError.FindStringSubmatch(text); m != nil {
		if strings.Contains(m[2], "required") {
			return invalidField(m[1], "is required")
		}
		return invalidField(m[1], "must be given once and be well formed")
	}
	switch err.Code {
	case http.StatusNotFound:
		return &problem{
			status: err.Code, code: codeNotFound, title: "Not found",
			detail: "There is nothing at this path. The paths are listed at /docs.",
		}
	case http.StatusMethodNotAllowed:
		return &problem{
			status: err.Code, code: codeMethodNotAllowed, title: "Method not allowed",
			detail: "The path exists, but not with this method; see the header Allow.",
		}
	}
	return &problem{
		status: http.StatusInternalServerError, code: codeInternal, title: "Internal error",
		detail: "Something went wrong in the hub. The request id finds it in the log.",
	}
}

// handleError answers with the problem that err is.
func (s *Server) handleError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	p := problemOf(err)
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, "application/problem+json")
	if tempdata.FromMemory(err) {
		header["Degraded"] = headerMemory
	}
	if p.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	if p.status == http.StatusUnauthorized {
		header.Set(echo.HeaderWWWAuthenticate, `Service realm="connecthub", Bearer realm="connecthub"`)
	}
	if p.currentETag != "" {
		header["Etag"] = []string{p.currentETag}
	}
	c.Response().WriteHeader(p.status)
	body := Problem{
		Type: "/docs#problem-" + p.code, Title: p.title, Status: p.status, Detail: p.detail, Code: p.code,
		Instance: c.Request().URL.EscapedPath(), RequestID: requestID(c), Retryable: p.retryAfter > 0, Errors: p.fields,
		CurrentEtag: p.currentETag,
	}
	enc := json.NewEncoder(c.Response())
	enc.SetEscapeHTML(false) // People read it.
	if err := enc.Encode(body); err != nil {
		s.log.Debug("a problem could not be sent", zap.Error(err))
	}
}
