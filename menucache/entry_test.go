package menucache_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/internal/djangocache"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/menucache"
)

// vector is a menu as the Django bot stored it.
type vector struct {
	Key      string `json:"key"`
	ValueHex string `json:"value_hex"`
	TTL      int    `json:"ttl_s"`
	Decoded  string `json:"decoded"`
}

func (v vector) raw(tb testing.TB) string {
	tb.Helper()
	raw, err := hex.DecodeString(v.ValueHex)
	if err != nil {
		tb.Fatal(err)
	}
	return string(raw)
}

// menu returns whose it is, and what is in it.
func (v vector) menu(tb testing.TB) (key menucache.Key, data, role string) {
	tb.Helper()
	var envelope struct {
		Data     json.RawMessage `json:"data"`
		UserID   int64           `json:"user_id"`
		MenuType string          `json:"menu_type"`
	}
	var menu struct {
		Role string `json:"role"`
	}
	if err := json.Unmarshal([]byte(v.Decoded), &envelope); err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(envelope.Data, &menu); err != nil {
		tb.Fatal(err)
	}
	key = menucache.Key{UserID: envelope.UserID, Type: envelope.MenuType}
	if v.Key != fmt.Sprintf("connectbot:1:menu:user:%d:%s", key.UserID, key.Type) {
		tb.Fatalf("%s is of %+v", v.Key, key)
	}
	return key, string(envelope.Data), menu.Role
}

// vectors are the menus that the Django bot stored.
func vectors(tb testing.TB) []vector {
	tb.Helper()
	file, err := os.ReadFile("testdata/django-menus.json")
	if err != nil {
		tb.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(file, &all); err != nil {
		tb.Fatal(err)
	}
	if len(all) == 0 {
		tb.Fatal("no vectors")
	}
	return all
}

func sameJSON(tb testing.TB, a, b string) bool {
	tb.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		tb.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

// asBot makes a hub share its menus with a Django bot that has the usual settings.
func asBot(c *menucache.Config) { c.Django, c.DjangoPrefix = true, "" }

// TestBotMenusAreRead shows what the bot wrote, through both hubs, and clears it.
func TestBotMenusAreRead(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	one, other := openTwo(t, server.URL(), asBot)
	for _, v := range vectors(t) {
		key, data, role := v.menu(t)
		must(t, rdb.Set(t.Context(), v.Key, v.raw(t), time.Duration(v.TTL)*time.Second))
		r := ask(key, role, "ru")
		for _, h := range []*hub{one, other} {
			a := h.get(t, r)
			if a.Outcome != "HIT" || !sameJSON(t, string(a.Body), data) || bytes.Contains(a.Body, []byte(`\u`)) || !utf8.Valid(a.Body) {
				t.Errorf("%s: %s %s, want %s", v.Key, a.Outcome, a.Body, data)
			}
			if a.Age < 0 || a.Age > longEnough {
				t.Errorf("%s: age %v", v.Key, a.Age)
			}
		}
		if got := rdb.Get(t.Context(), v.Key).Val(); got != v.raw(t) {
			t.Errorf("%s: the hub changed it", v.Key)
		}
		if n, err := one.ClearUser(t.Context(), key.UserID); n == 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if rdb.Exists(t.Context(), v.Key).Val() != 0 {
			t.Errorf("%s is still there", v.Key)
		}
	}
}

// TestBotsMenuIsForOneLanguage renews a menu that the bot wrote, after which it is as little for other languages as before.
func TestBotsMenuIsForOneLanguage(t *testing.T) {
	t.Parallel()
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t), django)
	menu := `{"type":"main","user_id":5000000000,"options":[]}`
	must(t, h.rdb.Set(t.Context(), h.botKey(mainMenu), botEntry(t, mainMenu, menu), botTTL))
	h.want(t, ask(mainMenu, "", "ru"), menu, "HIT")
	if _, err := h.Renew(t.Context(), mainMenu, time.Hour); err != nil {
		t.Fatal(err)
	}
	h.want(t, ask(mainMenu, "admin", "ru"), menu, "HIT")
	h.want(t, ask(mainMenu, "", "en"), h.built(t, ask(mainMenu, "", "en")), "MISS")
}

