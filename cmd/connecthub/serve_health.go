package main

import (
	"context"
	"errors"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/health"
)

// readiness returns what /health/ready asks: whether events can be accepted.
func (h *hub) readiness() *health.Checker {
	checker := health.NewChecker(time.Second)
	checker.Add("redis", "datastore", func(ctx context.Context) error {
		if err := h.eventsRDB.Ping(ctx).Err(); err != nil {
			return errors.New("Redis does not answer") //nolint:staticcheck // ST1005: Redis is a name. The cause may hold its address.
		}
		return nil
	})
	return checker
}

// checks returns what /health asks: also whether they are delivered.
func (h *hub) checks() *health.Checker {
	checker := h.readiness()
	checker.Add("subscription", "component", h.fanout.Check)
	if h.bridge != nil {
		checker.Add("bridge", "component", h.bridge.Check)
	}
	h.menus.addChecks(checker)
	addTempCheck(checker, h.temp)
	h.pairing.addChecks(checker)
	if h.embedded != nil {
		checker.Add("persistence", "datastore", func(context.Context) error {
			return health.Warning("The embedded Redis keeps nothing: " + h.lost() + " are lost when the hub stops. Set REDIS_URL.")
		})
	}
	return checker
}

// stats returns what /stats shows.
func (h *hub) stats() api.Stats {
	p, f := h.publisher.Stats(), h.fanout.Stats()
	stats := api.Stats{
		Since: h.started.UTC().Format(time.RFC3339Nano),
		Events: map[string]int64{
			"published": p.Published, "duplicates": p.Duplicates, "failed": p.Failed,
		},
		Streams: map[string]int64{
			"open": f.Open, "opened": f.Opened, "channels": f.Channels, "delivered": f.Delivered,
			"cut_slow": f.Slow, "gaps": f.Gaps, "resubscribed": f.Reconnects,
		},
		Caches:   map[string]map[string]float64{"menus": h.menus.counters()},
		TempData: tempStats(h.temp),
		Matching: h.pairing.stats(),
	}
	if h.bridge != nil {
		b := h.bridge.Stats()
		stats.Events["bridged"], stats.Events["bridged_before"], stats.Events["ignored"] = b.TakenUp, b.Seen, b.Ignored
	}
	return stats
}
