package menucache_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/menucache"
)

// FuzzEntryDecode reads any bytes as what Redis has for a menu: what can be read can be written and read again.
func FuzzEntryDecode(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add([]byte(v.raw(f)), true)
		f.Add([]byte(v.Decoded), false)
	}
	for _, raw := range damaged(f) {
		if len(raw) < 10_000 {
			f.Add([]byte(raw), true)
		}
	}
	_, raw, _ := keptEntry(f)
	f.Add(raw, false)
	f.Add([]byte(`{"data":{"a":1,"a":"\ud83d"},"user_id":1,"menu_type":"main","cached_at":1,"hub":{"defs":"x","epoch":4}}`), false)
	f.Fuzz(func(t *testing.T, raw []byte, django bool) {
		codec := menucache.NewEntryCodec(django)
		e, m, err := codec.Decode(raw)
		if err != nil {
			return
		}
		if !json.Valid([]byte(e.Menu())) || len(e.Menu()) > menucache.MaxMenuSize {
			t.Errorf("a menu of %d bytes: %q", len(e.Menu()), e.Menu())
		}
		if m.Epoch == 0 { // As if it was renewed.
			m = menucache.EntryMeta{StoredAt: time.UnixMilli(1), FreshUntil: time.UnixMilli(2), ExpiresAt: time.UnixMilli(3), Epoch: 1}
		}
		written, err := codec.Encode(e, m)
		if err != nil {
			t.Fatal(err)
		}
		again, n, err := codec.Decode(written)
		if err != nil {
			t.Fatalf("%v: %q", err, written)
		}
		role, language, definitions := e.Audience()
		if r, l, d := again.Audience(); r != role || l != language || d != definitions {
			t.Errorf("it was for %q %q %q, and is for %q %q %q", role, language, definitions, r, l, d)
		}
		if n != m || !reflect.DeepEqual(again.Options(), e.Options()) {
			t.Errorf("%+v %+v, and then %+v %+v", m, e.Options(), n, again.Options())
		}
	})
}
