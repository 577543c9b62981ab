package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/health"
	"github.com/connectbot-hub/connecthub/menucache"
)

// menuSettings are the settings of the menus.
type menuSettings struct {
	KeyPrefix       string        `setting:"KEY_PREFIX" default:"hub" help:"What the keys of the hub's own data in Redis begin with."`
	DjangoCompat    bool          `setting:"DJANGO_COMPAT" default:"false" negatable:"" help:"Share menus and temporary data in Redis with the Django bot: its keys and its format."`
	DjangoKeyPrefix string        `setting:"DJANGO_KEY_PREFIX" default:"connectbot:1" help:"What the bot's keys begin with: its KEY_PREFIX, a colon and the version."`
	MenuDefinitions string        `setting:"MENU_DEFINITIONS" placeholder:"FILE" help:"What menus there are, in YAML; it is read again when it changes and on SIGHUP. Unset: those of the bot."`
	MenuTTL         time.Duration `name:"menu-ttl" setting:"MENU_TTL" default:"30m" help:"How long a menu is kept."`
	MenuStale       time.Duration `setting:"MENU_STALE" default:"5m" help:"In the last part of that time a menu is made anew while the old one is returned."`
	MenuLocalMiB    uint64        `name:"menu-local-mib" setting:"MENU_LOCAL_MIB" default:"64" help:"Memory for menus in the hub itself, in MiB."`
	MenuWarm        int           `setting:"MENU_WARM" default:"1000" help:"How many of the menus most asked for are made ready when the hub starts."`

	MenuSourceURL       string        `name:"menu-source-url" setting:"MENU_SOURCE_URL" placeholder:"URL" help:"A service that holds users' own menus, at URL/menus/{user_id}/{menu_type}. Unset: there is none."`
	MenuSourceToken     string        `setting:"MENU_SOURCE_TOKEN" placeholder:"TOKEN" help:"What the hub shows it, as Authorization: Service TOKEN."`
	MenuSourceTokenFile string        `setting:"MENU_SOURCE_TOKEN_FILE" placeholder:"FILE" help:"A file that holds that token."`
	MenuSourceTimeout   time.Duration `setting:"MENU_SOURCE_TIMEOUT" default:"2s" help:"How long it may take to answer."`
}

func (c *menuSettings) validate() error {
	for _, s := range []struct {
		name string
		ok   bool
		want string
	}{
		{"KEY_PREFIX", events.CheckPrefix(c.KeyPrefix) == nil, "must be 1 to 64 ASCII letters, digits, '_' and '-'"},
		{
			"DJANGO_KEY_PREFIX", c.DjangoKeyPrefix != "" && len(c.DjangoKeyPrefix) <= 128 && !strings.HasSuffix(c.DjangoKeyPrefix, ":"),
			"must have 1 to 128 bytes and no colon at the end, such as connectbot:1",
		},
		{"MENU_TTL", c.MenuTTL >= time.Second && c.MenuTTL <= menucache.MaxTTL, "must be from 1s to " + menucache.MaxTTL.String()},
		{"MENU_STALE", c.MenuStale >= 0 && c.MenuStale < c.MenuTTL, fmt.Sprintf("must be at least 0s and less than MENU_TTL, which is %v", c.MenuTTL)},
		{"MENU_LOCAL_MIB", c.MenuLocalMiB >= 1 && c.MenuLocalMiB <= 1<<20, "must be from 1 to 1048576"},
		{"MENU_WARM", c.MenuWarm >= 0 && c.MenuWarm <= menucache.MaxWarm, "must be from 0 to 10000"},
		{"MENU_SOURCE_TIMEOUT", c.MenuSourceTimeout >= time.Millisecond && c.MenuSourceTimeout <= 5*time.Second, "must be from 1ms to 5s"},
	} {
		if !s.ok {
			return &settingError{s.name, s.want}
		}
	}
	return nil
}

// source returns the client of the menu source, nil if there is none.
func (c *menuSettings) source() (*menucache.Source, error) {
	token, from, err := tokenSet("MENU_SOURCE_TOKEN", c.MenuSourceToken, c.MenuSourceTokenFile)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, &settingError{from, "must be visible ASCII characters without spaces"}
	}
	if c.MenuSourceURL == "" {
		return nil, nil //nolint:nilnil // There is none.
	}
	source, err := menucache.NewSource(menucache.SourceConfig{URL: c.MenuSourceURL, Token: token, Timeout: c.MenuSourceTimeout})
	if err != nil {
		return nil, &settingError{"MENU_SOURCE_URL", "cannot be used: " + ofMenus(err)}
	}
	return source, nil
}

// ofMenus is what an error of package menucache says, without the package's name.
func ofMenus(err error) string { return strings.TrimPrefix(err.Error(), "menucache: ") }

