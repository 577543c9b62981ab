package api_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/menucache"
)

// menuSource is a service that holds menus, as its keeper wants it to behave.
type menuSource struct {
	// status is what it answers writes with; 0: it takes them.
	status atomic.Int64
	mu     sync.Mutex
	menus  map[string]string
}

func (s *menuSource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch menu, ok := s.menus[r.URL.Path]; {
	case r.Method == http.MethodGet && !ok:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodGet:
		_, _ = io.WriteString(w, menu)
	case s.status.Load() != 0:
		w.WriteHeader(int(s.status.Load()))
	default:
		body, _ := io.ReadAll(r.Body)
		s.menus[r.URL.Path] = string(body)
	}
}

func (s *menuSource) has(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.menus[path]
}

// startSourcedHub starts a hub with a menu source.
func startSourcedHub(tb testing.TB) (*hub, *menuSource) {
	tb.Helper()
	source := &menuSource{menus: make(map[string]string)}
	server := httptest.NewServer(source)
	tb.Cleanup(server.Close)
	client, err := menucache.NewSource(menucache.SourceConfig{URL: server.URL + "/api"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(client.Close)
	// The audit log tells whose menus were cleared, and is apart.
	return startHub(tb, options{menus: menucache.Config{Source: client}, api: api.Config{Audit: zap.NewNop()}}), source
}

// TestWriteThrough stores menus in the source before the answer.
func TestWriteThrough(t *testing.T) {
	t.Parallel()
	h, source := startSourcedHub(t)
	const path = "/v1/menus/123/main"
	want := api.MenuWritten{UserID: 123, MenuType: "main", Status: "stored", ExpiresIn: 60}
	if got := h.putMenu(t, path+"?write=through&ttl=60", ownMenu); got != want {
		t.Errorf("written: %+v, want %+v", got, want)
	}
	if got := source.has("/api/menus/123/main"); got != ownMenu {
		t.Errorf("the source has %s", got)
	}
	h.get(t, path).menu(t, "HIT")
	const other = `{"options":[]}`
	for _, tt := range []struct {
		says       int64
		status     int
		code       string
		retryAfter string
	}{
		{http.StatusUnprocessableEntity, 502, "menu_source_refused", ""},
		{http.StatusServiceUnavailable, 503, "menu_source_unavailable", "5"},
		{http.StatusInternalServerError, 503, "menu_source_unavailable", "5"},
	} {
		source.status.Store(tt.says)
		a := h.call(t, http.MethodPut, path+"?write=through", other)
		if p := a.problem(t, tt.status, tt.code); p.Retryable != (tt.retryAfter != "") || a.header.Get("Retry-After") != tt.retryAfter {
			t.Errorf("%d: retryable %t, Retry-After %q", tt.says, p.Retryable, a.header.Get("Retry-After"))
		}
	}
	h.call(t, http.MethodDelete, path, "").is(t, 200, "application/json")
	if got := h.get(t, path).menu(t, "MISS"); got != ownMenu {
		t.Errorf("from the source comes %s", got)
	}
}

// TestWriteBehind stores menus in the source after the answer, gives one up, and sends it again.
func TestWriteBehind(t *testing.T) {
	t.Parallel()
	h, source := startSourcedHub(t)
	if list := h.deadWrites(t, ""); len(list.DeadWrites) != 0 || list.NextCursor != nil {
		t.Errorf("at first there are %+v", list)
	}
	put := func(path string) {
		t.Helper()
		got := h.call(t, http.MethodPut, "/v1"+path+"?write=behind", ownMenu).written(t, 202)
		if got.Status != "queued" || got.ExpiresIn != 1800 || !strings.Contains(path, got.MenuType) {
			t.Errorf("written: %+v", got)
		}
		if got := h.get(t, "/v1"+path).menu(t, "HIT"); got != ownMenu {
			t.Errorf("the cache has %s", got)
		}
	}
	put("/menus/1/main")
	redistest.Eventually(t, soon, "the source has the menu", func() bool { return source.has("/api/menus/1/main") == ownMenu })
	source.status.Store(http.StatusUnprocessableEntity)
	paths := []string{"/menus/2/main", "/menus/2/preferences", "/menus/3/main"}
	for i, path := range paths {
		put(path)
		redistest.Eventually(t, soon, "the write is given up", func() bool { return len(h.deadWrites(t, "").DeadWrites) == i+1 })
	}
	var ids []string
	list := api.DeadWriteList{NextCursor: new(string)}
	for list.NextCursor != nil {
		list = h.deadWrites(t, "?limit=2&cursor="+*list.NextCursor)
		for _, w := range list.DeadWrites {
			if got := "/menus/" + strconv.FormatInt(w.UserID, 10) + "/" + w.MenuType; got != paths[len(ids)] || w.Attempts < 1 || w.Problem == "" {
				t.Errorf("write %d is %+v", len(ids), w)
			}
			ids = append(ids, w.ID)
		}
	}
	if len(ids) != len(paths) {
		t.Fatalf("given up: %q", ids)
	}
	source.status.Store(0)
	a := h.post(t, "/v1/menus/dead-writes/"+ids[1]+"/retry", "", "Content-Type:")
	a.is(t, 200, "application/json")
	if got := decode[api.DeadWriteQueued](t, a.body); got.ID != ids[1] || got.Status != "queued" {
		t.Errorf("retried: %+v", got)
	}
	redistest.Eventually(t, soon, "the source has the menu", func() bool { return source.has("/api"+paths[1]) == ownMenu })
	for _, id := range []string{ids[1], "x", "0-0", "%D1%8F"} {
		h.post(t, "/v1/menus/dead-writes/"+id+"/retry", "").problem(t, 404, "dead_write_not_found")
	}
	left := h.deadWrites(t, "").DeadWrites
	if !slices.EqualFunc(left, []string{ids[0], ids[2]}, func(w api.DeadWrite, id string) bool { return w.ID == id }) {
		t.Errorf("left are %+v", left)
	}
	h.get(t, "/v1/menus/dead-writes?cursor=x").problem(t, 422, "invalid_fields", "cursor")
}

func (h *hub) deadWrites(tb testing.TB, query string) api.DeadWriteList {
	tb.Helper()
	a := h.get(tb, "/v1/menus/dead-writes"+query)
	a.is(tb, 200, "application/json")
	return decode[api.DeadWriteList](tb, a.body)
}
