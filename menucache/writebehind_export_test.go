package menucache

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// What tests of the package's outside reach of the queue, which only Cache uses.
type (
	WriteQueueConfig = writeBehindConfig
	WriteQueueStats  = writeBehindStats
	WriteQueue       struct{ *writeBehind }
)

func NewWriteQueue(rdb *redis.Client, prefix string, source *Source, cfg WriteQueueConfig) (WriteQueue, error) {
	w, err := newWriteBehind(rdb, prefix, source, cfg)
	return WriteQueue{w}, err
}

func (w WriteQueue) Add(ctx context.Context, key Key, menu []byte) (string, error) {
	return w.add(ctx, key, menu)
}

func (w WriteQueue) Pending(ctx context.Context, key Key) ([]byte, bool, error) {
	return w.pending(ctx, key)
}

func (w WriteQueue) Through(ctx context.Context, key Key, menu []byte) error {
	return w.through(ctx, key, menu)
}

func (w WriteQueue) Dead(ctx context.Context, cursor string, limit int) (DeadWritePage, error) {
	return w.dead(ctx, cursor, limit)
}

func (w WriteQueue) Retry(ctx context.Context, id string) error { return w.retry(ctx, id) }

func (w WriteQueue) Stats() WriteQueueStats { return w.stats() }

func (w WriteQueue) Depth(ctx context.Context) (waiting, dead int64, err error) { return w.depth(ctx) }
