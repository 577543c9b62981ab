// Package redisconn opens connections to Redis that fail fast, and runs the embedded server for a first try.
//
// Guarantee: a client made here answers or fails within about a second when Redis refuses, hangs or vanishes, and never
// sends a command twice by itself. A pipeline may take two seconds unless its context ends: it tries a second connection.
// Limit: one server by URL; Sentinel and Cluster are not configured here.
package redisconn

import (
	"errors"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Open returns a client for a URL: redis://[user[:password]@]host[:port][/database], the same with rediss for TLS, or
// unix://[user[:password]@]/path/to/socket[?db=database]. It does no I/O. The errors it returns say what is wrong with
// the URL and repeat nothing of it, which may hold a password. The caller closes the client.
func Open(rawURL string) (*redis.Client, error) {
	opt, err := options(rawURL)
	if err != nil {
		return nil, err
	}
	return redis.NewClient(opt), nil
}

func options(rawURL string) (*redis.Options, error) {
	opt, err := parse(rawURL)
	if err != nil {
		return nil, err
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
	return opt, nil
}

// CheckURL returns the error that Open would.
func CheckURL(rawURL string) error {
	_, err := parse(rawURL)
	return err
}

// parse finds its own words for what is wrong: those of the parsers quote the URL, and a password that was not
// percent-encoded may turn up as its port, its database or an option.
func parse(rawURL string) (*redis.Options, error) {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return nil, errors.New("must be a URL such as redis://:password@host:6379/0; " +
			"@ : / ? # and % in a user or password must be percent-encoded")
	case u.Scheme != "redis" && u.Scheme != "rediss" && u.Scheme != "unix":
		return nil, errors.New("must begin with redis://, rediss:// or unix://")
	case u.Opaque != "" || u.Fragment != "":
		return nil, errors.New("must be a URL such as redis://:password@host:6379/0; # in a password is %23")
	}
	opt, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, errors.New("must end with a database number, such as /0, or with options that go-redis knows, such as ?pool_size=20; " +
			"unix:// needs the path of a socket")
	}
	return opt, nil
}
