package tempdata

import (
	"context"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A list names what there is of one kind: the values of a namespace (user_123), the forms of a user (forms/123), the
// histories of conversations (conversations/). No namespace has a slash.
const (
	formsOf    = "forms/"
	historySpc = "conversations/"
)

// formSpace is the list of a user's forms.
func formSpace(userID int64) string { return formsOf + strconv.FormatInt(userID, 10) }

// laneName returns the name by which the lane is chosen of what a list names. All of a user is in one lane.
func laneName(space string) string {
	if user, found := strings.CutPrefix(space, formsOf); found {
		return userPrefix + user
	}
	return space
}

// indexKey returns the key of a list, and listsKey that of the list of lists.
func (s *Store) indexKey(space string) string { return s.cfg.Prefix + ":index:" + space }

func (s *Store) listsKey() string { return s.lists }

// around returns what the keys of what a list names have before and after the name.
func (s *Store) around(space string) (before, after string) {
	switch {
	case space == historySpc:
		return s.historyKey(""), ""
	case strings.HasPrefix(space, formsOf):
		return s.cfg.Prefix + ":form:" + strings.TrimPrefix(space, formsOf) + "/", ""
	}
	before, after, _ = strings.Cut(s.layout.redisKey(Key{space, "\x00"}), "\x00")
	return before, after
}

// clearSpace deletes some of what a list names.
type clearSpace struct {
	store   *Store
	space   string
	keep    string // what names begin with that are left alone, if not ""
	deleted int    // how many there were
	named   int    // how many the list named; 0: it names no more

	reply *redis.Cmd
}

// clearPage is how much is deleted at a time.
const clearPage = 500

func (o *clearSpace) size() int { return 128 }

func (o *clearSpace) send(ctx context.Context, pipe redis.Pipeliner, _ *shelf) {
	before, after := o.store.around(o.space)
	o.reply = pipe.EvalSha(ctx, clearScript.Hash(), []string{o.store.indexKey(o.space), o.store.listsKey()}, o.space, clearPage, before, after, o.keep)
}

func (o *clearSpace) receive(sh *shelf) error {
	if err := replyError(o.reply.Err()); err != nil {
		return err
	}
	reply, err := o.reply.Slice()
	if err != nil || len(reply) == 0 {
		return errReply
	}
	deleted, _ := reply[0].(int64)
	o.deleted, o.named = int(deleted), len(reply)-1
	for _, name := range reply[1:] {
		if name, ok := name.(string); ok {
			sh.forget(o.space, name)
		}
	}
	return nil
}

// local refuses: what Redis holds cannot be deleted now.
func (o *clearSpace) local(sh *shelf) error {
	if o.reply != nil {
		sh.forgetSettled(o.space) // It may be deleted.
	}
	return ErrUnavailable
}

func (o *clearSpace) waits(sh *shelf) bool { return sh.waitsForAny(o.space) }
