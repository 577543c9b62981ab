package cache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// source is where values come from: a version per key, which only grows.
type source struct{ versions [keys]atomic.Int64 }

const keys = 6

// load reads the version, and may be slow before and after: as a rule not very.
func (s *source) load(key int) cache.Load[note] {
	return func(ctx context.Context) (note, error) {
		slow := 20 * time.Millisecond
		if rand.IntN(8) == 0 {
			slow = 3 * cache.MaxLag
		}
		if err := dawdle(ctx, slow); err != nil {
			return note{}, err
		}
		version := s.versions[key].Load()
		if err := dawdle(ctx, slow); err != nil {
			return note{}, err
		}
		return note{Text: strconv.FormatInt(version, 10)}, nil
	}
}

// dawdle takes up to a time, and half of the times none.
func dawdle(ctx context.Context, most time.Duration) error {
	if rand.IntN(2) == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(rand.N(most))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// promise is that from a moment on a hub returns at least a version.
type promise struct {
	from    time.Time
	version int64
}

// promises are those for the keys of one hub.
type promises struct {
	mu   sync.Mutex
	each [keys][]promise
}

func (p *promises) add(key int, from time.Time, version int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.each[key]; len(known) > 0 && known[len(known)-1].version >= version {
		return // It was promised before.
	}
	p.each[key] = append(p.each[key], promise{from, version})
}

// least returns the version that a read beginning at that moment has to return at least.
func (p *promises) least(key int, at time.Time) (version int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.each[key] {
		if !one.from.After(at) {
			version = max(version, one.version)
		}
	}
	return version
}

// TestNoReadIsStalerThanPromised has readers on two hubs, and a writer who changes the source and then says so through
// either of them or a third, or as another client of Redis would, while connections are cut.
func TestNoReadIsStalerThanPromised(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		kind    string
		foreign time.Duration
	}{
		"tracked":  {"tracked", cache.MaxLag},
		"embedded": {"embedded", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, rdb := privateServer(t, test.kind)
			cfg := config("x")
			cfg.TTL, cfg.Jitter, cfg.Stale = 300*time.Millisecond, 0.5, time.Minute
			cfg.LockWait = 15 * time.Millisecond
			hubs := []*hub{open(t, at, cfg), open(t, at, cfg), open(t, at, cfg)}
			var src source
			var seen [2]promises // by the readers' hubs
			var hits [2]promises // what was in the cache: that never goes back, though a load may be ahead of it
			ctx, stop := context.WithTimeout(t.Context(), 4*time.Second)
			defer stop()
			calls := context.WithoutCancel(ctx) // None is cut short.
			var reads, changes atomic.Int64
			var all sync.WaitGroup
			for i := range 2 {
				for range 3 {
					all.Go(func() {
						for ctx.Err() == nil {
							for key := range keys {
								began := time.Now()
								least, before := seen[i].least(key, began), hits[i].least(key, began)
								r, err := hubs[i].Lookup(calls, key, "", src.load(key))
								version, bad := strconv.ParseInt(r.Value.Text, 10, 64)
								if err != nil || bad != nil {
									t.Errorf("hub %d, key %d: %v %v", i, key, err, bad)
									return
								}
								if version < least {
									t.Errorf("hub %d, key %d: version %d (%s), at least %d was promised\n%v", i, key, version, r.Outcome, least, time.Since(began))
									stop()
								}
								if r.Outcome != cache.Miss {
									if version < before {
										t.Errorf("hub %d, key %d: version %d (%s) after %d", i, key, version, r.Outcome, before)
										stop()
									}
									hits[i].add(key, time.Now(), version)
								}
								reads.Add(1)
							}
							_ = dawdle(ctx, time.Millisecond)
						}
					})
				}
			}
			for writer := range 2 {
				all.Go(func() {
					for ctx.Err() == nil {
						_ = dawdle(ctx, 150*time.Millisecond)
						// One writer to a key, so that what it sets is the newest version.
						key := writer + 2*rand.IntN(keys/2)
						where := rand.IntN(3)
						version := src.versions[key].Add(1)
						text, lag := strconv.FormatInt(version, 10), cache.MaxLag
						var err error
						how := rand.IntN(4)
						if how == 3 { // A DEL of what is not there leaves no trace: then it has to go through a hub.
							var deleted int64
							if deleted, err = rdb.Del(calls, hubs[0].name(key)).Result(); deleted == 0 {
								how = 0
							}
						}
						switch how {
						case 0:
							_, err = hubs[where].Delete(calls, key)
						case 1:
							err = hubs[where].Invalidate(calls, "parity:"+strconv.Itoa(key%2))
						case 2:
							err = hubs[where].Set(calls, key, note{Text: text}, time.Minute)
						default:
							where, lag = 2, test.foreign
						}
						if err != nil {
							t.Error(err)
							return
						}
						acknowledged := time.Now()
						changes.Add(1)
						for i := range seen {
							from := acknowledged
							if i != where {
								from = from.Add(lag)
							}
							seen[i].add(key, from, version)
						}
					}
				})
			}
			if test.kind == "tracked" {
				all.Go(func() {
					for ctx.Err() == nil {
						_ = dawdle(ctx, 500*time.Millisecond)
						killFeeds(calls, t, rdb)
					}
				})
			}
			all.Wait()
			t.Logf("%d reads, %d changes", reads.Load(), changes.Load())
			for _, h := range hubs {
				t.Logf("%+v", h.Stats())
			}
		})
	}
}

