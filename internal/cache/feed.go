package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/internal/redisconn"
)

// MaxLag is how long after its acknowledgement a change may go unseen by other processes.
const MaxLag = 100 * time.Millisecond

const (
	// beat is how often Redis is asked whether all its messages have come.
	beat = 25 * time.Millisecond
	// dozing is how often Redis is asked when no cache was for dozeAfter beats: an idle process need not wake up so often.
	dozing    = 300 * time.Millisecond
	dozeAfter = 40
	// patience is how long Redis may take to answer a command, and half of it to answer a beat: when it answered neither
	// that of the feed nor another, it counts as away.
	patience = 500 * time.Millisecond
)

// How long what was read from Redis is right, if nothing else was told: where Redis tells of every change, where it tells
// of those that caches make, and where it tells nothing.
const (
	tracking  = time.Duration(1 << 62)
	listening = 900 * time.Millisecond
	deaf      = MaxLag
)

// Redis is the server that caches share, and the feed of what changes there. It is safe for concurrent use.
//
// The feed is a connection on which Redis tells of changed keys: client tracking in broadcast mode, or, where that does not
// exist or is not allowed, a Pub/Sub channel on which caches tell each other, or nothing where that is not allowed either;
// then what was read is used for MaxLag. Every 25 ms, or less often while no cache is asked, a small read or a PING shows that nothing is
// still on its way; what is kept in the process may be used until MaxLag after the last PING that was answered.
type Redis struct {
	rdb     *redis.Client
	url     string
	channel string
	log     *zap.Logger
	base    time.Time

	watchers []watcher // Only before Start.

	reader *reader

	used  atomic.Bool   // that a cache was asked since the last beat
	wake  chan struct{} // that one is asked while beats are rare
	heard atomic.Int64  // when the last beat that was answered was sent: nanoseconds since base
	away  atomic.Bool
	trust atomic.Int64 // how long what was read is right: a Duration, see there

	cancel context.CancelFunc
	done   sync.WaitGroup
	ready  chan struct{} // closed when it is known whether Redis answers
}

// watcher is a cache that wants to know of changes of keys with a prefix, and of one key with that very name.
type watcher struct {
	prefix, key string
	// changed is called for each of them, flushed when all may have changed, interrupted when changes may have been missed,
	// and begun when the feed begins, or begins again, after interrupted. They do not block.
	changed                     func(key string)
	flushed, interrupted, begun func()
	// synced is called with what that one key holds, after changed was called for all that had changed before it was read,
	// and before it is for what changes later. Only client tracking offers this.
	synced func(text string)
}

// NewRedis makes the feed for a client and the URL it was opened with; it does no I/O. Channel is the Pub/Sub channel on
// which the caches tell each other. Logger may be nil.
func NewRedis(rdb *redis.Client, url, channel string, logger *zap.Logger) *Redis {
	if logger == nil {
		logger = zap.NewNop()
	}
	r := &Redis{rdb: rdb, url: url, channel: channel, log: logger, base: time.Now(), ready: make(chan struct{})}
	r.reader, r.wake = newReader(rdb), make(chan struct{}, 1)
	r.heard.Store(-int64(MaxLag))
	r.trust.Store(int64(deaf))
	return r
}

// Start begins to watch, after all caches were made, and waits until it is known whether Redis answers, at most a second
// or until ctx ends. That Redis is away is no error.
func (r *Redis) Start(ctx context.Context) error {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.cancel = cancel
	r.reader.start()
	r.done.Go(func() { r.run(running) })
	ctx, cancel = context.WithTimeout(ctx, time.Second)
	defer cancel()
	select {
	case <-r.ready:
	case <-ctx.Done():
	}
	return nil
}

// Close ends the feed. It may be called twice, and without Start. The client stays open.
func (r *Redis) Close() {
	if r.cancel != nil {
		r.cancel()
	}
	r.done.Wait()
	r.reader.close()
}

// Away reports whether Redis did not answer lately. It is noticed within a second.
func (r *Redis) Away() bool { return r.away.Load() }

// Tracked reports whether Redis itself tells of the changes that other clients make.
func (r *Redis) Tracked() bool { return time.Duration(r.trust.Load()) == tracking }

