package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/events"
)

// maxBody bounds a request's body, in bytes, unless its call takes more.
const maxBody = 1 << 20

// PublishToUser answers POST /v1/events/users/{user_id}.
func (s *Server) PublishToUser(c echo.Context, userID string, params PublishToUserParams) error {
	ch, err := events.ParseUser(userID)
	if err != nil {
		s.refused.add(events.ScopeUser)
		return invalidField("user_id", "must be a whole number from 1 to 9223372036854775807")
	}
	return s.publish(c, ch, params.IdempotencyKey)
}

// PublishToAll answers POST /v1/events/global.
func (s *Server) PublishToAll(c echo.Context, params PublishToAllParams) error {
	return s.publish(c, events.Global(), params.IdempotencyKey)
}

// PublishToService answers POST /v1/events/services/{service}.
func (s *Server) PublishToService(c echo.Context, service string, params PublishToServiceParams) error {
	ch, err := events.Service(service)
	if err != nil {
		s.refused.add(events.ScopeService)
		return invalidField("service", "must be 1 to 64 letters, digits, '_', '-' and '.', beginning with a letter or digit")
	}
	return s.publish(c, ch, params.IdempotencyKey)
}

func (s *Server) publish(c echo.Context, ch events.Channel, idempotencyKey string) error {
	if s.isDraining() {
		return shuttingDown()
	}
	body := bodies.Get().(*bytes.Buffer)
	defer func() { body.Reset(); bodies.Put(body) }()
	m, err := readMessage(c, body, ch, idempotencyKey)
	if err != nil {
		s.refused.add(ch.Scope())
		return err
	}
	// A caller who closes its side of the connection early may still read the answer; the publisher does not wait long.
	receipt, err := s.deps.Publisher.Publish(context.WithoutCancel(c.Request().Context()), m)
	if err != nil {
		return err
	}
	body.Reset()
	return c.JSONBlob(http.StatusCreated, appendReceipt(body.AvailableBuffer(), &receipt))
}

// readMessage reads what is to be published, by way of a buffer of which nothing is kept.
func readMessage(c echo.Context, body *bytes.Buffer, ch events.Channel, idempotencyKey string) (m events.Message, err error) {
	if _, given := c.Request().Header["Idempotency-Key"]; given && !validIdempotencyKey(idempotencyKey) {
		return m, invalidField("Idempotency-Key", wantIdempotencyKey)
	}
	if err := readJSON(c, body); err != nil {
		return m, err
	}
	if m, err = events.DecodeMessage(body.Bytes()); err != nil {
		return m, err
	}
	if err := allowPublish(c, ch, m.Type); err != nil {
		return m, err
	}
	m.Channel = ch
	if key := keyOf(c); key != nil {
		m.Source = key.sourceOf(m.Source)
		if idempotencyKey != "" {
			// Two callers may use the same; one that changes from an old key to a new one is the same caller.
			idempotencyKey = key.Name + " " + idempotencyKey
		}
	}
	m.IdempotencyKey = idempotencyKey
	m.Traceparent = givenTrace(c)
	return m, nil
}

// appendReceipt writes a Receipt. None of its texts holds what JSON would escape; see events.Message.
func appendReceipt(dst []byte, r *events.Receipt) []byte {
	for _, member := range [...]struct{ name, value string }{
		{`{"id":"`, r.ID},
		{`","type":"`, r.Type},
		{`","channel":"`, r.Channel},
		{`","offset":"`, r.Offset.String()},
		{`","timestamp":"`, events.FormatTimestamp(r.Timestamp)},
	} {
		dst = append(append(dst, member.name...), member.value...)
	}
	dst = strconv.AppendInt(append(dst, `","subscribers":`...), r.Subscribers, 10)
	dst = strconv.AppendBool(append(dst, `,"status":"published","duplicate":`...), r.Duplicate)
	return append(dst, "}\n"...)
}

const wantIdempotencyKey = "must be 1 to 255 visible ASCII characters"

func validIdempotencyKey(key string) bool {
	if key == "" || len(key) > 255 {
		return false
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return false
		}
	}
	return true
}

// bodies are buffers for reading requests: what is kept of a body is copied out of it.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }} //nolint:gochecknoglobals // A pool must be shared to be one.