// TestOneHubIsARegister checks that what goes through one hub is linearizable: every call seems to happen at one moment
// between its beginning and its end.
func TestOneHubIsARegister(t *testing.T) {
	t.Parallel()
	type input struct{ op, text string }
	model := porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, in, out any) (bool, any) {
			switch in := in.(input); in.op {
			case "set":
				return true, in.text
			case "delete":
				return out == (state != ""), ""
			default:
				return out == state, state
			}
		},
		DescribeOperation: func(in, out any) string { return fmt.Sprint(in, out) },
	}
	server := redistest.Start(t)
	cfg := config("x")
	cfg.MissingTTL, cfg.LockWait = -1, 5*time.Millisecond
	h := open(t, server.URL(), cfg)
	absent := func(ctx context.Context) (note, error) {
		return note{}, errors.Join(dawdle(ctx, 3*time.Millisecond), cache.ErrNotFound)
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Second)
	defer stop()
	calls := context.WithoutCancel(ctx) // None is cut short.
	var all sync.WaitGroup
	var mu sync.Mutex
	var history []porcupine.Operation
	begun := time.Now()
	for client := range 6 {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				op := porcupine.Operation{ClientId: client, Call: int64(time.Since(begun))}
				var err error
				switch in := (input{op: "get"}); {
				case client < 4:
					var v note
					if v, err = h.Get(calls, 1, absent); errors.Is(err, cache.ErrNotFound) {
						err = nil
					}
					op.Input, op.Output = in, v.Text
				case rand.IntN(3) == 0:
					var deleted int
					deleted, err = h.Delete(calls, 1)
					op.Input, op.Output = input{op: "delete"}, deleted == 1
				default:
					in = input{"set", fmt.Sprint(client, "-", n)}
					err = h.Set(calls, 1, note{Text: in.text}, time.Minute)
					op.Input = in
				}
				op.Return = int64(time.Since(begun))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				history = append(history, op)
				mu.Unlock()
				_ = dawdle(ctx, 2*time.Millisecond)
			}
		})
	}
	all.Go(func() {
		rdb := server.Client()
		for ctx.Err() == nil {
			_ = dawdle(ctx, 300*time.Millisecond)
			killFeeds(calls, t, rdb)
		}
	})
	all.Wait()
	if result := porcupine.CheckOperationsTimeout(model, history, 60*time.Second); result != porcupine.Ok {
		slices.SortFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
		t.Errorf("%s: %d operations", result, len(history))
	}
	t.Logf("%d operations, %+v", len(history), h.Stats())
}
