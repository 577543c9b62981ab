package events

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Scope says to whom a channel speaks: one user, everybody, or one microservice.
type Scope string

// The three scopes. Every channel has exactly one.
const (
	ScopeUser    Scope = "user"
	ScopeGlobal  Scope = "global"
	ScopeService Scope = "service"
)

// ErrBadChannel is returned, wrapped with the reason, for a text that names no channel.
var ErrBadChannel = errors.New("events: bad channel")

// maxServiceName bounds a service's name, in bytes.
const maxServiceName = 64

// Channel is where an event goes and where it is read: "user:123", "global" or "service:matching".
// The zero value is no channel. Channels are comparable and may be map keys.
type Channel struct {
	scope Scope
	// name is the user id in decimal or the service's name, empty for global.
	name string
	// user is the user id, 0 outside the user scope.
	user int64
}

// Global returns the channel that everybody hears.
func Global() Channel { return Channel{scope: ScopeGlobal} }

// User returns the channel of one user. id must be above 0, or ErrBadChannel is returned.
func User(id int64) (Channel, error) {
	if id <= 0 {
		return Channel{}, fmt.Errorf("%w: a user id is a whole number above 0", ErrBadChannel)
	}
	return Channel{scope: ScopeUser, name: strconv.FormatInt(id, 10), user: id}, nil
}

// ParseUser returns the channel of the user whose id is written in s: decimal digits with no sign and no
// leading zero, 1 to 9223372036854775807.
func ParseUser(s string) (Channel, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || strconv.FormatInt(id, 10) != s {
		return Channel{}, fmt.Errorf("%w: a user id is a whole number from 1 to 9223372036854775807", ErrBadChannel)
	}
	return User(id)
}

// Service returns the channel of one microservice. A name is 1 to 64 bytes of ASCII letters, digits, '_', '-'
// and '.', and begins with a letter or digit.
func Service(name string) (Channel, error) {
	if name == "" || len(name) > maxServiceName {
		return Channel{}, fmt.Errorf("%w: a service name has 1 to %d characters", ErrBadChannel, maxServiceName)
	}
	for i := range len(name) {
		c := name[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '_' && c != '-' && c != '.') {
			return Channel{}, fmt.Errorf(
				"%w: a service name is letters, digits, '_', '-' and '.', beginning with a letter or digit", ErrBadChannel)
		}
	}
	return Channel{scope: ScopeService, name: name}, nil
}

// ParseChannel reads the short form that String gives: "user:123", "global" or "service:matching".
func ParseChannel(s string) (Channel, error) {
	scope, name, _ := strings.Cut(s, ":")
	switch {
	case s == string(ScopeGlobal):
		return Global(), nil
	case Scope(scope) == ScopeUser:
		return ParseUser(name)
	case Scope(scope) == ScopeService:
		return Service(name)
	}
	return Channel{}, fmt.Errorf("%w: want user:{id}, global or service:{name}", ErrBadChannel)
}

// Scope returns the channel's scope, "" for the zero Channel.
func (c Channel) Scope() Scope { return c.scope }

// UserID returns the user the channel belongs to, and false outside the user scope.
func (c Channel) UserID() (int64, bool) { return c.user, c.scope == ScopeUser }

// ServiceName returns the microservice the channel belongs to, "" outside the service scope.
func (c Channel) ServiceName() string {
	if c.scope != ScopeService {
		return ""
	}
	return c.name
}

// IsZero reports whether c is the zero Channel.
func (c Channel) IsZero() bool { return c.scope == "" }

// String returns the short form, which ParseChannel reads.
func (c Channel) String() string {
	if c.name == "" {
		return string(c.scope)
	}
	return string(c.scope) + ":" + c.name
}

// keyspace makes the names the package uses in Redis. The braces are a hash tag, so that all keys of one channel
// share a Redis Cluster slot.
type keyspace struct{ prefix string }

// channel is the Pub/Sub channel, and the name that stands in the envelope: connectbot:user:123.
func (k keyspace) channel(c Channel) string { return k.prefix + c.sep() + c.name }

// log is the stream that keeps a channel's events.
func (k keyspace) log(c Channel) string {
	return k.prefix + ":log:{" + k.prefix + c.sep() + c.name + "}"
}

// idem is a key that remembers what was published on a channel: kind "i:" by event id, "k:" by idempotency key.
func (k keyspace) idem(c Channel, kind, what string) string {
	return k.prefix + ":idem:{" + k.prefix + c.sep() + c.name + "}:" + kind + what
}

// sep is what stands between the prefix and the name: ":user:".
func (c Channel) sep() string {
	switch c.scope {
	case ScopeUser:
		return ":user:"
	case ScopeService:
		return ":service:"
	case scopeCanary:
		return "-canary"
	default:
		return ":global"
	}
}

// takenUp is the hub's own Pub/Sub channel on which a hub tells the others what it took up from a publisher that
// wrote to Redis directly. It lies outside the prefix, so that a reader of "connectbot:*" never meets it.
func (k keyspace) takenUp() string { return "hub:takenup:" + k.prefix }

// bridges is a channel on which only canaries are heard: its number of subscribers is the number of bridges, whose pattern
// subscriptions would otherwise count as readers of every event.
func (k keyspace) bridges() string { return "hub:bridges:" + k.prefix }

// patterns match every channel an event may come on.
func (k keyspace) patterns() []string {
	return []string{k.prefix + ":user:*", k.prefix + ":global", k.prefix + ":service:*"}
}

// parse reads what channel made.
func (k keyspace) parse(full string) (Channel, error) {
	short, ok := strings.CutPrefix(full, k.prefix+":")
	if !ok {
		return Channel{}, fmt.Errorf("%w: %q is not under the prefix %q", ErrBadChannel, full, k.prefix)
	}
	return ParseChannel(short)
}
