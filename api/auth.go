package api

import (
	"net"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// open are the routes that need no key.
func open(route string) bool {
	switch route {
	case "/health", "/health/live", "/health/ready", "/health/startup", "/openapi.yaml", "/docs":
		return true
	}
	return false
}

// allowRoute lets a key pass that may make a request to this path. Some handlers ask for more.
func allowRoute(c echo.Context) error {
	switch route := c.Path(); {
	case strings.HasPrefix(route, "/v1/menus"):
		return allow(c, "menus")
	case strings.HasPrefix(route, "/v1/temp/"):
		return allowTemp(c, pathParam(c, "namespace"))
	case route == "/v1/users/:user_id/cache":
		return allowUserCache(c, ofUser(pathParam(c, "user_id")).namespace)
	case strings.HasPrefix(route, "/v1/users/"):
		return allowTemp(c, ofUser(pathParam(c, "user_id")).namespace)
	case strings.HasPrefix(route, "/v1/conversations/"):
		return allowTemp(c, conversations)
	case strings.HasPrefix(route, "/v1/matching/"):
		return allow(c, "match")
	case route == "/v1/cache", route == "/stats/reset":
		return allow(c, "admin")
	}
	return nil
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
		if err := allowRoute(c); err != nil {
			return err
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

// allow lets a key pass that may use all of a part of the API.
func allow(c echo.Context, part string) error {
	if key := keyOf(c); key != nil && !key.mayUse(part) {
		return lacksScope(part)
	}
	return nil
}

// allowTemp lets a key pass that may use temporary data of a namespace.
func allowTemp(c echo.Context, namespace string) error {
	key := keyOf(c)
	if key == nil || key.mayUseTemp(namespace) {
		return nil
	}
	return lacksScope(scopeOf(namespace))
}

// scopeOf returns the narrowest scope that allows temporary data of a namespace.
func scopeOf(namespace string) string {
	switch {
	case tempScope(namespace):
		return "temp:" + namespace
	case namespace == tempdata.UserNamespace(nobody):
		return "temp:" + everyUser
	}
	return "temp"
}

// allowUserCache lets a key pass that may clear the menus and the temporary data of a user, or of everybody.
func allowUserCache(c echo.Context, namespace string) error {
	key := keyOf(c)
	if key == nil || key.mayUse("admin") {
		return nil
	}
	var lacking []string
	if !key.mayUse("menus") {
		lacking = append(lacking, "menus")
	}
	if !key.mayUseTemp(namespace) {
		lacking = append(lacking, scopeOf(namespace))
	}
	if len(lacking) == 0 {
		return nil
	}
	return lacksScope(strings.Join(lacking, " and ") + "; admin would do too")
}

func lacksScope(name string) error { return forbidden("The key lacks the scope " + name + ".") }

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
