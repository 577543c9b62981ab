package tempdata

import (
	"context"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A list names what there is of one kind: the values of a namespace (user_123; bot/user_123 when the bot shares them), the
// forms of a user (forms/123), those that were submitted lately (submitted/123), the histories of conversations
// (conversations/). No namespace has a slash.
const (
	botsOf       = "bot/"
	formsOf      = "forms/"
	submittedOf  = "submitted/"
	historySpace = "conversations/"
)

// valueSpace returns the list of the values of a namespace. The two layouts have lists of their own, so that none names what
// is only in the other.
func (s *Store) valueSpace(namespace string) string {
	if s.cfg.Django {
		return botsOf + namespace
	}
	return namespace
}

// The lists are listed by what they are lists of.
const (
	kindShared    = "*"
	kindUsers     = userPrefix + "*"
	kindBots      = botsOf + kindShared
	kindBotsUsers = botsOf + kindUsers
	kindForms     = formsOf + "*"
	kindSubmitted = submittedOf + "*"
)

func kindOf(space string) string {
	namespace, bots := strings.CutPrefix(space, botsOf)
	user := isUserNamespace(namespace)
	switch {
	case strings.HasPrefix(space, formsOf):
		return kindForms
	case strings.HasPrefix(space, submittedOf):
		return kindSubmitted
	case bots && user:
		return kindBotsUsers
	case bots:
		return kindBots
	case user:
		return kindUsers
	}
	return kindShared
}

// kinds returns those that this layout has. Histories are in that of the native one.
func (s *Store) kinds() []string {
	kinds := []string{kindForms, kindSubmitted, kindShared}
	if s.cfg.Django {
		return append(kinds, kindBots, kindBotsUsers)
	}
	return append(kinds, kindUsers)
}

// ofOtherLayout reports whether a list is of values in the layout that this Store does not use.
func (s *Store) ofOtherLayout(space string) bool {
	return s.cfg.Django && kindOf(space) == kindShared && space != historySpace
}

// formSpace is the list of a user's forms.
func formSpace(userID int64) string { return formsOf + strconv.FormatInt(userID, 10) }

// laneName returns the name by which the lane is chosen of what a list names. All of a user is in one lane.
func laneName(space string) string {
	for _, of := range []string{formsOf, submittedOf} {
		if user, found := strings.CutPrefix(space, of); found {
			return userPrefix + user
		}
	}
	return strings.TrimPrefix(space, botsOf)
}

// indexKey returns the key of a list, and listsKey that of the list of such lists.
func (s *Store) indexKey(space string) string { return s.cfg.Prefix + ":index:" + space }

func (s *Store) listsKey(space string) string { return s.kindKey(kindOf(space)) }

func (s *Store) kindKey(kind string) string { return s.cfg.Prefix + ":indexes:" + kind }

// around returns what the keys of what a list names have before and after the name.
func (s *Store) around(space string) (before, after string) {
	switch {
	case space == historySpace:
		return s.historyKey(""), ""
	case strings.HasPrefix(space, formsOf):
		return s.cfg.Prefix + ":form:" + strings.TrimPrefix(space, formsOf) + "/", ""
	case strings.HasPrefix(space, submittedOf):
		return s.cfg.Prefix + ":submitted:" + strings.TrimPrefix(space, submittedOf) + "/", ""
	}
	before, after, _ = strings.Cut(s.layout.redisKey(Key{strings.TrimPrefix(space, botsOf), "\x00"}), "\x00")
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
	o.reply = pipe.EvalSha(ctx, clearScript.Hash(), []string{o.store.indexKey(o.space), o.store.listsKey(o.space)}, o.space, clearPage, before, after, o.keep)
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
			sh.forget(strings.TrimPrefix(o.space, botsOf), name)
			sh.forgetBotForm(strings.TrimPrefix(o.space, botsOf), name)
		}
	}
	return nil
}

// local refuses: what Redis holds cannot be deleted now.
func (o *clearSpace) local(sh *shelf) error {
	if o.reply != nil {
		sh.forgetSettled(strings.TrimPrefix(o.space, botsOf)) // It may be deleted.
	}
	return ErrUnavailable
}

func (o *clearSpace) waits(sh *shelf) bool {
	return sh.waitsForAny(strings.TrimPrefix(o.space, botsOf))
}
