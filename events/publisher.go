package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/tracing/traceparent"
)

var (
	// ErrKeyReused is returned when an idempotency key comes again with another message.
	ErrKeyReused = errors.New("events: the idempotency key was used for another message")
	// ErrIDReused is an ErrKeyReused of an event's id: on this channel, it is that of an event of another type.
	ErrIDReused = fmt.Errorf("%w: it is the event's id", ErrKeyReused)
)

// Receipt says what became of a message.
type Receipt struct {
	// ID is the event's id.
	ID string
	// Type is the event's type.
	Type string
	// Channel is the full name of the Redis channel, such as "connectbot:user:123".
	Channel string
	// Offset is the event's position in the channel's log.
	Offset Offset
	// Timestamp is the event's timestamp.
	Timestamp time.Time
	// Subscribers is how many Redis connections Redis handed the event to when it was published: services that
	// subscribed, and hubs with open streams on the channel. Bridges are not counted.
	Subscribers int64
	// Duplicate is true when the same event or key was published before; the rest is then the first receipt.
	Duplicate bool
}

// Publisher publishes events: one script appends an event to its channel's log and publishes it.
// It is safe for concurrent use. What concurrent callers publish has no order; what one caller publishes in turn has.
type Publisher struct {
	appender *appender
	cfg      Config

	users, global, services outcomes
}

// outcomes counts what became of calls for the channels of one scope.
type outcomes struct {
	published, duplicates, refused, failed atomic.Int64
	// forbidden is when Redis last did not let the hub publish; nil if it published since.
	forbidden atomic.Pointer[time.Time]
}

// NewPublisher makes a publisher; Start must be called before its first use. The client stays the caller's to close.
// It must not retry by itself (MaxRetries -1), which could publish an event twice: retries are for the caller, whose
// event ids make them harmless. ContextTimeoutEnabled must be set for Config.Timeout to hold.
func NewPublisher(rdb redis.UniversalClient, cfg Config) (*Publisher, error) {
	cfg, keys, err := cfg.prepare()
	if err != nil {
		return nil, err
	}
	return &Publisher{appender: newAppender(rdb, cfg, keys), cfg: cfg}, nil
}

// publishWorkers is how many batches may be under way: one is on the wire while the next gathers and is encoded.
const publishWorkers = 2

// Start begins to work. The context is not kept. It returns ErrClosed after Close.
func (p *Publisher) Start(context.Context) error {
	return p.appender.start(publishWorkers)
}

// Close lets what is under way end, and waits for it. It may be called twice.
func (p *Publisher) Close() { p.appender.close() }

