package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/ratelimit"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// counter is a limiter that notes who is counted, and refuses those it is told to.
type counter struct {
	mu      sync.Mutex
	counted []string
	refused map[string]ratelimit.Decision
}

func (c *counter) Take(who string, limit ratelimit.Limit) ratelimit.Decision {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counted = append(c.counted, fmt.Sprintf("%s %d/s %d", who, limit.PerSecond, limit.Burst))
	if d, refused := c.refused[who]; refused {
		return d
	}
	return ratelimit.Decision{Allowed: true, Remaining: limit.Burst - 1, Reset: 10 * time.Millisecond}
}

// take returns who was counted since it was called last.
func (c *counter) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	counted := c.counted
	c.counted = nil
	return counted
}

func (c *counter) refuse(who string, d ratelimit.Decision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = map[string]ratelimit.Decision{who: d}
}

// limits checks the headers that tell of limits.
func (a answer) limits(tb testing.TB, policy, state string) {
	tb.Helper()
	if p, s := strings.Join(a.header["Ratelimit-Policy"], "|"), strings.Join(a.header["Ratelimit"], "|"); p != policy || s != state {
		tb.Errorf("RateLimit-Policy: %s, RateLimit: %s, want %s, %s", p, s, policy, state)
	}
}

// TestWhoIsCounted checks for which address and key requests count, and what the answers tell.
func TestWhoIsCounted(t *testing.T) {
	t.Parallel()
	c := &counter{}
	const address, both = `"address";q=20;w=2`, `"address";q=20;w=2, "key";q=200;w=2`
	h, tokens := startKeyedHubWith(t, map[string][]string{"bot": {"*"}, "menus": {"menus"}}, options{
		api: api.Config{Limits: api.Limits{Limiter: c, PerKey: 100, PerAddress: 10}},
	})
	bot, poor := "Authorization: Service "+tokens["bot"], "Authorization: Bearer "+tokens["menus"]
	const fromHere = "address 127.0.0.1 10/s 20"
	for _, test := range []struct {
		what, path    string
		header        string
		counted       []string
		policy, state string
	}{
		{"liveness", "/health/live", bot, nil, "", ""},
		{"readiness", "/health/ready", bot, []string{fromHere}, address, `"address";r=19;t=1`},
		{"page", "/docs", "", []string{fromHere}, address, `"address";r=19;t=1`},
		{"nothing", "/nothing", bot, []string{fromHere}, address, `"address";r=19;t=1`},
		{"wrong token", "/stats", "Authorization: Service nonsense", nil, "", ""},
		{"key", "/stats", bot, []string{fromHere, "key bot 100/s 200"}, both, `"address";r=19;t=1, "key";r=199;t=1`},
		{"no scope", "/v1/events?channel=global", poor, []string{fromHere, "key menus 100/s 200"}, both, `"address";r=19;t=1, "key";r=199;t=1`},
	} {
		c.take()
		h.get(t, test.path, test.header).limits(t, test.policy, test.state)
		if got := c.take(); !slices.Equal(got, test.counted) {
			t.Errorf("%s: counted are %q, want %q", test.what, got, test.counted)
		}
	}
	s := h.follow(t, "channel=user:1", bot)
	answer{header: s.header}.limits(t, both, `"address";r=19;t=1, "key";r=199;t=1`)
}

// TestTooManyRequests refuses an address and then a key.
func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	c := &counter{}
	h, tokens := startKeyedHubWith(t, map[string][]string{"bot": {"*"}}, options{
		api: api.Config{Limits: api.Limits{Limiter: c, PerKey: 100, PerAddress: 10}},
	})
	bot := "Authorization: Service " + tokens["bot"]
	c.refuse("address 127.0.0.1", ratelimit.Decision{Reset: 2 * time.Second, RetryAfter: 100 * time.Millisecond})
	for _, path := range []string{"/stats", "/health", "/health/ready", "/health/startup", "/docs", "/openapi.yaml", "/v1/stream?channel=global", "/nothing"} {
		a := h.get(t, path, bot)
		p := a.problem(t, 429, "rate_limited")
		a.limits(t, `"address";q=20;w=2`, `"address";r=0;t=2`)
		if after := a.header.Get("Retry-After"); after != "1" || !p.Retryable || p.Detail != "The address may make 10 requests a second. Try again later." {
			t.Errorf("Retry-After %q, %+v", after, p)
		}
	}
	h.get(t, "/health/live").is(t, 200, "application/health+json")

	c.refuse("key bot", ratelimit.Decision{Reset: 8 * time.Second, RetryAfter: 6001 * time.Millisecond})
	a := h.post(t, "/v1/events/global", `{"type":"tick"}`, bot)
	if p := a.problem(t, 429, "rate_limited"); a.header.Get("Retry-After") != "7" || p.Detail != "The key may make 100 requests a second. Try again later." {
		t.Errorf("Retry-After %q, %+v", a.header.Get("Retry-After"), p)
	}
	a.limits(t, `"address";q=20;w=2, "key";q=200;w=2`, `"address";r=19;t=1, "key";r=0;t=8`)
	h.get(t, "/health", bot).is(t, 200, "application/health+json")
	if n := h.logLength(t, "global"); n != 0 {
		t.Errorf("%d events were published", n)
	}
	if got, want := h.server.Limited(), (api.LimitedRequests{Key: 1, Address: 8}); got != want {
		t.Errorf("counted are %+v, want %+v", got, want)
	}
}

