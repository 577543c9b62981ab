package cache

import (
	"context"
	"errors"

	"github.com/connectbot-hub/connecthub/internal/expiryset"
)

// Group is a group of keys that have values. ExpiresIn is how long the last of its values is kept.
type Group = expiryset.Member

// ErrCursor says that a cursor is none that List returned.
var ErrCursor = errors.New("cache: not a cursor")

// List returns a page of the groups that have values, those that expire first before others, and the cursor of the next
// page, "" when there is none. Limit is at least 1. A group whose values are stored anew while somebody pages may come
// twice; none that has values all the while is left out. One whose values were invalidated, or deleted by other programs,
// may be listed until they would have expired. Groups of which only other programs wrote are listed with
// Config.ForeignTTL, within a second where Redis offers client tracking, and otherwise when all keys are walked over.
// It returns ErrCursor for what is no cursor, and ErrUnavailable when Redis does not answer. Without Config.Index there
// are no groups.
func (c *Cache[K, V]) List(ctx context.Context, cursor string, limit int) (groups []Group, next string, err error) {
	if err := c.writable(); err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	groups, next, err = expiryset.Page(ctx, c.redis.rdb, c.cfg.Index, cursor, limit)
	switch {
	case errors.Is(err, expiryset.ErrCursor):
		return nil, "", ErrCursor
	case err != nil:
		return nil, "", unavailable("list", err)
	}
	return groups, next, nil
}
