//go:build java

package java

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// keyed asks once, with always the same Idempotency-Key. It may be called from any goroutine.
func keyed(tb testing.TB, url, body string) (answer, error) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", "week-47")
	res, err := (&http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: 2 * soon}).RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return answer{status: res.StatusCode, header: res.Header, body: string(text)}, err
}

// TestHubsAskOnceForAKey sends a request with a key to two hubs many times at once.
func TestHubsAskOnceForAKey(t *testing.T) {
	const n = 20
	s, rds := serviceFor(t), redistest.Start(t)
	s.late(simplePath, 300*time.Millisecond)
	hubs := []*hub{startHub(t, rds, "JAVA_SERVICE_URL="+s.url), startHub(t, rds, "JAVA_SERVICE_URL="+s.url)}
	body, got := staff(8), make(chan answer)
	for i := range n {
		go func() {
			a, err := keyed(t, hubs[i%2].url+hubSimple, body)
			if err != nil {
				t.Error(err)
			}
			got <- a
		}()
	}
	first, replayed := <-got, 0
	for i := range n {
		a := first
		if i > 0 {
			a = <-got
		}
		if a.status != http.StatusOK || a.body != first.body || !strings.Contains(a.body, `"source":"java"`) {
			t.Errorf("%d %s, and first %s", a.status, a.body, first.body)
		}
		if a.header.Get("Idempotency-Replayed") == "true" {
			replayed++
		}
	}
	if replayed != n-1 {
		t.Errorf("%d of %d answers are replayed", replayed, n)
	}
	s.got(simplePath, 1)
	if a, err := keyed(t, hubs[1].url+hubSimple, staff(4)); err != nil || a.status != http.StatusUnprocessableEntity && a.status != http.StatusConflict {
		t.Errorf("other people with the same key: %d %s, %v", a.status, a.body, err)
	}
	s.got(simplePath, 1)
}

// TestHubIsKilledWithAKey kills a hub while the service is slow with what a key is for.
func TestHubIsKilledWithAKey(t *testing.T) {
	s, rds := serviceFor(t), redistest.Start(t)
	s.late(simplePath, time.Hour)
	settings := []string{"JAVA_SERVICE_URL=" + s.url, "JAVA_TIMEOUT=3s", "JAVA_TIMEOUT_TOTAL=3s"}
	first, second := startHub(t, rds, settings...), startHub(t, rds, settings...)
	ended := make(chan error)
	go func() {
		_, err := keyed(t, first.url+hubSimple, staff(4))
		ended <- err
	}()
	s.got(simplePath, 1)
	first.kill()
	if err := <-ended; err == nil {
		t.Error("a hub that is killed answers")
	}
	s.set(switches{})
	killed := time.Now()
	// Until the other hub may go on, which is some time, it says so, and in time for its caller to hear that.
	redistest.Eventually(t, 2*soon, "the other hub goes on", func() bool {
		asked := time.Now()
		a, err := keyed(t, second.url+hubSimple, staff(4))
		if err != nil {
			t.Fatalf("the other hub does not answer after %v: %v", time.Since(asked), err)
		}
		if a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "" {
			return false
		}
		if a.status != http.StatusOK || !strings.Contains(a.body, `"source":"java"`) {
			t.Fatalf("the other hub answers %d %s", a.status, a.body)
		}
		return true
	})
	t.Logf("the other hub went on after %v", time.Since(killed))
	s.got(simplePath, 2)
}
