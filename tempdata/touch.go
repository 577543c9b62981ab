package tempdata

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// touchValue gives a value another time to live, or deletes it with a ttl of 0.
type touchValue struct {
	store     *Store
	key       Key
	ttl       time.Duration
	condition string
	tag       string

	reply *redis.Cmd
}

func (o *touchValue) size() int { return 256 }

func (o *touchValue) send(ctx context.Context, pipe redis.Pipeliner, _ *shelf) {
	space := o.store.valueSpace(o.key.Namespace)
	keys := []string{o.store.indexKey(space), o.store.listsKey(space), o.store.layout.redisKey(o.key)}
	o.reply = pipe.EvalSha(ctx, touchScript.Hash(), keys, space, o.condition, o.ttl.Milliseconds(), o.key.Name)
}

func (o *touchValue) receive(sh *shelf) error {
	if err := replyError(o.reply.Err()); err != nil {
		return err
	}
	reply, err := o.reply.Slice()
	if err != nil || len(reply) == 0 {
		return errReply
	}
	if len(reply) == 2 {
		o.tag, _ = reply[1].(string)
	}
	switch reply[0] {
	case int64(0):
		return &PreconditionError{quoted(o.tag)}
	case int64(-1):
		sh.forget(o.key.Namespace, o.key.Name)
		return ErrNotFound
	}
	if m := o.store.recall(sh, o.key); m != nil {
		m.expires = time.Now().Add(o.ttl)
	}
	if o.ttl == 0 {
		sh.forget(o.key.Namespace, o.key.Name)
	}
	return nil
}

func (o *touchValue) local(sh *shelf) error {
	m := o.store.recall(sh, o.key)
	if m == nil {
		if o.ttl > 0 || o.condition != "" {
			return ErrUnavailable
		}
		return o.store.change(sh, o.key, "", time.Now(), 0) // Whatever Redis holds.
	}
	if o.tag = tagOf(m.raw); !met(o.condition, o.tag) {
		return &PreconditionError{quoted(o.tag)}
	}
	if m.raw == "" {
		return ErrNotFound
	}
	raw, at := m.raw, time.Now()
	if o.ttl == 0 {
		raw = ""
	} else if c, err := o.store.layout.decode(o.key, raw); err == nil && !c.at.IsZero() {
		at = c.at // It is not written anew: another may have been since it was.
	}
	if err := o.store.change(sh, o.key, raw, at, o.ttl); err != nil {
		return err
	}
	o.store.recall(sh, o.key).expires = time.Now().Add(o.ttl)
	return nil
}

func (o *touchValue) waits(sh *shelf) bool { return sh.waitsFor(o.key.Namespace, o.key.Name) }
