package api

import (
	"net"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/events"
)

// open are the routes that need no key.
func open(route string) bool {
	switch route {
	case "/health", "/health/live", "/health/ready", "/openapi.yaml", "/docs":
		return true
	}
	return false
}

// scopeFor returns the scope that a route asks of every key, "" if what the key may do there depends on more than the route.
func scopeFor(route string) string {
	if strings.HasPrefix(route, "/v1/menus") {
		return "menus"
	}
	return ""
}

const keyInContext = "key"

// authenticate finds out whose request it is. With no keys configured everybody on this machine may do everything.
func (s *Server) authenticate(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if s.cfg.Keys.Empty() {
			if !loopbackHost(c.Request().Host) {
				// A page of a foreign site may make a browser call us under a name that leads here.
				return &problem{
					status: http.StatusForbidden, code: codeHostNotAllowed, title: "Host not allowed",
					detail: "Without keys the hub answers only to localhost and loopback addresses.",
				}
			}
			return next(c)
		}
		if c.Path() == "" || open(c.Path()) {
			return next(c)
		}
		kind, token, _ := strings.Cut(c.Request().Header.Get(echo.HeaderAuthorization), " ")
		if !strings.EqualFold(kind, "Service") && !strings.EqualFold(kind, "Bearer") {
			return unauthorized("Send the header Authorization: Service <token>.")
		}
		key := s.cfg.Keys.find(strings.TrimSpace(token))
		if key == nil {
			return unauthorized("The token is not known.")
		}
		c.Set(keyInContext, key)
		if part := scopeFor(c.Path()); part != "" && !key.mayUse(part) {
			return forbidden("The key lacks the scope " + part + ".")
		}
		return next(c)
	}
}

func loopbackHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// keyOf returns the request's key, nil when none is needed.
func keyOf(c echo.Context) *Key {
	key, _ := c.Get(keyInContext).(*Key)
	return key
}

func allowPublish(c echo.Context, ch events.Channel, eventType string) error {
	if key := keyOf(c); key != nil && !key.mayPublish(ch, eventType) {
		return forbidden("The key may not publish this type on this channel.")
	}
	return nil
}

func allowSubscribe(c echo.Context, channels ...events.Channel) error {
	if key := keyOf(c); key != nil {
		for _, ch := range channels {
			if !key.maySubscribe(ch) {
				return forbidden("The key may not read the channel " + ch.String() + ".")
			}
		}
	}
	return nil
}
