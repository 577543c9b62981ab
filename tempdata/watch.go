package tempdata

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/internal/redisconn"
)

const (
	// watchBeat is how often a watcher asks whether there is more to hear while there is, watchIdle while there is not.
	watchBeat = 20 * time.Millisecond
	watchIdle = 250 * time.Millisecond
	// watchPatience is how long Redis may take to answer. With watchIdle it is less than a second.
	watchPatience = 500 * time.Millisecond
	// watchRetry is how long after a failure it is tried again.
	watchRetry = 100 * time.Millisecond
	// watchPage bounds what is told at once, and watchMost what is remembered until then.
	watchPage = 512
	watchMost = 100_000
	// walkStep is about how many keys a step of a walk looks at, walkRest how many times as long as it took nothing is
	// walked after it, and walkEvery how often there is a walk where Redis tells nothing.
	walkStep  = 1000
	walkRest  = 4
	walkEvery = 10 * time.Second
)

// watcherConfig says whom a watcher tells.
type watcherConfig struct {
	// changed is called with 1 to watchPage keys that were written or deleted, or have expired, or just are there: it has to
	// look. It is called by one goroutine, again with the same keys after it failed, and with a context that ends with
	// close. It must not write under the prefixes.
	changed func(ctx context.Context, keys []string) error
	// logger is told when the watcher cannot hear. Default: nobody.
	logger *zap.Logger
}

// watcher tells of each key with one of some prefixes that anybody writes or deletes in Redis, or that expires there.
//
// Where Redis offers client tracking it says so on a connection of its own. Whenever it may not have said so, when that
// connection begins, Redis is flushed, or more changes at once than is remembered, all keys that are there are told of
// too: they are walked over with SCAN, in the background, for a fifth of the time. What was deleted then is not told of.
// Where Redis does not offer it, or not to this user, a walk every 10 s is all there is.
type watcher struct {
	rdb      *redis.Client
	url      string
	prefixes []string
	pattern  string // of SCAN, for all prefixes at once
	changed  func(ctx context.Context, keys []string) error
	log      *zap.Logger

	cancel context.CancelFunc
	done   sync.WaitGroup
	wake   chan struct{}

	mu sync.Mutex
	// heard are the keys that are to be told of, and missed says that there may be others.
	heard  map[string]struct{}
	missed bool
	// asked are the syncs for which nothing was done yet, and down is what sync returns instead of waiting.
	asked []chan<- error
	down  error

	// What follows is only for the goroutine.

	client *redis.Client // nil while there is no connection
	deaf   bool          // Redis does not say what is changed.
	// walking says that there is a walk, cursor how far it came, and step when it may go on.
	walking bool
	cursor  uint64
	step    time.Time
	waiting []chan<- error // the syncs that return after what was heard is told of, and the walk
}

// newWatcher makes a watcher of a client and the URL that it was opened with. It does no I/O. No prefix may begin another.
func newWatcher(rdb *redis.Client, url string, prefixes []string, cfg watcherConfig) *watcher {
	return &watcher{
		rdb: rdb, url: url, prefixes: prefixes, pattern: escapeGlob(commonPrefix(prefixes)) + "*",
		changed: cfg.changed, log: cmp.Or(cfg.logger, zap.NewNop()),
		wake: make(chan struct{}, 1), heard: map[string]struct{}{}, down: ErrClosed,
	}
}

func commonPrefix(words []string) string {
	common := words[0]
	for _, word := range words {
		for !strings.HasPrefix(word, common) {
			common = common[:len(common)-1]
		}
	}
	return common
}

func escapeGlob(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}

// start lets the watcher work until close. It does not wait for Redis, and is called once.
func (w *watcher) start(ctx context.Context) {
	ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	w.mu.Lock()
	w.down = nil
	w.mu.Unlock()
	w.done.Go(func() { w.run(ctx) })
}

// close ends the watcher, and returns when it has ended. It may be called twice, and without start.
func (w *watcher) close() {
	if w.cancel != nil {
		w.cancel()
	}
	w.done.Wait()
}

// sync returns nil when all changes that Redis had acknowledged to anybody before, and all there was when the connection
// began, have been told of: changed has returned. It fails with ErrUnavailable when Redis, or changed, fails or ctx ends
// first, at once while that is known, and with ErrClosed. Where Redis does not say what is changed it waits for a
// walk that began after the call. The I/O is that of the watcher: a thousand calls at once cost as much as one.
func (w *watcher) sync(ctx context.Context) error {
	done := make(chan error, 1)
	w.mu.Lock()
	down := w.down
	if down == nil {
		w.asked = append(w.asked, done)
	}
	w.mu.Unlock()
	if down != nil {
		return down
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("tempdata: watch: %w: %w", ErrUnavailable, ctx.Err())
	}
}

func (w *watcher) run(ctx context.Context) {
	defer w.disconnect()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-w.wake:
		case <-ctx.Done():
		}
		rest, err := w.turn(ctx)
		if ctx.Err() != nil {
			w.settle(ErrClosed)
			return
		}
		if err != nil {
			err, rest = fmt.Errorf("tempdata: watch: %w: %w", ErrUnavailable, err), watchRetry
		}
		w.settle(err)
		timer.Reset(rest)
	}
}

