package menucache_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/djangocache"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/menucache"
)

const (
	// lag is how long another hub may not know of a change.
	lag = 100 * time.Millisecond
	// foreignLag is how long a hub may not know of what another program changes.
	foreignLag = time.Second
)

// after waits for a bound that the package promises.
func after(bound time.Duration) { <-time.After(bound) }

// hub is the Menus of one process.
type hub struct {
	*menucache.Menus

	rdb    *redis.Client
	prefix string
	trips  *trips
	told   *told
}

// openHub makes Menus as one of several hubs would, and closes them with the test.
func openHub(tb testing.TB, url, prefix string, changes ...func(*menucache.Config)) *hub {
	tb.Helper()
	h := newHub(tb, url, prefix, changes...)
	if err := h.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return h
}

func newHub(tb testing.TB, url, prefix string, changes ...func(*menucache.Config)) *hub {
	tb.Helper()
	h := &hub{rdb: connect(tb, url), prefix: prefix, trips: &trips{}, told: &told{}}
	h.rdb.AddHook(h.trips)
	cfg := menucache.Config{
		Redis: h.rdb, RedisURL: url, Prefix: prefix, DjangoPrefix: prefix + ":1", Announce: h.told.announce,
	}
	for _, change := range changes {
		change(&cfg)
	}
	var err error
	if h.Menus, err = menucache.New(cfg); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(h.Close)
	return h
}

// openTwo makes two hubs that share a Redis.
func openTwo(tb testing.TB, url string, changes ...func(*menucache.Config)) (one, other *hub) {
	tb.Helper()
	prefix := redistest.Prefix(tb)
	return openHub(tb, url, prefix, changes...), openHub(tb, url, prefix, changes...)
}

func django(c *menucache.Config) { c.Django = true }

func defining(d *menucache.Definitions) func(*menucache.Config) {
	return func(c *menucache.Config) { c.Definitions = d }
}

// modes are the forms in which menus are kept.
func modes() map[string]func(*menucache.Config) {
	return map[string]func(*menucache.Config){"plain": func(*menucache.Config) {}, "django": django}
}

// key is a menu's key in Redis.
func (h *hub) key(k menucache.Key) string {
	return fmt.Sprintf("%s:menu:user:%d:%s", h.prefix, k.UserID, k.Type)
}

// botKey is a menu's key in Redis in Django mode.
func (h *hub) botKey(k menucache.Key) string {
	return fmt.Sprintf("%s:1:menu:user:%d:%s", h.prefix, k.UserID, k.Type)
}

// trips counts what is sent to Redis at a time.
type trips struct{ n atomic.Int64 }

func (*trips) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (t *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { t.n.Add(1); return next(ctx, cmd) }
}

func (t *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { t.n.Add(1); return next(ctx, cmds) }
}

// told are the events that a hub announced, as user:data.
type told struct {
	mu    sync.Mutex
	said  []string
	fails bool
}

var errAnnounce = errors.New("nobody listens")

func (a *told) announce(ctx context.Context, userID int64, data []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if a.fails {
		return errAnnounce
	}
	a.said = append(a.said, strconv.FormatInt(userID, 10)+" "+string(data))
	return nil
}

func (a *told) fail(fails bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fails = fails
}

// take returns what was announced since it was called last.
func (a *told) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	said := a.said
	a.said = nil
	return said
}

func (a *told) want(tb testing.TB, said ...string) {
	tb.Helper()
	if got := a.take(); !slices.Equal(got, said) {
		tb.Errorf("announced %q, want %q", got, said)
	}
}

// ask is a request for a menu as JSON.
func ask(k menucache.Key, role, language string) menucache.Request {
	return menucache.Request{Key: k, Role: role, Language: language}
}

