package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// PutConversation answers PUT /v1/users/{user_id}/conversation.
func (s *Server) PutConversation(c echo.Context, userID UserID, params PutConversationParams) error {
	a := ofUser(userID)
	return s.putValue(c, a, tempdata.ConversationKey, params.TTL)
}

// GetConversation answers GET /v1/users/{user_id}/conversation.
func (s *Server) GetConversation(c echo.Context, userID UserID, params GetConversationParams) error {
	a := ofUser(userID)
	return s.getValue(c, a, tempdata.ConversationKey, params.Meta)
}

// DeleteConversation answers DELETE /v1/users/{user_id}/conversation.
func (s *Server) DeleteConversation(c echo.Context, userID UserID, _ DeleteConversationParams) error {
	a := ofUser(userID)
	return s.deleteValue(c, a, tempdata.ConversationKey)
}

// AppendMessages answers POST /v1/conversations/{conversation_id}/messages.
func (s *Server) AppendMessages(c echo.Context, conversationID ConversationID, params AppendMessagesParams) error {
	a := ofConversation(conversationID)
	messages, err := a.readMessages(c)
	if err != nil {
		return err
	}
	appended, err := s.deps.Temp.Append(toTheEnd(c), tempdata.Append{
		Conversation: a.conversation, Messages: messages,
		MaxLen: readCount(params.MaxLen, 0, tempdata.MaxMessages), TTL: readTTL(params.TTL),
	})
	if err != nil {
		return unsure(a.told(err), "It is not known whether the messages are in the history. Sent again they may be there twice.")
	}
	tempHeader(c, "", appended.Degraded)
	return c.JSON(http.StatusCreated, HistoryWritten{
		ConversationID: conversationID, Length: appended.Length, ExpiresIn: seconds(appended.ExpiresIn), Degraded: appended.Degraded,
	})
}

// unsure says what is to be done after a change of which is not known whether it was made, if it is not harmless to repeat.
func unsure(err error, advice string) error {
	if errors.Is(err, tempdata.ErrUnavailable) && !errors.Is(err, tempdata.ErrNotDone) {
		return redisAway(advice)
	}
	return err
}

// readMessages reads {"message": …} or {"messages": […]}.
func (a *subject) readMessages(c echo.Context) (messages [][]byte, err error) {
	given := 0
	wrong, err := readObject(c, func(name string, value jsontext.Value) string {
		switch name {
		case "message":
			given++
			messages = append(messages, bytes.Clone(value))
		case "messages":
			given++
			var all []json.RawMessage
			if json.Unmarshal(value, &all) != nil || len(all) == 0 || len(all) > tempdata.MaxMessages {
				return "must be an array of 1 to " + strconv.Itoa(tempdata.MaxMessages) + " messages"
			}
			for _, message := range all {
				messages = append(messages, message)
			}
		default:
			return unknownMember
		}
		return ""
	})
	for _, w := range wrong {
		a.fail(w.Field, w.Problem)
	}
	if err == nil && given != 1 {
		a.fail("message", "must be given, or messages: exactly one of the two")
	}
	if len(a.wrong) > 0 {
		messages = [][]byte{[]byte("null")} // So that the Store tells of all but these.
	}
	return messages, err
}

// readCount reads a whole number from 1 to most, and returns usual for none.
func readCount(text string, usual, most int) int {
	if text == "" {
		return usual
	}
	n, ok := wholeNumber(text)
	if !ok || n > int64(most) {
		return outOfRange
	}
	return int(n)
}

// ListMessages answers GET /v1/conversations/{conversation_id}/messages.
func (s *Server) ListMessages(c echo.Context, conversationID ConversationID, params ListMessagesParams) error {
	a := ofConversation(conversationID)
	if params.Order != "" && params.Order != "newest" && params.Order != "oldest" {
		a.fail("order", "must be newest or oldest")
	}
	whole := a.boolean("meta", params.Meta)
	history, err := s.deps.Temp.Messages(toTheEnd(c), tempdata.History{
		Conversation: a.conversation, NewestFirst: params.Order == "newest",
		Limit: readCount(params.Limit, tempdata.DefaultMaxLen, tempdata.MaxMessages),
	})
	if err != nil {
		return a.told(err)
	}
	header := tempHeader(c, "", history.Degraded)
	if history.ExpiresIn > 0 {
		header["Expires-In"] = []string{strconv.FormatInt(seconds(history.ExpiresIn), 10)}
	}
	list := []byte{'['}
	for i, m := range history.Messages {
		if i > 0 {
			list = append(list, ',')
		}
		if whole {
			m.Data = object(nil).text("id", m.ID).text("at", events.FormatTimestamp(m.At)).raw("message", m.Data).end(false)
		}
		list = append(list, m.Data...)
	}
	return answerJSON(c, http.StatusOK, object(nil).raw("messages", append(list, ']')).end(history.Degraded))
}

// DeleteMessages answers DELETE /v1/conversations/{conversation_id}/messages.
func (s *Server) DeleteMessages(c echo.Context, conversationID ConversationID) error {
	a := ofConversation(conversationID)
	if err := a.unconditional(c); err != nil {
		return err
	}
	written, err := s.deps.Temp.DeleteHistory(toTheEnd(c), a.conversation)
	if err != nil {
		return notFoundAs(err, codeHistoryNotFound, "There is no such history", "The conversation has no history. Perhaps it has expired.")
	}
	tempHeader(c, "", written.Degraded)
	return c.JSON(http.StatusOK, HistoryGone{Deleted: true, Degraded: written.Degraded})
}
