package main

import (
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/api"
)

// keyChanges are the ids of keys that came, went, and are otherwise than they were.
type keyChanges struct{ added, removed, changed []string }

// changesOf returns what is different.
func changesOf(before, now []*api.Key) (c keyChanges) {
	was := make(map[string]*api.Key, len(before))
	for _, key := range before {
		was[key.ID] = key
	}
	for _, key := range now {
		switch old := was[key.ID]; {
		case old == nil:
			c.added = append(c.added, key.ID)
		case !sameKey(old, key):
			c.changed = append(c.changed, key.ID)
		}
		delete(was, key.ID)
	}
	for _, key := range before {
		if was[key.ID] != nil {
			c.removed = append(c.removed, key.ID)
		}
	}
	return c
}

// sameKey reports whether two keys with the same id let the same in.
func sameKey(a, b *api.Key) bool {
	return a.Name == b.Name && strings.EqualFold(a.SHA256, b.SHA256) && slices.Equal(a.Scopes, b.Scopes) && a.Expires.Equal(b.Expires) &&
		a.RateLimit == b.RateLimit && a.MaxStreams == b.MaxStreams
}

// fields are what the audit log says of the changes: a hundred ids of each kind at most, and how many it leaves out.
func (c keyChanges) fields() []zap.Field {
	const most = 100
	leftOut := 0
	bounded := func(name string, ids []string) zap.Field {
		n := min(len(ids), most)
		leftOut += len(ids) - n
		return zap.Strings(name, ids[:n])
	}
	fields := []zap.Field{bounded("added", c.added), bounded("removed", c.removed), bounded("changed", c.changed)}
	if leftOut > 0 {
		fields = append(fields, zap.Int("left_out", leftOut))
	}
	return fields
}
