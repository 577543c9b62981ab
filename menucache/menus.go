package menucache

import (
	"errors"
	"strings"
	"time"
)

// Key names one user's menu of one type.
type Key struct {
	// UserID is the user's Telegram id, above 0.
	UserID int64
	// Type is one of Definitions.Types.
	Type string
}

// Request asks for a menu.
type Request struct {
	Key
	// Role is one of Definitions.Roles. Default: user.
	Role string
	// Language is one of Definitions.Languages, alone or with a region that is ignored (en-US). Default: the definitions'.
	Language string
	// Format is how the menu is written. Default: FormatJSON.
	Format Format
	// Badges are counts, by badge or option key, that are shown behind labels; 0 shows nothing.
	Badges map[string]int
}

// Format is how a menu is written.
type Format string

// The formats.
const (
	// FormatJSON is the menu as the Django bot keeps it, or as it was set.
	FormatJSON Format = "json"
	// FormatTelegramInline is the Bot API's InlineKeyboardMarkup.
	FormatTelegramInline Format = "telegram-inline"
	// FormatTelegramReply is the Bot API's ReplyKeyboardMarkup.
	FormatTelegramReply Format = "telegram-reply"
)

// Outcome says where an answer came from: the header X-Cache.
type Outcome string

// Answer is a menu in the format asked for.
type Answer struct {
	// Body is JSON. It may be shared with other callers: read only.
	Body []byte
	// ETag is a strong validator of Body, with its quotes.
	ETag string
	// Age is how long ago the menu was built, read or set, at least 0.
	Age time.Duration
	// Outcome is HIT, MISS, STALE or BYPASS.
	Outcome Outcome
}

// WriteMode says how far a Write goes before it is answered.
type WriteMode string

// The modes.
const (
	// WriteCache writes to the cache only.
	WriteCache WriteMode = ""
	// WriteThrough stores in the menu source first and then in the cache.
	WriteThrough WriteMode = "through"
	// WriteBehind writes to the cache and a queue in Redis, from which the menu source gets it soon.
	WriteBehind WriteMode = "behind"
)

// Write sets a menu.
type Write struct {
	Key
	// Menu is the menu: a JSON object of at most MaxMenuSize bytes.
	Menu []byte
	// Role and Language limit whom the menu is for. Default: the role that the menu names itself, and any. The menu source
	// is told of neither: for it, the menu has to name the role itself, and Language must not be given.
	Role, Language string
	// TTL is how long it is kept, 1 s to MaxTTL. Default: Config.TTL.
	TTL time.Duration
	// Mode says how far the write goes.
	Mode WriteMode
}

// Written tells what became of a write.
type Written struct {
	// Status is cached, stored (in the menu source, and cached) or queued (for the menu source, and cached).
	Status string
	// ExpiresIn is how long the cache keeps the menu.
	ExpiresIn time.Duration
}

// Selection says which menus to invalidate: exactly one of its fields is set.
type Selection struct {
	Role string
	Type string
	All  bool
}

// UserPage is a page of the users who have menus in the cache.
type UserPage struct {
	Users []CachedUser
	// Next is the cursor of the next page, "" when there is none.
	Next string
}

// CachedUser is a user who has menus in the cache.
type CachedUser struct {
	ID int64
	// ExpiresIn is how long the last of the user's menus is kept.
	ExpiresIn time.Duration
}

// Warming says which menus to have in the cache before they are asked for: those of Users, or the Top most asked for.
type Warming struct {
	// Users are at most MaxWarm ids.
	Users []int64
	// Types are the types to warm for each of Users. Default: main.
	Types []string
	// Role and Language are those of Users, as in Request.
	Role, Language string
	// Top is how many of the menus most asked for to warm, at most MaxWarm. Not together with Users.
	Top int
}

// Warmed tells what became of a warming.
type Warmed struct {
	// Built menus were not in the cache and now are; Cached ones were there; Failed ones could not be built or kept.
	Built, Cached, Failed int
}

// DeadWrite is a write to the menu source that was given up.
type DeadWrite struct {
	ID       string
	Key      Key
	Attempts int
	// Problem says why, without anything of the menu.
	Problem string
	At      time.Time
}

// DeadWritePage is a page of the writes that were given up, oldest first.
type DeadWritePage struct {
	Writes []DeadWrite
	// Next is the cursor of the next page, "" when there is none.
	Next string
}

// Limits of what is taken.
const (
	// MaxMenuSize bounds a menu, in bytes of JSON.
	MaxMenuSize = 64 << 10
	// MaxTTL bounds how long a menu is kept.
	MaxTTL = 30 * 24 * time.Hour
	// MaxWarm bounds how many users or menus one call warms.
	MaxWarm = 10_000
	// MaxPage bounds a page of a list.
	MaxPage = 1000
)

// What goes wrong.
var (
	// ErrNotFound says that a menu is not in the cache, or that a callback id or dead write is not known.
	ErrNotFound = errors.New("menucache: not found")
	// ErrUnavailable says that Redis did not answer, so that nothing can be promised. The same call may succeed later.
	ErrUnavailable = errors.New("menucache: Redis is unavailable")
	// ErrSourceUnavailable says that the menu source did not answer or failed. The same call may succeed later.
	ErrSourceUnavailable = errors.New("menucache: the menu source is unavailable")
	// ErrSourceRefused says that the menu source refused a menu. The same call fails again.
	ErrSourceRefused = errors.New("menucache: the menu source refused the menu")
	// ErrRoleNotAllowed says that a menu is not for the role that was asked with.
	ErrRoleNotAllowed = errors.New("menucache: the menu is not for this role")
	// ErrNotAnnounced says that menus were cleared but the event that tells of it could not be published. The same call
	// may succeed later.
	ErrNotAnnounced = errors.New("menucache: cleared, but not announced")
)

// InvalidError says which fields of a request or a menu are wrong.
type InvalidError struct{ Fields []FieldProblem }

// FieldProblem says what is wrong with one field: a parameter's name, or a path into the menu such as options[2].label.
type FieldProblem struct{ Field, Problem string }

func (e *InvalidError) Error() string {
	var text strings.Builder
	text.WriteString("menucache: invalid")
	for i, f := range e.Fields {
		if i > 0 {
			text.WriteByte(';')
		}
		text.WriteString(" " + f.Field + " " + f.Problem)
	}
	return text.String()
}
