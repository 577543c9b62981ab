package cache_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// plain is a codec that reads what another program wrote too: text without more.
type plain struct{ cache.Codec[note] }

func (p plain) Decode(raw []byte) (note, cache.Meta, error) {
	text, foreign := strings.CutPrefix(string(raw), "plain:")
	switch {
	case text == "damaged":
		return note{}, cache.Meta{}, errors.New("damaged")
	case foreign:
		return note{Text: text}, cache.Meta{}, nil
	}
	return p.Codec.Decode(raw)
}

const foreignTTL = 10 * time.Minute

// besides is a cache beside another program.
func besides(prefix string) cache.Config[int, note] {
	cfg := config(prefix)
	cfg.Codec, cfg.ForeignTTL = plain{cache.JSON[note]()}, foreignTTL
	return cfg
}

// write is what the other program does, as if some time ago.
func write(tb testing.TB, rdb *redis.Client, name, text string, ago time.Duration) {
	tb.Helper()
	must(tb, rdb.Set(tb.Context(), name, "plain:"+text, foreignTTL-ago))
}

func (h *hub) invalidate(tb testing.TB, tag string) {
	tb.Helper()
	if err := h.Invalidate(tb.Context(), tag); err != nil {
		tb.Fatal(err)
	}
}

func TestWhatAnotherProgramWroteIsServedUntilItExpires(t *testing.T) {
	t.Parallel()
	h := open(t, url(t), besides(redistest.Prefix(t)))
	rdb := redistest.Shared(t).Client()
	write(t, rdb, h.name(1), "one", time.Minute)
	r, err := h.Lookup(t.Context(), 1, "", never(t))
	if err != nil || r.Value.Text != "one" || r.Age < time.Minute || r.Age > time.Minute+10*time.Second {
		t.Error(r, err)
	}
	write(t, rdb, h.name(2), "two", foreignTTL-200*time.Millisecond)
	end := time.Now().Add(200 * time.Millisecond)
	if v, err := h.Get(t.Context(), 2, h.text("new")); err != nil || v.Text != "two" && time.Now().Before(end) {
		t.Error(v, err)
	}
	until(end.Add(cache.MaxLag))
	h.want(t, 2, h.text("new"), "new", cache.Miss)
	must(t, rdb.Set(t.Context(), h.name(3), "plain:for ever", 0))
	h.want(t, 3, never(t), "for ever", cache.Hit)
	if err := h.Touch(t.Context(), 1, time.Hour); err != nil {
		t.Error(err)
	}
	h.want(t, 1, never(t), "one", cache.Hit)
}

func TestWhatAnotherProgramWroteIsJudgedByWhenItDid(t *testing.T) {
	t.Parallel()
	cfg := besides(redistest.Prefix(t))
	before := open(t, url(t), cfg)
	rdb := redistest.Shared(t).Client()
	// The epoch is from a minute ago, when all but parity:0 was invalidated.
	at := time.Now().Add(-time.Minute).UnixMicro()
	must(t, rdb.Set(t.Context(), before.epochKey, fmt.Sprintf("floor=1 parity:1=%d", at), 0))
	tests := []struct {
		ago  time.Duration
		kept bool
	}{
		{5 * time.Minute, true},
		{61 * time.Second, false},
		{5 * time.Minute, true},
		{50 * time.Second, true},
		{0, true},
		{0, false}, // Longer than others write.
		{0, true},
		{0, false}, // For ever.
	}
	for n, test := range tests {
		write(t, rdb, before.name(n), "foreign", test.ago)
		switch n {
		case 5:
			must(t, rdb.Expire(t.Context(), before.name(n), 2*foreignTTL))
		case 7:
			must(t, rdb.Persist(t.Context(), before.name(n)))
		}
	}
	h := open(t, url(t), cfg) // It was not told of all that.
	for n, test := range tests {
		want, outcome := "foreign", cache.Hit
		if !test.kept {
			want, outcome = "new", cache.Miss
		}
		h.want(t, n, h.text("new"), want, outcome)
	}
}

// The other program has to stop reading what is no longer valid, too.
func TestInvalidateDeletesWhatOtherProgramsWouldRead(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	cfg := besides("x[1]*?\\") // What SCAN has a meaning for.
	h := open(t, server.URL(), cfg)
	const n = 1500
	pipe := rdb.Pipeline()
	var odd []string
	for i := range n {
		pipe.Set(t.Context(), h.name(i), "plain:old", foreignTTL-time.Minute)
		if i%2 == 1 {
			odd = append(odd, h.name(i))
		}
	}
	pipe.Set(t.Context(), h.name(n+1), "plain:damaged", foreignTTL-time.Minute)
	pipe.Set(t.Context(), cfg.Prefix+"something", "else", 0)
	pipe.RPush(t.Context(), h.name(n+5), "a list")
	pipe.Set(t.Context(), "x1z:note:1", "plain:old", foreignTTL-time.Minute)
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.set(t, n+7, "old", time.Minute) // The other program reads that too.
	h.set(t, n+8, "old", time.Minute)
	w := hold()
	loading := h.ask(t.Context(), n+7, "for a variant", w.text("loaded"))
	<-w.began
	h.invalidate(t, "parity:1")
	redistest.Eventually(t, 10*time.Second, "what is invalid goes", func() bool {
		return rdb.Exists(t.Context(), odd...).Val() == 0
	})
	for i := range n {
		if exists := rdb.Exists(t.Context(), h.name(i)).Val() == 1; exists != (i%2 == 0) {
			t.Fatalf("%d exists: %v", i, exists)
		}
	}
	for _, name := range []string{h.name(n + 1), cfg.Prefix + "something", h.name(n + 5), "x1z:note:1", h.name(n + 7), h.name(n + 8)} {
		if rdb.Exists(t.Context(), name).Val() != 1 {
			t.Errorf("%s was deleted", name)
		}
	}
	close(w.goOn)
	<-loading
	redistest.Eventually(t, 10*time.Second, "what nobody loads any more goes", func() bool {
		return rdb.Exists(t.Context(), h.name(n+7)).Val() == 0
	})
}

