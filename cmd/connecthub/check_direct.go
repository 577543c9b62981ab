package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/alecthomas/kong"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/api"
)

// apart returns the prefix of a hub for a test, which shares nothing with the hubs that work. It is no longer than a prefix
// may be.
func apart(prefix string) string {
	const end, longest = "-check", 64
	return prefix[:min(len(prefix), longest-len(end))] + end
}

// ownHub starts a hub for the test alone, in this process, with the settings that connecthub serve would have, and makes it
// the one that is tested. It works apart from all others, on channels and with keys of its own, so that it answers none of
// their requests and the bot sees nothing of it. Of the keys that it leaves, those that never expire are always the same few.
// stop ends it.
func (c *checkCommand) ownHub(ctx context.Context, a *app) (stop func() error, err error) {
	settings, err := serveSettings(a.env)
	if err != nil {
		return nil, err
	}
	if settings.RedisURL == "" {
		return nil, &settingError{"REDIS_URL", "must be set: it is the Redis that --direct tests"}
	}
	if settings.JavaServiceToken, _, err = settings.javaToken(); err != nil {
		return nil, err // Before the hub has another token of its own.
	}
	settings.JavaServiceTokenFile = ""
	c.ServiceAuthToken, c.ServiceAuthTokenFile = rand.Text(), ""
	settings.tokenSettings, settings.HubKeysFile = c.tokenSettings, ""
	settings.doorSettings = doorSettings{MetricsAddr: noAddr, MaxStreamsPerKey: 1000, MaxConnections: 1000}
	settings.HTTPAddr, settings.AuditLogFile, settings.ShutdownDelay = "127.0.0.1:0", "", 0
	settings.ChannelPrefix, settings.KeyPrefix, settings.DjangoKeyPrefix = apart(settings.ChannelPrefix), apart(settings.KeyPrefix), apart(settings.DjangoKeyPrefix)
	settings.UserLogAge, settings.GlobalLogAge, settings.ServiceLogAge, settings.DedupeWindow = time.Minute, time.Minute, time.Minute, time.Minute
	keys, err := settings.validate()
	if err != nil {
		return nil, err
	}
	silent := &app{stdin: a.stdin, stdout: io.Discard, stderr: io.Discard, version: a.version, env: a.env}
	log := zap.NewNop()
	audit, err := settings.openAudit(log.Core(), log, a.version)
	if err != nil {
		return nil, err
	}
	h, err := settings.newHub(ctx, silent, keys, log, audit)
	if err != nil {
		audit.close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- h.run(ctx) }()
	c.HubURL, c.HubCAFile, c.HubClientCertFile, c.HubClientKeyFile = "http://"+h.listener.Addr().String(), "", "", ""
	return func() error {
		cancel()
		defer audit.close()
		return <-ended
	}, nil
}

// started waits until the hub has looked at its parts once.
func (c *checkCommand) started(ctx context.Context) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		var report api.Health
		if err := c.call(ctx, http.MethodGet, "/health/startup", nil, nil, &report); err == nil && report.Status != api.HealthStatusFail {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the hub did not start in time")
		case <-again.C:
		}
	}
}

// serveSettings returns the settings that connecthub serve would have, without flags.
func serveSettings(env func(string) string) (*serveCommand, error) {
	settings := &serveCommand{}
	parser, err := kong.New(settings, kong.Resolvers(settingsFrom(env)), kong.Exit(func(int) {}))
	if err != nil {
		return nil, err
	}
	_, err = parser.Parse(nil)
	if wrong := (*settingError)(nil); errors.As(err, &wrong) {
		return nil, wrong
	}
	return settings, err
}
