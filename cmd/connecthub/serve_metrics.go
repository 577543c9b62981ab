package main

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/health"
	"github.com/connectbot-hub/connecthub/javaclient"
)

// onRequest returns what measures requests, nil when nobody can read the measures.
func (h *hub) onRequest() func(api.RequestInfo) {
	if h.cfg.MetricsAddr == noAddr {
		return nil
	}
	return func(r api.RequestInfo) { h.metrics.Request(r.Method, r.Route, r.Status, r.Took) }
}

// onJavaCall measures a call of the matching service.
func (h *hub) onJavaCall(call javaclient.CallName, ok bool, took time.Duration) {
	h.metrics.JavaCall(string(call), ok, took)
}

// partsCollector reads what the parts of a hub count when Prometheus asks. It asks Redis for a second at most.
type partsCollector struct {
	hub   *hub
	descs map[string]*prometheus.Desc
	// fresh is the last count of hits that were not stale. It is a difference, and must never become less.
	mu    sync.Mutex
	fresh int64
}

// metric is what is told of a number: its name after connecthub_, its meaning and its labels.
type metric struct {
	name, help string
	labels     []string
}

func newPartsCollector(h *hub) *partsCollector {
	c := &partsCollector{hub: h, descs: make(map[string]*prometheus.Desc)}
	for _, m := range collected() {
		c.descs[m.name] = prometheus.NewDesc("connecthub_"+m.name, m.help, m.labels, nil)
	}
	return c
}

// certificateExpiry is in seconds since 1970.
const certificateExpiry = "tls_certificate_expiry_timestamp_seconds"

// collected are the numbers that it tells. Their labels have few values, none of which a caller chose.
func collected() []metric {
	return []metric{
		{"http_requests_total", "Requests over HTTP by the status of their answers; streams, too, when they begin or, over HTTP/2, end.", []string{"code"}},

		{"rate_limited_total", "Requests that were refused because there were too many of a key or an address, or with wrong tokens.", []string{"by"}},
		{"connections_open", "Connections over HTTP that are open, those of streams included.", nil},
		{"connections_closed_idle_total", "Connections that were closed while they had no request, for others to come.", nil},
		{"connections_refused_total", "Connections that were closed when they came, as all others were in use.", nil},
		{"audit_total", "Lines of the audit log.", []string{"action"}},
		{"keys_reloads_total", "How often the files of the keys had something new, and whether it could be used.", []string{"outcome"}},
		{certificateExpiry, "Until when the certificate that is served is valid; not there without TLS.", nil},

		{"events_total", "What became of what was to be published through this hub.", []string{"scope", "outcome"}},
		{"events_bridged_total", "What became of what others published on Redis themselves.", []string{"outcome"}},
		{"streams_open", "Streams that are open.", nil},
		{"stream_channels", "Channels that streams follow.", nil},
		{"streams_opened_total", "Streams that were opened.", nil},
		{"streams_resumed_total", "Those of them that went on where another stream had been.", nil},
		{"streams_cut_total", "Streams that were cut because their readers were too slow.", nil},
		{"stream_gaps_total", "Gaps that streams were told of: events that the log no longer had.", nil},
		{"stream_events_delivered_total", "Events that were given to streams, each time that one was.", nil},
		{"subscription_reconnects_total", "How often the hub had to subscribe to Redis anew.", nil},

		{"cache_requests_total", "Lookups in the cache; hit is without those that were stale.", []string{"cache", "outcome"}},
		{"cache_builds_total", "Entries that were built or read from their source.", []string{"cache"}},
		{"cache_entries", "Entries in the memory of the hub.", []string{"cache"}},
		{"cache_bytes", "What they take there, about.", []string{"cache"}},

		{"temp_operations_total", "Operations on temporary data, by what /stats calls them.", []string{"operation"}},
		{"temp_degraded", "1 while Redis is away for temporary data, else 0.", nil},
		{"temp_keys", "Values in Redis by namespace, and users and forms that have some; all hubs have the same.", []string{"namespace"}},

		{"matching_answers_total", "Requests for matching by who answered.", []string{"source"}},
		{"matching_jobs_total", "Requests for matching that may wait; fallback are those completed that the hub matched itself.", []string{"outcome"}},
		{"matching_jobs_waiting", "Requests for matching that wait or are worked on, of all hubs.", nil},
		{"matching_jobs_dead", "Requests for matching that were given up, of all hubs.", nil},
		{"java_failures_total", "Calls of the matching service that failed, by what went wrong.", []string{"code"}},
		{"java_retries_total", "Attempts of calls of the matching service beyond the first, after a failure.", nil},
		{"java_hedges_total", "Attempts of calls of the matching service beyond the first, while that was late.", nil},
		{"java_breaker_state", "1 for the state that the breaker is in, else 0.", []string{"state"}},
		{"java_breaker_opened_total", "How often the breaker opened.", nil},

		{"canary_total", "What became of the canary's events.", []string{"outcome"}},
		{"health_check_status", "1 for the status that the check found last, else 0.", []string{"check", "status"}},
		{"health_check_duration_seconds", "How long the check took last.", []string{"check"}},

		{"redis_up", "1 if Redis answers, else 0.", []string{"server"}},
		{"redis_connections_received_total", "Connections that Redis accepted.", []string{"server"}},
		{"redis_commands_processed_total", "Commands that Redis did.", []string{"server"}},
		{"redis_keyspace_hits_total", "Lookups of keys that Redis had.", []string{"server"}},
		{"redis_keyspace_misses_total", "Lookups of keys that Redis did not have.", []string{"server"}},
		{"redis_memory_used_bytes", "Memory that Redis uses.", []string{"server"}},
		{"redis_memory_max_bytes", "Memory that Redis may use; 0 for no bound.", []string{"server"}},
	}
}