// TestRenewOddMenus renews what only the bot's JSON may hold: a member twice, and half an emoji.
func TestRenewOddMenus(t *testing.T) {
	t.Parallel()
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t), django)
	for _, menu := range []string{
		`{"options":[],"more":1,"more":2}`,
		`{"options":[{"key":"a","label":"\ud83d","action":"a"}]}`,
	} {
		raw, err := djangocache.EncodeString(`{"data": ` + menu + `, "user_id": 5000000000, "menu_type": "main", "cached_at": 0}`)
		if err != nil {
			t.Fatal(err)
		}
		must(t, h.rdb.Set(t.Context(), h.botKey(mainMenu), raw, botTTL))
		redistest.Eventually(t, foreignLag, "the bot's menu", func() bool { return h.get(t, ask(mainMenu, "", "")).Outcome == "HIT" })
		if _, err := h.Renew(t.Context(), mainMenu, 0); err != nil {
			t.Errorf("%s: %v", menu, err)
		}
		if a := h.get(t, ask(mainMenu, "", "")); a.Outcome != "HIT" || !utf8.Valid(a.Body) {
			t.Errorf("%s: %s %q", menu, a.Outcome, a.Body)
		}
		if _, err := h.ClearUser(t.Context(), mainMenu.UserID); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBotReadsTheHub unpickles what hubs write.
func TestBotReadsTheHub(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	h := openHub(t, server.URL(), "hub", asBot)
	built, set := menucache.Key{UserID: 123, Type: "main"}, menucache.Key{UserID: 124, Type: "preferences"}
	h.get(t, ask(built, "admin", "ru"))
	h.set(t, menucache.Write{Key: set, Menu: own("a"), Role: "user", TTL: time.Hour})
	for name, want := range map[string]struct {
		key  menucache.Key
		menu string
		ttl  time.Duration
	}{
		"connectbot:1:menu:user:123:main":        {built, h.built(t, ask(built, "admin", "ru")), 30 * time.Minute},
		"connectbot:1:menu:user:124:preferences": {set, string(own("a")), time.Hour},
	} {
		if left := rdb.PTTL(t.Context(), name).Val(); left < want.ttl*9/10-time.Minute || left > want.ttl {
			t.Errorf("%s is kept for %v", name, left)
		}
		text, err := djangocache.DecodeString([]byte(rdb.Get(t.Context(), name).Val()))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var envelope map[string]json.RawMessage
		if err := json.Unmarshal(text, &envelope); err != nil {
			t.Fatal(err)
		}
		if string(envelope["data"]) != want.menu || string(envelope["user_id"]) != fmt.Sprint(want.key.UserID) ||
			string(envelope["menu_type"]) != `"`+want.key.Type+`"` || len(envelope) != 5 || envelope["hub"] == nil {
			t.Errorf("%s: %s", name, text)
		}
		var at int64
		if err := json.Unmarshal(envelope["cached_at"], &at); err != nil || time.Since(time.Unix(at, 0)).Abs() > longEnough {
			t.Errorf("cached_at %s", envelope["cached_at"])
		}
	}
}

// TestBotsChangesAreSeen makes the changes that the bot makes: SET, EXPIRE, DEL and FLUSHDB.
func TestBotsChangesAreSeen(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) string{
		"tracked":  func(tb testing.TB) string { tb.Helper(); return redistest.Start(tb).URL() },
		"embedded": func(tb testing.TB) string { tb.Helper(); return embedded(tb) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := start(t)
			one, other := openTwo(t, url, asBot)
			if one.Tracked() != (name == "tracked") {
				t.Errorf("tracked: %t", one.Tracked())
			}
			rdb := connect(t, url)
			key := menucache.Key{UserID: 123, Type: "main"}
			const redisKey = "connectbot:1:menu:user:123:main"
			r := ask(key, "user", "ru")
			seen := func(what, body string) {
				t.Helper()
				for _, h := range []*hub{one, other} {
					redistest.Eventually(t, foreignLag, what+": "+body, func() bool { return string(h.get(t, r).Body) == body })
				}
			}
			built := one.built(t, r)
			seen("nothing", built)
			for _, menu := range []string{`{"options":[]}`, `{"role":"user","options":[]}`} {
				must(t, rdb.Set(t.Context(), redisKey, botEntry(t, key, menu), botTTL))
				seen("SET", menu)
			}
			redistest.Eventually(t, foreignLag, "the user in the list", func() bool {
				users, err := one.Users(t.Context(), "", 10)
				return err == nil && len(users.Users) == 1 && users.Users[0].ID == 123
			})
			must(t, rdb.Del(t.Context(), redisKey))
			seen("DEL", built)
			if name == "tracked" { // The embedded server has no clock of its own.
				must(t, rdb.Set(t.Context(), redisKey, botEntry(t, key, `{"options":[]}`), botTTL))
				seen("SET", `{"options":[]}`)
				must(t, rdb.PExpire(t.Context(), redisKey, time.Millisecond))
				seen("EXPIRE", built)
				must(t, rdb.Set(t.Context(), redisKey, botEntry(t, key, `{"options":[]}`), time.Second))
				must(t, rdb.Expire(t.Context(), redisKey, time.Hour))
				after(time.Second)
				seen("a longer EXPIRE", `{"options":[]}`)
			}
			one.set(t, menucache.Write{Key: key, Menu: own("a")})
			seen("the hub's", string(own("a")))
			must(t, rdb.FlushDB(t.Context()))
			seen("FLUSHDB", built)
		})
	}
}

