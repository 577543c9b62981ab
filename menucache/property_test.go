package menucache_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/menucache"
)

// TestNeverWrong does what hubs, callers and the Django bot may do, in any order, and looks at every menu that is returned.
func TestNeverWrong(t *testing.T) {
	t.Parallel()
	later := replace(t, small, "{key: back, action: main_menu, labels: {ru: Назад}}\n  other:", "{key: back, action: main_menu, labels: {ru: Домой}}\n  other:")
	sets := []*menucache.Definitions{
		parse(t, small),
		parse(t, later),
		// Here coffee is for admins, and nothing of the panel is.
		parse(t, strings.NewReplacer("        badge: meetings\n", "        badge: meetings\n        roles: [admin]\n",
			"{ru: Панель}, roles: [admin]}", "{ru: Табло}}").Replace(small)),
	}
	url := redistest.Shared(t).URL()
	for name, mode := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := connect(t, url)
			rapid.Check(t, func(rt *rapid.T) {
				w := &world{
					t: t, rdb: rdb, sets: sets, django: name == "django", serials: map[int]*kept{}, current: map[menucache.Key]*kept{},
				}
				prefix := redistest.Prefix(silentTest{t})
				for i := range w.hubs {
					w.hubs[i] = openHub(t, url, prefix, mode, defining(sets[0]))
					defer w.hubs[i].Close()
				}
				rt.Repeat(w.actions())
			})
		})
	}
}

// silentTest is a test that logs nothing.
type silentTest struct{ testing.TB }

func (silentTest) Logf(string, ...any) {}

// world is what there is, and what may be returned of it.
type world struct {
	t    *testing.T
	rdb  *redis.Client
	hubs [2]*hub
	sets []*menucache.Definitions

	django      bool
	invalidated bool
	serials     map[int]*kept
	current     map[menucache.Key]*kept
}

// kept is a menu that was set, or that the bot wrote.
type kept struct {
	serial         int
	key            menucache.Key
	role, language string
	byBot, renewed bool
	menu           []byte
	// by is the hub that set it, and at when that was acknowledged.
	by int
	at time.Time
	// gone says when and through which hub it was set over, cleared, or built over, -1 for the bot; the zero time: not yet.
	gone   time.Time
	goneBy int
}

const bot = -1

func (w *world) actions() map[string]func(*rapid.T) {
	actions := map[string]func(*rapid.T){
		"get":        w.get,
		"get again":  w.get,
		"set":        w.set,
		"clear":      w.clear,
		"invalidate": w.invalidate,
		"definitions": func(rt *rapid.T) {
			w.hub(rt).SetDefinitions(w.sets[rapid.IntRange(0, len(w.sets)-1).Draw(rt, "definitions")])
		},
		"renew": w.renew,
		"wait": func(rt *rapid.T) {
			if rapid.IntRange(0, 7).Draw(rt, "long enough") == 0 {
				after(lag)
			}
		},
	}
	if w.django {
		actions["bot sets"] = w.botSets
		actions["bot deletes"] = w.botDeletes
	}
	return actions
}

func (w *world) which(rt *rapid.T) int { return rapid.IntRange(0, 1).Draw(rt, "hub") }
func (w *world) hub(rt *rapid.T) *hub  { return w.hubs[w.which(rt)] }
func (w *world) role(rt *rapid.T) string {
	return rapid.SampledFrom([]string{"user", "admin"}).Draw(rt, "role")
}

func (w *world) language(rt *rapid.T) string {
	return rapid.SampledFrom([]string{"ru", "en"}).Draw(rt, "language")
}

func (w *world) key(rt *rapid.T) menucache.Key {
	return menucache.Key{
		UserID: rapid.Int64Range(1, 2).Draw(rt, "user"), Type: rapid.SampledFrom([]string{"main", "admin", "other"}).Draw(rt, "type"),
	}
}

// try calls again what a Redis that is too busy did not answer.
func (w *world) try(call func() error) (err error) {
	redistest.Eventually(w.t, longEnough, "an answer of Redis", func() bool {
		err = call()
		return !errors.Is(err, menucache.ErrUnavailable)
	})
	return err
}

// end says that what is kept for a key is no longer to be returned.
func (w *world) end(key menucache.Key, by int) {
	if k := w.current[key]; k != nil {
		k.gone, k.goneBy = time.Now(), by
		delete(w.current, key)
	}
}

