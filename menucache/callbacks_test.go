package menucache_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/menucache"
)

// longAction does not fit into a button.
var longAction = strings.Repeat("long_", 20) //nolint:gochecknoglobals // A constant, but for the language.

// withLongAction is small with one action that is long.
func withLongAction(tb testing.TB) *menucache.Definitions {
	tb.Helper()
	return parse(tb, replace(tb, small, "show_coffee", longAction))
}

func inlineOf(k menucache.Key) menucache.Request {
	return menucache.Request{Key: k, Format: menucache.FormatTelegramInline}
}

// setLong sets a menu with a long action.
func setLong(action string) []byte {
	return []byte(`{"options":[{"key":"a","label":"A","action":"` + action + `"}]}`)
}

func (h *hub) wantAction(tb testing.TB, action string) {
	tb.Helper()
	if got, err := h.Callback(tb.Context(), menucache.CallbackID(action)); got != action || err != nil {
		tb.Errorf("%q, %v; want %q", got, err, action)
	}
}

// TestCallbacks looks up what the ids in buttons stand for, also through another hub and after the definitions changed.
func TestCallbacks(t *testing.T) {
	t.Parallel()
	one, other := openTwo(t, redistest.Shared(t).URL(), defining(withLongAction(t)))
	first, second := menucache.Key{UserID: 1, Type: "main"}, menucache.Key{UserID: 2, Type: "main"}
	set := "cb:" + strings.Repeat("я", 100)
	one.set(t, menucache.Write{Key: second, Menu: setLong(set)})
	for key, action := range map[menucache.Key]string{first: longAction, second: set} {
		for range 2 {
			a := one.get(t, inlineOf(key))
			if id := menucache.CallbackID(action); !strings.Contains(string(a.Body), `"callback_data":"`+id+`"`) || strings.Contains(string(a.Body), action) {
				t.Errorf("no id in %s", a.Body)
			}
		}
		left := one.rdb.TTL(t.Context(), one.prefix+":menu:callback:"+menucache.CallbackID(action)).Val()
		if left < 89*24*time.Hour || left > 90*24*time.Hour {
			t.Errorf("it is kept for %v", left)
		}
	}
	other.SetDefinitions(parse(t, small))
	fresh := openHub(t, redistest.Shared(t).URL(), one.prefix)
	for _, h := range []*hub{one, other, fresh} {
		h.wantAction(t, longAction)
		h.wantAction(t, set)
		for _, id := range []string{"", "cb:", menucache.CallbackID("unknown"), longAction, strings.Repeat("x", 10_000), "*"} {
			if action, err := h.Callback(t.Context(), id); !errors.Is(err, menucache.ErrNotFound) || action != "" {
				t.Errorf("%.20q: %q, %v", id, action, err)
			}
		}
	}
}

// TestCallbacksWithoutRedis puts ids into buttons while Redis is away: those that every hub knows, and those that were
// kept lately.
func TestCallbacksWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	h := openHub(t, server.URL(), "hub", defining(withLongAction(t)))
	set, unseen := menucache.Key{UserID: 2, Type: "main"}, menucache.Key{UserID: 3, Type: "main"}
	kept := longAction + "set"
	h.set(t, menucache.Write{Key: set, Menu: setLong(kept)})
	h.set(t, menucache.Write{Key: unseen, Menu: setLong(longAction + "unseen")})
	h.settled(t, ask(set, "", ""))
	h.settled(t, ask(unseen, "", ""))
	h.get(t, inlineOf(set))
	server.Pause()
	h.noticed(t, true)
	for _, r := range []menucache.Request{
		inlineOf(menucache.Key{UserID: 1, Type: "main"}), // Built.
		inlineOf(set),
		{Key: set, Format: menucache.FormatTelegramInline, Badges: map[string]int{"meetings": 1}},
	} {
		began := time.Now()
		if a := h.get(t, r); !strings.Contains(string(a.Body), `"cb:`) {
			t.Errorf("no id in %s", a.Body)
		}
		if took := time.Since(began); took > 50*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	}
	h.wantAction(t, longAction)
	if _, err := h.Get(t.Context(), inlineOf(unseen)); !errors.Is(err, menucache.ErrUnavailable) {
		t.Error(err)
	}
	if _, err := h.Callback(t.Context(), menucache.CallbackID(kept)); !errors.Is(err, menucache.ErrUnavailable) {
		t.Error(err)
	}
	server.Resume()
	h.noticed(t, false)
	h.wantAction(t, kept)
	if a := h.get(t, inlineOf(unseen)); !strings.Contains(string(a.Body), menucache.CallbackID(longAction+"unseen")) {
		t.Errorf("no id in %s", a.Body)
	}
	h.wantAction(t, longAction+"unseen")
}

// TestCallbacksInAnotherDatabase keeps the ids where nobody clears them.
func TestCallbacksInAnotherDatabase(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	queue := connect(t, strings.TrimSuffix(server.URL(), "/0")+"/1")
	h := openHub(t, server.URL(), "hub", func(c *menucache.Config) { c.Queue = queue })
	h.set(t, menucache.Write{Key: mainMenu, Menu: setLong(longAction)})
	h.get(t, inlineOf(mainMenu))
	must(t, h.rdb.FlushDB(t.Context()))
	h.wantAction(t, longAction)
}
