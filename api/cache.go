package api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// ClearUserCache answers DELETE /v1/users/{user_id}/cache.
func (s *Server) ClearUserCache(c echo.Context, userID UserID) error {
	a := ofUser(userID)
	if err := a.unconditional(c); err != nil {
		return err
	}
	menus, err := s.deps.Menus.DropUser(toTheEnd(c), a.userID)
	if err != nil {
		return err
	}
	values, err := s.deps.Temp.ClearUser(toTheEnd(c), a.userID)
	if err != nil {
		return partlyCleared(err)
	}
	channel, err := events.User(a.userID)
	if err != nil {
		return err
	}
	data := object(nil).text("cache_type", "all").number("user_id", a.userID).end(false)
	return s.answerCleared(c, channel, data, CacheCleared{Menus: &menus, TempData: values})
}

// ClearCache answers DELETE /v1/cache.
func (s *Server) ClearCache(c echo.Context) error {
	if err := new(subject).unconditional(c); err != nil {
		return err
	}
	if err := s.deps.Menus.DropAll(toTheEnd(c)); err != nil {
		return err
	}
	values, err := s.deps.Temp.ClearAll(toTheEnd(c))
	if err != nil {
		return partlyCleared(err)
	}
	return s.answerCleared(c, events.Global(), object(nil).text("cache_type", "all").end(false), CacheCleared{TempData: values})
}

// partlyCleared says what has become of the cache when the menus are cleared, and then Redis is away.
func partlyCleared(err error) error {
	if errors.Is(err, tempdata.ErrUnavailable) {
		return redisAway("The menus are cleared, and the rest perhaps. Try again; to clear twice does no harm.")
	}
	return err
}

// answerCleared publishes that the cache was cleared, and answers that it was.
func (s *Server) answerCleared(c echo.Context, channel events.Channel, data []byte, cleared CacheCleared) error {
	_, err := s.deps.Publisher.Publish(toTheEnd(c), events.Message{
		Channel: channel, Type: events.TypeSystemCacheCleared, Source: "connecthub", Data: data,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", notAnnounced("The cache is cleared"), err)
	}
	return c.JSON(http.StatusOK, cleared)
}
