package ratelimit

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

const (
	// shareEvery is how often Redis is told, while there is something to tell.
	shareEvery = 50 * time.Millisecond
	// shareTimeout bounds how long Redis may take to answer.
	shareTimeout = 500 * time.Millisecond
	// retryEvery is how often an absent Redis is tried.
	retryEvery = time.Second
	// shareMost is how many callers Redis is told of at once, which takes it about a millisecond, and rounds how often in a row.
	shareMost, rounds = 256, 16
	// mostOwed is how many bursts a caller can owe.
	mostOwed = 4
	// forgetEvery is how often callers are forgotten who come no more.
	forgetEvery = 10 * time.Second
)

var (
	//go:embed share.lua
	shareSource string
	shareScript = redis.NewScript(shareSource) //nolint:gochecknoglobals // A constant, but for the language.
)

// ErrClosed says that the limiter was closed, or started before.
var ErrClosed = errors.New("ratelimit: it is closed, or was started before")

// Start begins to count together with the other limiters, until Close. It does not wait for Redis. A second call, and
// one after Close, returns ErrClosed.
func (l *Limiter) Start(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop != nil || l.closed {
		return ErrClosed
	}
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.running.Store(l.cfg.Redis != nil)
	l.done.Go(func() { l.run(ctx) })
	return nil
}

// Close ends what Start began, and waits for its end. What was counted in the last moment is not told. Take goes on, by itself.
func (l *Limiter) Close() {
	l.mu.Lock()
	l.closed = true
	l.running.Store(false)
	if l.stop != nil {
		l.stop()
	}
	l.mu.Unlock()
	l.done.Wait()
}

// run shares, a moment after there is something to share, and forgets callers.
func (l *Limiter) run(ctx context.Context) {
	forget := time.NewTicker(forgetEvery)
	defer forget.Stop()
	away := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-forget.C:
			l.forget()
		case <-l.wake:
			woken := time.Now()
			if !pause(ctx, shareEvery) {
				return
			}
			told, err := l.share(ctx, woken)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				if !away {
					l.cfg.Logger.Warn("rate limits are counted by this hub alone: Redis does not count", zap.Error(err))
				}
				away = true
				if !pause(ctx, retryEvery) {
					return
				}
			case told && away:
				away = false
				l.cfg.Logger.Info("rate limits are counted together again")
			}
		}
	}
}

// pause waits, and reports whether ctx lasts.
func pause(ctx context.Context, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (l *Limiter) forget() {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		s.forget(time.Since(l.began), s.most)
		s.mu.Unlock()
	}
}

// share tells Redis what was used up here since a time, and learns what was elsewhere. It reports whether there was anything to
// tell. What could not be told is forgotten: nobody is to pay after an outage for what each hub allowed by itself.
func (l *Limiter) share(ctx context.Context, since time.Time) (told bool, err error) {
	for range rounds {
		callers, args := l.gather(time.Since(since))
		if len(callers) == 0 {
			return told, err
		}
		if told = true; err == nil {
			err = l.tell(ctx, callers, args)
		}
	}
	l.wakeUp()
	return told, err
}

// gather takes some of those of whom Redis is to be told, and returns them and what the script is to be told.
func (l *Limiter) gather(age time.Duration) (told []*caller, args []any) {
	args = append(args, age.Microseconds())
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n := min(len(s.changed), shareMost-len(told))
		for _, c := range s.changed[:n] {
			told = append(told, c)
			args = append(args, (c.untold + time.Microsecond - 1).Microseconds(), (mostOwed * c.burst).Microseconds())
			c.untold, c.listed = 0, false
		}
		rest := copy(s.changed, s.changed[n:])
		clear(s.changed[rest:])
		s.changed = s.changed[:rest]
		s.mu.Unlock()
	}
	return told, args
}

func (l *Limiter) tell(ctx context.Context, told []*caller, args []any) error {
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	keys := make([]string, len(told))
	for i, c := range told {
		keys[i] = l.key(c.who)
	}
	asked := time.Since(l.began)
	left, err := shareScript.Run(ctx, l.cfg.Redis, keys, args...).Int64Slice()
	switch {
	case err != nil:
		return fmt.Errorf("ratelimit: sharing: %w", err)
	case len(left) != len(told):
		return errors.New("ratelimit: sharing: Redis returned something else")
	}
	for i, c := range told {
		s := l.shardOf(c.who)
		s.mu.Lock()
		// Durations, as the server's clock is another. What was used up since is not in them. From what is known here nothing is
		// taken back: Redis may have lost it.
		c.tat = max(c.tat, asked+time.Duration(left[i])*time.Microsecond+c.untold)
		s.mu.Unlock()
	}
	return nil
}

// key returns a caller's key in Redis. It does not tell who it is.
func (l *Limiter) key(who string) string {
	sum := sha256.Sum256([]byte(who))
	return l.cfg.Prefix + ":rate:" + base64.RawURLEncoding.EncodeToString(sum[:16])
}