// damaged are values that are no menu. Each has a text that may not be in the log.
func damaged(tb testing.TB) map[string]string {
	tb.Helper()
	pickled := func(text string) string {
		raw, err := djangocache.EncodeString(text)
		if err != nil {
			tb.Fatal(err)
		}
		return string(raw)
	}
	envelope := func(data string) string {
		return `{"data":` + data + `,"user_id":5000000000,"menu_type":"main","cached_at":0}`
	}
	return map[string]string{
		"a command":       "cos\nsystem\n(S's3cret'\ntR.",
		"a global":        "\x80\x04c__builtin__\ns3cret\n.",
		"a class":         "\x80\x04\x8c\x02os\x8c\x06s3cret\x93.",
		"a number":        "12345",
		"nothing useful":  "s3cret",
		"a short pickle":  "\x80\x04X\xff\xff\xff\xffs3cret.",
		"a bad stream":    "\x78\x9cs3crets3cret",
		"a dict":          "\x80\x04}.",
		"no JSON":         pickled("s3cret s3cret s3cret"),
		"a list":          pickled(envelope(`["s3cret"]`)),
		"null":            pickled(envelope(`null`)),
		"no menu":         pickled(`{"user_id":1,"menu_type":"s3cret"}`),
		"an id as text":   pickled(`{"data":{},"user_id":"s3cret","menu_type":"main"}`),
		"two values":      pickled(envelope(`{}`) + `"s3cret"`),
		"too large":       pickled(envelope(`{"a":"` + strings.Repeat("s3cret", 11_000) + `"}`)),
		"deep":            pickled(envelope(`{"a":` + strings.Repeat(`[`, 20_000) + strings.Repeat(`]`, 20_000) + `}`)),
		"no role":         pickled(envelope(`{"role":"s3cret\u0000"}`)),
		"no type":         pickled(`{"data":{},"user_id":5000000000,"menu_type":"s3cret s3cret\u0000"}`),
		"a text as epoch": pickled(`{"data":{},"user_id":5000000000,"menu_type":"main","hub":{"epoch":"s3cret"}}`),
		"raw JSON":        envelope(`{"a":"s3cret"}`),
	}
}

