package tempdata

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
)

// forEver is for how long something is listed that does not expire. It is forgotten with its list if nothing else there is
// written for a month, until it is walked over again.
const forEver = 100 * 365 * 24 * time.Hour

// newWatcher makes what hears of the bot's changes.
func (s *Store) newWatcher() *watcher {
	prefix := s.cfg.DjangoPrefix + ":"
	return newWatcher(s.cfg.Redis, s.cfg.URL, []string{prefix + "temp:", prefix + "emp:", prefix + "int:", prefix + "act:", prefix + "sess:"},
		watcherConfig{changed: s.seen, logger: s.cfg.Logger})
}

// seen lists what the bot wrote, and no longer what it deleted, and reads again what is in memory of it.
func (s *Store) seen(ctx context.Context, names []string) error {
	var keys []string
	args := []any{forEver.Milliseconds()}
	bySpace := map[string][]Key{}
	for _, name := range names {
		key, ok := s.layout.parse(name)
		if !ok {
			continue
		}
		space := s.valueSpace(key.Namespace)
		keys = append(keys, s.listsKey(space), s.indexKey(space), name)
		args = append(args, space, key.Name)
		bySpace[key.Namespace] = append(bySpace[key.Namespace], key)
	}
	if len(keys) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := seeScript.Run(ctx, s.cfg.Redis, keys, args...).Err(); err != nil {
		return err
	}
	if s.cfg.MemoryBytes < 0 {
		return nil
	}
	for space, keys := range bySpace {
		if _, err := s.laneOf(space).do(ctx, &refresh{getValues{store: s, keys: keys}}); err != nil {
			return err
		}
		if err := s.refreshForm(ctx, space, keys); err != nil {
			return err
		}
	}
	return nil
}

// refreshForm reads the bot's form of a user again, if one of the keys is a step of it.
func (s *Store) refreshForm(ctx context.Context, namespace string, keys []Key) error {
	user, _ := strconv.ParseInt(strings.TrimPrefix(namespace, userPrefix), 10, 64) // 0 for what is no user's.
	if user == 0 || !slices.ContainsFunc(keys, func(key Key) bool { return strings.HasPrefix(key.Name, stepPrefix) }) {
		return nil
	}
	op := &refreshForm{changeForm{store: s, key: FormKey{user, BotForm}, whole: true, at: time.Now()}}
	_, err := s.laneOf(namespace).do(ctx, op)
	return err
}
