package tempdata

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/connectbot-hub/connecthub/internal/djangocache"
	"github.com/connectbot-hub/connecthub/internal/expiryset"
)

// problems gathers what is wrong with a call.
type problems []FieldProblem

func (p *problems) add(ok bool, field, problem string) {
	if !ok {
		*p = append(*p, FieldProblem{field, problem})
	}
}

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &InvalidError{p}
}

// What parameters must be.
const (
	wantTTL    = "must be a whole number of seconds from 1 to 2592000 (30 days)"
	wantLimit  = "must be a whole number from 1 to 1000"
	wantCursor = "must be a next_cursor of this list"
	wantUserID = "must be a whole number from 1 to 9223372036854775807"
)

// ttl checks a time to live, and returns the default for 0.
func (p *problems) ttl(field string, ttl, usual time.Duration) time.Duration {
	if ttl == 0 {
		return usual
	}
	p.add(ttl >= MinTTL && ttl <= MaxTTL, field, wantTTL)
	return ttl
}

// space checks a namespace, also one of a user, whose number may be none.
func (s *Store) space(p *problems, namespace string) {
	if isUserNamespace(namespace) {
		n, err := strconv.ParseInt(strings.TrimPrefix(namespace, userPrefix), 10, 64)
		p.add(err == nil && UserNamespace(n) == namespace && n > 0, "user_id", wantUserID)
		return
	}
	if p.add(isName(namespace), "namespace", wantName); s.cfg.Django {
		p.add(!strings.Contains(namespace, ":"), "namespace", "must have no colon while it is shared with the bot, in whose keys it ends at the first one")
	}
}

func (s *Store) checkKey(p *problems, key Key) error {
	s.space(p, key.Namespace)
	p.add(isName(key.Name), "key", wantName)
	if isUserNamespace(key.Namespace) && strings.HasPrefix(key.Name, stepPrefix) {
		return fmt.Errorf("%w: the keys %s… are the steps of a form", ErrReserved, stepPrefix)
	}
	return nil
}

// Put sets a value. It returns InvalidError, ErrMalformed, ErrTooLarge, ErrReserved, PreconditionError, ErrUnavailable or
// ErrFull.
func (s *Store) Put(ctx context.Context, put Put) (Written, error) {
	var wrong problems
	reserved := s.checkKey(&wrong, put.Key)
	ttl := wrong.ttl("ttl", put.TTL, DefaultTTL(put.Key))
	if err := errors.Join(wrong.err(), reserved); err != nil {
		return Written{}, err
	}
	data, err := compact(put.Data, MaxValueSize)
	if err != nil {
		return Written{}, err
	}
	now := time.Now()
	encoded, err := s.layout.encode(put.Key, data, now)
	if err != nil {
		return Written{}, err
	}
	op := putOne(s, put.Key, string(encoded), ttl, put.Condition.code(), now)
	degraded, err := s.do(ctx, put.Namespace, op, &s.count.writes)
	if err != nil {
		return Written{}, err
	}
	return Written{ETag: etagOf(encoded), ExpiresIn: ttl, Created: op.created[0], Degraded: degraded}, nil
}

// Get returns a value. It returns InvalidError, ErrReserved, ErrNotFound, ErrUnreadable or ErrUnavailable.
func (s *Store) Get(ctx context.Context, key Key) (Value, error) {
	var wrong problems
	reserved := s.checkKey(&wrong, key)
	if err := errors.Join(wrong.err(), reserved); err != nil {
		return Value{}, err
	}
	op := &getValues{store: s, keys: []Key{key}}
	degraded, err := s.do(ctx, key.Namespace, op, &s.count.reads)
	if err != nil {
		return Value{}, err
	}
	if op.raws[0] == "" {
		return Value{}, fromMemory(degraded, ErrNotFound)
	}
	return s.value(key, op.raws[0], op.ttls[0], degraded)
}