// TestLimitOfTheKey gives a key limits of its own, and another to the same service, as in a rotation: they count together.
func TestLimitOfTheKey(t *testing.T) {
	t.Parallel()
	c := &counter{}
	var all []*api.Key
	var auths []string
	for _, id := range []string{"old", "new"} {
		key, token, err := api.NewKey(id, "bot", []string{"*"})
		if err != nil {
			t.Fatal(err)
		}
		all, auths = append(all, key), append(auths, "Authorization: Service "+token)
	}
	all[0].RateLimit, all[0].MaxStreams = 7, 1
	all[1].MaxStreams = 2
	keys, err := api.NewKeys(all...)
	if err != nil {
		t.Fatal(err)
	}
	h := startHub(t, options{api: api.Config{Keys: keys, Limits: api.Limits{Limiter: c, PerKey: 100}}})
	h.get(t, "/stats", auths[0]).limits(t, `"key";q=14;w=2`, `"key";r=13;t=1`)
	h.get(t, "/stats", auths[1]).limits(t, `"key";q=200;w=2`, `"key";r=199;t=1`)
	if got := c.take(); !slices.Equal(got, []string{"key bot 7/s 14", "key bot 100/s 200"}) {
		t.Errorf("counted are %q", got)
	}
	h.follow(t, "channel=user:1", auths[0])
	h.get(t, "/v1/stream?channel=user:2", auths[0]).problem(t, 429, "too_many_streams")
	h.follow(t, "channel=user:2", auths[1])
	for _, auth := range auths {
		h.get(t, "/v1/stream?channel=user:3", auth).problem(t, 429, "too_many_streams")
	}
}

// TestRealLimit runs into the limit of a hub, and waits for as long as it is told.
func TestRealLimit(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{api: api.Config{Limits: api.Limits{Limiter: ratelimit.New(ratelimit.Config{}), PerAddress: 1}}})
	var refused answer
	redistest.Eventually(t, soon, "the limit is reached", func() bool {
		refused = h.get(t, "/stats")
		return refused.status == http.StatusTooManyRequests
	})
	refused.problem(t, 429, "rate_limited")
	after, err := strconv.Atoi(refused.header.Get("Retry-After"))
	if err != nil || after != 1 {
		t.Errorf("Retry-After: %s", refused.header.Get("Retry-After"))
	}
	<-time.After(time.Duration(after) * time.Second)
	h.get(t, "/stats").is(t, 200, "application/json")
}