// Publish appends the message to its channel's log and publishes it, and returns once Redis has done both.
//
// It returns an InvalidError or ErrTooLarge for a message that cannot be published, ErrKeyReused or ErrIDReused, ErrClosed, or
// ErrUnavailable when Redis did not answer within Config.Timeout or the context's deadline. After ErrUnavailable
// the event may have been published all the same; publishing again with the same ID or IdempotencyKey is safe.
func (p *Publisher) Publish(ctx context.Context, m Message) (_ Receipt, err error) {
	count := p.counted(m.Channel.scope)
	ev, err := m.event()
	if err != nil {
		count.refused.Add(1)
		return Receipt{}, err
	}
	sub := submission{event: &ev, largest: MaxEventSize, tell: p.appender.keys.channel(ev.Channel)}
	if m.IdempotencyKey != "" {
		sub.key, sub.fingerprint = hashText([]byte(m.IdempotencyKey)), fingerprint(&ev)
	}
	if ev.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return Receipt{}, err
		}
		ev.ID, sub.fresh = id.String(), true
	}
	if ev.Timestamp.IsZero() {
		ev.Timestamp = time.Now()
	}
	ev.Timestamp = ev.Timestamp.UTC().Truncate(time.Microsecond) // As the envelope has it.
	orElse(&ev.Source, p.cfg.Source)
	if p.cfg.Trace != nil {
		parent, end := p.cfg.Trace(ctx, ev.Channel.scope)
		defer func() { end(err) }()
		ev.Traceparent = cmp.Or(traceparent.Current(parent), ev.Traceparent)
	}

	call, err := p.appender.submit(ctx, &sub)
	switch {
	case errors.Is(err, ErrTooLarge):
		count.refused.Add(1)
		return Receipt{}, err
	case err != nil:
		count.failed.Add(1)
		return Receipt{}, err
	}
	reply, err := p.appender.wait(ctx, call)
	switch {
	case err != nil:
		count.failed.Add(1)
		if mayNot(err) {
			now := time.Now()
			count.forbidden.Store(&now)
		}
		return Receipt{}, err
	case reply.what == reused:
		count.refused.Add(1)
		return Receipt{}, ErrKeyReused
	case reply.what != appended && reply.typ != ev.Type:
		count.refused.Add(1)
		return Receipt{}, ErrIDReused // Whoever may publish the one type may not learn of the other, nor take its place.
	case reply.what == appended:
		count.published.Add(1)
		if count.forbidden.Load() != nil {
			count.forbidden.Store(nil)
		}
		reply.id, reply.typ, reply.timestamp = ev.ID, ev.Type, ev.Timestamp
	default:
		count.duplicates.Add(1)
	}
	return Receipt{
		ID: reply.id, Type: reply.typ, Channel: sub.tell, Offset: reply.offset, Timestamp: reply.timestamp,
		Subscribers: reply.subscribers, Duplicate: reply.what != appended,
	}, nil
}

// counted returns the counters of a scope. What has no channel counts as for everybody.
func (p *Publisher) counted(scope Scope) *outcomes {
	switch scope {
	case ScopeUser:
		return &p.users
	case ScopeService:
		return &p.services
	default:
		return &p.global
	}
}

// mayNot reports whether Redis says that its user may not do something. Of what a script does, Redis 7.0 says it without a code.
func mayNot(err error) bool {
	return redis.HasErrorPrefix(err, "NOPERM") || redis.HasErrorPrefix(err, "The user executing the script can't")
}

// forbiddenFor is how long it is told that Redis did not let the hub publish, if nobody tries again.
const forbiddenFor = time.Minute

// Check returns an error if Redis refused to publish an event within the last minute because its user may not, and let none of
// that scope through since: a canary has its own channel and log, and does not see that. It asks Redis nothing.
func (p *Publisher) Check(context.Context) error {
	for _, scope := range []Scope{ScopeUser, ScopeGlobal, ScopeService} {
		if at := p.counted(scope).forbidden.Load(); at != nil && time.Since(*at) < forbiddenFor {
			return fmt.Errorf("events: Redis refuses events of channels of the scope %s: its user lacks a channel, a key or a command", scope)
		}
	}
	return nil
}

// PublisherStats counts what a publisher did since it was made.
type PublisherStats struct {
	// Outcomes are those of all scopes together.
	Outcomes
	// User, Global and Service are those of the channels of each scope.
	User, Global, Service Outcomes
}

// Outcomes counts what became of calls of Publish.
type Outcomes struct {
	// Published events; Duplicates, which were published before; calls that were Refused, with an InvalidError, ErrTooLarge
	// or ErrKeyReused; and calls that Failed in any other way, as when Redis is away.
	Published, Duplicates, Refused, Failed int64
}

func (o *outcomes) stats() Outcomes {
	return Outcomes{o.published.Load(), o.duplicates.Load(), o.refused.Load(), o.failed.Load()}
}

// Stats returns the counters. They are read one after the other, not all at the same instant.
func (p *Publisher) Stats() PublisherStats {
	s := PublisherStats{User: p.users.stats(), Global: p.global.stats(), Service: p.services.stats()}
	for _, o := range []Outcomes{s.User, s.Global, s.Service} {
		s.Published += o.Published
		s.Duplicates += o.Duplicates
		s.Refused += o.Refused
		s.Failed += o.Failed
	}
	return s
}
