package redisconn

import (
	"context"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/push"
)

// Tracking is client tracking in broadcast mode: a connection on which Redis tells of every change of a key.
type Tracking struct {
	// Prefixes are those of the keys to be told of.
	Prefixes []string
	// Started is called when a connection begins to be told. What changed before, and on an earlier connection, may have
	// been missed.
	Started func()
	// Changed is called with a key that was written, deleted or has expired, and Flushed when all keys may have.
	Changed func(key string)
	Flushed func()
}

// OpenTracking returns a client for a URL as Open does, with one connection, which speaks RESP3. The functions of t are
// called, one at a time, while a command waits for its reply: every change that was acknowledged before a PING is sent
// has been told of when the PING returns. A server that cannot track makes every command fail with its error reply.
func OpenTracking(rawURL string, t Tracking) (*redis.Client, error) {
	opt, err := options(rawURL)
	if err != nil {
		return nil, err
	}
	opt.Protocol = 3
	opt.PoolSize, opt.MinIdleConns, opt.MaxIdleConns, opt.MaxActiveConns = 1, 0, 1, 1
	opt.ConnMaxIdleTime, opt.ConnMaxLifetime = -1, 0
	opt.OnConnect = func(ctx context.Context, cn *redis.Conn) error {
		// Where HELLO is refused go-redis goes on with RESP2, in which Redis tracks and tells nothing.
		if err := cn.Do(ctx, "hello", opt.Protocol).Err(); err != nil {
			return err
		}
		args := []any{"client", "tracking", "on", "bcast"}
		for _, prefix := range t.Prefixes {
			args = append(args, "prefix", prefix)
		}
		if err := cn.Do(ctx, args...).Err(); err != nil {
			return err
		}
		t.Started()
		return nil
	}
	client := redis.NewClient(opt)
	// It fails only for a name that is taken.
	if err := client.RegisterPushNotificationHandler("invalidate", &t, true); err != nil {
		_ = client.Close() // Nothing was opened.
		return nil, err
	}
	return client, nil
}

// HandlePushNotification is called by go-redis.
func (t *Tracking) HandlePushNotification(_ context.Context, _ push.NotificationHandlerContext, notification []any) error {
	if len(notification) != 2 {
		t.Flushed() // Not what Redis sends; to forget everything is always right.
		return nil
	}
	keys, ok := notification[1].([]any)
	if !ok {
		t.Flushed()
		return nil
	}
	for _, key := range keys {
		if name, ok := key.(string); ok {
			t.Changed(name)
		}
	}
	return nil
}