// Describe tells what Collect may send.
func (c *partsCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range c.descs {
		ch <- desc
	}
}

// Collect sends the numbers as they are now.
func (c *partsCollector) Collect(ch chan<- prometheus.Metric) {
	asked := c.hub.ask()
	n := c.hub.numbers()
	s := sheet{ch, c.descs}
	s.doors(&n)
	if files := c.hub.doors.tls; files != nil {
		s.gauge(certificateExpiry, float64(files.Expires().Unix()))
	}
	s.events(&n)
	s.menus(&n, c.freshHits(&n))
	s.temp(&n, &asked)
	s.matching(&n, &asked)
	s.health(&n)
	s.redis(&asked)
}

// freshHits returns the hits that were not stale. The two are not counted at the same instant.
func (c *partsCollector) freshHits(n *numbers) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fresh = max(c.fresh, n.menus.LocalHits+n.menus.RemoteHits-n.menus.Stale)
	return c.fresh
}

// sheet takes numbers down.
type sheet struct {
	ch    chan<- prometheus.Metric
	descs map[string]*prometheus.Desc
}

func (s sheet) counter(name string, n int64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(s.descs[name], prometheus.CounterValue, float64(n), labels...)
}

func (s sheet) gauge(name string, value float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(s.descs[name], prometheus.GaugeValue, value, labels...)
}

// oneOf takes down which of some states is the case.
func (s sheet) oneOf(name, state string, states []string, labels ...string) {
	for _, possible := range states {
		s.gauge(name, flagged(possible == state), append(slices.Clone(labels), possible)...)
	}
}

