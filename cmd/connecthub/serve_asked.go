package main

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/tempdata"
)

// asked is what only Redis knows of the hub's numbers, and of its own.
type asked struct {
	// keys are how many values there are; nil when nobody knows.
	keys []tempdata.Count
	// jobs are the requests for matching that wait, and the dead letters; nil when nobody knows.
	jobs *struct{ waiting, dead int64 }
	// servers are main and, where it is another, events.
	servers map[string]redisServer
}

// redisServer is how a Redis is.
type redisServer struct {
	up bool
	// info are the numbers that it tells of itself, under its own names.
	info map[string]int64
}

// askFor bounds how long Redis is asked. What it has not answered then is not known.
const askFor = time.Second

// ask asks Redis, all at the same time, for a second at most. Those who ask meanwhile share what it answers.
func (h *hub) ask() asked {
	shared, _, _ := h.asking.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), askFor)
		defer cancel()
		return h.askAll(ctx), nil
	})
	answers, _ := shared.(asked)
	return answers
}

func (h *hub) askAll(ctx context.Context) asked {
	var a asked
	var main, events redisServer
	var asking sync.WaitGroup
	asking.Go(func() { a.keys, _ = h.temp.Counts(ctx) })
	asking.Go(func() {
		if waiting, dead, err := h.pairing.jobs.Depth(ctx); err == nil {
			a.jobs = &struct{ waiting, dead int64 }{waiting, dead}
		}
	})
	asking.Go(func() { main = askServer(ctx, h.rdb) })
	if h.eventsRDB != h.rdb {
		asking.Go(func() { events = askServer(ctx, h.eventsRDB) })
	}
	asking.Wait()
	a.servers = map[string]redisServer{"main": main}
	if h.eventsRDB != h.rdb {
		a.servers["events"] = events
	}
	return a
}

// serverNumbers are what is shown of what a Redis tells of itself. The embedded one tells little, and one may forbid the
// hub's user to ask.
func serverNumbers() []string {
	return []string{
		"total_connections_received", "total_commands_processed", "keyspace_hits", "keyspace_misses", "used_memory", "maxmemory",
	}
}

// askServer asks a Redis how it is.
func askServer(ctx context.Context, rdb *redis.Client) redisServer {
	pipe := rdb.Pipeline()
	ping, stats, memory := pipe.Ping(ctx), pipe.Info(ctx, "stats"), pipe.Info(ctx, "memory")
	_, _ = pipe.Exec(ctx) // Every command carries its own error.
	told := parseInfo(stats.Val() + "\n" + memory.Val())
	s := redisServer{up: ping.Err() == nil, info: map[string]int64{}}
	for _, name := range serverNumbers() {
		if n, ok := told[name]; ok {
			s.info[name] = n
		}
	}
	return s
}

// parseInfo reads the whole numbers of what INFO answers; lines that it does not understand are left out.
func parseInfo(text string) map[string]int64 {
	numbers := map[string]int64{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64); err == nil && n >= 0 && name != "" {
			numbers[name] = n
		}
	}
	return numbers
}

// keysBySpace returns how many values there are, by namespace; none when nobody knows.
func (a *asked) keysBySpace() map[string]int64 {
	const most = 100 // Namespaces are callers' own.
	keys := map[string]int64{}
	for i, count := range a.keys {
		name := count.Namespace
		if i >= most {
			name = "(others)"
		}
		keys[name] += count.Keys
	}
	return keys
}

// info returns what the servers tell of themselves; nothing of one that does not answer.
func (a *asked) info() map[string]map[string]int64 {
	told := map[string]map[string]int64{}
	for name, server := range a.servers {
		if len(server.info) > 0 {
			told[name] = server.info
		}
	}
	return told
}
