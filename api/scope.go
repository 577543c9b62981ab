package api

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// scope is one thing a key allows:
//
//   - everything
//     publish:*                   publish anything
//     publish:user:*              publish on the channels of all users; likewise service:*
//     publish:user:123            publish on one channel; likewise global and service:{name}
//     publish:user.*              publish events of these types on any channel; likewise an exact type
//     subscribe:*                 read every channel; likewise with a channel as above
//     menus, temp, match, admin   all of that part of the API
//     temp:sessions               the values of one namespace
//     temp:user_*                 temporary data of all users; likewise temp:user_123 of one
//     temp:conversations          the histories of dialogues
//     source:*                    publish in anybody's name; likewise source:django-connectbot in that one
type scope struct {
	action string
	// anyOf is the scope whose every channel is meant, channel the one that is meant, types the types that are.
	anyOf   events.Scope
	channel events.Channel
	types   *events.Pattern
	// namespace limits temporary data, "" does not.
	namespace string
	// source is the one name to publish in, "" is any.
	source string
}

// What stands for a namespace in scopes, but is none that callers may name.
const (
	userPrefix    = "user_"
	everyUser     = userPrefix + "*"
	conversations = "conversations"
)

// ParseScope returns nil when s is a scope that a key may have, and otherwise what is wrong with it.
func ParseScope(s string) error {
	_, err := parseScope(s)
	return err
}

func parseScope(s string) (scope, error) {
	if slices.Contains([]string{"*", "menus", "temp", "match", "admin"}, s) {
		return scope{action: s}, nil
	}
	action, what, ok := strings.Cut(s, ":")
	bad := fmt.Errorf("%s is no scope: want *, publish:…, subscribe:…, menus, temp, temp:…, match, admin or source:…", shown(s))
	switch {
	case ok && action == "temp" && tempScope(what):
		return scope{action: action, namespace: what}, nil
	case ok && action == "source" && what == "*":
		return scope{action: action}, nil
	case ok && action == "source" && isLabel(what) && !strings.Contains(what, "*"):
		return scope{action: action, source: what}, nil
	}
	if !ok || action != "publish" && action != "subscribe" {
		return scope{}, bad
	}
	sc := scope{action: action}
	switch what {
	case "*":
		return sc, nil
	case "user", "service": // As types they would be well formed, but hardly meant.
		return scope{}, fmt.Errorf("%w; for all of them write %s:*", bad, s)
	case "user:*":
		sc.anyOf = events.ScopeUser
		return sc, nil
	case "service:*":
		sc.anyOf = events.ScopeService
		return sc, nil
	}
	var err error
	if sc.channel, err = events.ParseChannel(what); err == nil {
		return sc, nil
	}
	if types, err := events.ParsePattern(what); err == nil && action == "publish" {
		sc.types = &types
		return sc, nil
	}
	return scope{}, bad
}

// isLabel reports whether a text may name a key or who publishes: it can be shown anywhere, and an event can have it.
func isLabel(text string) bool {
	return text != "" && len(text) <= events.MaxLabelLength && utf8.ValidString(text) && text == strings.TrimSpace(text) &&
		!strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// shown makes a text from a file fit for a message: quoted, and not longer than what it could rightly be.
func shown(text string) string {
	if len(text) > events.MaxLabelLength {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(text[:events.MaxLabelLength], ""))
	}
	return fmt.Sprintf("%q", text)
}

// tempScope reports whether a scope of temporary data may be limited so.
func tempScope(namespace string) bool {
	if namespace == everyUser || namespace == conversations {
		return true
	}
	err := tempdata.CheckNamespace(namespace)
	if !errors.Is(err, tempdata.ErrReserved) {
		return err == nil
	}
	_, ok := wholeNumber(strings.TrimPrefix(namespace, userPrefix))
	return ok
}

// allowsTemp reports whether the scope allows temporary data of a namespace.
func (s scope) allowsTemp(namespace string) bool {
	switch {
	case s.action == "*":
		return true
	case s.action != "temp":
		return false
	case s.namespace == everyUser:
		return strings.HasPrefix(namespace, userPrefix) && errors.Is(tempdata.CheckNamespace(namespace), tempdata.ErrReserved)
	default:
		return s.namespace == "" || s.namespace == namespace
	}
}

// allows reports whether the scope allows an action on a channel, for an event of that type.
func (s scope) allows(action string, ch events.Channel, eventType string) bool {
	switch {
	case s.action == "*":
		return true
	case s.action != action, s.namespace != "", s.source != "":
		return false
	case s.types != nil:
		return s.types.Match(eventType)
	case s.anyOf != "":
		return s.anyOf == ch.Scope()
	default:
		return s.channel.IsZero() || s.channel == ch
	}
}

// allowsSome reports whether the scope allows an action on a channel, for events of some type. The zero channel is some
// channel.
func (s scope) allowsSome(action string, ch events.Channel) bool {
	return s.action == action && (ch.IsZero() || s.types != nil) || s.allows(action, ch, "")
}

// allowsSource reports whether the scope allows publishing in a name.
func (s scope) allowsSource(name string) bool {
	return s.action == "*" || s.action == "source" && (s.source == "" || s.source == name)
}