func (s *Store) value(key Key, raw string, ttl time.Duration, degraded bool) (Value, error) {
	c, err := s.decode(key, raw)
	if err != nil {
		return Value{}, err
	}
	return Value{
		Data: c.data, Type: c.typ, CreatedAt: c.at, ExpiresIn: max(ttl, 0), ETag: etagOf(raw), Degraded: degraded,
	}, nil
}

// decode decodes a value, and counts what cannot be.
func (s *Store) decode(key Key, raw string) (content, error) {
	c, err := s.layout.decode(key, raw)
	if err != nil {
		s.count.unreadable.Add(1)
		if errors.Is(err, djangocache.ErrUnsafe) {
			s.count.unsafe.Add(1)
		}
	}
	return c, err
}

// Delete deletes a value. It returns InvalidError, ErrReserved, ErrNotFound, PreconditionError, ErrUnavailable or ErrFull.
func (s *Store) Delete(ctx context.Context, key Key, condition Condition) (Written, error) {
	var wrong problems
	reserved := s.checkKey(&wrong, key)
	if err := errors.Join(wrong.err(), reserved); err != nil {
		return Written{}, err
	}
	op := &touchValue{store: s, key: key, condition: condition.code()}
	degraded, err := s.do(ctx, key.Namespace, op, &s.count.deletes)
	return Written{Degraded: degraded && err == nil}, err
}

// Touch gives a value a new time to live, the default of its key for 0. It returns what Delete does.
func (s *Store) Touch(ctx context.Context, key Key, ttl time.Duration, condition Condition) (Written, error) {
	var wrong problems
	reserved := s.checkKey(&wrong, key)
	ttl = wrong.ttl("ttl", ttl, DefaultTTL(key))
	if err := errors.Join(wrong.err(), reserved); err != nil {
		return Written{}, err
	}
	op := &touchValue{store: s, key: key, ttl: ttl, condition: condition.code()}
	degraded, err := s.do(ctx, key.Namespace, op, &s.count.writes)
	if err != nil {
		return Written{}, err
	}
	return Written{ETag: quoted(op.tag), ExpiresIn: ttl, Degraded: degraded}, nil
}

// GetMany returns values in the order of their names, in one round trip; the zero Value for one that is not there. It
// returns what Get does but ErrNotFound.
func (s *Store) GetMany(ctx context.Context, namespace string, names []string) ([]Value, error) {
	var wrong problems
	s.space(&wrong, namespace)
	wrong.add(len(names) >= 1 && len(names) <= MaxBatch, "get", "must have 1 to 1000 keys")
	keys, err := s.batch(&wrong, namespace, names, func(i int) string { return fmt.Sprintf("get[%d]", i) })
	if err != nil {
		return nil, err
	}
	op := &getValues{store: s, keys: keys}
	degraded, err := s.do(ctx, namespace, op, &s.count.reads)
	if err != nil {
		return nil, err
	}
	values := make([]Value, len(keys))
	for i, key := range keys {
		if op.raws[i] == "" {
			continue
		}
		if values[i], err = s.value(key, op.raws[i], op.ttls[i], degraded); err != nil {
			return nil, fmt.Errorf("key %s: %w", key.Name, err)
		}
	}
	return values, nil
}

// batch checks the names of a batch.
func (s *Store) batch(wrong *problems, namespace string, names []string, field func(int) string) ([]Key, error) {
	if len(names) > MaxBatch {
		return nil, wrong.err()
	}
	keys := make([]Key, len(names))
	seen := make(map[string]struct{}, len(names))
	var reserved error
	for i, name := range names {
		keys[i] = Key{namespace, name}
		if _, twice := seen[name]; twice {
			wrong.add(false, field(i), "is named twice")
		}
		seen[name] = struct{}{}
		var own problems
		if err := s.checkKey(&own, keys[i]); err != nil {
			reserved = err
		}
		wrong.add(isName(name), field(i), wantName)
	}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	return keys, reserved
}

