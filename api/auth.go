package api

import (
	"net"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/tempdata"
)

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
			if s.foreignPages.Check(c.Request()) != nil {
				// Such a page may make a browser send a form here, without asking first.
				return &problem{
					status: http.StatusForbidden, code: codeHostNotAllowed, title: "Host not allowed",
					detail: "Without keys the hub changes nothing for web pages of other hosts.",
				}
			}
			return s.letIn(c, next)
		}
		if r, _ := s.ruleOf(c); c.Path() == "" || r.open {
			return next(c)
		}
		kind, token, _ := strings.Cut(c.Request().Header.Get(echo.HeaderAuthorization), " ")
		if !strings.EqualFold(kind, "Service") && !strings.EqualFold(kind, "Bearer") {
			token = "" // Which no key has.
		}
		key := s.cfg.Keys.find(strings.TrimSpace(token))
		if key == nil {
			if err := s.refuseGuessers(c); err != nil {
				return err
			}
			return unauthorized()
		}
		c.Set(keyInContext, key)
		return s.letIn(c, next)
	}
}

// letIn goes on with a request whose caller may come in, unless its connection was closed for another meanwhile.
func (s *Server) letIn(c echo.Context, next echo.HandlerFunc) error {
	if !s.connections.work(c.Request().Context()) {
		panic(http.ErrAbortHandler)
	}
	defer s.connections.done(c.Request().Context())
	return next(c)
}

// authorize lets a request pass whose key may make it, as the rule of its route says, and writes down what the audit log is
// for. What Echo found no handler for is left to it.
func (s *Server) authorize(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r, ok := s.ruleOf(c)
		switch {
		case r.open:
			return next(c)
		case !ok && (c.Path() == "" || c.Get(echo.ContextKeyHeaderAllow) != nil):
			return next(c)
		case !ok:
			return forbidden("No rule says who may do this, so nobody may.")
		case r.action != "":
			return s.audited(c, r.action, func() error {
				if err := r.allow(c); err != nil {
					return err
				}
				return next(c)
			})
		}
		if err := r.allow(c); err != nil {
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

// allowSomePublish lets a key pass that may publish events of some type on a channel. If the path names none, one that may on
// any will do, so that the handler says what is wrong with it, and else is the scope that is lacking.
func allowSomePublish(c echo.Context, ch events.Channel, notOne error, orElse string) error {
	if notOne != nil {
		ch = events.Channel{}
	}
	key := keyOf(c)
	if key == nil || key.mayPublishSome(ch) {
		return nil
	}
	if notOne == nil {
		orElse = ch.String()
	}
	return lacksScope("publish:" + orElse)
}

func allowPublish(c echo.Context, ch events.Channel, eventType string) error {
	key := keyOf(c)
	if key == nil || key.mayPublish(ch, eventType) {
		return nil
	}
	if events.CheckType(eventType) != nil {
		return lacksScope("publish:" + ch.String())
	}
	return lacksScope("publish:" + ch.String() + " or publish:" + eventType)
}

// allowAsked lets a key pass that may read the channels in the query; if there is none, one that may read any will do, so that
// the handler says what is wrong. What it makes of the query in the end is judged there once more.
func allowAsked(c echo.Context) error {
	key := keyOf(c)
	if key == nil {
		return nil
	}
	var asked []events.Channel
	for _, name := range c.QueryParams()["channel"] {
		if ch, err := events.ParseChannel(name); err == nil {
			asked = append(asked, ch)
		}
	}
	if len(asked) == 0 && !key.maySubscribeSome() {
		return lacksScope("subscribe:*")
	}
	return allowSubscribe(c, asked...)
}

func allowSubscribe(c echo.Context, channels ...events.Channel) error {
	if key := keyOf(c); key != nil {
		for _, ch := range channels {
			if !key.maySubscribe(ch) {
				return lacksScope("subscribe:" + ch.String())
			}
		}
	}
	return nil
}
