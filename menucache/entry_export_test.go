package menucache

import "github.com/connectbot-hub/connecthub/internal/cache"

// What tests of the package's outside reach of how menus are kept.
type (
	EntryCodec = codec
	Entry      = entry
	EntryMeta  = cache.Meta
)

func NewEntryCodec(django bool) EntryCodec {
	return codec{django: django, foreignLanguage: func() string { return "ru" }}
}

func (e *Entry) Menu() string { return string(e.menu) }

func (e *Entry) Audience() (role, language, definitions string) {
	return e.role, e.language, e.definitions
}

func (e *Entry) Options() []Option { return e.options }
