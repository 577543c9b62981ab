package local

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// stream keeps the generator apart from others that are seeded with the same number.
const stream = 0x6c6f63616c

// shuffled returns a copy of items in an order that only depends on their ids and the seed.
func shuffled[T any](items []T, id func(T) int64, seed uint64) []T {
	out := slices.Clone(items)
	slices.SortStableFunc(out, func(a, b T) int { return cmp.Compare(id(a), id(b)) })
	random := rand.New(rand.NewPCG(seed, stream)) //nolint:gosec // It spreads people, it keeps no secret.
	random.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}
