package jobqueue_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestAddOnce(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		q := open(t, url, jobqueue.Config{Prefix: redistest.Prefix(t), MaxWaiting: 2})
		before := time.Now().Add(-time.Second)
		status, added, err := q.Add(t.Context(), jobqueue.Add{ID: "a", Fingerprint: "1", Payload: []byte("x")})
		if err != nil || !added || status.ID != "a" || status.State != jobqueue.Queued || status.Attempts != 0 || status.Result != nil ||
			status.CreatedAt.Before(before) || !status.DueAt.Equal(status.CreatedAt) || !status.UpdatedAt.Equal(status.CreatedAt) {
			t.Fatalf("%+v %v %v", status, added, err)
		}
		again, added, err := q.Add(t.Context(), jobqueue.Add{ID: "a", Fingerprint: "1", Payload: []byte("y")})
		if err != nil || added || again.CreatedAt != status.CreatedAt {
			t.Fatalf("%+v %v %v", again, added, err)
		}
		if payload, err := q.Payload(t.Context(), "a"); err != nil || string(payload) != "x" {
			t.Errorf("%q %v", payload, err)
		}
		if _, _, err := q.Add(t.Context(), jobqueue.Add{ID: "a", Fingerprint: "2"}); !errors.Is(err, jobqueue.ErrReused) {
			t.Error(err)
		}
		add(t, q, "b")
		if _, _, err := q.Add(t.Context(), jobqueue.Add{ID: "c"}); !errors.Is(err, jobqueue.ErrFull) {
			t.Error(err)
		}
		if _, added, err := q.Add(t.Context(), jobqueue.Add{ID: "a", Fingerprint: "1"}); err != nil || added {
			t.Error("a full queue does not know what it has:", added, err)
		}
		if _, err := q.Get(t.Context(), "c"); !errors.Is(err, jobqueue.ErrNotFound) {
			t.Error(err)
		}
		if _, err := q.Payload(t.Context(), "c"); !errors.Is(err, jobqueue.ErrNotFound) {
			t.Error(err)
		}
		if stats := q.Stats(); stats != (jobqueue.Stats{Added: 2}) {
			t.Errorf("%+v", stats)
		}
	})
}

func TestPayloadsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		q := open(t, url, jobqueue.Config{Prefix: redistest.Prefix(t)})
		random := make([]byte, jobqueue.MaxSize)
		_, _ = rand.NewChaCha8([32]byte{}).Read(random) // It never fails.
		for i, payload := range [][]byte{
			nil,
			{},
			{0},
			[]byte("z"), []byte(" z"), random[:100], random[:1024], random[:5000], random,
			[]byte(strings.Repeat("payload ", 200)), bytes.Repeat([]byte("\x00"), jobqueue.MaxSize),
		} {
			id := strconv.Itoa(i)
			if _, _, err := q.Add(t.Context(), jobqueue.Add{ID: id, Payload: payload}); err != nil {
				t.Fatal(id, err)
			}
			if got, err := q.Payload(t.Context(), id); err != nil || !bytes.Equal(got, payload) {
				t.Errorf("%s: %d bytes for %d, %v", id, len(got), len(payload), err)
			}
		}
	})
}

func TestLargePayloadsAreKeptSmall(t *testing.T) {
	t.Parallel()
	server, prefix := redistest.Shared(t), redistest.Prefix(t)
	q := open(t, server.URL(), jobqueue.Config{Prefix: prefix})
	payload := []byte(strings.Repeat(`{"id":1,"displayName":"A"},`, 5000))
	if _, _, err := q.Add(t.Context(), jobqueue.Add{ID: "a", Payload: payload}); err != nil {
		t.Fatal(err)
	}
	if n := len(server.Client().HGet(t.Context(), prefix+":job:a", "payload").Val()); n > len(payload)/20 {
		t.Errorf("%d bytes take %d", len(payload), n)
	}
}

func TestAddRefuses(t *testing.T) {
	t.Parallel()
	q := open(t, redistest.Shared(t).URL(), jobqueue.Config{Prefix: redistest.Prefix(t)})
	for _, id := range []string{"", " ", "a b", "a\n", "é", "\x7f", strings.Repeat("x", jobqueue.MaxID+1)} {
		if _, _, err := q.Add(t.Context(), jobqueue.Add{ID: id}); !errors.Is(err, jobqueue.ErrInvalid) {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, bad := range []jobqueue.Add{
		{ID: "a", Payload: make([]byte, jobqueue.MaxSize+1)},
		{ID: "a", Fingerprint: strings.Repeat("x", jobqueue.MaxID+1)},
	} {
		if _, _, err := q.Add(t.Context(), bad); !errors.Is(err, jobqueue.ErrInvalid) {
			t.Error(err)
		}
	}
	add(t, q, strings.Repeat("~", jobqueue.MaxID))
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	rdb := redistest.Shared(t).Client()
	for _, cfg := range []jobqueue.Config{
		{},
		{Redis: rdb, Lease: time.Microsecond},
		{Redis: rdb, KeepDone: -1},
		{Redis: rdb, KeepDead: -1},
		{Redis: rdb, Grace: -1},
		{Redis: rdb, Timeout: -1},
		{Redis: rdb, MaxDead: -1},
		{Redis: rdb, MaxWaiting: -1},
		{Redis: rdb, MaxAttempts: -1},
	} {
		if q, err := jobqueue.New(cfg); err == nil {
			q.Close()
			t.Errorf("%+v", cfg)
		}
	}
}

func TestWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	q := open(t, server.URL(), jobqueue.Config{})
	if err := q.Check(t.Context()); err != nil {
		t.Error(err)
	}
	server.Stop()
	_, _, addErr := q.Add(t.Context(), jobqueue.Add{ID: "a"})
	_, getErr := q.Get(t.Context(), "a")
	_, payloadErr := q.Payload(t.Context(), "a")
	_, listErr := q.ListDead(t.Context(), "", 1)
	_, _, _, depthErr := q.Depth(t.Context())
	for _, err := range []error{addErr, getErr, payloadErr, listErr, depthErr, q.Revive(t.Context(), "a", false), q.Check(t.Context())} {
		if !errors.Is(err, jobqueue.ErrUnavailable) {
			t.Error(err)
		}
	}
}

func TestAfterClose(t *testing.T) {
	t.Parallel()
	q := open(t, redistest.Shared(t).URL(), jobqueue.Config{Prefix: redistest.Prefix(t)})
	add(t, q, "a")
	q.Close()
	q.Close()
	if err := q.Start(t.Context(), 1, nobody(t)); !errors.Is(err, jobqueue.ErrClosed) {
		t.Error(err)
	}
	if _, _, err := q.Add(t.Context(), jobqueue.Add{ID: "b"}); !errors.Is(err, jobqueue.ErrClosed) {
		t.Error(err)
	}
	if err := q.Revive(t.Context(), "a", false); !errors.Is(err, jobqueue.ErrClosed) {
		t.Error(err)
	}
	if get(t, q, "a").State != jobqueue.Queued {
		t.Error("it is not shown any more")
	}
}
