package javaclient

import (
	"cmp"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// Config says where the service is and how much patience it gets.
type Config struct {
	// URL is http:// or https:// with a host and, if need be, a path, below which the calls are. A user and a password in it
	// are sent as "Authorization: Basic", so that there may be no Token then. Default http://localhost:8080.
	URL string
	// Token is sent as "Authorization: Service <token>": visible ASCII characters. Default: none is sent.
	Token string
	// Timeout bounds one attempt, from connecting to the last byte of the answer. Default 10 s; at least 1 ms.
	Timeout time.Duration
	// TotalTimeout bounds a call with all its attempts and pauses. Default 15 s; at least Timeout.
	TotalTimeout time.Duration
	// HedgeAfter is how late the answer to a GET may be before it is asked for a second time, which the attempts after its
	// first are not. Default 500 ms; negative: never.
	HedgeAfter time.Duration
	// OpenFor is how long the breaker stays open before it lets a call through to see, give or take a fifth at random.
	// Default 5 s; at least 1 ms.
	OpenFor time.Duration
	// Concurrency is how many calls may be under way; more wait for at most QueueFor, which is part of TotalTimeout, and then
	// fail with CodeBusy. Defaults 128 and 1 s.
	Concurrency int
	QueueFor    time.Duration
	// MaxAnswer is how many bytes an answer may have, unpacked. Default 16 MiB; at most 1 GiB.
	MaxAnswer int64
	// OnCall is told of each call that the service was asked for, when it has ended: whether it succeeded, and how long it took
	// with all its attempts and the pauses between them, but without the wait for its turn. Neither a call that was refused
	// unsent, by the breaker or because too many are under way, nor one to the service's health is told. It must be quick and
	// safe for concurrent use. Default: nobody.
	OnCall func(call CallName, ok bool, took time.Duration)
	// Tracing makes a span of each attempt that belongs to a trace, and sends its traceparent in place of Call.Traceparent.
	// Default: nil, and Call.Traceparent is passed on.
	Tracing trace.TracerProvider
	// Logger is told when the breaker opens and when it is closed again, and nothing else. Default: nobody.
	Logger *zap.Logger
}

func (c Config) withDefaults() Config {
	c.URL = cmp.Or(c.URL, "http://localhost:8080")
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	c.TotalTimeout = cmp.Or(c.TotalTimeout, max(15*time.Second, c.Timeout))
	c.HedgeAfter = cmp.Or(c.HedgeAfter, 500*time.Millisecond)
	c.OpenFor = cmp.Or(c.OpenFor, 5*time.Second)
	c.Concurrency = cmp.Or(c.Concurrency, 128)
	c.QueueFor = cmp.Or(c.QueueFor, time.Second)
	c.MaxAnswer = cmp.Or(c.MaxAnswer, 16<<20)
	c.Logger = cmp.Or(c.Logger, zap.NewNop())
	return c
}

const maxMaxAnswer = 1 << 30

// validate repeats nothing of the URL and the token, which may be secret.
func (c Config) validate() error {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return errors.New("javaclient: the URL must be http:// or https:// with a host")
	case !isPort(u.Port()):
		return errors.New("javaclient: the URL's port must be from 1 to 65535")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("javaclient: the URL must have no query and no fragment")
	case u.User != nil && c.Token != "":
		return errors.New("javaclient: the URL must have no user when there is a token: both would be the Authorization header")
	case strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("javaclient: the token must be visible ASCII characters")
	case c.Timeout < time.Millisecond || c.TotalTimeout < c.Timeout:
		return errors.New("javaclient: the timeout must be at least 1 ms, and the total timeout no less than it")
	case c.OpenFor < time.Millisecond || c.Concurrency < 1 || c.QueueFor < 0:
		return errors.New("javaclient: OpenFor must be at least 1 ms, and Concurrency and QueueFor above 0")
	case c.MaxAnswer < 1 || c.MaxAnswer > maxMaxAnswer:
		return errors.New("javaclient: MaxAnswer must be from 1 byte to 1 GiB")
	}
	return nil
}

// isPort says whether a URL may have this port, which is empty for the usual one.
func isPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}