// now returns the time since the feed was made, in nanoseconds of the monotonic clock.
func (r *Redis) now() int64 { return int64(time.Since(r.base)) }

// current reports whether everything that was acknowledged MaxLag ago has been seen.
func (r *Redis) current(now int64) bool { return now < r.heard.Load()+int64(MaxLag) }

// run runs the best feed that Redis allows, until ctx ends.
func (r *Redis) run(ctx context.Context) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for told := false; ; told = true {
		err := r.track(ctx)
		if err != nil && !told {
			r.log.Info("Redis does not offer client tracking: what other clients change in the cache is seen within a second",
				zap.Error(err))
		}
		if err != nil {
			if !told {
				r.checkPublish(ctx)
			}
			err = r.listen(ctx)
		}
		if cannot(err) {
			if !told {
				r.log.Warn("Redis does not allow the Pub/Sub channel of the cache either: every value is read from Redis again after "+
					MaxLag.String(), zap.String("channel", r.channel), zap.Error(err))
			}
			_ = r.beats(ctx, deaf, func(ctx context.Context) error { return broken(r.rdb.Ping(ctx).Err()) })
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// track runs the feed with client tracking until ctx ends, or returns why the server cannot do it.
func (r *Redis) track(ctx context.Context) error {
	feed := redisconn.Tracking{Started: r.begin, Changed: r.changed, Flushed: r.flushed}
	for _, w := range r.watchers {
		feed.Prefixes = append(feed.Prefixes, w.prefix, w.key)
	}
	slices.Sort(feed.Prefixes)
	feed.Prefixes = slices.Compact(feed.Prefixes) // Redis refuses one that comes twice.
	single := make([]string, len(r.watchers))
	for i, w := range r.watchers {
		single[i] = w.key
	}
	var client *redis.Client
	end := func() {
		if client != nil {
			_ = client.Close() // It fails only when closed twice.
			client = nil
		}
	}
	defer end()
	return r.beats(ctx, tracking, func(ctx context.Context) (err error) {
		if client == nil {
			if client, err = redisconn.OpenTracking(r.url, feed); err != nil {
				return err
			}
		}
		texts, err := readAll(ctx, client, single)
		if err != nil {
			end() // A client of go-redis that could not connect does not try again for a second.
			return err
		}
		for i, w := range r.watchers {
			w.synced(texts[i])
		}
		return nil
	})
}

// readAll reads texts, which is as good as a PING. What is no text is "".
func readAll(ctx context.Context, client *redis.Client, names []string) ([]string, error) {
	pipe := client.Pipeline()
	replies := make([]*redis.StringCmd, len(names))
	for i, name := range names {
		replies[i] = pipe.GetRange(ctx, name, 0, -1)
	}
	if _, err := pipe.Exec(ctx); err != nil && !strings.HasPrefix(err.Error(), "WRONGTYPE") {
		return nil, err
	}
	texts := make([]string, len(names))
	for i, reply := range replies {
		texts[i] = reply.Val()
	}
	return texts, nil
}

// listen runs the feed with Pub/Sub until ctx ends or the connection breaks, or returns why the server cannot do it.
func (r *Redis) listen(ctx context.Context) error {
	sub := r.rdb.Subscribe(ctx, r.channel)
	defer func() { _ = sub.Close() }() // As above.
	return r.beats(ctx, listening, func(ctx context.Context) error {
		if err := sub.Ping(ctx); err != nil {
			return broken(err)
		}
		for {
			message, err := sub.ReceiveTimeout(ctx, patience/2)
			if err != nil {
				return broken(err)
			}
			switch message := message.(type) {
			case *redis.Message:
				r.changed(message.Payload)
			case *redis.Subscription:
				r.begin()
			case *redis.Pong:
				return nil
			}
		}
	})
}

// checkPublish warns when the caches elsewhere cannot be told.
func (r *Redis) checkPublish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.rdb.Publish(ctx, r.channel, "").Err(); cannot(err) {
		r.log.Warn("Redis does not allow to publish on the channel of the cache: what is changed here is seen elsewhere within a second",
			zap.String("channel", r.channel), zap.Error(err))
	}
}

// errBroken ends a feed that is second best, so that the best is tried again.
var errBroken = errors.New("the connection broke")

func broken(err error) error {
	if err == nil || cannot(err) {
		return err
	}
	return fmt.Errorf("cache: %w: %w", errBroken, err)
}

// beats calls ping again and again, and trusts what is in the process as long as it succeeds. It returns when ctx ends,
// with nil, and when ping fails with errBroken or since the server says that it cannot do what was asked, with that.
func (r *Redis) beats(ctx context.Context, trust time.Duration, ping func(context.Context) error) error {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	broke := false
	for quiet := 0; ; {
		sent := r.now()
		err := r.soon(ctx, ping)
		if err != nil {
			r.trust.Store(int64(deaf))
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			r.trust.Store(int64(trust))
			r.heard.Store(sent)
		case cannot(err) || errors.Is(err, errBroken):
			return err
		}
		if failed := err; failed != nil || r.away.Load() { // Perhaps only this connection broke, or only this one works.
			err = r.soon(ctx, func(ctx context.Context) error { return r.rdb.Ping(ctx).Err() })
			if failed != nil && err == nil && !broke {
				r.interrupt() // Redis goes on without us: what is in the process is not to be used in an outage either.
			}
			broke = failed != nil && err == nil
		}
		if ctx.Err() != nil {
			return nil
		}
		r.answered(err)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		if r.used.Swap(false) {
			quiet = 0
		} else if quiet++; quiet > dozeAfter {
			r.doze(ctx, ticker)
		}
	}
}

// doze waits longer than a beat, unless a cache is asked.
func (r *Redis) doze(ctx context.Context, ticker *time.Ticker) {
	timer := time.NewTimer(dozing)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.wake:
	case <-ctx.Done():
	}
	ticker.Reset(beat)
}

