package jobqueue

import (
	"context"
	"sync"

	"go.uber.org/zap"
)

// outage is what the worker knows of whether Redis is away.
type outage struct {
	logger *zap.Logger

	mu  sync.Mutex
	err error // Why it is, or nil.
}

// note says how a call of the worker ended, and logs that Redis has gone or come back.
func (o *outage) note(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err != nil && o.err == nil:
		o.logger.Warn("the queue of jobs is away, trying again", zap.Error(err))
	case err == nil && o.err != nil:
		o.logger.Info("the queue of jobs is back")
	}
	o.err = err
}

func (o *outage) reason() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// Check returns nil when jobs can be added and handled, as far as can be told: Redis answers a PING, and answered the
// worker's last call. Else it returns ErrUnavailable.
func (q *Queue) Check(ctx context.Context) error {
	if err := q.outage.reason(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	if err := q.cfg.Redis.Ping(ctx).Err(); err != nil {
		return unavailable("looking whether it is there", err)
	}
	return nil
}
