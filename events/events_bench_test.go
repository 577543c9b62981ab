package events_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

const typicalData = `{"user": {"id": 123456789, "name": "Иван Петров", "department": "Разработка", "interests": ["coffee", "chess", "walk"]}, ` +
	`"menu": "main", "opened_at": "2026-11-21T19:11:26.325925", "count": 3, "ratio": 0.75}`

// BenchmarkPublish publishes to a real server, with one caller and with many at once.
func BenchmarkPublish(b *testing.B) {
	for name, m := range map[string]events.Message{
		"plain":     {Type: "user.login", Data: []byte(typicalData)},
		"duplicate": {Type: "user.login", Data: []byte(typicalData), ID: "x"},
	} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", name, callers), func(b *testing.B) {
				cfg := config(b)
				publisher := newPublisher(b, redistest.Shared(b).Client(), cfg)
				m.Channel = channel(b, "user:1")
				b.ReportAllocs()
				b.SetParallelism(callers)
				if callers == 1 {
					for b.Loop() {
						publishOnce(b, publisher, m)
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						publishOnce(b, publisher, m)
					}
				})
			})
		}
	}
}

func publishOnce(tb testing.TB, p *events.Publisher, m events.Message) {
	tb.Helper()
	if _, err := p.Publish(context.Background(), m); err != nil {
		tb.Error(err)
	}
}

// BenchmarkDecodeMessage reads what a publisher sends.
func BenchmarkDecodeMessage(b *testing.B) {
	for name, body := range map[string]string{
		"small":   `{"type":"user.login"}`,
		"typical": `{"type": "user.menu_opened", "data": ` + typicalData + `, "source": "bot"}`,
		"60 KB":   `{"type":"x","data":[` + strings.TrimSuffix(strings.Repeat(typicalData+",", 190), ",") + `]}`,
	} {
		b.Run(name, func(b *testing.B) {
			raw := []byte(body)
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if _, err := events.DecodeMessage(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecodeEvent reads an envelope, as a handler's event is.
func BenchmarkDecodeEvent(b *testing.B) {
	raw := []byte(strings.Replace(plainEvent, `{"a":1}`, typicalData, 1))
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := events.DecodeEvent("p", raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFanout hands one event after the other to 1000 streams, and reads it from each. One operation is one event,
// 1000 deliveries.
func BenchmarkFanout(b *testing.B) {
	cfg := config(b)
	rdb := redistest.Shared(b).Client()
	publisher, fanout, ch := newPublisher(b, rdb, cfg), newFanout(b, rdb, cfg), channel(b, "user:1")
	streams := make([]*events.Stream, 1000)
	for i := range streams {
		streams[i] = follow(b, fanout, events.Cursor{}, ch)
	}
	m := events.Message{Channel: ch, Type: "user.login", Data: []byte(typicalData)}
	publishOnce(b, publisher, m) // So that every stream has read the log before.
	for _, s := range streams {
		next(b, s)
	}
	b.ReportAllocs()
	for b.Loop() {
		publishOnce(b, publisher, m)
		for _, s := range streams {
			if _, err := s.Next(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(streams)), "ns/delivery")
}