// TestAddressOfTheClient sends X-Forwarded-For from proxies and from those who pretend.
func TestAddressOfTheClient(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.7/32"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fd00::/8")}
	for _, test := range []struct {
		from      string
		forwarded []string
		want      string
		trusted   []netip.Prefix
	}{
		{"203.0.113.9:4711", nil, "203.0.113.9", nil},
		{"[2001:db8:1:2:3:4:5:6]:4711", nil, "2001:db8:1:2::/64", nil},
		{"[2001:db8:1:2:ffff::]:4711", nil, "2001:db8:1:2::/64", nil},
		{"[fe80::1%eth0]:4711", nil, "fe80::/64", nil},
		{"[::ffff:203.0.113.9]:4711", nil, "203.0.113.9", nil},
		{"nonsense", nil, "", nil},
		// Without trusted proxies nobody is believed, whatever the address.
		{"127.0.0.1:4711", []string{"203.0.113.1"}, "127.0.0.1", nil},
		{"10.0.0.7:4711", []string{"203.0.113.1"}, "10.0.0.7", nil},
		// Trusted are those that are named, and no other private address.
		{"127.0.0.1:4711", []string{"203.0.113.1"}, "127.0.0.1", trusted},
		{"10.0.0.8:4711", []string{"203.0.113.1"}, "10.0.0.8", trusted},
		{"203.0.113.9:4711", []string{"203.0.113.1"}, "203.0.113.9", trusted},
		{"10.0.0.7:4711", []string{"203.0.113.1"}, "203.0.113.1", trusted},
		{"192.168.3.4:4711", []string{"2001:db8:1:2:3::1"}, "2001:db8:1:2::/64", trusted},
		{"[fd00::1]:4711", []string{"203.0.113.1"}, "203.0.113.1", trusted},
		{"10.0.0.7:4711", nil, "10.0.0.7", trusted},
		// What the client itself put in front of its address counts for nothing.
		{"10.0.0.7:4711", []string{"198.51.100.1, 203.0.113.1"}, "203.0.113.1", trusted},
		{"10.0.0.7:4711", []string{"198.51.100.1", "203.0.113.1"}, "203.0.113.1", trusted},
		{"10.0.0.7:4711", []string{"198.51.100.1, 203.0.113.1, 192.168.1.1"}, "203.0.113.1", trusted},
		{"10.0.0.7:4711", []string{"nonsense, 203.0.113.1"}, "203.0.113.1", trusted},
		{"10.0.0.7:4711", []string{"203.0.113.1, nonsense"}, "10.0.0.7", trusted},
		{"10.0.0.7:4711", []string{""}, "10.0.0.7", trusted},
	} {
		c := &counter{}
		server := api.New(api.Deps{}, api.Config{TrustedProxies: test.trusted, Limits: api.Limits{Limiter: c, PerAddress: 1}})
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1/docs", http.NoBody)
		req.RemoteAddr = test.from
		for _, value := range test.forwarded {
			req.Header.Add("X-Forwarded-For", value)
		}
		req.Header.Set("X-Real-IP", "198.51.100.77")
		req.Header.Set("Forwarded", "for=198.51.100.77")
		server.Handler().ServeHTTP(httptest.NewRecorder(), req)
		if got, want := c.take(), []string{"address " + test.want + " 1/s 2"}; !slices.Equal(got, want) {
			t.Errorf("from %s with %q: counted are %q, want %q", test.from, test.forwarded, got, want)
		}
	}
}

// TestGuessersAreRefused tries tokens from one address. Neither others nor valid keys suffer from it.
func TestGuessersAreRefused(t *testing.T) {
	t.Parallel()
	h, tokens := startKeyedHub(t, map[string][]string{"bot": {"*"}})
	ask := func(from, token string) int {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1/stats", http.NoBody)
		req.RemoteAddr = from
		if token != "" {
			req.Header.Set("Authorization", "Service "+token)
		}
		recorder := httptest.NewRecorder()
		h.server.Handler().ServeHTTP(recorder, req)
		if recorder.Code == http.StatusTooManyRequests && recorder.Header().Get("Retry-After") != "1" {
			t.Errorf("Retry-After: %s", recorder.Header().Get("Retry-After"))
		}
		return recorder.Code
	}
	const guesser = "203.0.113.9:4711"
	for n := range 50 {
		if status := ask(guesser, "guess "+strconv.Itoa(n)); status != http.StatusUnauthorized {
			t.Fatalf("guess %d gets %d", n, status)
		}
	}
	redistest.Eventually(t, soon, "the guesser is refused", func() bool { return ask(guesser, "") == http.StatusTooManyRequests })
	for from, token := range map[string]string{guesser: tokens["bot"], "203.0.113.10:4711": tokens["bot"]} {
		if status := ask(from, token); status != http.StatusOK {
			t.Errorf("a valid token from %s gets %d", from, status)
		}
	}
	if status := ask("203.0.113.10:4711", "wrong"); status != http.StatusUnauthorized {
		t.Errorf("another address gets %d", status)
	}
	if n := h.server.Limited().Unauthorized; n < 1 {
		t.Errorf("%d are counted", n)
	}
	logged := make(map[string]bool)
	for _, entry := range h.logs.FilterMessage("request").All() {
		fields := entry.ContextMap()
		logged[fmt.Sprint(fields["status"], " ", fields["remote"])] = true
	}
	for _, want := range []string{"401 203.0.113.9", "429 203.0.113.9", "401 203.0.113.10", "200 <nil>"} {
		if !logged[want] {
			t.Errorf("the log tells of %v, not of %s", logged, want)
		}
	}
	// Over the wire, as the contract has it.
	redistest.Eventually(t, soon, "the test itself is refused", func() bool { return h.get(t, "/stats").status == http.StatusTooManyRequests })
	redistest.Eventually(t, soon, "the guesser may try again", func() bool { return ask(guesser, "wrong") == http.StatusUnauthorized })
}