// PutMany sets values in one round trip, all or, when it returns an error, none or all. It returns what Put does but
// PreconditionError.
func (s *Store) PutMany(ctx context.Context, namespace string, items []Item) ([]Written, error) {
	var wrong problems
	s.space(&wrong, namespace)
	wrong.add(len(items) >= 1 && len(items) <= MaxBatch, "set", "must have 1 to 1000 items")
	names := make([]string, len(items))
	op := &putValues{store: s, at: time.Now()}
	for i, item := range items {
		names[i] = item.Name
		op.ttls = append(op.ttls, wrong.ttl(fmt.Sprintf("set[%d].ttl", i), item.TTL, DefaultTTL(Key{namespace, item.Name})))
	}
	var err error
	if op.keys, err = s.batch(&wrong, namespace, names, func(i int) string { return fmt.Sprintf("set[%d].key", i) }); err != nil {
		return nil, err
	}
	written := make([]Written, len(items))
	for i, item := range items {
		data, err := compact(item.Data, MaxValueSize)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", item.Name, err)
		}
		encoded, err := s.layout.encode(op.keys[i], data, op.at)
		if err != nil {
			return nil, err
		}
		raw := string(encoded)
		op.raws = append(op.raws, raw)
		written[i] = Written{ETag: etagOf(raw), ExpiresIn: op.ttls[i]}
	}
	degraded, err := s.do(ctx, namespace, op, &s.count.writes)
	if err != nil {
		return nil, err
	}
	for i := range written {
		written[i].Created, written[i].Degraded = op.created[i], degraded
	}
	return written, nil
}

// List returns a page of the keys of a namespace, those that expire first before others. A key that is set anew while
// somebody pages may come twice; none that is there all the while is left out. It returns InvalidError or ErrUnavailable.
func (s *Store) List(ctx context.Context, namespace, cursor string, limit int) (Page, error) {
	var wrong problems
	s.space(&wrong, namespace)
	page, err := s.list(ctx, &wrong, s.valueSpace(namespace), cursor, limit)
	if isUserNamespace(namespace) { // The steps of the bot's form are no keys of callers.
		page.Items = slices.DeleteFunc(page.Items, func(l Listed) bool { return strings.HasPrefix(l.Name, stepPrefix) })
	}
	return page, err
}

func (s *Store) list(ctx context.Context, wrong *problems, space, cursor string, limit int) (Page, error) {
	wrong.add(limit >= 1 && limit <= MaxPage, "limit", wantLimit)
	if err := wrong.err(); err != nil {
		return Page{}, err
	}
	if s.outage.on() {
		return Page{}, ErrNotDone
	}
	if err := s.synced(ctx, space); err != nil {
		return Page{}, err
	}
	inTime, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	members, next, err := expiryset.Page(inTime, s.cfg.Redis, s.indexKey(space), cursor, limit)
	switch {
	case errors.Is(err, expiryset.ErrCursor):
		return Page{}, invalid("cursor", wantCursor)
	case err != nil:
		return Page{}, s.unavailable(ctx, "listing", err)
	}
	page := Page{Items: make([]Listed, len(members)), Next: next}
	for i, m := range members {
		if page.Items[i] = Listed(m); m.ExpiresIn > 2*MaxTTL {
			page.Items[i].ExpiresIn = 0 // It was written by the bot, to be kept for ever.
		}
	}
	return page, nil
}

// unavailable wraps what a command outside of the lanes returned, and tells the lanes if Redis is away; that the time of the
// caller's ctx is over does not say so.
func (s *Store) unavailable(ctx context.Context, doing string, err error) error {
	s.count.failed.Add(1)
	if err := replyError(err); errors.Is(err, errAway) && ctx.Err() == nil {
		s.outage.begin(err)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, doing, err)
}

