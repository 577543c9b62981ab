package cache

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Group is a group of keys that have values.
type Group struct {
	Name string
	// ExpiresIn is how long the last of its values is kept, above 0.
	ExpiresIn time.Duration
}

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
	now := time.Now().UnixMilli()
	from, after := now+1, ""
	if cursor != "" {
		score, name, ok := strings.Cut(cursor, " ")
		n, err := strconv.ParseInt(score, 10, 64)
		if !ok || err != nil {
			return nil, "", ErrCursor
		}
		if n >= from {
			from, after = n, name
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// Those with the score of the cursor that were returned already are skipped here; scores are milliseconds, so that
	// they are few.
	for count := int64(max(limit, 1)) + 1; ; count *= 2 {
		page, err := c.redis.rdb.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{
			Key: c.cfg.Index, ByScore: true, Start: from, Stop: "+inf", Count: count,
		}).Result()
		if err != nil {
			return nil, "", unavailable("list", err)
		}
		groups = groups[:0]
		for _, z := range page {
			name, _ := z.Member.(string)
			score := int64(z.Score)
			if score == from && after != "" && name <= after {
				continue
			}
			if len(groups) == max(limit, 1) {
				last := groups[len(groups)-1]
				return groups, strconv.FormatInt(now+last.ExpiresIn.Milliseconds(), 10) + " " + last.Name, nil
			}
			groups = append(groups, Group{Name: name, ExpiresIn: time.Duration(score-now) * time.Millisecond})
		}
		if int64(len(page)) < count {
			return groups, "", nil
		}
	}
}
