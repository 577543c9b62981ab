package tempdata

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// getValues reads values of one namespace.
type getValues struct {
	store *Store
	keys  []Key
	raws  []string // "" for what is not there
	ttls  []time.Duration

	get  *redis.SliceCmd
	left []*redis.DurationCmd
}

// size is a guess of what comes back.
func (o *getValues) size() int { return 2 << 10 * len(o.keys) }

func (o *getValues) send(ctx context.Context, pipe redis.Pipeliner, _ *shelf) {
	names := make([]string, len(o.keys))
	o.left = make([]*redis.DurationCmd, len(o.keys))
	for i, key := range o.keys {
		names[i] = o.store.layout.redisKey(key)
	}
	o.get = pipe.MGet(ctx, names...)
	for i, name := range names {
		o.left[i] = pipe.PTTL(ctx, name)
	}
}

func (o *getValues) receive(sh *shelf) error {
	if err := replyError(o.get.Err()); err != nil {
		return err
	}
	for i, value := range o.get.Val() {
		raw, _ := value.(string)
		if err := sh.missing(o.keys[i].Namespace, o.keys[i].Name, raw); err != nil {
			return err
		}
	}
	o.raws, o.ttls = make([]string, len(o.keys)), make([]time.Duration, len(o.keys))
	for i, value := range o.get.Val() {
		o.raws[i], _ = value.(string)
		if o.ttls[i] = o.left[i].Val(); o.ttls[i] == -2 {
			o.raws[i] = "" // It has gone since.
		}
		o.store.learn(sh, o.keys[i], o.raws[i], o.ttls[i])
	}
	return nil
}

func (o *getValues) local(sh *shelf) error {
	o.raws, o.ttls = make([]string, len(o.keys)), make([]time.Duration, len(o.keys))
	for i, key := range o.keys {
		m := o.store.recall(sh, key)
		if m == nil {
			return ErrUnavailable
		}
		o.raws[i], o.ttls[i] = m.raw, time.Until(m.expires)
	}
	return nil
}

func (o *getValues) waits(sh *shelf) bool { return anyWaits(sh, o.keys) }

func anyWaits(sh *shelf, keys []Key) bool {
	return slices.ContainsFunc(keys, func(key Key) bool { return sh.waitsFor(key.Namespace, key.Name) })
}

// refresh reads again what is in memory of some keys, as another program may have changed it.
type refresh struct{ getValues }

func (o *refresh) send(ctx context.Context, pipe redis.Pipeliner, sh *shelf) {
	known := o.keys[:0]
	for _, key := range o.keys {
		if r := sh.find(key.Namespace, key.Name); r != nil && !r.waits {
			known = append(known, key)
		}
	}
	if o.keys = known; len(known) > 0 {
		o.getValues.send(ctx, pipe, sh)
	}
}

func (o *refresh) receive(sh *shelf) error {
	if len(o.keys) == 0 {
		return nil
	}
	return o.getValues.receive(sh)
}

// local leaves it for later.
func (o *refresh) local(*shelf) error { return ErrUnavailable }

// forgetBotForm forgets the form of the bot of which a value is a step, unless it waits.
func (sh *shelf) forgetBotForm(namespace, name string) {
	if !strings.HasPrefix(name, stepPrefix) || !isUserNamespace(namespace) {
		return
	}
	if space := formsOf + strings.TrimPrefix(namespace, userPrefix); !sh.waitsFor(space, BotForm) {
		sh.forget(space, BotForm)
	}
}
