package menucache

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/connectbot-hub/connecthub/internal/cache"
)

// Reading a menu from Redis is mostly reading its envelope. The hub's own envelopes therefore have their members in one
// order, the menu last, and a checksum of it, its ETag: what has that order and the right checksum needs no JSON parser.
// Anything else that is JSON is read by one.
const (
	envelopeRole       = `{"hub":{"role":"`
	envelopeLanguage   = `","lang":"`
	envelopeDefs       = `","defs":"`
	envelopeStoredAt   = `","stored_at":`
	envelopeFreshUntil = `,"fresh_until":`
	envelopeExpiresAt  = `,"expires_at":`
	envelopeEpoch      = `,"epoch":`
	envelopeETag       = `,"etag":`
	envelopeUserID     = `},"user_id":`
	envelopeMenuType   = `,"menu_type":"`
	envelopeCachedAt   = `","cached_at":`
	envelopeData       = `,"data":`
	envelopeEnd        = `}`

	// envelopeSize is about how much there is around a menu, in bytes.
	envelopeSize = 320
)

// appendEnvelope writes an entry of which all texts are plain.
func appendEnvelope(b []byte, e *entry, m cache.Meta) []byte {
	b = append(append(b, envelopeRole...), e.role...)
	b = append(append(b, envelopeLanguage...), e.language...)
	b = append(append(b, envelopeDefs...), e.definitions...)
	b = strconv.AppendInt(append(b, envelopeStoredAt...), m.StoredAt.UnixMilli(), 10)
	b = strconv.AppendInt(append(b, envelopeFreshUntil...), m.FreshUntil.UnixMilli(), 10)
	b = strconv.AppendInt(append(b, envelopeExpiresAt...), m.ExpiresAt.UnixMilli(), 10)
	b = strconv.AppendInt(append(b, envelopeEpoch...), m.Epoch, 10)
	b = append(append(b, envelopeETag...), e.etag...)
	b = strconv.AppendInt(append(b, envelopeUserID...), e.key.UserID, 10)
	b = append(append(b, envelopeMenuType...), e.key.Type...)
	b = strconv.AppendInt(append(b, envelopeCachedAt...), m.StoredAt.Unix(), 10)
	b = append(append(b, envelopeData...), e.menu...)
	return append(b, envelopeEnd...)
}

// plain reports whether a text stands for itself in JSON.
func plain(texts ...string) bool {
	for _, text := range texts {
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
			return false
		}
	}
	return true
}

// cutEnvelope reads what appendEnvelope wrote, and returns false for anything else, and for what was damaged. The entry's
// menu is a part of raw.
func cutEnvelope(raw []byte) (*entry, cache.Meta, bool) {
	s := scanner{rest: raw, ok: true}
	e := &entry{
		role: s.text(envelopeRole), language: s.text(envelopeLanguage), definitions: s.text(envelopeDefs),
	}
	m := cache.Meta{
		StoredAt:   time.UnixMilli(s.number(envelopeStoredAt)),
		FreshUntil: time.UnixMilli(s.number(envelopeFreshUntil)),
		ExpiresAt:  time.UnixMilli(s.number(envelopeExpiresAt)),
		Epoch:      s.number(envelopeEpoch),
	}
	e.etag = s.quoted(envelopeETag)
	e.key.UserID = s.number(envelopeUserID)
	e.key.Type = s.text(envelopeMenuType)
	s.number(envelopeCachedAt)
	s.skip(envelopeData)
	if !s.ok || m.Epoch <= 0 || !bytes.HasSuffix(s.rest, []byte(envelopeEnd)) {
		return nil, cache.Meta{}, false
	}
	e.menu = s.rest[:len(s.rest)-len(envelopeEnd)]
	if len(e.menu) > MaxMenuSize || etagOf(e.menu) != e.etag {
		return nil, cache.Meta{}, false
	}
	return e, m, true
}

// scanner reads one part after the other, and is not ok any more when one was not as expected.
type scanner struct {
	rest []byte
	ok   bool
}

func (s *scanner) skip(lead string) {
	if s.ok = s.ok && len(s.rest) >= len(lead) && string(s.rest[:len(lead)]) == lead; s.ok {
		s.rest = s.rest[len(lead):]
	}
}

// text reads what is between lead and the next '"', which it leaves there.
func (s *scanner) text(lead string) string {
	s.skip(lead)
	end := bytes.IndexByte(s.rest, '"')
	if s.ok = s.ok && end >= 0; !s.ok {
		return ""
	}
	text := string(s.rest[:end])
	s.rest = s.rest[end:]
	s.ok = plain(text)
	return text
}

// quoted reads a text with its quotes, and takes both.
func (s *scanner) quoted(lead string) string {
	text := s.text(lead + `"`)
	s.skip(`"`)
	return `"` + text + `"`
}

func (s *scanner) number(lead string) int64 {
	s.skip(lead)
	end := 0
	for end < len(s.rest) && (s.rest[end] >= '0' && s.rest[end] <= '9' || end == 0 && s.rest[end] == '-') {
		end++
	}
	n, err := strconv.ParseInt(string(s.rest[:end]), 10, 64)
	if s.ok = s.ok && err == nil; s.ok {
		s.rest = s.rest[end:]
	}
	return n
}