// catchUp waits until Redis has told of all that was acknowledged before, or for MaxLag.
func (r *Redis) catchUp(ctx context.Context) {
	began := r.now()
	ctx, cancel := context.WithTimeout(ctx, MaxLag)
	defer cancel()
	ticker := time.NewTicker(beat / 5)
	defer ticker.Stop()
	for r.heard.Load() < began {
		r.stir()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// use tells the feed that what is in the process is wanted.
func (r *Redis) use() {
	if !r.used.Load() {
		r.used.Store(true)
	}
}

// stir ends a longer wait: somebody had to ask Redis, perhaps only since nothing was heard for long.
func (r *Redis) stir() {
	r.use()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// soon gives a ping its time limit.
func (r *Redis) soon(ctx context.Context, ping func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience/2)
	defer cancel()
	return ping(ctx)
}

// answered remembers whether Redis answered.
func (r *Redis) answered(err error) {
	switch was := r.away.Swap(err != nil); {
	case err != nil && !was:
		r.log.Warn("Redis does not answer: cached values are served from memory", zap.Error(err))
	case err == nil && was:
		r.log.Info("Redis answers again")
	}
	select {
	case <-r.ready:
	default:
		close(r.ready)
	}
}

// cannot reports whether an error is the server's reply that it does not know, or does not allow, client tracking.
func cannot(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	text := strings.ToLower(reply.Error())
	for _, sign := range []string{"unknown command", "unknown subcommand", "noperm", "syntax", "wrong number of arguments", "overlaps", "noproto"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

func (r *Redis) interrupt() {
	for _, w := range r.watchers {
		w.interrupted()
	}
}

func (r *Redis) begin() {
	for _, w := range r.watchers {
		w.interrupted()
		w.begun()
	}
}

func (r *Redis) flushed() {
	for _, w := range r.watchers {
		w.flushed()
	}
}

func (r *Redis) changed(key string) {
	for _, w := range r.watchers {
		if key == w.key || strings.HasPrefix(key, w.prefix) {
			w.changed(key)
		}
	}
}

// unavailable makes an error of one that a command gave.
func unavailable(what string, err error) error {
	return fmt.Errorf("cache: %s: %w: %w", what, ErrUnavailable, err)
}
