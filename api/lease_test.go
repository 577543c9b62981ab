package api_test

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/connectbot-hub/connecthub/api"
)

const leaseOf7 = "/v1/users/7/lease"

func (a answer) lease(tb testing.TB, status int) api.Lease {
	tb.Helper()
	a.is(tb, status, "application/json")
	lease := decode[api.Lease](tb, a.body)
	if len(lease.Token) < 20 {
		tb.Errorf("the token is %q", lease.Token)
	}
	return lease
}

// TestLease gets, renews, loses and releases a lease.
func TestLease(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	mine := h.post(t, leaseOf7, "").lease(t, 201)
	if mine.ExpiresIn != 30 {
		t.Errorf("it is good for %d s", mine.ExpiresIn)
	}
	a := h.post(t, leaseOf7, "")
	if p := a.problem(t, 409, "lease_held"); !p.Retryable || a.header.Get("Retry-After") != "1" || strings.Contains(string(a.body), mine.Token) {
		t.Errorf("another gets %s, Retry-After %s", a.body, a.header.Get("Retry-After"))
	}
	if other := h.post(t, "/v1/users/8/lease?ttl=300", "").lease(t, 201); other.Token == mine.Token || other.ExpiresIn != 300 {
		t.Errorf("another user's lease is %+v", other)
	}
	if renewed := h.post(t, leaseOf7+"?ttl=60&token="+mine.Token, "").lease(t, 200); renewed.Token != mine.Token || renewed.ExpiresIn != 60 {
		t.Errorf("renewed it is %+v", renewed)
	}
	const stranger = "4f5d0b6c-5a0e-4a7e-9a51-1c7d6a0b2e93"
	if p := h.post(t, leaseOf7+"?token="+stranger, "").problem(t, 409, "lease_lost"); p.Retryable {
		t.Error("what is lost is said to be worth another try")
	}
	h.delete(t, leaseOf7+"?token="+stranger).problem(t, 404, "lease_not_found")
	h.delete(t, leaseOf7+"?token="+mine.Token).json(t, 200, `{"released":true}`)
	h.delete(t, leaseOf7+"?token="+mine.Token).problem(t, 404, "lease_not_found")
	h.post(t, leaseOf7+"?token="+mine.Token, "").problem(t, 409, "lease_lost")
	h.post(t, leaseOf7+"?wait=0", "").lease(t, 201)
}

// TestLeaseExpires lets a lease run out that nobody renews.
func TestLeaseExpires(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	mine := h.post(t, leaseOf7+"?ttl=1", "").lease(t, 201)
	next := h.post(t, leaseOf7+"?wait=10", "").lease(t, 201)
	if next.Token == mine.Token {
		t.Error("both have one token")
	}
	h.post(t, leaseOf7+"?token="+mine.Token, "").problem(t, 409, "lease_lost")
	h.delete(t, leaseOf7+"?token="+mine.Token).problem(t, 404, "lease_not_found")
	h.post(t, leaseOf7+"?wait=1", "").problem(t, 409, "lease_held")
}

// TestLeaseExcludes lets many handle updates of one user under leases: never two at once.
func TestLeaseExcludes(t *testing.T) {
	t.Parallel()
	hubs := []*hub{startHub(t, options{})}
	two := options{}
	two.events.Prefix = hubs[0].prefix
	hubs = append(hubs, startHub(t, two))
	const n = 12
	var inside, handled atomic.Int32
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			h := hubs[i%2]
			a, err := h.try(t, http.MethodPost, leaseOf7+"?wait=10", http.NoBody)
			if err != nil || a.status != 201 {
				t.Errorf("%v, %d %s", err, a.status, a.body)
				return
			}
			if inside.Add(1) != 1 {
				t.Error("two have the lease")
			}
			handled.Add(1)
			inside.Add(-1)
			token := decode[api.Lease](t, a.body).Token
			if a, err := h.try(t, http.MethodDelete, leaseOf7+"?token="+token, http.NoBody); err != nil || a.status != 200 {
				t.Errorf("%v, %d %s", err, a.status, a.body)
			}
		})
	}
	all.Wait()
	if handled.Load() != n {
		t.Errorf("%d of %d were handled", handled.Load(), n)
	}
}

// TestLeaseOfWhoIsGone lets a caller go who waits for a lease. It does not get it, and nothing else suffers.
func TestLeaseOfWhoIsGone(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	mine := h.post(t, leaseOf7, "").lease(t, 201)
	ctx, leave := context.WithCancel(t.Context())
	sent := make(chan struct{})
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+leaseOf7+"?wait=10", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	var gone sync.WaitGroup
	gone.Go(func() {
		if resp, err := h.http.Do(req); err == nil {
			_ = resp.Body.Close()
			t.Errorf("answered %d", resp.StatusCode)
		}
	})
	<-sent
	leave()
	gone.Wait()
	h.delete(t, leaseOf7+"?token="+mine.Token).is(t, 200, "application/json")
	h.post(t, leaseOf7, "").lease(t, 201)
	if a := h.put(t, "/v1/temp/n/a", `1`); a.header.Get("Degraded") != "" {
		t.Error("the hub takes Redis for away")
	}
}

// TestLeaseOfHubThatShutsDown lets a hub shut down while a caller waits for a lease. The caller is answered at once, and
// nothing waits for it.
func TestLeaseOfHubThatShutsDown(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 2)
	h := startHub(t, options{leasing: asked})
	h.post(t, leaseOf7+"?ttl=300", "").lease(t, 201)
	<-asked
	var waiting sync.WaitGroup
	waiting.Go(func() {
		a, err := h.try(t, http.MethodPost, leaseOf7+"?wait=10", http.NoBody)
		if err != nil {
			t.Error(err)
			return
		}
		// Had it waited to the end, the lease would be held.
		if p := a.problem(t, 503, "shutting_down"); !p.Retryable || a.header.Get("Retry-After") != "1" {
			t.Errorf("retryable %t, Retry-After %q", p.Retryable, a.header.Get("Retry-After"))
		}
	})
	<-asked
	h.stop(t)
	waiting.Wait()
}
