package tempdata

import (
	"strconv"
	"strings"
	"time"
)

// UserNamespace returns the namespace of a user's own values, as the bot names it.
func UserNamespace(userID int64) string { return userPrefix + strconv.FormatInt(userID, 10) }

const (
	userPrefix = "user_"
	// stepPrefix begins the names under which the bot keeps the steps of its form, in a user's namespace.
	stepPrefix = "form_data_"
	// histories is where conversations are listed.
	histories = "conversations"
)

// CheckNamespace returns nil when callers may name a namespace: it is well formed (else an InvalidError for namespace), and
// not reserved (else ErrReserved), as those of users are, user_123, which have calls of their own, and conversations.
func CheckNamespace(namespace string) error {
	if !isName(namespace) {
		return invalid("namespace", wantName)
	}
	if namespace == histories || isUserNamespace(namespace) {
		return ErrReserved
	}
	return nil
}

func isUserNamespace(namespace string) bool {
	id, found := strings.CutPrefix(namespace, userPrefix)
	return found && id != "" && strings.Trim(id, "0123456789") == ""
}

const wantName = "must be 1 to 128 ASCII letters, digits and _ . : - (but not . or ..)"

func isName(name string) bool {
	if name == "" || len(name) > MaxNameSize || name == "." || name == ".." { // Which would not stay in a path.
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}

func invalid(field, problem string) error {
	return &InvalidError{Fields: []FieldProblem{{field, problem}}}
}

// How long things are kept when nothing else is said.
const (
	usualTTL        = 30 * time.Minute
	formTTL         = time.Hour
	conversationTTL = 2 * time.Hour
	historyTTL      = 7 * 24 * time.Hour
)

// DefaultTTL returns how long a value is kept when nobody says for how long.
func DefaultTTL(key Key) time.Duration {
	switch key.Namespace {
	case "sessions":
		return 24 * time.Hour
	case "bot_sessions":
		return 2 * time.Hour
	case "activity_drafts", "employees":
		return time.Hour
	case "participants":
		return 15 * time.Minute
	}
	if key.Name == ConversationKey && isUserNamespace(key.Namespace) {
		return conversationTTL
	}
	return usualTTL
}