// TestDamaged puts what is no menu where menus are: it counts as none, and is told of without saying what it was.
func TestDamaged(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.WarnLevel)
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t), django, func(c *menucache.Config) { c.Logger = zap.New(core) })
	try := func(name, raw string) {
		t.Helper()
		h.ResetStats()
		must(t, h.rdb.Set(t.Context(), h.botKey(mainMenu), raw, botTTL))
		after(lag)
		if a := h.get(t, ask(mainMenu, "", "")); string(a.Body) != h.built(t, ask(mainMenu, "", "")) || a.Outcome != "MISS" {
			t.Errorf("%s: %s %s", name, a.Outcome, a.Body)
		}
		if n := h.Stats(); n.Damaged == 0 || n.LoadErrors != 0 || n.RedisErrors != 0 {
			t.Errorf("%s: %+v", name, n)
		}
		entries := logs.TakeAll()
		if len(entries) == 0 {
			t.Errorf("%s: nothing was logged", name)
		}
		for _, e := range entries {
			if text := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(text, secret) {
				t.Errorf("%s: logged %s", name, text)
			}
		}
		// What was built took its place.
		if a := h.get(t, ask(mainMenu, "", "")); a.Outcome != "HIT" {
			t.Errorf("%s: then %s", name, a.Outcome)
		}
	}
	for name, raw := range damaged(t) {
		try(name, raw)
	}
}

// TestCutEntries decodes the beginnings of good values of every length: they are errors, or the value.
func TestCutEntries(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		raw := v.raw(t)
		codec := menucache.NewEntryCodec(true)
		whole, _, err := codec.Decode([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		for n := range raw {
			e, _, err := codec.Decode([]byte(raw[:n]))
			if err == nil && e.Menu() != whole.Menu() {
				t.Errorf("%s: cut to %d bytes it is %s", v.Key, n, e.Menu())
			}
		}
	}
	plain, raw, meta := keptEntry(t)
	for n := range raw {
		if _, _, err := plain.Decode(raw[:n]); err == nil {
			t.Errorf("%s is a menu", raw[:n])
		}
	}
	if e, m, err := plain.Decode(raw); err != nil || m != meta || len(e.Options()) != 1 {
		t.Errorf("%+v, %v", m, err)
	}
}

// keptEntry is what the hub keeps for a menu that was set.
func keptEntry(tb testing.TB) (codec menucache.EntryCodec, raw []byte, meta menucache.EntryMeta) {
	tb.Helper()
	codec = menucache.NewEntryCodec(false)
	e, _, err := codec.Decode([]byte(`{"data":` + string(own("a")) + `,"user_id":1,"menu_type":"main","cached_at":0}`))
	if err != nil {
		tb.Fatal(err)
	}
	meta = menucache.EntryMeta{StoredAt: time.UnixMilli(1), FreshUntil: time.UnixMilli(2), ExpiresAt: time.UnixMilli(3), Epoch: 4}
	if raw, err = codec.Encode(e, meta); err != nil {
		tb.Fatal(err)
	}
	return codec, raw, meta
}

// TestWrongType keeps something else than a text where a menu should be.
func TestWrongType(t *testing.T) {
	t.Parallel()
	for name, mode := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t), mode)
			redisKey := h.key(mainMenu)
			if name == "django" {
				redisKey = h.botKey(mainMenu)
			}
			calls := map[string]func(context.Context) error{
				"get":   func(ctx context.Context) error { _, err := h.Get(ctx, ask(mainMenu, "", "")); return err },
				"clear": func(ctx context.Context) error { _, err := h.Clear(ctx, mainMenu); return err },
				"set": func(ctx context.Context) error {
					_, err := h.Set(ctx, menucache.Write{Key: mainMenu, Menu: own("a")})
					return err
				},
			}
			for what, call := range calls {
				must(t, h.rdb.Del(t.Context(), redisKey))
				must(t, h.rdb.RPush(t.Context(), redisKey, "a", "b"))
				after(lag)
				if err := call(t.Context()); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				a := h.get(t, ask(mainMenu, "", ""))
				if want := map[bool]string{true: string(own("a")), false: h.built(t, ask(mainMenu, "", ""))}[what == "set"]; string(a.Body) != want {
					t.Errorf("%s: %s", what, a.Body)
				}
			}
		})
	}
}
