package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/internal/once"
	"github.com/connectbot-hub/connecthub/javaclient"
	"github.com/connectbot-hub/connecthub/matching"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// matchingSettings are the settings of matching.
type matchingSettings struct {
	JavaServiceURL       string        `name:"java-service-url" setting:"JAVA_SERVICE_URL" placeholder:"URL" help:"The Java service that matches people. Unset: http://localhost:8080, if something is there."`
	JavaServiceToken     string        `setting:"JAVA_SERVICE_TOKEN" placeholder:"TOKEN" help:"What the hub shows it, as Authorization: Service TOKEN. Unset: the hub's own SERVICE_AUTH_TOKEN, if there is one and JAVA_SERVICE_URL is set."`
	JavaServiceTokenFile string        `setting:"JAVA_SERVICE_TOKEN_FILE" placeholder:"FILE" help:"A file that holds that token."`
	JavaTimeout          time.Duration `setting:"JAVA_TIMEOUT" default:"10s" help:"How long it may take to answer once."`
	JavaTimeoutTotal     time.Duration `setting:"JAVA_TIMEOUT_TOTAL" default:"15s" help:"How long a call may take with all its attempts."`

	MatchingFallback string        `setting:"MATCHING_FALLBACK" enum:"on,off" default:"on" help:"on: while the Java service is away the hub matches people itself, and says so. off: it does not."`
	MatchingCacheTTL time.Duration `name:"matching-cache-ttl" setting:"MATCHING_CACHE_TTL" default:"0s" help:"For how long the same people are matched in the same way. 0s: each time anew."`
	MatchingRetryFor time.Duration `setting:"MATCHING_RETRY_FOR" default:"2m" help:"How long a request that waits for its turn is tried with the Java service before the hub matches itself or gives it up."`
	MatchingWorkers  int           `setting:"MATCHING_WORKERS" default:"8" help:"Requests that a hub works on at a time."`
	MatchingAttempts int           `setting:"MATCHING_ATTEMPTS" default:"10" help:"How often such a request may fail for another reason, such as a hub that dies, before it is given up."`
}

// longestJavaCall leaves the hub, which answers a request within 30 s, some time of its own.
const longestJavaCall = 25 * time.Second

func (c *matchingSettings) validate() error {
	for _, s := range []struct {
		name string
		ok   bool
		want string
	}{
		{"JAVA_TIMEOUT", c.JavaTimeout >= time.Millisecond && c.JavaTimeout <= 20*time.Second, "must be from 1ms to 20s"},
		{
			"JAVA_TIMEOUT_TOTAL", c.JavaTimeoutTotal >= c.JavaTimeout && c.JavaTimeoutTotal <= longestJavaCall,
			fmt.Sprintf("must be at least JAVA_TIMEOUT, which is %v, and at most %v", c.JavaTimeout, longestJavaCall),
		},
		{"MATCHING_CACHE_TTL", c.MatchingCacheTTL >= 0 && c.MatchingCacheTTL <= 24*time.Hour, "must be from 0s to 24h"},
		{"MATCHING_RETRY_FOR", c.MatchingRetryFor >= 0 && c.MatchingRetryFor <= 24*time.Hour, "must be from 0s to 24h"},
		{"MATCHING_WORKERS", c.MatchingWorkers >= 1 && c.MatchingWorkers <= 100, "must be from 1 to 100"},
		{"MATCHING_ATTEMPTS", c.MatchingAttempts >= 1 && c.MatchingAttempts <= 100, "must be from 1 to 100"},
	} {
		if !s.ok {
			return &settingError{s.name, s.want}
		}
	}
	return nil
}

// javaToken returns what the hub shows the Java service, and the setting it comes from: unless the service has a token of its
// own it is the hub's, as ConnectBot's services share one. But that opens the hub, so it does not go to whatever happens to
// listen where nobody has said that the service is, nor where the address itself says how to get in.
func (c *serveCommand) javaToken() (token, from string, err error) {
	named := c.JavaServiceURL != "" && !strings.Contains(c.JavaServiceURL, "@")
	if c.JavaServiceToken == "" && c.JavaServiceTokenFile == "" && named {
		return c.token()
	}
	return tokenSet("JAVA_SERVICE_TOKEN", c.JavaServiceToken, c.JavaServiceTokenFile)
}

// javaClient makes the client of the Java service. Its calls are told to onCall.
func (c *serveCommand) javaClient(
	log *zap.Logger, traces trace.TracerProvider, onCall func(call javaclient.CallName, ok bool, took time.Duration),
) (*javaclient.Client, error) {
	token, from, err := c.javaToken()
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, &settingError{from, "must be visible ASCII characters without spaces"}
	}
	client, err := javaclient.New(javaclient.Config{
		URL: c.JavaServiceURL, Token: token, Timeout: c.JavaTimeout, TotalTimeout: c.JavaTimeoutTotal, Logger: log, Tracing: traces,
		OnCall: onCall,
	})
	if err != nil {
		return nil, &settingError{"JAVA_SERVICE_URL", "cannot be used: " + strings.TrimPrefix(err.Error(), "javaclient: ")}
	}
	return client, nil
}

