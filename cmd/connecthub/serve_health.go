package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/health"
)

// healthSettings say how the hub watches itself.
type healthSettings struct {
	HealthInterval time.Duration `setting:"HEALTH_INTERVAL" default:"5s" help:"How often the hub looks at each of its parts, and sends itself an event to see that events get through. At most 5s, so that it notices within 15s."`
	DiskLowMiB     int64         `name:"disk-low-mib" setting:"DISK_LOW_MIB" default:"512" help:"Free space, in MiB, below which /health warns of the disk. 0: never."`
}

func (c *healthSettings) validate() error {
	if c.HealthInterval < 100*time.Millisecond || c.HealthInterval > events.MaxCanaryInterval {
		return &settingError{"HEALTH_INTERVAL", "must be from 100ms to " + events.MaxCanaryInterval.String()}
	}
	if c.DiskLowMiB < 0 || c.DiskLowMiB > 1<<30 {
		return &settingError{"DISK_LOW_MIB", "must be from 0 to 1073741824"}
	}
	return nil
}

// newChecker makes what /health asks.
func (h *hub) newChecker() *health.Checker {
	checker := health.New(health.Config{
		Interval: h.cfg.HealthInterval,
		OnChange: func(c health.Change) { h.announcer.healthChanged(string(c.Was), string(c.Now), c.Failing) },
		Logger:   h.log,
	})
	checker.Add(checkOfEvents, "datastore", health.Redis(h.eventsRDB, h.cfg.ChannelPrefix+":idem:health"))
	if h.eventsRDB != h.rdb {
		// Menus are made without it, and temporary data is kept in memory or refused: no reason to take the hub out of service.
		main := health.Redis(h.rdb, h.cfg.KeyPrefix+":health")
		checker.Add("redis_main", "datastore", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			if err := main(ctx); err != nil {
				return health.Warning(err.Error())
			}
			return nil
		})
	}
	checker.Add("delivery", "component", func(ctx context.Context) error {
		if err := h.canary.Check(ctx); err != nil {
			return err
		}
		return h.publisher.Check(ctx)
	})
	if h.bridge != nil {
		checker.Add("bridge", "component", h.bridgeCanary.Check)
	}
	h.menus.addChecks(checker)
	addTempCheck(checker, h.temp)
	h.pairing.addChecks(checker)
	h.addPersistenceCheck(checker)
	checker.Add("keys", "component", h.keys.check)
	if h.doors.tls != nil {
		checker.Add("certificate", "component", func(context.Context) error { return checkCertificate(h.doors.tls, time.Now()) })
	}
	checker.Add("disk", "system", health.Disk(uint64(h.cfg.DiskLowMiB)<<20, h.folders()...)) //nolint:gosec // G115: it was checked.
	return checker
}

// checkOfEvents is the check of the Redis that takes the events, which is all that accepting them needs.
const checkOfEvents = "redis"

// patience is less than the checker's, which takes what is too slow for a failure: for parts whose failure is a warning.
const patience = 800 * time.Millisecond

// addPersistenceCheck adds what /health tells of how long what is in Redis lasts. Of a Redis for the rest, from which somebody
// else may clear what he likes, it tells nothing, unless that is embedded.
func (h *hub) addPersistenceCheck(checker *health.Checker) {
	kept := health.Persistence(h.eventsRDB)
	lost := "The embedded Redis keeps nothing: " + h.lost() + " are lost when the hub stops. Set REDIS_URL."
	checker.Add("persistence", "datastore", func(ctx context.Context) error {
		if h.embedded != nil && h.eventsRDB == h.rdb {
			return health.Warning(lost)
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		err := kept(ctx)
		switch {
		case h.embedded == nil:
			return err
		case err == nil:
			return health.Warning(lost)
		}
		return health.Warning(lost + " " + err.Error())
	})
}

// folders are those whose disks must not get full. The hub keeps nothing on disk but the audit log, if that has a file; where it
// runs, its log may be written, or its Redis keep what it holds.
func (h *hub) folders() []health.Folder {
	folders := []health.Folder{{Name: "the working folder", Path: "."}}
	if file := h.cfg.AuditLogFile; file != "" {
		folders = append(folders, health.Folder{Name: "the audit log", Path: filepath.Dir(file)})
	}
	return folders
}
