package events

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

const (
	// pingEvery is how often a subscribed connection is asked for a sign of life.
	pingEvery = time.Second
	// silence is how long it may say nothing before it counts as broken.
	silence = 3 * time.Second
)

// steady is how long a connection has to last for the next to be made as fast as the first.
const steady = 5 * time.Second

// keepConnected runs session after session until ctx ends, waiting a little longer after each that failed or did not last. A
// session calls up once it is connected. That the connection is lost is told once, and again when Redis gives another reason.
func keepConnected(ctx context.Context, logger *zap.Logger, what string, session func(context.Context, func()) error) {
	const shortest, longest = 50 * time.Millisecond, 500 * time.Millisecond
	wait, told, reason := shortest, false, ""
	for ctx.Err() == nil {
		var connected time.Time
		err := session(ctx, func() {
			if told {
				logger.Info("Redis " + what + " is back")
			}
			connected, told, reason = time.Now(), false, ""
		})
		if ctx.Err() != nil {
			return
		}
		if !connected.IsZero() && time.Since(connected) >= steady {
			wait = shortest
		}
		if refused := refusal(err); !told || refused != "" && refused != reason {
			logger.Warn("Redis "+what+" lost, trying again", zap.Error(err))
			told, reason = true, refused
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, longest)
	}
}

// refusal returns what Redis said when it refused, and "" for any other error.
func refusal(err error) string {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return ""
	}
	return reply.Error()
}