// get gets a menu, which must succeed.
func (h *hub) get(tb testing.TB, r menucache.Request) menucache.Answer {
	tb.Helper()
	a, err := h.Get(tb.Context(), r)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// want gets a menu and compares it.
func (h *hub) want(tb testing.TB, r menucache.Request, body string, outcome menucache.Outcome) menucache.Answer {
	tb.Helper()
	a := h.get(tb, r)
	if string(a.Body) != body || a.Outcome != outcome {
		tb.Errorf("%s %s, want %s %s", a.Outcome, a.Body, outcome, body)
	}
	return a
}

// set sets a menu in the cache, which must succeed.
func (h *hub) set(tb testing.TB, w menucache.Write) menucache.Written {
	tb.Helper()
	written, err := h.Set(tb.Context(), w)
	if err != nil {
		tb.Fatal(err)
	}
	return written
}

// built is the menu that the definitions of the hub make.
func (h *hub) built(tb testing.TB, r menucache.Request) string {
	tb.Helper()
	d := h.Definitions()
	if r.Role == "" {
		r.Role = d.DefaultRole()
	}
	if r.Language == "" {
		r.Language = d.DefaultLanguage()
	}
	menu, err := d.Build(r.UserID, r.Type, r.Role, r.Language)
	if err != nil {
		tb.Fatal(err)
	}
	return string(menu)
}

// own is a menu of one's own, with an option that tells it from all others.
func own(name string) []byte {
	return fmt.Appendf(nil, `{"options":[{"key":"%[1]s","label":"Own %[1]s","action":"show_%[1]s"}]}`, name)
}

// botEntry is what the Django bot keeps for a menu: json.dumps, pickled and deflated.
func botEntry(tb testing.TB, k menucache.Key, menu string) string {
	tb.Helper()
	text, err := json.Marshal(map[string]any{
		"data": json.RawMessage(menu), "user_id": k.UserID, "menu_type": k.Type, "cached_at": 0,
	})
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := djangocache.EncodeString(string(text))
	if err != nil {
		tb.Fatal(err)
	}
	return string(raw)
}

// botTTL is how long the Django bot keeps a menu.
const botTTL = 30 * time.Minute

func must(tb testing.TB, cmd interface{ Err() error }) {
	tb.Helper()
	if err := cmd.Err(); err != nil {
		tb.Fatal(err)
	}
}

// wantProblem compares the fields of an InvalidError, which must be named in this order.
func wantProblem(tb testing.TB, err error, fields ...string) {
	tb.Helper()
	var invalid *menucache.InvalidError
	if !errors.As(err, &invalid) {
		tb.Errorf("%v, want one of the fields %v", err, fields)
		return
	}
	var got []string
	for _, f := range invalid.Fields {
		got = append(got, f.Field)
	}
	if !slices.Equal(got, fields) {
		tb.Errorf("%v, want the fields %v", err, fields)
	}
}

// commands returns how often each command was called, but for those with which hubs look whether Redis is there.
func commands(tb testing.TB, rdb *redis.Client) map[string]int {
	tb.Helper()
	info, err := rdb.Info(tb.Context(), "commandstats").Result()
	if err != nil {
		tb.Fatal(err)
	}
	calls := map[string]int{}
	for line := range strings.Lines(info) {
		name, stats, found := strings.Cut(strings.TrimSpace(line), ":calls=")
		if !found {
			continue
		}
		count, _, _ := strings.Cut(stats, ",")
		n, err := strconv.Atoi(count)
		if err != nil {
			tb.Fatal(err)
		}
		switch name = strings.TrimPrefix(name, "cmdstat_"); name {
		case "ping", "getrange", "info", "hello", "client|tracking", "auth", "quit":
		default:
			calls[name] = n
		}
	}
	return calls
}

// since returns which commands were called after before.
func since(before, now map[string]int) map[string]int {
	calls := map[string]int{}
	for name, n := range now {
		if n -= before[name]; n > 0 {
			calls[name] = n
		}
	}
	return calls
}

// wantCommands compares which commands were called since before.
func wantCommands(tb testing.TB, rdb *redis.Client, before map[string]int, want map[string]int) {
	tb.Helper()
	if got := since(before, commands(tb, rdb)); !maps.Equal(got, want) {
		tb.Errorf("commands %v, want %v", got, want)
	}
}

// settled waits until a hub answers from memory, after it was told of its own writes.
func (h *hub) settled(tb testing.TB, r menucache.Request) {
	tb.Helper()
	h.get(tb, r)
	after(lag)
	redistest.Eventually(tb, longEnough, "an answer from memory", func() bool {
		before := h.Stats().LocalHits
		h.get(tb, r)
		return h.Stats().LocalHits > before
	})
}

// noticed waits until a hub knows that Redis is away, or that it is back.
func (h *hub) noticed(tb testing.TB, away bool) {
	tb.Helper()
	redistest.Eventually(tb, longEnough, fmt.Sprint("Redis away: ", away), func() bool {
		return (h.Check(tb.Context()) != nil) == away
	})
}

// embedded starts the embedded Redis.
func embedded(tb testing.TB) string {
	tb.Helper()
	server, err := redisconn.StartEmbedded("127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(server.Close)
	return server.URL()
}
