// Package redisconn opens connections to Redis that fail fast, and runs the embedded server for a first try.
//
// Guarantee: a client made here answers or fails within about a second when Redis refuses, hangs or vanishes, and never
// sends a command twice by itself. Limit: one server by URL; Sentinel and Cluster are not configured here.
package redisconn

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Open returns a client for a URL: redis://[user[:password]@]host[:port][/database], the same with rediss for TLS, or
// unix://[user[:password]@]/path/to/socket[?db=database]. It does no I/O. The errors it returns do not repeat the URL,
// which may hold a password. The caller closes the client.
func Open(rawURL string) (*redis.Client, error) {
	opt, err := redis.ParseURL(rawURL)
	if err != nil {
		if urlErr := new(url.Error); errors.As(err, &urlErr) {
			err = urlErr.Err
		}
		return nil, fmt.Errorf("want redis://, rediss:// or unix://: %w", err)
	}
	// The library's defaults take up to 100 s to notice a server that does not answer, and repeat commands.
	opt.DialTimeout = 500 * time.Millisecond
	opt.ReadTimeout = time.Second
	opt.WriteTimeout = time.Second
	opt.PoolTimeout = 500 * time.Millisecond
	opt.ContextTimeoutEnabled = true
	opt.MaxRetries = -1
	opt.DialerRetries = 1
	opt.Protocol = 2
	opt.DisableIdentity = true
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(opt), nil
}
