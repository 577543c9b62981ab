package api_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// makeKey makes a key and its token.
func makeKey(tb testing.TB, id, name string, scopes ...string) (*api.Key, string) {
	tb.Helper()
	key, token, err := api.NewKey(id, name, scopes)
	if err != nil {
		tb.Fatal(err)
	}
	return key, token
}

// startRotatingHub starts a hub with two keys of the same name, old and new, and one of another.
func startRotatingHub(tb testing.TB) (*hub, *api.Keys, map[string]string) {
	tb.Helper()
	tokens := make(map[string]string)
	var all []*api.Key
	for id, name := range map[string]string{"old": "bot", "new": "bot", "other": "mail"} {
		key, token := makeKey(tb, id, name, "*")
		all, tokens[id] = append(all, key), token
	}
	keys, err := api.NewKeys(all...)
	if err != nil {
		tb.Fatal(err)
	}
	return startHub(tb, options{api: api.Config{Keys: keys}}), keys, tokens
}

// replace puts those of the keys in their place that keep says.
func replace(tb testing.TB, keys *api.Keys, keep func(*api.Key) bool) {
	tb.Helper()
	var left []*api.Key
	for _, key := range keys.All() {
		if keep(key) {
			left = append(left, key)
		}
	}
	if err := keys.Replace(left...); err != nil {
		tb.Fatal(err)
	}
}

// TestARevokedKey checks that a key that was taken away lets nobody in, in the words of one that never was, and that its
// streams end while the others go on.
func TestARevokedKey(t *testing.T) {
	t.Parallel()
	h, keys, tokens := startRotatingHub(t)
	auth := func(id string) string { return "Authorization: Service " + tokens[id] }
	revoked, stays := h.follow(t, "channel=user:1", auth("old")), h.follow(t, "channel=user:1", auth("new"))
	replace(t, keys, func(k *api.Key) bool { return k.ID != "old" })
	if err := endOf(t, revoked); err != nil {
		t.Errorf("the stream of a revoked key ends with %v", err)
	}
	a := h.get(t, "/v1/events?channel=user:1", auth("old"))
	a.problem(t, 401, "unauthorized")
	never := h.get(t, "/v1/events?channel=user:1", "Authorization: Service nonsense")
	never.problem(t, 401, "unauthorized")
	if one, other := decode[api.Problem](t, a.body), decode[api.Problem](t, never.body); one.Detail != other.Detail || one.Title != other.Title {
		t.Errorf("revoked: %s; never there: %s", a.body, never.body)
	}
	h.publish(t, "user:1", `{"type":"tick"}`, auth("new"))
	if got := stays.event(t); got.Type != "tick" {
		t.Errorf("the stream of a key that stays says %+v", got)
	}
}

// TestAKeyWithLessScopes checks that a stream ends whose key may not read its channel any more, and goes on when it may.
func TestAKeyWithLessScopes(t *testing.T) {
	t.Parallel()
	key, token := makeKey(t, "bot", "bot", "subscribe:*", "publish:*")
	keys, err := api.NewKeys(key)
	if err != nil {
		t.Fatal(err)
	}
	h := startHub(t, options{api: api.Config{Keys: keys}})
	auth := "Authorization: Service " + token
	one, two := h.follow(t, "channel=user:1", auth), h.follow(t, "channel=user:2", auth)
	file := `{"keys":[{"id":"bot","name":"bot","sha256":"` + key.SHA256 + `","scopes":["publish:*","subscribe:user:1"]}]}`
	less, err := api.ParseKeys([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Replace(less...); err != nil {
		t.Fatal(err)
	}
	if err := endOf(t, two); err != nil {
		t.Errorf("the stream ends with %v", err)
	}
	h.publish(t, "user:1", `{"type":"tick"}`, auth)
	if got := one.event(t); got.Type != "tick" {
		t.Errorf("the other stream says %+v", got)
	}
	h.get(t, "/v1/stream?channel=user:2", auth).problem(t, 403, "forbidden")
}

// TestAKeyExpires checks that a key lets nobody in from that time on, and that its streams end then, with nobody reading the
// file.
func TestAKeyExpires(t *testing.T) {
	t.Parallel()
	short, shortToken := makeKey(t, "short", "bot", "*")
	long, longToken := makeKey(t, "long", "bot", "*")
	over, overToken := makeKey(t, "over", "bot", "*")
	short.Expires, over.Expires = time.Now().Add(2*time.Second), time.Now().Add(-time.Second)
	long.Expires = time.Now().Add(time.Hour)
	keys, err := api.NewKeys(short, long, over)
	if err != nil {
		t.Fatal(err)
	}
	h := startHub(t, options{api: api.Config{Keys: keys}})
	h.get(t, "/stats", "Authorization: Service "+overToken).problem(t, 401, "unauthorized")
	ends, stays := h.follow(t, "channel=user:1", "Authorization: Service "+shortToken), h.follow(t, "channel=user:1", "Authorization: Service "+longToken)
	if err := endOf(t, ends); err != nil {
		t.Errorf("the stream ends with %v", err)
	}
	if now := time.Now(); now.Before(short.Expires) {
		t.Errorf("the stream ended %v too early", short.Expires.Sub(now))
	}
	h.get(t, "/stats", "Authorization: Service "+shortToken).problem(t, 401, "unauthorized")
	h.publish(t, "user:1", `{"type":"tick"}`, "Authorization: Service "+longToken)
	if got := stays.event(t); got.Type != "tick" {
		t.Errorf("the other stream says %+v", got)
	}
}

// TestABusyStreamOfARevokedKeyEnds checks that a stream which always has something to send ends too.
func TestABusyStreamOfARevokedKeyEnds(t *testing.T) {
	t.Parallel()
	h, keys, tokens := startRotatingHub(t)
	s := h.follow(t, "channel=user:1", "Authorization: Service "+tokens["old"])
	done := make(chan struct{})
	var busy sync.WaitGroup
	for range 4 {
		busy.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				_, _ = h.try(t, "POST", "/v1/events/users/1", strings.NewReader(`{"type":"tick"}`), "Authorization: Service "+tokens["new"])
			}
		})
	}
	s.event(t)
	replace(t, keys, func(k *api.Key) bool { return k.ID != "old" })
	err := endOf(t, s)
	close(done)
	busy.Wait()
	if err != nil {
		t.Errorf("the stream ends with %v", err)
	}
}