func flagged(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func (s sheet) doors(n *numbers) {
	for status, times := range n.requests {
		s.counter("http_requests_total", times, strconv.Itoa(status))
	}
	s.counter("rate_limited_total", n.limited.Key, "key")
	s.counter("rate_limited_total", n.limited.Address, "address")
	s.counter("rate_limited_total", n.limited.Unauthorized, "unauthorized")
	s.gauge("connections_open", float64(n.connections.Open))
	s.counter("connections_closed_idle_total", n.connections.ClosedIdle)
	s.counter("connections_refused_total", n.connections.Refused)
	for action, times := range n.audit {
		s.counter("audit_total", times, action)
	}
	s.counter("keys_reloads_total", n.keys.OK, "ok")
	s.counter("keys_reloads_total", n.keys.Failed, "failed")
}

func (s sheet) events(n *numbers) {
	for scope, o := range n.outcomes() {
		s.counter("events_total", o.Published, string(scope), "published")
		s.counter("events_total", o.Duplicates, string(scope), "duplicate")
		s.counter("events_total", o.Failed, string(scope), "failed")
		s.counter("events_total", o.Refused, string(scope), "refused")
	}
	if b := n.bridge; b != nil {
		s.counter("events_bridged_total", b.TakenUp, "taken_up")
		s.counter("events_bridged_total", b.Seen, "seen")
		s.counter("events_bridged_total", b.Ignored, "ignored")
	}
	f := n.fanout
	s.gauge("streams_open", float64(f.Open))
	s.gauge("stream_channels", float64(f.Channels))
	s.counter("streams_opened_total", f.Opened)
	s.counter("streams_resumed_total", f.Resumed)
	s.counter("streams_cut_total", f.Slow)
	s.counter("stream_gaps_total", f.Gaps)
	s.counter("stream_events_delivered_total", f.Delivered)
	s.counter("subscription_reconnects_total", f.Reconnects)
}

func (s sheet) menus(n *numbers, fresh int64) {
	const cache = "menus"
	m := n.menus
	s.counter("cache_requests_total", fresh, cache, "hit")
	s.counter("cache_requests_total", m.Stale, cache, "stale")
	s.counter("cache_requests_total", m.Misses, cache, "miss")
	s.counter("cache_requests_total", m.Bypassed, cache, "bypass")
	s.counter("cache_builds_total", m.Loads, cache)
	s.gauge("cache_entries", float64(m.Entries), cache)
	s.gauge("cache_bytes", float64(m.Bytes), cache)
}

// tempStates are the numbers of temporary data that say how it is now.
func tempStates() []string { return []string{"records", "waiting", "bytes"} }

// tempSpaces are the namespaces of the bot and of the hub, and how the lists of users and of forms are called together.
func tempSpaces() []string {
	return []string{
		"default", "sessions", "bot_sessions", "activity_drafts", "employees", "participants", "matching_requests",
		"conversations", "user_*", "forms/*",
	}
}

func (s sheet) temp(n *numbers, asked *asked) {
	for operation, times := range tempCounters(&n.temp) {
		if !slices.Contains(tempStates(), operation) {
			s.counter("temp_operations_total", times, operation)
		}
	}
	s.gauge("temp_degraded", flagged(n.degraded))
	if asked.keys == nil {
		return // Nobody knows.
	}
	keys, others := make(map[string]int64), int64(0)
	for _, count := range asked.keys {
		if slices.Contains(tempSpaces(), count.Namespace) {
			keys[count.Namespace] = count.Keys
		} else {
			others += count.Keys
		}
	}
	for _, space := range tempSpaces() {
		s.gauge("temp_keys", float64(keys[space]), space)
	}
	s.gauge("temp_keys", float64(others), "others")
}

func (s sheet) matching(n *numbers, asked *asked) {
	m, j := n.matcher, n.jobs
	s.counter("matching_answers_total", m.Java, "java")
	s.counter("matching_answers_total", m.Fallback, "fallback")
	s.counter("matching_answers_total", m.Repeated, "repeated")
	s.counter("matching_answers_total", m.Failed, "failed")
	s.counter("matching_jobs_total", j.Accepted, "accepted")
	s.counter("matching_jobs_total", j.Known, "known")
	s.counter("matching_jobs_total", j.Completed, "completed")
	s.counter("matching_jobs_total", j.Fallback, "fallback")
	s.counter("matching_jobs_total", j.Failed, "failed")
	if asked.jobs != nil {
		s.gauge("matching_jobs_waiting", float64(asked.jobs.waiting))
		s.gauge("matching_jobs_dead", float64(asked.jobs.dead))
	}
	for code, times := range n.java.Failures {
		s.counter("java_failures_total", times, string(code))
	}
	s.counter("java_retries_total", n.java.Retries)
	s.counter("java_hedges_total", n.java.Hedges)
	s.counter("java_breaker_opened_total", n.java.Opened)
	s.oneOf("java_breaker_state", string(n.breaker), []string{
		string(javaclient.StateClosed), string(javaclient.StateOpen), string(javaclient.StateHalfOpen),
	})
}

func (s sheet) health(n *numbers) {
	s.counter("canary_total", n.canary.Received, "received")
	s.counter("canary_total", n.canary.Lost, "lost")
	s.counter("canary_total", n.canary.Unpublished, "unpublished")
	for _, check := range n.health.Results {
		s.oneOf("health_check_status", string(check.Status), []string{
			string(health.Pass), string(health.Warn), string(health.Fail),
		}, check.Name)
		s.gauge("health_check_duration_seconds", check.Took.Seconds(), check.Name)
	}
}

func (s sheet) redis(asked *asked) {
	for name, server := range asked.servers {
		s.gauge("redis_up", flagged(server.up), name)
		for told, as := range map[string]string{
			"total_connections_received": "redis_connections_received_total",
			"total_commands_processed":   "redis_commands_processed_total",
			"keyspace_hits":              "redis_keyspace_hits_total",
			"keyspace_misses":            "redis_keyspace_misses_total",
		} {
			if n, ok := server.info[told]; ok {
				s.counter(as, n, name)
			}
		}
		for told, as := range map[string]string{"used_memory": "redis_memory_used_bytes", "maxmemory": "redis_memory_max_bytes"} {
			if n, ok := server.info[told]; ok {
				s.gauge(as, float64(n), name)
			}
		}
	}
}