// menu draws a menu that names its serial number, and perhaps a role and options that are not for everybody.
func (w *world) menu(rt *rapid.T, k *kept) []byte {
	k.serial = len(w.serials) + 1
	w.serials[k.serial] = k
	options := []string{fmt.Sprintf(`{"key":"s%[1]d","label":"S","action":"s%[1]d"}`, k.serial)}
	for _, o := range []string{
		`{"key":"panel","label":"P","action":"x"}`, `{"key":"x","label":"U","action":"show_users"}`,
		`{"key":"coffee","label":"C","action":"show_coffee"}`, `{"key":"chess","label":"C","action":"show_chess"}`,
	} {
		if rapid.IntRange(0, 4).Draw(rt, "option") == 0 {
			options = append(options, o)
		}
	}
	role := ""
	if rapid.IntRange(0, 2).Draw(rt, "named") == 0 {
		k.role = w.role(rt)
		role = `"role":"` + k.role + `",`
	}
	k.menu = []byte(`{` + role + `"options":[` + strings.Join(options, ",") + `]}`)
	return k.menu
}

func (w *world) set(rt *rapid.T) {
	k := &kept{key: w.key(rt), by: w.which(rt)}
	write := menucache.Write{Key: k.key, Menu: w.menu(rt, k)}
	if rapid.Bool().Draw(rt, "for a role") {
		write.Role = w.role(rt)
		if k.role != "" && write.Role != k.role {
			write.Role = k.role
		}
		k.role = write.Role
	}
	if rapid.Bool().Draw(rt, "for a language") {
		write.Language = w.language(rt)
		k.language = write.Language
	}
	h := w.hubs[k.by]
	err := w.try(func() error { _, err := h.Set(w.t.Context(), write); return err })
	refused := k.role != "" && (!h.Definitions().RoleAllowed(k.key.Type, k.role) || forbidden(h.Definitions(), k.role, write.Menu) != "")
	var invalid *menucache.InvalidError
	switch {
	case refused && !errors.As(err, &invalid), !refused && err != nil:
		rt.Fatalf("set for %q: %s: %v", k.role, write.Menu, err)
	case refused:
		k.gone, k.goneBy = time.Unix(0, 0), k.by
		return
	}
	w.end(k.key, k.by)
	k.at = time.Now()
	w.current[k.key] = k
}

func (w *world) botSets(rt *rapid.T) {
	k := &kept{key: w.key(rt), by: bot, byBot: true, language: "ru"}
	must(w.t, w.rdb.Set(w.t.Context(), w.hubs[0].botKey(k.key), botEntry(w.t, k.key, string(w.menu(rt, k))), botTTL))
	w.end(k.key, bot)
	k.at = time.Now()
	w.current[k.key] = k
}

func (w *world) botDeletes(rt *rapid.T) {
	key := w.key(rt)
	must(w.t, w.rdb.Del(w.t.Context(), w.hubs[0].botKey(key)))
	w.end(key, bot)
}

func (w *world) clear(rt *rapid.T) {
	key, by := w.key(rt), w.which(rt)
	if rapid.Bool().Draw(rt, "all of the user") {
		if err := w.try(func() error { _, err := w.hubs[by].ClearUser(w.t.Context(), key.UserID); return err }); err != nil {
			rt.Fatal(err)
		}
		for k := range w.current {
			if k.UserID == key.UserID {
				w.end(k, by)
			}
		}
		return
	}
	if err := w.try(func() error { _, err := w.hubs[by].Clear(w.t.Context(), key); return err }); err != nil {
		rt.Fatal(err)
	}
	w.end(key, by)
}

func (w *world) invalidate(rt *rapid.T) {
	by := w.which(rt)
	selection := rapid.SampledFrom([]menucache.Selection{{All: true}, {Role: "user"}, {Role: "admin"}, {Type: "main"}, {Type: "other"}}).Draw(rt, "selection")
	if err := w.try(func() error { return w.hubs[by].Invalidate(w.t.Context(), selection) }); err != nil {
		rt.Fatal(err)
	}
	w.invalidated = true
	for key, k := range w.current {
		if selection.All || selection.Type == key.Type || selection.Role != "" && (k.role == "" || k.role == selection.Role) {
			w.end(key, by)
		}
	}
}

