package tempdata

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// putValues sets values of one namespace. The condition is about the first.
type putValues struct {
	store     *Store
	keys      []Key
	raws      []string
	ttls      []time.Duration
	condition string
	at        time.Time
	created   []bool

	sent *putTogether
	from int // where in what was sent

	// one is what keys, raws, ttls and created are parts of when there is one value.
	one struct {
		key     [1]Key
		raw     [1]string
		ttl     [1]time.Duration
		created [1]bool
	}
}

// putOne returns what sets one value.
func putOne(s *Store, key Key, raw string, ttl time.Duration, condition string, at time.Time) *putValues {
	o := &putValues{store: s, condition: condition, at: at}
	o.one.key[0], o.one.raw[0], o.one.ttl[0] = key, raw, ttl
	o.keys, o.raws, o.ttls = o.one.key[:], o.one.raw[:], o.one.ttl[:]
	return o
}

// allCreated returns room to tell which values were created.
func (o *putValues) allCreated() []bool {
	if len(o.keys) == 1 {
		return o.one.created[:]
	}
	return make([]bool, len(o.keys))
}

// putTogether is puts that are one command, which takes Redis half as long as one each.
type putTogether struct {
	keys  []string
	args  []any
	count int
	reply *redis.Cmd

	created []int64
	err     error
}

// join adds the values of a put to those before, if there are any like them and neither has a condition; else it begins
// anew.
func (o *putValues) join(before *putTogether) (t *putTogether) {
	space := o.store.valueSpace(o.keys[0].Namespace)
	lists := o.store.listsKey(space)
	if t = before; t == nil || o.condition != "" || t.args[0] != "" || t.keys[0] != lists {
		t = &putTogether{keys: append(make([]string, 0, 1+2*len(o.keys)), lists), args: append(make([]any, 0, 1+4*len(o.keys)), o.condition)}
	}
	o.sent, o.from = t, t.count
	index := o.store.indexKey(space)
	for i, key := range o.keys {
		t.keys = append(t.keys, index, o.store.layout.redisKey(key))
		t.args = append(t.args, space, o.raws[i], o.ttls[i].Milliseconds(), key.Name)
	}
	t.count += len(o.keys)
	return t
}

func (t *putTogether) send(ctx context.Context, pipe redis.Pipeliner) {
	t.reply = pipe.EvalSha(ctx, putScript.Hash(), t.keys, t.args...)
}

// receive reads the reply, once.
func (t *putTogether) receive() ([]int64, error) {
	if t.created != nil || t.err != nil {
		return t.created, t.err
	}
	if t.err = replyError(t.reply.Err()); t.err != nil {
		return nil, t.err
	}
	if tag, ok := t.reply.Val().(string); ok {
		t.err = &PreconditionError{quoted(tag)}
	} else if t.created, t.err = t.reply.Int64Slice(); t.err != nil || len(t.created) != t.count {
		t.created, t.err = nil, errReply
	}
	return t.created, t.err
}

func (o *putValues) size() (n int) {
	for _, raw := range o.raws {
		n += len(raw) + 128
	}
	return n
}

func (o *putValues) send(ctx context.Context, pipe redis.Pipeliner, _ *shelf) {
	o.join(nil).send(ctx, pipe)
}

func (o *putValues) receive(sh *shelf) error {
	created, err := o.sent.receive()
	if err != nil {
		return err
	}
	o.created = o.allCreated()
	for i, key := range o.keys {
		if created[o.from+i] < 0 {
			err = fmt.Errorf("%w: the list of its namespace is something else", ErrUnavailable)
		}
		o.created[i] = created[o.from+i] == 1
		o.store.learn(sh, key, o.raws[i], o.ttls[i])
	}
	return err
}

func (o *putValues) local(sh *shelf) error {
	var need int64
	for _, raw := range o.raws {
		need += int64(len(raw)) + 2*MaxNameSize + recordSize
	}
	if m := o.store.recall(sh, o.keys[0]); o.condition != "" {
		if m == nil {
			return ErrUnavailable
		}
		if tag := tagOf(m.raw); !met(o.condition, tag) {
			return &PreconditionError{quoted(tag)}
		}
	}
	if !sh.makeRoom(need) {
		return ErrFull
	}
	o.created = o.allCreated()
	for i, key := range o.keys {
		m := o.store.recall(sh, key)
		o.created[i] = m == nil || m.raw == ""
		if err := o.store.change(sh, key, o.raws[i], o.at, o.ttls[i]); err != nil {
			return err
		}
	}
	return nil
}

func (o *putValues) waits(sh *shelf) bool { return anyWaits(sh, o.keys) }