// settle ends a turn, and answers the syncs that are done: all of them when it failed.
func (w *watcher) settle(err error) {
	w.mu.Lock()
	was := w.down
	w.down = err
	if err != nil {
		w.waiting, w.asked = append(w.waiting, w.asked...), nil
	}
	w.mu.Unlock()
	if err != nil && w.deaf {
		w.walking = false // Perhaps Redis says now what is changed.
	}
	if err != nil || !w.walking {
		for _, done := range w.waiting {
			done <- err
		}
		w.waiting = nil
	}
	switch {
	case errors.Is(err, ErrClosed):
	case err != nil && was == nil:
		w.log.Warn("what other programs change in Redis is not seen now", zap.Error(err))
	case err == nil && was != nil:
		w.log.Info("what other programs change in Redis is seen again")
	}
}

// turn hears what was changed, tells of it, and goes a step of a walk. It returns for how long there is nothing else to do.
func (w *watcher) turn(ctx context.Context) (rest time.Duration, err error) {
	if !w.deaf || !w.walking {
		w.mu.Lock()
		w.waiting, w.asked = append(w.waiting, w.asked...), nil
		w.mu.Unlock()
		if err := w.hear(ctx); err != nil {
			return 0, err
		}
	}
	busy, err := w.tell(ctx)
	if err == nil && w.walking && !time.Now().Before(w.step) {
		err = w.walk(ctx)
	}
	if err != nil {
		return 0, err
	}
	rest = watchIdle
	switch {
	case w.deaf && !w.walking:
		rest = w.untilNextWalk()
	case busy:
		rest = watchBeat
	}
	if w.walking {
		rest = min(rest, time.Until(w.step))
	}
	return rest, nil
}

// untilNextWalk is for where Redis does not say what is changed.
func (w *watcher) untilNextWalk() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.asked) > 0 {
		return 0
	}
	return walkEvery
}

// hear returns when Redis has said what was changed before, and begins a walk if that may not be all.
func (w *watcher) hear(ctx context.Context) error {
	err := w.ping(ctx)
	var reply redis.Error
	wasDeaf := w.deaf
	w.deaf = errors.As(err, &reply)
	if w.deaf && !wasDeaf {
		w.log.Info("Redis does not say what other programs change: all keys are looked at every "+walkEvery.String(), zap.Error(err))
	}
	if err != nil && !w.deaf {
		return err
	}
	w.mu.Lock()
	missed := w.missed
	w.missed = false
	w.mu.Unlock()
	if missed || w.deaf {
		w.walking, w.cursor = true, 0
	}
	return nil
}

// ping lets Redis say what was changed before, and connects when there is no connection.
func (w *watcher) ping(ctx context.Context) (err error) {
	if w.client == nil {
		w.client, err = redisconn.OpenTracking(w.url, redisconn.Tracking{
			Prefixes: w.prefixes, Started: w.miss, Changed: w.hearOf, Flushed: w.miss,
		})
		if err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, watchPatience)
	defer cancel()
	if err := w.client.Ping(ctx).Err(); err != nil {
		w.disconnect() // A client of go-redis that could not connect does not try again for a second.
		return err
	}
	return nil
}

func (w *watcher) disconnect() {
	if w.client != nil {
		_ = w.client.Close() // It fails only when closed twice.
		w.client = nil
	}
}

// miss says that changes may not have been heard.
func (w *watcher) miss() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.missed = true
}

// hearOf remembers a key that is to be told of.
func (w *watcher) hearOf(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.heard) >= watchMost {
		w.missed = true
		return
	}
	w.heard[key] = struct{}{}
}

// tell tells of all that was heard, and reports whether there was anything.
func (w *watcher) tell(ctx context.Context) (some bool, err error) {
	w.mu.Lock()
	keys := slices.Collect(maps.Keys(w.heard))
	if len(keys) > 0 {
		w.heard = map[string]struct{}{}
	}
	w.mu.Unlock()
	for left := keys; len(left) > 0; {
		n := min(len(left), watchPage)
		if err := w.changed(ctx, left[:n:n]); err != nil {
			for _, key := range left {
				w.hearOf(key)
			}
			return true, err
		}
		left = left[n:]
	}
	return len(keys) > 0, nil
}

// walk goes a step of a walk over all keys.
func (w *watcher) walk(ctx context.Context) error {
	began := time.Now()
	keys, cursor, err := w.scan(ctx)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if slices.ContainsFunc(w.prefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
			w.hearOf(key)
		}
	}
	if _, err := w.tell(ctx); err != nil {
		return err // The step is gone again.
	}
	w.cursor, w.walking = cursor, cursor != 0
	w.step = time.Now().Add(walkRest * time.Since(began))
	return nil
}

func (w *watcher) scan(ctx context.Context) ([]string, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, watchPatience)
	defer cancel()
	return w.rdb.Scan(ctx, w.cursor, w.pattern, walkStep).Result()
}