func (w *world) renew(rt *rapid.T) {
	h, key := w.hub(rt), w.key(rt)
	err := w.try(func() error { _, err := h.Renew(w.t.Context(), key, time.Hour); return err })
	if err != nil && !errors.Is(err, menucache.ErrNotFound) {
		rt.Fatal(err)
	}
	if k := w.current[key]; k != nil && err == nil {
		k.renewed = true
	}
}

func (w *world) get(rt *rapid.T) {
	by := w.which(rt)
	h, r := w.hubs[by], ask(w.key(rt), w.role(rt), w.language(rt))
	h.noticed(w.t, false)
	began := time.Now()
	a, err := h.Get(w.t.Context(), r)
	d := h.Definitions()
	if !d.RoleAllowed(r.Type, r.Role) {
		if !errors.Is(err, menucache.ErrRoleNotAllowed) {
			rt.Fatalf("%+v: %v", r, err)
		}
		return
	}
	if err != nil {
		rt.Fatal(err)
	}
	if option := forbidden(d, r.Role, a.Body); option != "" {
		rt.Fatalf("%s is shown to %s: %s", option, r.Role, a.Body)
	}
	if h.Check(w.t.Context()) != nil || a.Outcome == "BYPASS" {
		return // Redis was too busy to answer: nothing of what follows is promised then.
	}
	k := w.serials[serial(a.Body)]
	current := w.current[r.Key]
	switch {
	case k != nil:
		w.checkKept(rt, k, by, began, r, a)
	case string(a.Body) != h.built(w.t, r):
		rt.Fatalf("built for %+v: %s", r, a.Body)
	case current != nil && w.has(current, by, began, r):
		rt.Fatalf("menu %d was lost: %s %s", current.serial, a.Outcome, a.Body)
	case a.Outcome == "MISS" && current != nil && current.byBot && !current.renewed:
		w.end(r.Key, by) // It takes the place of what the bot wrote, but not of what was set.
	}
}

// has reports whether a menu must be returned.
func (w *world) has(k *kept, by int, began time.Time, r menucache.Request) bool {
	knows := by == k.by || began.Sub(k.at) > lag
	suits := (k.role == "" || k.role == r.Role) && (k.language == "" || k.language == r.Language)
	// After an invalidation, what the bot writes in the next seconds does not count.
	if !knows || !suits || k.byBot && w.invalidated {
		return false
	}
	return forbidden(w.hubs[by].Definitions(), r.Role, k.menu) == ""
}

func (w *world) checkKept(rt *rapid.T, k *kept, by int, began time.Time, r menucache.Request, a menucache.Answer) {
	switch {
	case k.key != r.Key:
		rt.Fatalf("menu %d of %+v is shown for %+v", k.serial, k.key, r.Key)
	case k.role != "" && k.role != r.Role || k.language != "" && k.language != r.Language:
		rt.Fatalf("menu %d for %q %q is shown for %+v", k.serial, k.role, k.language, r)
	case k.gone.IsZero():
	case k.goneBy == by || began.Sub(k.gone) > lag:
		rt.Fatalf("menu %d is back %v after it was gone through %d: %s", k.serial, began.Sub(k.gone), k.goneBy, a.Outcome)
	}
}

// serial returns the serial number of a menu, 0 for one that was built.
func serial(body []byte) int {
	for _, o := range shownIn(body) {
		if n, err := strconv.Atoi(strings.TrimPrefix(o.Key, "s")); err == nil {
			return n
		}
	}
	return 0
}

// shownIn returns the options of a menu, none for what is no menu.
func shownIn(body []byte) []menucache.Option {
	var menu struct{ Options []menucache.Option }
	if json.Unmarshal(body, &menu) != nil {
		return nil
	}
	return menu.Options
}

// forbidden returns the option of a menu that the definitions, by their description, show to others only, "" if there is
// none.
func forbidden(d *menucache.Definitions, role string, body []byte) string {
	known, allowed := map[string]bool{}, map[string]bool{}
	for _, m := range d.Describe().Menus {
		for _, o := range m.Options {
			roles := o.Roles
			if len(roles) == 0 {
				roles = m.Roles
			}
			for _, name := range []string{"key " + o.Key, "action " + o.Action} {
				known[name] = true
				allowed[name] = allowed[name] || len(roles) == 0 || slices.Contains(roles, role)
			}
		}
	}
	for _, o := range shownIn(body) {
		for _, name := range []string{"key " + o.Key, "action " + o.Action} {
			if known[name] && !allowed[name] {
				return name
			}
		}
	}
	return ""
}