// synced waits until the list knows what the bot has written before. After a start or a lost connection that takes a walk
// over all keys, for which nobody waits longer than twice the timeout.
func (s *Store) synced(ctx context.Context, space string) error {
	if s.watch == nil || !strings.HasPrefix(space, botsOf) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*s.cfg.Timeout)
	defer cancel()
	again := time.NewTicker(syncAgain)
	defer again.Stop()
	for {
		err := s.watch.sync(ctx)
		if err == nil {
			return nil
		}
		if away := replyError(s.cfg.Redis.Ping(ctx).Err()); errors.Is(away, errAway) && ctx.Err() == nil {
			s.outage.begin(away)
			return away
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: what the bot wrote is not all known yet: %w", ErrUnavailable, err)
		case <-again.C:
		}
	}
}

// syncAgain is how often it is tried to hear of what the bot wrote.
const syncAgain = 20 * time.Millisecond

// Clear deletes all values of a namespace, and returns how many there were. What is set meanwhile may be deleted too. It
// returns InvalidError or ErrUnavailable; then some may have been deleted.
func (s *Store) Clear(ctx context.Context, namespace string) (int, error) {
	var wrong problems
	s.space(&wrong, namespace)
	if err := wrong.err(); err != nil {
		return 0, err
	}
	return s.clear(ctx, s.valueSpace(namespace), stepsIn(namespace))
}

// stepsIn returns what the names begin with that are no keys of callers in a namespace, but steps of the bot's form.
func stepsIn(namespace string) string {
	if isUserNamespace(namespace) {
		return stepPrefix
	}
	return ""
}

// clear deletes what a list names, but for names that begin with keep, if it is not "".
func (s *Store) clear(ctx context.Context, space, keep string) (int, error) {
	if err := s.synced(ctx, space); err != nil {
		return 0, err
	}
	deleted := 0
	for {
		op := &clearSpace{store: s, space: space, keep: keep}
		if _, err := s.do(ctx, laneName(space), op, &s.count.deletes); err != nil {
			if deleted > 0 {
				err = fmt.Errorf("%w: after some were deleted", ErrUnavailable)
			}
			return deleted, err
		}
		if deleted += op.deleted; op.named < clearPage {
			return deleted, nil
		}
	}
}

// ClearUser deletes all temporary data of a user: values, forms and the state of the conversation. It returns how many of
// these there were, and what Clear does.
func (s *Store) ClearUser(ctx context.Context, userID int64) (int, error) {
	if userID <= 0 {
		return 0, invalid("user_id", wantUserID)
	}
	values, err := s.clear(ctx, s.valueSpace(UserNamespace(userID)), stepPrefix)
	if err != nil {
		return values, err
	}
	forms, err := s.ClearForms(ctx, userID)
	return values + forms, err
}

// ClearAll deletes all temporary data of everybody but leases, and returns how much there was, and what Clear does. With
// Config.Django that is also the bot's.
func (s *Store) ClearAll(ctx context.Context) (int, error) {
	spaces, err := s.spaces(ctx)
	if err != nil {
		return 0, err
	}
	deleted := 0
	for _, space := range spaces {
		n, err := s.clear(ctx, space, "")
		if !strings.HasPrefix(space, submittedOf) { // Which callers think gone.
			deleted += n
		}
		if err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}

// spaces returns the names of all lists of this layout.
func (s *Store) spaces(ctx context.Context) (spaces []string, err error) {
	if err := s.synced(ctx, botsOf); err != nil {
		return nil, err
	}
	for _, kind := range s.kinds() {
		for cursor, more := uint64(0), true; more; more = cursor != 0 {
			var some []string
			if some, cursor, err = s.cfg.Redis.SScan(ctx, s.kindKey(kind), cursor, "", MaxPage).Result(); err != nil {
				return nil, s.unavailable(ctx, "listing what there is", err)
			}
			spaces = append(spaces, slices.DeleteFunc(some, s.ofOtherLayout)...)
		}
	}
	return spaces, nil
}
