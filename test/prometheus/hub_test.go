//go:build prometheus

package prometheus

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

const token = "a-token-of-these-tests-alone"

// hub is a running hub, with a matching service that is not there.
type hub struct {
	*program
	url     string
	metrics string // host and port of its numbers
}

var (
	listening = regexp.MustCompile(`is listening on (http://\S+?)\. Try it`)
	measuring = regexp.MustCompile(`metrics and profiles are served to this machine","address":"([^"]+)"`)
)

// startHub starts a hub and returns once it is healthy.
func startHub(tb testing.TB, rds *redistest.Server) *hub {
	tb.Helper()
	h := &hub{program: start(tb, []string{
		"HTTP_ADDR=127.0.0.1:0", "METRICS_ADDR=127.0.0.1:0", "REDIS_URL=" + rds.URL(), "SERVICE_AUTH_TOKEN=" + token,
		"JAVA_SERVICE_URL=http://127.0.0.1:1", "HEALTH_INTERVAL=1s",
	}, binary, "serve")}
	h.await("the hub listens", func() bool {
		said := h.said.String()
		at, numbers := listening.FindStringSubmatch(said), measuring.FindStringSubmatch(said)
		if at == nil || numbers == nil {
			return false
		}
		h.url, h.metrics = at[1], numbers[1]
		return true
	})
	h.await("the hub is healthy", func() bool { status, _ := get(tb, h.url+"/health"); return status == http.StatusOK })
	return h
}

// call sends a request with the hub's key and returns the status of the answer.
func (h *hub) call(method, path, body string) int {
	h.tb.Helper()
	req, err := http.NewRequestWithContext(h.tb.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.tb.Fatal(err)
	}
	req.Header.Set("Authorization", "Service "+token)
	req.Header.Set("Content-Type", "application/json")
	status, _ := do(h.tb, req)
	return status
}

// must does the same so many times, and checks the status. In the path and the body, # is the number of the call.
func (h *hub) must(times, status int, method, path, body string) {
	h.tb.Helper()
	for i := range times {
		n := strings.NewReplacer("#", strconv.Itoa(i))
		if got := h.call(method, n.Replace(path), n.Replace(body)); got != status {
			h.tb.Fatalf("%s %s: %d, want %d", method, path, got, status)
		}
	}
}

// listen opens a stream that somebody reads, to the end of the test.
func (h *hub) listen(query string) {
	h.tb.Helper()
	req, err := http.NewRequestWithContext(h.tb.Context(), http.MethodGet, h.url+"/v1/stream?"+query, nil)
	if err != nil {
		h.tb.Fatal(err)
	}
	req.Header.Set("Authorization", "Service "+token)
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req) //nolint:bodyclose // With the test.
	if err != nil {
		h.tb.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		h.tb.Fatalf("the stream %s: %s", query, res.Status)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(io.Discard, res.Body) // Until it is closed.
	}()
	h.tb.Cleanup(func() {
		_ = res.Body.Close()
		<-read
	})
}

// get asks without a key.
func get(tb testing.TB, url string) (status int, body string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return do(tb, req)
}

// do returns 0 when there is no answer.
func do(tb testing.TB, req *http.Request) (status int, body string) {
	tb.Helper()
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(text)
}