func TestTheSweepDeletesNothingNew(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	h := open(t, server.URL(), besides("x"))
	for round := range 10 {
		for key := range 20 {
			write(t, rdb, h.name(key), "old", time.Minute)
		}
		h.invalidate(t, "all")
		for key := range 20 { // While it sweeps.
			h.set(t, key, strconv.Itoa(round), time.Minute)
		}
		h.quiet()
		for key := range 20 {
			h.want(t, key, never(t), strconv.Itoa(round), cache.Hit)
		}
	}
}

func TestListKnowsGroupsOfWhichOnlyOtherProgramsWrote(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	cfg := besides("x")
	for key := range 3 { // Before the hub starts.
		must(t, rdb.Set(t.Context(), "x:note:"+strconv.Itoa(10*key), "plain:one", foreignTTL))
	}
	h := open(t, server.URL(), cfg)
	listed := func(want ...string) {
		t.Helper()
		var names []string
		redistest.Eventually(t, 5*time.Second, fmt.Sprint("the list is ", want), func() bool {
			names = h.names(t, 100)
			slices.Sort(names)
			return slices.Equal(names, want)
		})
	}
	listed("0", "1", "2")
	written := time.Now()
	write(t, rdb, h.name(33), "one", time.Minute)
	write(t, rdb, h.name(34), "damaged", time.Minute)
	write(t, rdb, h.name(44), "damaged", time.Minute)
	must(t, rdb.Set(t.Context(), h.name(55), "plain:for ever", 0))
	listed("0", "1", "2", "3")
	if took := time.Since(written); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if _, err := h.Get(t.Context(), 60, h.absent()); !errors.Is(err, cache.ErrNotFound) {
		t.Error(err)
	}
	if groups, _, err := h.List(t.Context(), "", 1); err != nil || groups[0].Name != "3" || groups[0].ExpiresIn > foreignTTL-time.Minute {
		t.Error(groups, err)
	}
	h.remove(t, 33)
	h.remove(t, 34)
	listed("0", "1", "2")
	// Many at once.
	pipe := rdb.Pipeline()
	var want []string
	for i := range 1200 {
		pipe.Set(t.Context(), h.name(1000+10*i), "plain:one", foreignTTL)
		want = append(want, strconv.Itoa(100+i))
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	want = append(want, "0", "1", "2")
	slices.Sort(want)
	listed(want...)
	// What is written while the connection is broken is found when it is back.
	before := h.Stats().Interruptions
	killFeeds(t.Context(), t, rdb)
	write(t, rdb, h.name(99), "one", 0)
	redistest.Eventually(t, 5*time.Second, "the feed is back", func() bool { return h.Stats().Interruptions > before })
	want = append(want, "9")
	slices.Sort(want)
	listed(want...)
}

func TestNothingIsDoneInTheBackgroundWithoutForeignTTL(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	h := open(t, server.URL(), config("x"))
	must(t, rdb.ConfigResetStat(t.Context()))
	h.set(t, 1, "one", time.Minute)
	h.invalidate(t, "all")
	must(t, rdb.Set(t.Context(), h.name(11), "{", time.Minute))
	h.quiet()
	h.Close()
	if stats := rdb.Info(t.Context(), "commandstats").Val(); strings.Contains(stats, "cmdstat_scan") || strings.Contains(stats, "cmdstat_pttl") {
		t.Error(stats)
	}
	if rdb.Exists(t.Context(), h.name(1)).Val() != 1 {
		t.Error("what was invalidated was deleted")
	}
}

func TestCloseEndsTheSweep(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	h := open(t, server.URL(), besides("x"))
	h.invalidate(t, "all")
	server.Kill() // It goes on trying.
	h.invalidateAnyway(t)
	begun := time.Now()
	h.Close()
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
}

// invalidateAnyway invalidates, whatever comes of it.
func (h *hub) invalidateAnyway(tb testing.TB) {
	tb.Helper()
	if err := h.Invalidate(tb.Context(), "all"); err != nil && !errors.Is(err, cache.ErrUnavailable) {
		tb.Error(err)
	}
}
