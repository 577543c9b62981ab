package events

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The event types ConnectBot knows. Any other well-formed type may be published too.
const (
	TypeUserCreated           = "user.created"
	TypeUserUpdated           = "user.updated"
	TypeUserDeleted           = "user.deleted"
	TypeUserLogin             = "user.login"
	TypeUserLogout            = "user.logout"
	TypeUserMenuOpened        = "user.menu_opened"
	TypeUserCacheCleared      = "user.cache_cleared"
	TypeActivityCreated       = "activity.created"
	TypeActivityUpdated       = "activity.updated"
	TypeActivityCancelled     = "activity.cancelled"
	TypeActivityCompleted     = "activity.completed"
	TypeMatchingRequest       = "matching.request"
	TypeMatchingCompleted     = "matching.completed"
	TypeMatchingFailed        = "matching.failed"
	TypeSystemCacheCleared    = "system.cache_cleared"
	TypeSystemServiceStarted  = "system.service_started"
	TypeSystemServiceStopped  = "system.service_stopped"
	TypeSystemHealthChanged   = "system.health_changed"
	TypeSystemMaintenance     = "system.maintenance"
	TypeNotificationSent      = "notification.sent"
	TypeNotificationDelivered = "notification.delivered"
	TypeNotificationRead      = "notification.read"
)

// TypeInfo describes a predefined event type.
type TypeInfo struct {
	// Type is the type itself, such as "user.login".
	Type string
	// Description says in one sentence what happened.
	Description string
	// Scopes are the scopes of the channels it usually goes to.
	Scopes []Scope
}

// PredefinedTypes returns the types ConnectBot knows, in the order of its documents. The caller may keep the slice.
func PredefinedTypes() []TypeInfo {
	user, global, service := ScopeUser, ScopeGlobal, ScopeService
	return []TypeInfo{
		{TypeUserCreated, "A colleague was added; data holds the user.", []Scope{global}},
		{TypeUserUpdated, "A colleague's profile changed.", []Scope{user, global}},
		{TypeUserDeleted, "A colleague was removed.", []Scope{global}},
		{TypeUserLogin, "The user began to talk to the bot.", []Scope{user}},
		{TypeUserLogout, "The user's session ended.", []Scope{user}},
		{TypeUserMenuOpened, "The user opened a menu; data names it.", []Scope{user}},
		{TypeUserCacheCleared, "What was cached for the user was cleared.", []Scope{user}},
		{TypeActivityCreated, "An activity was scheduled for the user; data has activity_id and activity.", []Scope{user}},
		{TypeActivityUpdated, "An activity of the user changed.", []Scope{user}},
		{TypeActivityCancelled, "An activity of the user was called off.", []Scope{user}},
		{TypeActivityCompleted, "An activity of the user took place.", []Scope{user}},
		{TypeMatchingRequest, "Pairs are wanted; data has users and type.", []Scope{service}},
		{TypeMatchingCompleted, "Pairs were found.", []Scope{service, user}},
		{TypeMatchingFailed, "No pairs could be found; data says why.", []Scope{service}},
		{TypeSystemCacheCleared, "A cache was cleared; data has cache_type and perhaps user_id.", []Scope{user, global}},
		{TypeSystemServiceStarted, "A service began to work; data has service and version.", []Scope{global}},
		{TypeSystemServiceStopped, "A service stopped; data has service and version.", []Scope{global}},
		{TypeSystemHealthChanged, "A hub is better or worse than it was; data has service, version, status, was and failing.", []Scope{global}},
		{TypeSystemMaintenance, "Maintenance is announced; data has the message.", []Scope{global}},
		{TypeNotificationSent, "A notification to the user was sent.", []Scope{user}},
		{TypeNotificationDelivered, "A notification reached the user.", []Scope{user}},
		{TypeNotificationRead, "The user read a notification.", []Scope{user}},
	}
}

// UserActionType returns the type of an event that tells of a user's action: "user.action.{action}".
func UserActionType(action string) string { return "user.action." + action }

// MaxTypeLength bounds an event type, in bytes.
const MaxTypeLength = 128

// ErrBadType is returned, wrapped with the reason, for a text that is no event type or no pattern of types.
var ErrBadType = errors.New("events: bad type")

// CheckType returns nil when t may be published: words of a-z, 0-9, '_' and '-' joined by dots, 1 to 128 bytes, and
// neither "gap" nor "slow", with which a stream speaks of itself. Otherwise it returns ErrBadType with the reason.
func CheckType(t string) error {
	if t == "" || len(t) > MaxTypeLength {
		return fmt.Errorf("%w: a type has 1 to %d bytes", ErrBadType, MaxTypeLength)
	}
	if t == "gap" || t == "slow" {
		return fmt.Errorf("%w: gap and slow are reserved for the stream itself", ErrBadType)
	}
	if !wellFormedType(t) {
		return fmt.Errorf("%w: a type is lower case words (a-z, 0-9, _ and -) joined by dots", ErrBadType)
	}
	return nil
}

func wellFormedType(t string) bool {
	word := 0
	for i := range len(t) {
		switch c := t[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c == '-':
			word++
			continue
		case c == '.' && word > 0 && i < len(t)-1:
			word = 0
			continue
		}
		return false
	}
	return word > 0
}

// Pattern selects event types. The zero Pattern selects every type.
// A Pattern is not changed after it was made and is safe for concurrent use.
type Pattern struct {
	exact    []string
	prefixes []string
}

// ParsePattern reads terms that are each an exact type ("user.login"), a prefix ("user.*") or "*"; a type is selected
// when any of them fits. With no term every type is selected.
func ParsePattern(terms ...string) (Pattern, error) {
	var p Pattern
	for _, term := range terms {
		stem, isPrefix := strings.CutSuffix(term, "*")
		switch {
		case term == "*":
			p.prefixes = append(p.prefixes, "")
		case !isPrefix:
			if err := CheckType(term); err != nil {
				return Pattern{}, err
			}
			p.exact = append(p.exact, term)
		case strings.HasSuffix(stem, ".") && len(term) <= MaxTypeLength && wellFormedType(stem[:len(stem)-1]):
			p.prefixes = append(p.prefixes, stem)
		default:
			return Pattern{}, fmt.Errorf("%w: want a type, a prefix such as user.* or *", ErrBadType)
		}
	}
	return p, nil
}

// Match reports whether the pattern selects the type t.
func (p Pattern) Match(t string) bool {
	if len(p.exact) == 0 && len(p.prefixes) == 0 {
		return true
	}
	if slices.Contains(p.exact, t) {
		return true
	}
	for _, prefix := range p.prefixes {
		if strings.HasPrefix(t, prefix) {
			return true
		}
	}
	return false
}
