package tempdata

import (
	"context"
	"time"
)

// newWatcher makes what hears of the bot's changes.
func (s *Store) newWatcher() *watcher {
	prefix := s.cfg.DjangoPrefix + ":"
	return newWatcher(s.cfg.Redis, s.cfg.URL, []string{prefix + "temp:", prefix + "emp:", prefix + "int:", prefix + "act:", prefix + "sess:"},
		watcherConfig{changed: s.seen, logger: s.cfg.Logger})
}

// seen lists what the bot wrote, and no longer what it deleted, and reads again what is in memory of it.
func (s *Store) seen(ctx context.Context, names []string) error {
	keys := []string{s.listsKey()}
	args := []any{MaxTTL.Milliseconds()}
	bySpace := map[string][]Key{}
	for _, name := range names {
		key, ok := s.layout.parse(name)
		if !ok {
			continue
		}
		keys = append(keys, s.indexKey(key.Namespace), name)
		args = append(args, key.Namespace, key.Name)
		bySpace[key.Namespace] = append(bySpace[key.Namespace], key)
	}
	if len(keys) == 1 {
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
		op := &refresh{getValues{store: s, keys: keys}}
		if _, err := s.laneOf(space).do(ctx, op); err != nil {
			return err
		}
	}
	return nil
}