// menus is what of the hub has to do with menus.
type menus struct {
	*menucache.Menus
	source *menucache.Source          // nil if there is none
	file   *menucache.DefinitionsFile // likewise
	hangup chan os.Signal
	work   sync.WaitGroup
}

// newMenus makes the part of the hub that has to do with menus. Queue is the Redis that nobody clears.
func (c *menuSettings) newMenus(rdb, queue *redis.Client, url string, publisher *events.Publisher, log *zap.Logger) (_ *menus, err error) {
	m := &menus{hangup: make(chan os.Signal, 1)}
	signal.Notify(m.hangup, syscall.SIGHUP) // Without it the signal would end the process.
	if m.source, err = c.source(); err != nil {
		return nil, err
	}
	definitions := menucache.DefaultDefinitions()
	if c.MenuDefinitions != "" {
		if m.file, definitions, err = menucache.OpenDefinitionsFile(c.MenuDefinitions, 0, log); err != nil {
			return nil, &settingError{"MENU_DEFINITIONS", "cannot be used: " + ofMenus(err)}
		}
	}
	stale := c.MenuStale
	if stale == 0 {
		stale = -1 // Which is how the package says none.
	}
	m.Menus, err = menucache.New(menucache.Config{
		Redis: rdb, RedisURL: url, Queue: queue,
		Prefix: c.KeyPrefix, Django: c.DjangoCompat, DjangoPrefix: c.DjangoKeyPrefix,
		Definitions: definitions, Source: m.source,
		TTL: c.MenuTTL, Stale: stale, LocalBytes: c.MenuLocalMiB << 20, WarmTop: c.MenuWarm,
		Announce: func(ctx context.Context, userID int64, data []byte) error {
			return announceCleared(ctx, publisher, userID, data)
		},
		Logger: log,
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// announceCleared publishes what the bot does when it clears its cache.
func announceCleared(ctx context.Context, publisher *events.Publisher, userID int64, data []byte) error {
	channel := events.Global()
	if userID > 0 {
		var err error
		if channel, err = events.User(userID); err != nil {
			return err
		}
	}
	_, err := publisher.Publish(ctx, events.Message{Channel: channel, Type: "system.cache_cleared", Data: data, Source: "connecthub"})
	return err
}

// start starts the menus, and reads the definitions anew on SIGHUP and when they change.
func (m *menus) start(ctx context.Context) error {
	if err := m.Start(ctx); err != nil {
		return err
	}
	if m.file != nil {
		if err := m.file.Start(ctx, m.SetDefinitions); err != nil {
			return err
		}
	}
	m.work.Go(func() {
		for range m.hangup {
			if m.file != nil {
				m.file.Reload()
			}
		}
	})
	return nil
}

// close ends what start began, if that was called, and what newMenus made. It may be called once.
func (m *menus) close() {
	signal.Stop(m.hangup)
	close(m.hangup)
	m.work.Wait()
	if m.file != nil {
		m.file.Close()
	}
	m.Close()
	if m.source != nil {
		m.source.Close()
	}
}

// addChecks adds what /health tells of the menus: they are served whatever is wrong, so that nothing is worse than a warning.
func (m *menus) addChecks(checker *health.Checker) {
	checker.Add("menus", "component", func(ctx context.Context) error {
		if err := m.Check(ctx); err != nil {
			return health.Warning(err.Error())
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		_, err := m.Users(ctx, "", 1)
		var refusal redis.Error
		switch {
		case errors.As(err, &refusal): // It answers a PING, but not the rest.
			return health.Warning("Redis does not do what menus need, so they are not cached: see what the hub's user may do there.")
		case err != nil:
			return health.Warning("Redis does not answer: menus come from memory or are built.")
		}
		return nil
	})
	if m.file != nil {
		checker.Add("menu_definitions", "component", func(context.Context) error {
			if err := m.file.Err(); err != nil {
				return health.Warning("The file of definitions cannot be used, the last good one is: see the log.")
			}
			return nil
		})
	}
	if m.source == nil {
		return
	}
	checker.Add("menu_source", "component", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		_, err := m.source.Get(ctx, menucache.Key{UserID: nobody, Type: m.Definitions().Types()[0]}, "", "")
		if err != nil && !errors.Is(err, menucache.ErrNotFound) {
			return health.Warning("The menu source does not answer, or fails: menus are built.")
		}
		return nil
	})
	checker.Add("menu_writes", "component", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		_, dead, err := m.QueueDepth(ctx)
		switch {
		case err != nil:
			return health.Warning("Redis does not answer: writes to the menu source are not delivered.")
		case dead > 0:
			return health.Warning("Writes to the menu source were given up: see GET /v1/menus/dead-writes.")
		}
		return nil
	})
}
