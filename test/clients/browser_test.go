//go:build clients

package clients

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// site is what stands between a browser and the hub: it serves the page, passes on what is asked of /v1/ with the key
// that a browser's EventSource cannot send, and takes what the page reports.
type site struct {
	page  http.Handler
	proxy *httputil.ReverseProxy
	// refusing makes the site answer as a proxy does whose hub is away, instead of breaking the connection.
	refusing atomic.Bool
	refused  atomic.Int64

	mu     sync.Mutex
	report report
}

// report is what the page says of itself.
type report struct {
	// Title is the page's title, Shown how many events its list has.
	Title  string
	Shown  int
	Opened int
	Events []event
}

func newSite(tb testing.TB, hubURL, token string) (*site, string) {
	tb.Helper()
	target, err := url.Parse(hubURL)
	if err != nil {
		tb.Fatal(err)
	}
	s := &site{page: http.FileServer(http.Dir("browser"))}
	s.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Set("Authorization", "Service "+token)
		},
		FlushInterval: -1,
		Transport:     &http.Transport{DisableKeepAlives: true},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			if !s.refusing.Load() {
				panic(http.ErrAbortHandler)
			}
			s.refused.Add(1)
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", s.proxy)
	mux.HandleFunc("POST /report", func(_ http.ResponseWriter, r *http.Request) { s.take(tb, r) })
	mux.Handle("/", s.page)
	server := httptest.NewServer(mux)
	tb.Cleanup(server.Close)
	tb.Cleanup(server.CloseClientConnections)
	return s, server.URL
}

func (s *site) take(tb testing.TB, r *http.Request) {
	tb.Helper()
	var got report
	if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
		tb.Errorf("a report: %v", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report = got
}

func (s *site) reported() report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.report
}

// browse opens a page in a browser without a window.
func browse(tb testing.TB, address string) *process {
	tb.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser := start(tb, nil, path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
				"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
				"--no-proxy-server", "--user-data-dir="+tb.TempDir(), "--remote-debugging-port=0", address)
			tb.Cleanup(func() { // So that it leaves its directory alone before that is removed.
				_ = browser.cmd.Process.Signal(syscall.SIGTERM) // It may have ended.
				select {
				case <-browser.ended:
				case <-time.After(soon):
				}
			})
			return browser
		}
	}
	tb.Fatal("no browser: make test-clients says what is needed")
	return nil
}

// TestBrowserMissesNothing reads with a browser's own EventSource, through a proxy, while everything is broken once.
func TestBrowserMissesNothing(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	env := []string{"REDIS_URL=" + rds.URL(), "USER_LOG_ENTRIES=100000", "GLOBAL_LOG_ENTRIES=100000"}
	through := serve(t, env...)
	const token = "a-token-of-decent-length"
	guarded := append(env, "HTTP_ADDR="+freeAddr(t))
	h := serve(t, guarded...)
	s, address := newSite(t, h.url, token)
	browser := browse(t, address)
	browser.await(t, "the page is open", func() bool { return s.reported().Opened > 0 })
	publisher := startPublisher(t, through)
	received := func() int { return len(s.reported().Events) }
	h = breakIt(t, rds, h, guarded, received)

	// A proxy that answers for the hub makes the browser give up; the page itself then has to go on.
	s.refusing.Store(true)
	h.kill()
	browser.await(t, "the proxy refuses", func() bool { return s.refused.Load() > 0 })
	h = serve(t, append(guarded, "HTTP_ADDR="+h.addr)...)
	h.followed(t)
	have := received()
	browser.await(t, "events come after the proxy refused", func() bool { return received() >= have+20 })

	sent := publisher.stop(t)
	browser.await(t, "the last event", func() bool { return received() >= sent })
	last := s.reported()
	allOnce(t, last.Events, sent)
	if last.Opened != 4 {
		t.Errorf("the page connected %d times, not at first and after each of three ends of the hub", last.Opened)
	}
	if last.Shown != sent {
		t.Errorf("the page shows %d of %d events, under the title %q", last.Shown, sent, last.Title)
	}
	t.Logf("%d events, %d connections, title %q", sent, last.Opened, last.Title)
}
