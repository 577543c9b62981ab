package events

import (
	"context"
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

// keepConnected runs session after session until ctx ends, waiting a little longer after each failure. A session
// calls up once it is connected.
func keepConnected(ctx context.Context, logger *zap.Logger, what string, session func(context.Context, func()) error) {
	const shortest, longest = 50 * time.Millisecond, 500 * time.Millisecond
	wait, told := shortest, false
	for ctx.Err() == nil {
		err := session(ctx, func() {
			if told {
				logger.Info("Redis " + what + " is back")
			}
			wait, told = shortest, false
		})
		if ctx.Err() != nil {
			return
		}
		if !told {
			logger.Warn("Redis "+what+" lost, trying again", zap.Error(err))
			told = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, longest)
	}
}

// keepPinging asks a subscribed connection for signs of life until it breaks or ctx ends.
func keepPinging(ctx context.Context, ps *redis.PubSub) {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ping.C:
			if ps.Ping(ctx) != nil {
				return
			}
		}
	}
}
