package tempdata_test

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// benchValue is a value of about 300 bytes.
var benchValue = []byte(`{"step":"interests","text":"` + strings.Repeat("Лучше в четверг. ", 10) + `"}`) //nolint:gochecknoglobals // A constant.

// manyCallers calls do from as many goroutines as a busy hub has, with numbers that come again after 1000.
func manyCallers(b *testing.B, do func(n string) error) {
	b.Helper()
	b.ReportAllocs()
	b.SetParallelism(32)
	var next atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := do(strconv.FormatInt(next.Add(1)%1000, 10)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkBareSet is what BenchmarkPut is measured by.
func BenchmarkBareSet(b *testing.B) {
	rdb, prefix := redistest.Shared(b).Client(), redistest.Prefix(b)
	manyCallers(b, func(n string) error { return rdb.Set(b.Context(), prefix+n, benchValue, time.Minute).Err() })
}

// BenchmarkBareGet is what BenchmarkGet is measured by.
func BenchmarkBareGet(b *testing.B) {
	rdb, prefix := redistest.Shared(b).Client(), redistest.Prefix(b)
	pipe := rdb.Pipeline()
	for n := range 1000 {
		pipe.Set(b.Context(), prefix+strconv.Itoa(n), benchValue, time.Minute)
	}
	if _, err := pipe.Exec(b.Context()); err != nil {
		b.Fatal(err)
	}
	manyCallers(b, func(n string) error { return rdb.Get(b.Context(), prefix+n).Err() })
}

// BenchmarkEval is what a script costs that does nothing, with what that of BenchmarkPut is sent.
func BenchmarkEval(b *testing.B) {
	rdb := redistest.Shared(b).Client()
	script := redis.NewScript("return {1}")
	if err := script.Load(b.Context(), rdb).Err(); err != nil {
		b.Fatal(err)
	}
	manyCallers(b, func(n string) error {
		return rdb.EvalSha(b.Context(), script.Hash(), []string{"index", "lists", n}, "namespace", "", benchValue, 60000, n).Err()
	})
}

func BenchmarkPut(b *testing.B) {
	s := shared(b)
	manyCallers(b, func(n string) error {
		_, err := s.Put(b.Context(), tempdata.Put{Key: tempdata.Key{Namespace: "drafts", Name: n}, Data: benchValue})
		return err
	})
}

func BenchmarkGet(b *testing.B) {
	s := shared(b)
	for n := range 1000 {
		put(b, s, tempdata.Key{Namespace: "drafts", Name: strconv.Itoa(n)}, string(benchValue), time.Hour)
	}
	manyCallers(b, func(n string) error {
		_, err := s.Get(b.Context(), tempdata.Key{Namespace: "drafts", Name: n})
		return err
	})
}

func BenchmarkPutStep(b *testing.B) {
	s := shared(b)
	manyCallers(b, func(n string) error {
		_, err := s.PutStep(b.Context(), tempdata.PutStep{
			FormKey: tempdata.FormKey{UserID: 7, Form: n}, Step: tempdata.Step{Name: "interests", Data: benchValue},
		})
		return err
	})
}

// BenchmarkPutMany sets 1000 values at once.
func BenchmarkPutMany(b *testing.B) {
	s := shared(b)
	items := make([]tempdata.Item, tempdata.MaxBatch)
	for n := range items {
		items[n] = tempdata.Item{Name: strconv.Itoa(n), Data: benchValue}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.PutMany(b.Context(), "drafts", items); err != nil {
			b.Fatal(err)
		}
	}
}