// readJSON reads the body of a request that must be JSON. It may also be called by one of these media types.
func readJSON(c echo.Context, into *bytes.Buffer, also ...string) error {
	return readUpTo(c, into, maxBody, also...)
}

// readUpTo is readJSON for calls that take so many bytes.
func readUpTo(c echo.Context, into *bytes.Buffer, most int64, also ...string) error {
	req := c.Request()
	if ct := req.Header.Get(echo.HeaderContentType); ct != echo.MIMEApplicationJSON {
		media, params, err := mime.ParseMediaType(ct)
		charset := params["charset"]
		if err != nil || media != echo.MIMEApplicationJSON && !slices.Contains(also, media) || charset != "" && charset != "utf-8" && charset != "UTF-8" {
			return &problem{
				status: http.StatusUnsupportedMediaType, code: codeMediaType, title: "Unsupported media type",
				detail: "Send JSON in UTF-8 with the header Content-Type: " + strings.Join(append(also, echo.MIMEApplicationJSON), " or ") + ".",
			}
		}
	}
	if enc := req.Header.Get(echo.HeaderContentEncoding); enc != "" && enc != "identity" {
		return &problem{
			status: http.StatusUnsupportedMediaType, code: codeMediaType, title: "Unsupported media type",
			detail: "Send the body as it is, without Content-Encoding.",
		}
	}
	_, err := into.ReadFrom(http.MaxBytesReader(c.Response(), req.Body, most))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return tooLarge("A body has at most " + strconv.FormatInt(most, 10) + " bytes.")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return malformed("The body ends before its Content-Length.")
	case err != nil:
		return malformed("The body could not be read in time.")
	}
	return nil
}

// ListEvents answers GET /v1/events.
func (s *Server) ListEvents(c echo.Context, params ListEventsParams) error {
	q := events.Query{Limit: 100}
	var wrong []FieldProblem
	var err error
	if q.Channel, err = events.ParseChannel(params.Channel); err != nil {
		wrong = append(wrong, FieldProblem{Field: "channel", Problem: wantChannel})
	}
	for _, p := range []struct{ name, value string }{{"after", params.After}, {"cursor", params.Cursor}} {
		if p.value == "" {
			continue
		}
		if q.After, err = events.ParseOffset(p.value); err != nil {
			wrong = append(wrong, FieldProblem{Field: p.name, Problem: "must be an offset such as 1795252500125-0"})
		}
	}
	if params.After != "" && params.Cursor != "" {
		wrong = append(wrong, FieldProblem{Field: "cursor", Problem: "must not be given together with after"})
	}
	if params.Limit != "" {
		if q.Limit, err = strconv.Atoi(params.Limit); err != nil || q.Limit < 1 || q.Limit > events.MaxPage {
			wrong = append(wrong, FieldProblem{Field: "limit", Problem: "must be a whole number from 1 to 1000"})
		}
	}
	switch params.Reverse {
	case "", "false":
	case "true":
		q.Reverse = true
	default:
		wrong = append(wrong, FieldProblem{Field: "reverse", Problem: "must be true or false"})
	}
	if len(wrong) > 0 {
		return invalidFields(wrong...)
	}
	if err := allowSubscribe(c, q.Channel); err != nil {
		return err
	}
	page, err := s.deps.Log.Read(c.Request().Context(), q)
	if err != nil {
		return err
	}
	out := []byte(`{"events":[`)
	for i, record := range page.Records {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, record.JSON...)
	}
	next := []byte("null")
	if !page.Next.IsZero() {
		next, _ = json.Marshal(page.Next.String()) // A string is always JSON.
	}
	out = append(append(append(out, `],"next_cursor":`...), next...), '}', '\n')
	return c.JSONBlob(http.StatusOK, out)
}

const wantChannel = "must be user:{id}, global or service:{name}"

// ListEventTypes answers GET /v1/events/types.
func (s *Server) ListEventTypes(c echo.Context) error {
	list := EventTypeList{}
	for _, t := range events.PredefinedTypes() {
		channels := make([]ChannelKind, len(t.Scopes))
		for i, sc := range t.Scopes {
			channels[i] = ChannelKind(sc)
		}
		list.Types = append(list.Types, EventType{Type: t.Type, Description: t.Description, Channels: channels})
	}
	return c.JSON(http.StatusOK, list)
}
