package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// Redis returns a probe that has Redis carry out a command that writes: one that answers PING may still be read-only, out
// of memory or loading. The key must be one that nobody ever sets: it is set only if it exists, so that nothing is left
// behind. Where Redis has ACLs, its user must be allowed the key. What the probe says repeats nothing that Redis or the
// network said, which may hold addresses.
func Redis(rdb redis.UniversalClient, key string) Probe {
	return func(ctx context.Context) error {
		err := rdb.SetArgs(ctx, key, "", redis.SetArgs{Mode: "XX"}).Err()
		if err == nil || errors.Is(err, redis.Nil) {
			return nil
		}
		return errors.New(trouble(err))
	}
}

// trouble says what is wrong with a Redis by the error of a command.
func trouble(err error) string {
	for _, known := range [...]struct{ prefix, says string }{
		{"READONLY", "Redis is read-only: it is a replica."},
		{"OOM", "Redis is out of memory, and takes nothing more: see its maxmemory."},
		{"LOADING", "Redis is loading its data from its disk."},
		{"MISCONF", "Redis takes nothing more: it cannot save to its disk."},
		{"NOREPLICAS", "Redis takes nothing more: it has fewer replicas than it is to have."},
		{"MASTERDOWN", "Redis is a replica, and its master is away."},
		{"BUSY", "Redis is busy with somebody's script."},
		{"max number of clients", "Redis refuses connections: it has as many clients as it may, see its maxclients."},
		{"NOAUTH", "Redis wants a password."},
		{"WRONGPASS", "Redis refuses the user or the password."},
		{"NOPERM", "Redis refuses: the hub's user may not do what the hub needs."},
	} {
		if redis.HasErrorPrefix(err, known.prefix) {
			return known.says
		}
	}
	var refusal redis.Error
	switch {
	case errors.As(err, &refusal):
		return "Redis refuses commands."
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Redis does not answer: the connection is refused."
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "Redis does not answer in time."
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "Redis does not answer: it closes connections, as it does when it ends, or has as many clients as it may (maxclients)."
	}
	return "Redis does not answer."
}

const (
	neverKept = "Redis keeps nothing over a restart, neither in a log (appendonly) nor in snapshots (save)."
	// fullAt is the share of maxmemory, in percent, from which on there is a warning.
	fullAt = 90
)

// Persistence returns a probe that warns when a Redis may lose what it holds: when it writes neither a log nor snapshots,
// when it failed to, when its memory is almost full, and when it may evict keys. It never fails. What Redis does not tell,
// as a user without the right to INFO and CONFIG, is no warning.
func Persistence(rdb redis.UniversalClient) Probe {
	return func(ctx context.Context) error {
		pipe := rdb.Pipeline()
		disk, memory, save := pipe.Info(ctx, "persistence"), pipe.Info(ctx, "memory"), pipe.ConfigGet(ctx, "save")
		_, err := pipe.Exec(ctx) // Every command carries its own error.
		var refusal redis.Error
		if err != nil && !errors.As(err, &refusal) {
			return Warning("Redis does not answer: nobody knows whether it keeps what it holds.")
		}
		saves, known := save.Val()["save"]
		text := atRisk(infoOf(disk.Val()), known && saves == "")
		text = append(text, nearlyFull(infoOf(memory.Val()))...)
		if len(text) > 0 {
			return Warning(strings.Join(text, " "))
		}
		return nil
	}
}

// infoOf reads the lines of INFO.
func infoOf(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info
}

// atRisk says what is wrong with how Redis keeps its data on its disk.
func atRisk(info map[string]string, noSnapshots bool) (warnings []string) {
	if info["aof_enabled"] == "0" && noSnapshots {
		return []string{neverKept}
	}
	if info["aof_enabled"] == "1" && info["aof_last_write_status"] == "err" {
		warnings = append(warnings, "Redis could not write to its log (appendonly) the last time.")
	}
	if info["aof_enabled"] == "1" && info["aof_last_bgrewrite_status"] == "err" {
		warnings = append(warnings, "Redis could not rewrite its log (appendonly) the last time.")
	}
	if !noSnapshots && info["rdb_last_bgsave_status"] == "err" {
		warnings = append(warnings, "Redis could not save a snapshot the last time.")
	}
	return warnings
}

// nearlyFull says what is wrong with Redis' memory.
func nearlyFull(info map[string]string) []string {
	used, err := strconv.ParseUint(info["used_memory"], 10, 64)
	most, mostErr := strconv.ParseUint(info["maxmemory"], 10, 64)
	policy := info["maxmemory_policy"]
	switch {
	case err != nil, mostErr != nil, most == 0, policy == "":
		return nil
	case policy != "noeviction":
		return []string{"Redis drops keys when its memory is full (maxmemory-policy " + policy + "), events among them: set noeviction."}
	case used > most/100*fullAt:
		return []string{fmt.Sprintf("Redis uses %d %% of its memory (maxmemory), and takes nothing more when it is full.", used*100/most)}
	}
	return nil
}
