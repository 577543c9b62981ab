package tempdata_test

import (
	"errors"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// soon bounds what should come about at once, on a machine that is busy with other tests.
const soon = 20 * time.Second

// open starts a Store of a test. Prefix is that of its keys; a Store with the same one shares its data.
func open(tb testing.TB, server *redistest.Server, prefix string, change func(*tempdata.Config)) *tempdata.Store {
	tb.Helper()
	rdb, err := redisconn.Open(server.URL())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = rdb.Close() })
	cfg := tempdata.Config{Redis: rdb, URL: server.URL(), Prefix: prefix, DjangoPrefix: prefix + ":1"}
	if change != nil {
		change(&cfg)
	}
	s, err := tempdata.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// shared starts a Store on the server that all tests share.
func shared(tb testing.TB) *tempdata.Store {
	tb.Helper()
	return open(tb, redistest.Shared(tb), redistest.Prefix(tb), nil)
}

// layouts runs a test with each layout.
func layouts(t *testing.T, test func(*testing.T, *tempdata.Store)) {
	t.Helper()
	for name, django := range map[string]bool{"native": false, "django": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t, redistest.Shared(t), redistest.Prefix(t), func(c *tempdata.Config) { c.Django = django }))
		})
	}
}

func put(tb testing.TB, s *tempdata.Store, key tempdata.Key, data string, ttl time.Duration) tempdata.Written {
	tb.Helper()
	w, err := s.Put(tb.Context(), tempdata.Put{Key: key, Data: []byte(data), TTL: ttl})
	if err != nil {
		tb.Fatalf("put %v: %v", key, err)
	}
	return w
}

func get(tb testing.TB, s *tempdata.Store, key tempdata.Key) tempdata.Value {
	tb.Helper()
	v, err := s.Get(tb.Context(), key)
	if err != nil {
		tb.Fatalf("get %v: %v", key, err)
	}
	return v
}

func wantError(tb testing.TB, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Errorf("the error is %v, want %v", err, want)
	}
}

// unmet returns the current tag of a PreconditionError.
func unmet(tb testing.TB, err error) string {
	tb.Helper()
	var unmet *tempdata.PreconditionError
	if !errors.As(err, &unmet) {
		tb.Fatalf("the error is %v, want a PreconditionError", err)
	}
	return unmet.ETag
}

func errorIs(err, target error) bool { return errors.Is(err, target) }

// fieldsOf returns the fields that an InvalidError names.
func fieldsOf(err error) (fields []string) {
	var invalid *tempdata.InvalidError
	if errors.As(err, &invalid) {
		for _, f := range invalid.Fields {
			fields = append(fields, f.Field)
		}
	}
	return fields
}