// TestAStreamThatWaitsForRedisEndsWithItsKey checks the same of a stream that has not begun yet.
func TestAStreamThatWaitsForRedisEndsWithItsKey(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	key, token := makeKey(t, "old", "bot", "*")
	other, _ := makeKey(t, "new", "bot", "*")
	keys, err := api.NewKeys(key, other)
	if err != nil {
		t.Fatal(err)
	}
	h := startHub(t, options{redis: rds, api: api.Config{Keys: keys}})
	rds.Stop()
	s := h.open(t, "channel=user:1", "Authorization: Service "+token)
	s.any(t) // It waits.
	replace(t, keys, func(k *api.Key) bool { return k.ID != "old" })
	if err := endOf(t, s); err != nil {
		t.Errorf("the stream ends with %v", err)
	}
}

// TestAKeyExpiresByTheClockOnTheWall sets the clock forward, as after a sleep of the machine, of which timers know nothing.
func TestAKeyExpiresByTheClockOnTheWall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var ahead atomic.Int64 // Nanoseconds.
		key, token := makeKey(t, "a", "bot", "*")
		key.Expires = began.Add(10 * time.Hour)
		keys, err := api.NewKeys(key)
		if err != nil {
			t.Fatal(err)
		}
		keys.SetClock(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
		changed := keys.Changed()
		<-time.After(5*time.Minute + time.Second)
		select {
		case <-changed:
			t.Error("streams are to look although nothing has expired")
		default:
		}
		ahead.Store(int64(10 * time.Hour))
		set := time.Now()
		if keys.Find(token) != nil {
			t.Error("a key that has expired is found")
		}
		<-changed
		if took := time.Since(set); took > time.Minute {
			t.Errorf("that streams are to look is told after %v", took)
		}
		<-time.After(time.Hour) // Nothing is waited for any more.
		select {
		case <-keys.Changed():
			t.Error("streams are to look for nothing")
		default:
		}
	})
}

// TestFindingAKeyAmongMany holds the time that it takes to that of finding one among few.
func TestFindingAKeyAmongMany(t *testing.T) {
	t.Parallel()
	const many = 14_000
	all := make([]*api.Key, many)
	tokens := make([]string, many)
	for n := range all {
		all[n], tokens[n] = makeKey(t, fmt.Sprint(n), "bot", "*")
	}
	made := time.Now()
	keys, err := api.NewKeys(all...)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(made); took > 2*time.Second {
		t.Errorf("to check %d keys took %v", many, took)
	}
	began := time.Now()
	for n, token := range tokens {
		if found := keys.Find(token); found != all[n] {
			t.Fatalf("of key %d %v is found", n, found)
		}
	}
	if keys.Find("cbh_nonsense") != nil {
		t.Error("a key is found for nonsense")
	}
	if each := time.Since(began) / many; each > 50*time.Microsecond { // It is less than 1 µs, and was 280.
		t.Errorf("to find a key takes %v", each)
	}
}

func TestKeysAreNeverReplacedByNone(t *testing.T) {
	t.Parallel()
	h, keys, tokens := startRotatingHub(t)
	if err := keys.Replace(); err == nil {
		t.Error("all keys were taken away")
	}
	one, _ := makeKey(t, "a", "bot", "*")
	if err := keys.Replace(one, one); err == nil {
		t.Error("twins were taken")
	}
	if keys.Empty() || len(keys.All()) != 3 {
		t.Errorf("there are %d keys", len(keys.All()))
	}
	h.get(t, "/stats").problem(t, 401, "unauthorized")
	h.get(t, "/stats", "Authorization: Service "+tokens["old"]).is(t, 200, "application/json")
}

// TestKeysAreReplacedUnderLoad replaces the keys while requests come, of which those with a key that stays all get in.
func TestKeysAreReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	h, keys, tokens := startRotatingHub(t)
	all := keys.All()
	done := make(chan struct{})
	var replacing sync.WaitGroup
	replacing.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			left := all
			if n%2 == 0 {
				left = nil
				for _, key := range all {
					if key.ID != "other" {
						left = append(left, key)
					}
				}
			}
			if err := keys.Replace(left...); err != nil {
				t.Error(err)
			}
		}
	})
	for range 200 {
		h.get(t, "/stats", "Authorization: Service "+tokens["new"]).is(t, 200, "application/json")
	}
	close(done)
	replacing.Wait()
}

// endOf waits until a stream ends, whatever comes before, and returns what it broke with, if it did not end in order.
func endOf(tb testing.TB, s *stream) error {
	tb.Helper()
	for range s.rest(tb) { // All that is still to come.
		continue
	}
	return s.err
}
