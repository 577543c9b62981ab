package cache

import (
	"encoding/json"
	"fmt"
	"time"
)

// Meta is what a cache keeps with a value in Redis. Times have milliseconds.
type Meta struct {
	// StoredAt is when the value was loaded or set.
	StoredAt time.Time
	// FreshUntil is when it becomes stale.
	FreshUntil time.Time
	// ExpiresAt is when it is gone.
	ExpiresAt time.Time
	// Epoch orders the value before or after invalidations, above 0. It is 0 for a value that no Cache wrote; then the
	// times are not used, but the key's TTL.
	Epoch int64
	// Missing says that there is no value: the load returned ErrNotFound.
	Missing bool
}

// Codec turns values into what Redis holds and back. It is used by many goroutines at once.
type Codec[V any] interface {
	// Encode returns the bytes for a value; for a missing one v is the zero V.
	Encode(v V, m Meta) ([]byte, error)
	// Decode returns the value and its Meta. It may keep parts of raw. An error makes a damaged value a miss.
	Decode(raw []byte) (V, Meta, error)
}

// JSON returns a Codec for values that encoding/json can write and read.
func JSON[V any]() Codec[V] { return jsonCodec[V]{} }

type jsonCodec[V any] struct{}

// jsonItem is the JSON in Redis; times are milliseconds since 1970.
type jsonItem[V any] struct {
	StoredAt   int64 `json:"stored_at"`
	FreshUntil int64 `json:"fresh_until"`
	ExpiresAt  int64 `json:"expires_at"`
	Epoch      int64 `json:"epoch"`
	Missing    bool  `json:"missing,omitempty"`
	Value      V     `json:"value"`
}

func (jsonCodec[V]) Encode(v V, m Meta) ([]byte, error) {
	return json.Marshal(jsonItem[V]{
		StoredAt: m.StoredAt.UnixMilli(), FreshUntil: m.FreshUntil.UnixMilli(), ExpiresAt: m.ExpiresAt.UnixMilli(),
		Epoch: m.Epoch, Missing: m.Missing, Value: v,
	})
}

func (jsonCodec[V]) Decode(raw []byte) (V, Meta, error) {
	var item jsonItem[V]
	if err := json.Unmarshal(raw, &item); err != nil {
		return item.Value, Meta{}, err
	}
	if item.Epoch <= 0 {
		return item.Value, Meta{}, fmt.Errorf("cache: epoch %d", item.Epoch)
	}
	return item.Value, Meta{
		StoredAt: time.UnixMilli(item.StoredAt), FreshUntil: time.UnixMilli(item.FreshUntil), ExpiresAt: time.UnixMilli(item.ExpiresAt),
		Epoch: item.Epoch, Missing: item.Missing,
	}, nil
}
