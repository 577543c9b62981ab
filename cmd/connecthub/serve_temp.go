package main

import (
	"context"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/health"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// tempSettings are the settings of temporary data; KEY_PREFIX, DJANGO_COMPAT and DJANGO_KEY_PREFIX are those of menus.
type tempSettings struct {
	TempdataFallback  string `setting:"TEMPDATA_FALLBACK" enum:"memory,off" default:"memory" help:"What becomes of temporary data while Redis is away: memory keeps it in this hub, off refuses it. Several hubs behind one balancer need off."`
	TempdataMemoryMiB int64  `name:"tempdata-memory-mib" setting:"TEMPDATA_MEMORY_MIB" default:"64" help:"Memory for that, in MiB."`
}

func (c *tempSettings) validate() error {
	if c.TempdataMemoryMiB < 1 || c.TempdataMemoryMiB > 1<<20 {
		return &settingError{"TEMPDATA_MEMORY_MIB", "must be from 1 to 1048576"}
	}
	return nil
}

// newTemp makes the part of the hub that keeps temporary data.
func (c *serveCommand) newTemp(rdb *redis.Client, url string, trace func(context.Context) func(bool), log *zap.Logger) (*tempdata.Store, error) {
	memory := c.TempdataMemoryMiB << 20
	if c.TempdataFallback == "off" {
		memory = -1
	}
	return tempdata.New(tempdata.Config{
		Redis: rdb, URL: url, Prefix: c.KeyPrefix, Django: c.DjangoCompat, DjangoPrefix: c.DjangoKeyPrefix,
		MemoryBytes: memory, Trace: trace, Logger: log,
	})
}

// addTempCheck adds what /health tells of temporary data.
func addTempCheck(checker *health.Checker, store *tempdata.Store) {
	checker.Add("temp_data", "component", func(context.Context) error {
		if err := store.Check(); err != nil {
			return health.Warning(err.Error() + ".")
		}
		return nil
	})
}
