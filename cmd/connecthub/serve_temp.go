package main

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/api"
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
func (c *serveCommand) newTemp(rdb *redis.Client, url string, log *zap.Logger) (*tempdata.Store, error) {
	memory := c.TempdataMemoryMiB << 20
	if c.TempdataFallback == "off" {
		memory = -1
	}
	return tempdata.New(tempdata.Config{
		Redis: rdb, URL: url, Prefix: c.KeyPrefix, Django: c.DjangoCompat, DjangoPrefix: c.DjangoKeyPrefix,
		MemoryBytes: memory, Logger: log,
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

// tempStats are what /stats shows of temporary data. Keys are counted for a second at most.
func tempStats(store *tempdata.Store) *api.TempDataStats {
	s := store.Stats()
	stats := &api.TempDataStats{Keys: map[string]int64{}, Operations: map[string]int64{
		"reads": s.Reads, "writes": s.Writes, "deletes": s.Deletes, "appends": s.Appends, "submitted": s.Submitted, "leased": s.Leased,
		"unmet": s.Unmet, "failed": s.Failed, "full": s.Full, "contended": s.Contended,
		"unreadable": s.Unreadable, "unsafe": s.Unsafe,
		"outages": s.Outages, "degraded": s.Degraded, "restored": s.Restored, "overtaken": s.Overtaken, "abandoned": s.Abandoned,
		"records": s.Records, "waiting": s.Waiting, "bytes": s.Bytes,
	}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	counts, _ := store.Counts(ctx) // None while Redis is away.
	const most = 100               // Namespaces are callers' own.
	for i, c := range counts {
		name := c.Namespace
		if i >= most {
			name = "(others)"
		}
		stats.Keys[name] += c.Keys
	}
	return stats
}
