package main

import (
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/health"
	"github.com/connectbot-hub/connecthub/internal/metrics"
	"github.com/connectbot-hub/connecthub/javaclient"
	"github.com/connectbot-hub/connecthub/matching"
	"github.com/connectbot-hub/connecthub/menucache"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// numbers are what the parts of the hub counted since it started, and how they are now. To read them asks nobody else.
type numbers struct {
	publisher events.PublisherStats
	// refused never came to the publisher.
	refused map[events.Scope]int64
	fanout  events.FanoutStats
	bridge  *events.BridgeStats // nil without one
	menus   menucache.Stats
	temp    tempdata.Stats
	// degraded is true while Redis is away for temporary data.
	degraded bool
	matcher  matching.MatcherStats
	jobs     matching.JobsStats
	consumer events.ConsumerStats
	java     javaclient.Stats
	breaker  javaclient.State
	took     map[string]metrics.Distribution
	// requests are those over HTTP, by status, limited those of them that were too many.
	requests    map[int]int64
	limited     api.LimitedRequests
	connections api.ConnectionStats
	// audit are the lines of the audit log, by action.
	audit map[string]int64
	keys  keyReloads
	// canary and health are how the hub finds itself.
	canary events.CanaryStats
	health health.Report
}

// numbers reads the numbers, one after the other.
func (h *hub) numbers() numbers {
	n := numbers{
		publisher: h.publisher.Stats(), refused: h.server.Refused(), fanout: h.fanout.Stats(), menus: h.menus.Stats(),
		temp: h.temp.Stats(), degraded: h.temp.Check() != nil,
		matcher: h.pairing.Stats(), jobs: h.pairing.jobs.Stats(), consumer: h.pairing.consumer.Stats(),
		java: h.pairing.client.Stats(), breaker: h.pairing.client.Breaker(), took: h.metrics.JavaCalls(),
		requests: h.server.Requests(), limited: h.server.Limited(), connections: h.server.Connections(),
		audit: h.audit.Counts(), keys: h.keys.Stats(), canary: h.canary.Stats(), health: h.checker.Last(),
	}
	if h.bridge != nil {
		bridge := h.bridge.Stats()
		n.bridge = &bridge
	}
	return n
}

// outcomes returns what became of what was to be published, by scope.
func (n *numbers) outcomes() map[events.Scope]events.Outcomes {
	scopes := map[events.Scope]events.Outcomes{
		events.ScopeUser: n.publisher.User, events.ScopeGlobal: n.publisher.Global, events.ScopeService: n.publisher.Service,
	}
	for scope, o := range scopes {
		o.Refused += n.refused[scope]
		scopes[scope] = o
	}
	return scopes
}

// baseline is what /stats no longer counts, since somebody had it begin anew.
type baseline struct {
	mu sync.Mutex
	// since is when that was; the zero Time if it never was.
	since time.Time
	stats api.Stats
	took  map[string]metrics.Distribution
}

// stats returns what /stats shows.
func (h *hub) stats() api.Stats { return h.readStats(false) }

// resetStats returns what /stats shows, and makes it count anew. No number is lost in between, or counted twice.
func (h *hub) resetStats() api.Stats { return h.readStats(true) }

// readStats asks Redis for a second at most.
func (h *hub) readStats(reset bool) api.Stats {
	asked := h.ask()
	b := &h.baseline
	b.mu.Lock()
	defer b.mu.Unlock()
	n := h.numbers()
	since := h.started
	if !b.since.IsZero() {
		since = b.since
	}
	stats := statsOf(&n, &asked)
	subtract(&stats, &b.stats)
	stats.Since = since.UTC().Format(time.RFC3339Nano)
	stats.Caches["menus"]["hit_ratio"] = hitRatio(stats.Caches["menus"])
	stats.Matching.Latencies = latencies(n.took, b.took)
	if reset {
		b.since, b.stats, b.took = time.Now(), statsOf(&n, &asked), n.took
	}
	return stats
}

// statsOf is what /stats shows of the numbers, but for what is computed of them.
func statsOf(n *numbers, asked *asked) api.Stats {
	p, f := n.publisher, n.fanout
	stats := api.Stats{
		Events:        map[string]int64{"published": p.Published, "duplicates": p.Duplicates, "failed": p.Failed, "refused": 0},
		EventsByScope: map[string]map[string]int64{},
		Streams: map[string]int64{
			"open": f.Open, "opened": f.Opened, "resumed": f.Resumed, "channels": f.Channels, "delivered": f.Delivered,
			"cut_slow": f.Slow, "gaps": f.Gaps, "resubscribed": f.Reconnects,
		},
		Caches:   map[string]map[string]float64{"menus": menuCounters(&n.menus)},
		TempData: &api.TempDataStats{Operations: tempCounters(&n.temp), Keys: asked.keysBySpace()},
		Matching: &api.MatchingStats{
			Breaker: api.MatchingStatsBreaker(n.breaker), Calls: matchingCounters(n), Jobs: jobCounters(n, asked),
		},
		Requests: requestCounters(n.requests),
		Redis:    asked.info(),
	}
	for scope, o := range n.outcomes() {
		stats.Events["refused"] += o.Refused
		stats.EventsByScope[string(scope)] = map[string]int64{
			"published": o.Published, "duplicates": o.Duplicates, "refused": o.Refused, "failed": o.Failed,
		}
	}
	if b := n.bridge; b != nil {
		stats.Events["bridged"], stats.Events["bridged_before"], stats.Events["ignored"] = b.TakenUp, b.Seen, b.Ignored
	}
	return stats
}

func menuCounters(s *menucache.Stats) map[string]float64 {
	counters := make(map[string]float64)
	for name, n := range map[string]int64{
		"hits": s.LocalHits + s.RemoteHits, "hits_local": s.LocalHits, "hits_redis": s.RemoteHits, "stale": s.Stale,
		"misses": s.Misses, "bypassed": s.Bypassed, "builds": s.Loads, "errors": s.LoadErrors, "redis_errors": s.RedisErrors,
		"not_stored": s.Refused, "damaged": s.Damaged, "lock_waits": s.LockWaits, "lock_steals": s.LockSteals,
		"interruptions": s.Interruptions, "entries_local": s.Entries, "bytes_local": s.Bytes,
		"writes_queued": s.Queued, "writes_delivered": s.Delivered, "writes_retried": s.Retried,
		"writes_superseded": s.Superseded, "writes_dead": s.Dead,
	} {
		counters[name] = float64(n)
	}
	return counters
}

// hitRatio is that of the counters, which may have begun anew.
func hitRatio(c map[string]float64) float64 {
	if all := c["hits"] + c["misses"] + c["bypassed"]; all > 0 {
		return c["hits"] / all
	}
	return 0
}

func tempCounters(s *tempdata.Stats) map[string]int64 {
	return map[string]int64{
		"reads": s.Reads, "writes": s.Writes, "deletes": s.Deletes, "appends": s.Appends, "submitted": s.Submitted, "leased": s.Leased,
		"unmet": s.Unmet, "failed": s.Failed, "full": s.Full, "contended": s.Contended,
		"unreadable": s.Unreadable, "unsafe": s.Unsafe,
		"outages": s.Outages, "degraded": s.Degraded, "restored": s.Restored, "overtaken": s.Overtaken, "abandoned": s.Abandoned,
		"records": s.Records, "waiting": s.Waiting, "bytes": s.Bytes,
	}
}

func matchingCounters(n *numbers) map[string]int64 {
	m, c := n.matcher, n.java
	counters := map[string]int64{
		"java": m.Java, "fallback": m.Fallback, "repeated": m.Repeated, "failed": m.Failed,
		"service_calls": c.Calls, "service_retries": c.Retries, "service_hedges": c.Hedges, "breaker_opened": c.Opened,
	}
	for code, times := range c.Failures {
		counters["service_failed_"+string(code)] = times
	}
	return counters
}

func jobCounters(n *numbers, asked *asked) map[string]int64 {
	j, e := n.jobs, n.consumer
	counters := map[string]int64{
		"accepted": j.Accepted, "known": j.Known, "completed": j.Completed, "fallback": j.Fallback, "failed": j.Failed,
		"told": j.Told, "events_taken": e.Handled, "events_taken_over": e.Claimed, "events_refused": e.Failed, "events_lost": e.Lost,
	}
	if asked.jobs != nil { // Else nobody knows.
		counters["waiting"], counters["dead"] = asked.jobs.waiting, asked.jobs.dead
	}
	return counters
}

func requestCounters(byStatus map[int]int64) map[string]int64 {
	counters := map[string]int64{
		"total": 0, "unauthorized": 0, "forbidden": 0, "rate_limited": 0, "client_errors": 0, "server_errors": 0,
	}
	for status, times := range byStatus {
		counters["total"] += times
		switch {
		case status == http.StatusUnauthorized:
			counters["unauthorized"] += times
		case status == http.StatusForbidden:
			counters["forbidden"] += times
		case status == http.StatusTooManyRequests:
			counters["rate_limited"] += times
		case status >= http.StatusInternalServerError:
			counters["server_errors"] += times
		case status >= http.StatusBadRequest:
			counters["client_errors"] += times
		}
	}
	return counters
}

// latencies are those of the calls that were measured since.
func latencies(took, before map[string]metrics.Distribution) map[string]api.Latency {
	const ms = 1000
	shown := make(map[string]api.Latency, len(took))
	for call, d := range took {
		if d = d.Minus(before[call]); d.Count > 0 {
			shown[call] = api.Latency{
				Count:  int64(d.Count), //nolint:gosec // G115: far below.
				MeanMs: d.Mean() * ms, P50Ms: d.Quantile(.5) * ms, P95Ms: d.Quantile(.95) * ms, P99Ms: d.Quantile(.99) * ms,
			}
		}
	}
	return shown
}

// subtract takes what was counted before from the counters, and leaves alone what is a state.
func subtract(stats, before *api.Stats) {
	subtractFrom(stats.Events, before.Events)
	for scope, counters := range stats.EventsByScope {
		subtractFrom(counters, before.EventsByScope[scope])
	}
	subtractFrom(stats.Streams, before.Streams, "open", "channels")
	for cache, counters := range stats.Caches {
		subtractFrom(counters, before.Caches[cache], "entries_local", "bytes_local")
	}
	if before.TempData != nil {
		subtractFrom(stats.TempData.Operations, before.TempData.Operations, tempStates()...)
	}
	if before.Matching != nil {
		subtractFrom(stats.Matching.Calls, before.Matching.Calls)
		subtractFrom(stats.Matching.Jobs, before.Matching.Jobs, "waiting", "dead")
	}
	subtractFrom(stats.Requests, before.Requests)
}

func subtractFrom[N int64 | float64](counters, before map[string]N, states ...string) {
	before = maps.Clone(before)
	for _, name := range states {
		delete(before, name)
	}
	for name, n := range before {
		counters[name] -= n
	}
}
