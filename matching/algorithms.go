package matching

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/javaclient"
)

// How long the list of algorithms is fresh, and may be told after that while the service is away.
const (
	algorithmsTTL   = 5 * time.Minute
	algorithmsStale = 24 * time.Hour
)

// knownAlgorithms returns those the service is known for.
func knownAlgorithms() []string { return []string{simpleRandom, interestBased, crossDepart} }

// theList is the only key of that cache.
const theList = "algorithms"

func newAlgorithms(cfg MatcherConfig) (*cache.Cache[string, []string], error) {
	prefix := cfg.Prefix + ":matching:"
	return cache.New(cache.Config[string, []string]{
		Redis:      cfg.Cache,
		Prefix:     prefix + "list:",
		RedisKey:   func(key string) string { return prefix + "list:" + key },
		Parse:      func(name string) (string, bool) { return strings.CutPrefix(name, prefix+"list:") },
		LockPrefix: prefix + "lock:",
		EpochKey:   prefix + "epoch",
		TTL:        algorithmsTTL,
		Stale:      algorithmsStale,
		LocalBytes: 1 << 20,
		// The client has a limit of its own.
		LoadTimeout: time.Minute,
		Logger:      cfg.Logger,
	})
}

// Algorithms returns the list of the service: as it told it lately, or told it last while it is away, or what it is known
// for when it never did and there is a Fallback. A list that is only due to be asked for anew is not degraded.
func (m *Matcher) Algorithms(ctx context.Context, call javaclient.Call) (Algorithms, error) {
	found, err := m.algorithms.Lookup(ctx, theList, "", func(ctx context.Context) ([]string, error) {
		list, err := m.cfg.Client.Algorithms(ctx, call)
		m.unlisted.Store(err != nil)
		return list, err
	})
	switch {
	case err == nil:
		return Algorithms{found.Value, len(found.Value), Java, found.Outcome == cache.Stale && m.unlisted.Load()}, nil
	case ctx.Err() != nil:
		return Algorithms{}, ctx.Err()
	}
	if _, away := m.away(err); !away {
		return Algorithms{}, err
	}
	known := knownAlgorithms()
	return Algorithms{known, len(known), Fallback, true}, nil
}

// checkAlgorithm refuses an algorithm that is not on the list. Unless it is strict, a list that is not the service's own
// refuses nothing. It does not wait long for the list, and asks nobody when there is nothing to judge.
func (m *Matcher) checkAlgorithm(ctx context.Context, field, algorithm string, strict bool) error {
	if algorithm == "" {
		return nil
	}
	const patience = 500 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	list, known := knownAlgorithms(), false
	if found, err := m.Algorithms(ctx, javaclient.Call{}); err == nil {
		list, known = found.Algorithms, found.Source == Java
	}
	if slices.Contains(list, algorithm) || !known && !strict {
		return nil
	}
	return &InvalidError{Fields: []FieldProblem{{field, "must be one of " + strings.Join(list, ", ")}}}
}
