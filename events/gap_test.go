package events_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestLost resumes from every kind of position in every kind of log, and spells out what a reader must be given: a gap
// wherever something may be missing, and only there.
func TestLost(t *testing.T) {
	t.Parallel()
	const week = 7 * 24 * time.Hour
	base := time.Now().Add(-time.Hour).UnixMilli()
	at := func(n int) string { return fmt.Sprint(base + int64(n)*1000) } // When event n was logged.
	add := func(rdb *redis.Client, key string, first, last int) {
		for n := first; n <= last; n++ {
			envelope := fmt.Sprintf(`{"id":"%d","type":"n","data":%d,"timestamp":"2026-11-21T19:11:26Z"`, n, n)
			if err := rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: key, ID: at(n) + "-0", Values: []string{"e", envelope}}).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		log   string
		make  func(rdb *redis.Client, key string)
		wants map[string]string // By position.
	}{
		{"absent", func(*redis.Client, string) {}, map[string]string{
			"0-0":        "",
			at(3) + "-0": "gap", // It was deleted, or nothing came for a week.
			at(3):        "",
			fmt.Sprint(time.Now().Add(-week - time.Hour).UnixMilli()): "gap",
		}},
		{"whole", func(rdb *redis.Client, key string) { add(rdb, key, 1, 5) }, map[string]string{
			"0-0":        "1 2 3 4 5",
			at(0):        "1 2 3 4 5",
			at(1) + "-0": "2 3 4 5",
			at(1):        "2 3 4 5",
			at(4) + "-0": "5",
			at(5) + "-0": "",
			at(5):        "",
			at(9):        "",
			at(0) + "-0": "gap 1 2 3 4 5", // No event was ever there, so the log is another one.
			at(3) + "-1": "gap 4 5",
			at(9) + "-0": "gap",
			fmt.Sprint(time.Now().Add(-week - time.Hour).UnixMilli()): "gap 1 2 3 4 5",
		}},
		{"trimmed", func(rdb *redis.Client, key string) {
			add(rdb, key, 1, 5)
			rdb.XTrimMaxLen(t.Context(), key, 2)
		}, map[string]string{
			"0-0":        "4 5",
			at(0):        "gap 4 5",
			at(2) + "-0": "gap 4 5",
			at(3) + "-0": "gap 4 5", // Nothing is missing, but that cannot be known.
			at(3):        "gap 4 5",
			at(4):        "5",
			at(4) + "-0": "5",
			at(5) + "-0": "",
		}},
		{"emptied", func(rdb *redis.Client, key string) {
			add(rdb, key, 1, 5)
			rdb.XTrimMaxLen(t.Context(), key, 0)
		}, map[string]string{
			"0-0":        "",
			at(0):        "gap",
			at(4) + "-0": "gap",
			at(5) + "-0": "",
			at(5):        "",
			at(9) + "-0": "gap",
		}},
		{"begun anew", func(rdb *redis.Client, key string) {
			add(rdb, key, 1, 5)
			rdb.Del(t.Context(), key)
			add(rdb, key, 6, 7)
		}, map[string]string{
			"0-0":        "6 7",
			at(5) + "-0": "gap 6 7",
			at(6) + "-0": "7",
		}},
		{"begun anew with an earlier clock", func(rdb *redis.Client, key string) { add(rdb, key, 1, 2) }, map[string]string{
			at(5) + "-0": "gap",
		}},
	} {
		t.Run(test.log, func(t *testing.T) {
			t.Parallel()
			cfg, rdb := config(t), redistest.Shared(t).Client()
			test.make(rdb, logKey(cfg, events.Global()))
			fanout := newFanout(t, rdb, cfg)
			for position, want := range test.wants {
				s := follow(t, fanout, cursor(t, "global@"+position), events.Global())
				var got []string
				for {
					d, ok, err := s.TryNext(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if !ok {
						break
					}
					if d.Gap != nil {
						if d.Gap.Channel != events.Global() || d.Gap.After != offset(t, position) {
							t.Errorf("from %s: the gap is on %v after %v", position, d.Gap.Channel, d.Gap.After)
						}
						got = append(got, "gap")
						continue
					}
					ev, err := d.Record.Event()
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, string(ev.Data))
				}
				if strings.Join(got, " ") != want {
					t.Errorf("from %s came %q, want %q", position, got, want)
				}
			}
		})
	}
}