// pairing is what of the hub has to do with matching.
type pairing struct {
	*matching.Matcher
	jobs     *matching.Jobs
	client   *javaclient.Client
	once     *once.Once
	cache    *cache.Redis
	consumer *events.Consumer
	fallback bool
	// named is whether somebody has said where the service is.
	named bool
}

// matchingService is the service whose channel requests come by and answers go to, and matchingGroup the hubs that share the
// requests.
const (
	matchingService = "matching"
	matchingGroup   = "connecthub-matching"
)

// matchingLease is after how long without a word from a hub another goes on with its requests. People wait.
const matchingLease = 10 * time.Second

// newPairing makes the part of the hub that has to do with matching, when the publisher and the temporary data are made. With
// an error it returns what it has made, to be closed.
func (h *hub) newPairing(cfg events.Config) (p *pairing, err error) {
	c := h.cfg
	p = &pairing{fallback: c.MatchingFallback == "on", named: c.JavaServiceURL != ""}
	if p.client, err = c.javaClient(h.log, h.tracing, h.onJavaCall); err != nil {
		return p, err
	}
	prefix := c.ChannelPrefix + ":matching:"
	if p.once, err = once.New(once.Config{
		Redis: h.eventsRDB, Prefix: prefix + "once", Lease: c.JavaTimeoutTotal + matching.LocalTimeout + time.Second, Logger: h.log,
	}); err != nil {
		return p, err
	}
	// It is silent: the one of the menus, on the same Redis, says when that goes and comes back.
	p.cache = cache.NewRedis(h.rdb, h.rdbURL, c.KeyPrefix+":matching:changed", zap.NewNop())
	if p.Matcher, err = matching.NewMatcher(matching.MatcherConfig{
		Client: p.client, Once: p.once, Cache: p.cache, Prefix: c.KeyPrefix,
		Fallback: p.fallback, CacheTTL: c.MatchingCacheTTL, Logger: h.log,
	}); err != nil {
		return p, err
	}
	queue, err := jobqueue.New(jobqueue.Config{
		Redis: h.eventsRDB, Prefix: prefix + "{jobs}", Lease: matchingLease, MaxAttempts: c.MatchingAttempts, Logger: h.log,
	})
	if err != nil {
		return p, err
	}
	if p.jobs, err = matching.NewJobs(matching.JobsConfig{
		Matcher: p.Matcher, Queue: queue, Publish: h.publishMatched, Project: h.projectMatching,
		Workers: c.MatchingWorkers, RetryFor: c.MatchingRetryFor, Logger: h.log, Tracing: h.tracing,
	}); err != nil {
		return p, err
	}
	channel, err := events.Service(matchingService)
	if err != nil {
		return p, err
	}
	requests, err := events.ParsePattern(events.TypeMatchingRequest)
	if err != nil {
		return p, err
	}
	p.consumer, err = events.NewConsumer(h.eventsRDB, cfg, events.Consumption{
		Channel: channel, Group: matchingGroup, Types: requests,
		Handle: func(ctx context.Context, r *events.Record) error { return p.jobs.Accept(ctx, []byte(r.JSON)) },
	})
	return p, err
}

// publishMatched publishes what a request for pairs came to.
func (h *hub) publishMatched(ctx context.Context, e matching.Event) error {
	channel, err := events.Service(matchingService)
	if e.UserID > 0 {
		channel, err = events.User(e.UserID)
	}
	if err != nil {
		return err
	}
	_, err = h.publisher.Publish(ctx, events.Message{
		Channel: channel, Type: e.Type, ID: e.ID, CorrelationID: e.CorrelationID, Traceparent: e.Traceparent,
		Data: e.Data, Source: "connecthub",
	})
	if errors.Is(err, events.ErrUnavailable) {
		return fmt.Errorf("%w: %w", matching.ErrUnavailable, err)
	}
	return err
}

// projectMatching keeps what is known of a request where the bot looks for it. What is there already is newer than the first.
func (h *hub) projectMatching(ctx context.Context, id string, doc []byte, first bool) error {
	_, err := h.temp.Put(ctx, tempdata.Put{
		Key: tempdata.Key{Namespace: "matching_requests", Name: id}, Data: doc, Condition: tempdata.Condition{Absent: first},
	})
	if first && errors.As(err, new(*tempdata.PreconditionError)) {
		return nil
	}
	return err
}

// start starts what works on requests. That Redis or the Java service is away is no error.
func (p *pairing) start(ctx context.Context) error {
	for _, f := range []func(context.Context) error{p.cache.Start, p.jobs.Start, p.consumer.Start} {
		if err := f(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stopWorking takes no more requests that may wait, from anywhere, and gives those that are worked on a few seconds. What is not
// done then is another hub's, or waits for the next start. Calls are still answered. It may be called twice.
func (p *pairing) stopWorking() {
	if p.consumer != nil { // First, as an event that is refused is not handed over again for a while.
		p.consumer.Close()
	}
	if p.jobs != nil {
		p.jobs.Close()
	}
}

// close ends what start began, if that was called, and what newPairing made, which may not be all. It may be called twice.
func (p *pairing) close() {
	p.stopWorking()
	if p.Matcher != nil {
		p.Close()
	}
	if p.once != nil {
		p.once.Close()
	}
	if p.cache != nil {
		p.cache.Close()
	}
	if p.client != nil {
		p.client.Close()
	}
}
