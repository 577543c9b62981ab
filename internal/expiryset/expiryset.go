// Package expiryset pages over a sorted set of Redis whose members are names, scored by the millisecond, of Unix time, in
// which they expire.
//
// Guarantee: a page takes one round trip and time that grows with its size and the logarithm of the set's, also when all
// members expire in the same millisecond; a member whose score stays as it is, is on exactly one page of those between the
// first and the last. Limit: scores are whole numbers, and members that have expired are passed over, but not removed.
package expiryset

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Member is a member of a set.
type Member struct {
	Name string
	// ExpiresIn is how long it is kept, by this process's clock: whole milliseconds, above 0.
	ExpiresIn time.Duration
}

// ErrCursor says that a cursor is none that Page returned.
var ErrCursor = errors.New("expiryset: not a cursor")

var (
	//go:embed page.lua
	pageSource string
	pageScript = redis.NewScript(pageSource) //nolint:gochecknoglobals // A constant, but for the language.
)

// Page returns a page of the members of the set under a key, those that expire first before others, and those of one
// millisecond by their bytes, and the cursor of the next page, "" when there is none. The cursor "" begins. Limit is 1 to
// // 1,000,000: anything else counts as the nearest. A set that does not exist has no members. A member whose score grows
// while somebody pages may come twice, and one whose score shrinks not at all. What is no cursor gives ErrCursor; all other
// errors are those of Redis, or of ctx, wrapped.
//
// The first call of a process may take a second round trip. Rdb must not be a pipeline.
func Page(ctx context.Context, rdb redis.Cmdable, key, cursor string, limit int) (members []Member, next string, err error) {
	now := time.Now().UnixMilli()
	limit = min(max(limit, 1), 1_000_000)
	args := []any{now + 1, limit + 1}
	if cursor != "" {
		text, name, found := strings.Cut(cursor, " ")
		score, err := strconv.ParseInt(text, 10, 64)
		if !found || err != nil {
			return nil, "", ErrCursor
		}
		if score > now {
			args = []any{score, limit + 1, name}
		}
	}
	replies, err := pageScript.Run(ctx, rdb, []string{key}, args...).StringSlice()
	if err != nil {
		return nil, "", fmt.Errorf("expiryset: page: %w", err)
	}
	members = make([]Member, 0, len(replies)/2)
	var score int64
	for i := 0; i+1 < len(replies); i += 2 {
		if len(members) == limit {
			return members, strconv.FormatInt(score, 10) + " " + members[limit-1].Name, nil
		}
		float, err := strconv.ParseFloat(replies[i+1], 64)
		if err != nil {
			return nil, "", fmt.Errorf("expiryset: page: %w", err)
		}
		score = int64(float)
		members = append(members, Member{Name: replies[i], ExpiresIn: time.Duration(score-now) * time.Millisecond})
	}
	return members, "", nil
}
