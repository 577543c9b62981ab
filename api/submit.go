package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// maxPublished is how many bytes the steps of a form may have together to be published: the envelope of the event, with all
// that is beside the steps, has less than the rest.
const maxPublished = events.MaxEventSize - 2<<10

// SubmitForm answers POST /v1/users/{user_id}/forms/{form}/submit.
func (s *Server) SubmitForm(c echo.Context, userID UserID, form FormName, params SubmitFormParams) error {
	if s.isDraining() {
		return shuttingDown()
	}
	a := ofUser(userID)
	event, err := a.readSubmit(c)
	if err != nil {
		return err
	}
	if _, given := c.Request().Header["Idempotency-Key"]; given && !validIdempotencyKey(params.IdempotencyKey) {
		a.fail("Idempotency-Key", wantIdempotencyKey)
	}
	condition := a.condition(c)
	submit := tempdata.Submit{
		FormKey: a.form(form), Condition: condition,
		IdempotencyKey: ownKey(c, params.IdempotencyKey), Fingerprint: fingerprint(event),
	}
	var receipt []byte
	if event != nil && len(a.wrong) == 0 {
		if err := allowPublish(c, event.Channel, event.Type); err != nil {
			return err
		}
		event.Traceparent = givenTrace(c)
		submit.MaxSize = maxPublished
		submit.Publish = func(sub tempdata.Submission) (err error) {
			receipt, err = s.publishForm(toTheEnd(c), *event, a.userID, form, &sub)
			return err
		}
	}
	sub, err := s.deps.Temp.Submit(toTheEnd(c), submit)
	if err != nil {
		return formNotFound(notSubmitted(a.told(err), event != nil))
	}
	tempHeader(c, "", sub.Degraded)
	o := object(nil).text("id", sub.ID).text("form", form).number("user_id", a.userID).raw("steps", stepsOf(&sub.Form)).
		text("updated_at", events.FormatTimestamp(sub.UpdatedAt)).flag("duplicate", sub.Duplicate)
	if receipt != nil {
		o = o.raw("published", receipt)
	}
	return answerJSON(c, http.StatusOK, o.end(sub.Degraded))
}

// fingerprint is the same for two requests that publish the same. Neither channels nor types have spaces.
func fingerprint(event *events.Message) string {
	if event == nil {
		return "nothing"
	}
	sum := sha256.Sum256([]byte(event.Channel.String() + " " + event.Type + " " + event.CorrelationID))
	return hex.EncodeToString(sum[:])
}

// ownKey makes the idempotency key of a caller one that no other caller has.
func ownKey(c echo.Context, key string) string {
	if caller := keyOf(c); caller != nil && key != "" {
		sum := sha256.Sum256([]byte(caller.Name + " " + key))
		return hex.EncodeToString(sum[:])
	}
	return key
}

// notSubmitted says what is to be done after a submission that failed: it is not harmless to repeat.
func notSubmitted(err error, published bool) error {
	const again = "Only the same request, with its Idempotency-Key, returns it then."
	var unpublished *publishError
	switch {
	case errors.Is(err, tempdata.ErrUnavailable):
		return unsure(err, "The form may have been taken out all the same. "+again)
	case errors.As(err, &unpublished) && errors.Is(err, events.ErrUnavailable):
		return redisAway("It is not known whether the event was published. The form was put back, unless there is " +
			"another of its name by now. Try again: as long as nobody changes the form the event is published once.")
	case errors.Is(err, tempdata.ErrTooLarge) && published:
		return tooLarge(fmt.Sprintf("The steps of a form that is published have at most %d bytes together. The form was left as it is.", maxPublished))
	}
	return err
}

// publishError is what keeps the event of a form from being published.
type publishError struct{ err error }

func (e *publishError) Error() string { return "api: publishing a form: " + e.err.Error() }
func (e *publishError) Unwrap() error { return e.err }

// publishForm publishes an event with a form, and returns the receipt.
func (s *Server) publishForm(ctx context.Context, m events.Message, userID int64, form string, sub *tempdata.Submission) ([]byte, error) {
	m.ID = sub.ID
	m.Data = object(nil).number("user_id", userID).text("form", form).raw("steps", stepsOf(&sub.Form)).
		text("submission_id", sub.ID).end(false)
	receipt, err := s.deps.Publisher.Publish(ctx, m)
	if err != nil {
		return nil, &publishError{err}
	}
	return bytes.TrimSpace(appendReceipt(nil, &receipt)), nil
}

// readSubmit reads what is to be published with a form, nil for nothing.
func (a *subject) readSubmit(c echo.Context) (*events.Message, error) {
	var event *events.Message
	if c.Request().ContentLength == 0 {
		return event, nil
	}
	var body bytes.Buffer
	if err := readJSON(c, &body); err != nil || body.Len() == 0 {
		return nil, err
	}
	wrong, err := readMembers(&body, func(name string, value jsontext.Value) string {
		switch {
		case name != "publish":
			return unknownMember
		case value.Kind() != '{':
			return "must be an object"
		}
		event = new(events.Message)
		a.readEvent(value, event)
		return ""
	})
	if err != nil {
		return nil, err
	}
	for _, w := range wrong {
		a.fail(w.Field, w.Problem)
	}
	if event != nil {
		if key := keyOf(c); key != nil {
			event.Source = key.sourceOf("")
		}
	}
	return event, nil
}

// readEvent reads where to publish what, all that can be wrong with it.
func (a *subject) readEvent(value jsontext.Value, m *events.Message) {
	var channel string
	wrong, _ := readMembers(bytes.NewBuffer(bytes.Clone(value)), func(name string, value jsontext.Value) string {
		switch name {
		case "channel":
			return readText(value, &channel)
		case "type":
			return readText(value, &m.Type)
		case "correlation_id":
			return readText(value, &m.CorrelationID)
		}
		return unknownMember
	}) // It is known to be an object.
	for _, w := range wrong {
		a.fail("publish."+w.Field, w.Problem)
	}
	told := func(field string) bool {
		for _, w := range wrong {
			if w.Field == field {
				return true
			}
		}
		return false
	}
	var err error
	if m.Channel, err = events.ParseChannel(channel); err != nil && !told("channel") {
		a.fail("publish.channel", wantChannel)
	}
	switch err := events.CheckType(m.Type); {
	case told("type") || err == nil:
	case m.Type == "":
		a.fail("publish.type", "is required")
	default:
		// The reason begins with what it is about, as it stands alone elsewhere.
		a.fail("publish.type", strings.NewReplacer("a type is ", "must be ", "a type has ", "must have ").Replace(after(err, events.ErrBadType)))
	}
	if len(m.CorrelationID) > events.MaxLabelLength || !utf8.ValidString(m.CorrelationID) || strings.ContainsFunc(m.CorrelationID, unicode.IsControl) {
		a.fail("publish.correlation_id", fmt.Sprintf("must be UTF-8 without control characters, of at most %d bytes", events.MaxLabelLength))
	}
}
