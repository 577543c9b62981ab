package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// trusting returns a client that trusts the authority of the files, and shows their certificate if it is to.
func (files certificates) trusting(tb testing.TB, showing bool) *http.Client {
	tb.Helper()
	raw, err := os.ReadFile(files.ca)
	if err != nil {
		tb.Fatal(err)
	}
	cfg := &tls.Config{ServerName: "localhost", RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	cfg.RootCAs.AppendCertsFromPEM(raw)
	if showing {
		pair, err := tls.LoadX509KeyPair(files.cert, files.key)
		if err != nil {
			tb.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true, DisableKeepAlives: true}
	tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: soon}
}

// copyTo writes the files over others.
func (files certificates) copyTo(tb testing.TB, others certificates) {
	tb.Helper()
	for from, to := range map[string]string{files.cert: others.cert, files.key: others.key, files.ca: others.ca} {
		raw, err := os.ReadFile(from)
		if err != nil {
			tb.Fatal(err)
		}
		write(tb, to, string(raw))
	}
}

func TestServeTLS(t *testing.T) {
	t.Parallel()
	files := newCertificates(t)
	hub := serve(t, environment{"TLS_CERT_FILE": files.cert, "TLS_KEY_FILE": files.key})
	if !strings.HasPrefix(hub.url, "https://127.0.0.1:") {
		t.Errorf("the hub says it is at %s", hub.url)
	}
	hub.stdout.has(t, "curl 'https://127.0.0.1:")
	alive := func(client *http.Client) error {
		res, err := client.Get(hub.url + "/health/live")
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
			return fmt.Errorf("status %s over %s", res.Status, res.Proto)
		}
		return nil
	}
	if err := alive(files.trusting(t, false)); err != nil {
		t.Error(err)
	}
	res, err := http.Get(strings.Replace(hub.url, "https:", "http:", 1) + "/health/live")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("without TLS the status is %s", res.Status)
	}
	_, port, _ := net.SplitHostPort(hub.addr)
	client := environment{"HUB_URL": "https://localhost:" + port, "HUB_CA_FILE": files.ca}
	call(t, client, "publish", "--global", "test_event").want(t, 0)

	// Another authority's files are served soon after they are there.
	others := newCertificates(t)
	others.copyTo(t, files)
	redistest.Eventually(t, soon, "the new certificate is served", func() bool { return alive(others.trusting(t, false)) == nil })
	hub.stderr.has(t, "the TLS certificate was read again")
	write(t, files.key, "nonsense")
	redistest.Eventually(t, soon, "the fault is told", func() bool {
		if err := alive(others.trusting(t, false)); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(hub.stderr.String(), "the certificate stays as it was")
	})
}

func TestServeMutualTLS(t *testing.T) {
	t.Parallel()
	files, strangers := newCertificates(t), newCertificates(t)
	hub := serve(t, environment{
		"TLS_CERT_FILE": files.cert, "TLS_KEY_FILE": files.key, "TLS_CLIENT_CA_FILE": files.ca, "METRICS_ADDR": "127.0.0.1:0",
	})
	_, port, _ := net.SplitHostPort(hub.addr)
	client := environment{"HUB_URL": "https://localhost:" + port, "HUB_CA_FILE": files.ca}
	publish := []string{"publish", "--global", "test_event"}
	call(t, client.with("HUB_CLIENT_CERT_FILE", files.cert, "HUB_CLIENT_KEY_FILE", files.key), publish...).want(t, 0)
	call(t, client, publish...).want(t, 1, "if it wants a certificate, see HUB_CLIENT_CERT_FILE")
	call(t, environment{"HUB_URL": "http://localhost:" + port}, publish...).want(t, 1, "the hub speaks TLS: set HUB_URL to https://")
	// Probes have no certificate.
	addr, _ := hub.operationsAt(t)
	if status, body := ask(t, addr, "", "/health/ready"); status != http.StatusOK {
		t.Errorf("a probe gets %d, %s", status, body)
	}
	call(t, client.with("HUB_CLIENT_CERT_FILE", strangers.cert, "HUB_CLIENT_KEY_FILE", strangers.key), publish...).want(t, 1)
}

// TestTLSIsNoKey checks that certificates let nobody do without keys.
func TestTLSIsNoKey(t *testing.T) {
	t.Parallel()
	files := newCertificates(t)
	call(t, environment{
		"HTTP_ADDR": "0.0.0.0:0", "METRICS_ADDR": noAddr, "EMBEDDED_REDIS_ADDR": "127.0.0.1:0",
		"TLS_CERT_FILE": files.cert, "TLS_KEY_FILE": files.key, "TLS_CLIENT_CA_FILE": files.ca,
	}, "serve").want(t, 2, "HTTP_ADDR (or --http-addr) must be a loopback address", "while there is no key")
}

func TestAWarningOfPlainText(t *testing.T) {
	t.Parallel()
	const warning = "tokens can be read on their way"
	files := newCertificates(t)
	open := environment{"HTTP_ADDR": "0.0.0.0:0", "SERVICE_AUTH_TOKEN": "a-token-of-decent-length"}
	for name, test := range map[string]struct {
		env  environment
		want bool
	}{
		"plain":    {open, true},
		"TLS":      {open.with("TLS_CERT_FILE", files.cert, "TLS_KEY_FILE", files.key), false},
		"proxy":    {open.with("TRUSTED_PROXIES", "10.0.0.7"), false},
		"loopback": {open.with("HTTP_ADDR", "127.0.0.1:0"), false},
	} {
		hub := serve(t, test.env)
		if got := strings.Contains(hub.stderr.String(), warning); got != test.want {
			t.Errorf("%s: warned %t, want %t: %s", name, got, test.want, hub.stderr)
		}
		hub.stop(t)
	}
}

// TestLimitsTakeEffect checks that each setting reaches the part that it is for.
func TestLimitsTakeEffect(t *testing.T) {
	t.Parallel()
	const token = "a-token-of-decent-length"
	env := onSharedRedis(t)
	hub := serve(t, env.with(
		"SERVICE_AUTH_TOKEN", token, "RATE_LIMIT_PER_KEY", "1000", "RATE_LIMIT_PER_ADDRESS", "10", "MAX_STREAMS_PER_KEY", "1",
		"MAX_CONNECTIONS", "20", "TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8",
	))
	ask := func(path, from string) (status int, policy, text string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, hub.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Service "+token)
		req.Header.Set("X-Forwarded-For", from)
		res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		first := make([]byte, 4096) // A stream goes on.
		n, err := res.Body.Read(first)
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		return res.StatusCode, res.Header.Get("RateLimit-Policy"), string(first[:n])
	}
	const policy = `"address";q=20;w=2, "key";q=2000;w=2`
	if _, got, _ := ask("/v1/events?channel=global", "203.0.113.1"); got != policy {
		t.Errorf("RateLimit-Policy: %s", got)
	}
	rdb := redistest.Shared(t).Client()
	redistest.Eventually(t, soon, "both addresses are counted in Redis", func() bool {
		ask("/v1/events?channel=global", "203.0.113.1, 10.1.2.3")
		ask("/v1/events?channel=global", "203.0.113.2")
		return len(rdb.Keys(t.Context(), env["CHANNEL_PREFIX"]+":rate:*").Val()) >= 2
	})
	if status, _, text := ask("/v1/stream?channel=user:1", "203.0.113.3"); status != http.StatusOK {
		t.Errorf("a stream gets %d, %s", status, text)
	}
	status, _, text := ask("/v1/stream?channel=user:1", "203.0.113.3")
	if status != http.StatusTooManyRequests || !strings.Contains(text, "The key has") {
		t.Errorf("a second stream gets %d, %s", status, text)
	}
	for range 50 {
		conn, err := net.DialTimeout("tcp", hub.addr, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	if status, _ := hub.get(t, "/health/live"); status != http.StatusOK {
		t.Errorf("behind 50 idle connections the status is %d", status)
	}
	hub.stop(t)
}

// TestFewOpenFiles starts a hub that may not have as many files open as MAX_CONNECTIONS would need, and opens too many.
func TestFewOpenFiles(t *testing.T) {
	t.Parallel()
	hub, _ := serveProgram(t, nil, func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"sh", "-c", `ulimit -n 700 && exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
	})
	hub.stderr.has(t, `"max_connections":30000,"open_files":700,"connections":350`)
	for range 800 {
		conn, err := net.DialTimeout("tcp", hub.addr, soon)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	if status, _ := hub.get(t, "/health/live"); status != http.StatusOK {
		t.Errorf("behind 800 idle connections the status is %d", status)
	}
}

func TestConnectionsLeaveFilesForTheRest(t *testing.T) {
	t.Parallel()
	for files, want := range map[int]int{0: 30000, 1: 1, 700: 350, 1024: 512, 20000: 19488, 30511: 29999, 30512: 30000, 1 << 30: 30000} {
		core, logs := observer.New(zap.WarnLevel)
		if got := (&doorSettings{MaxConnections: 30000}).mostConnections(files, zap.New(core)); got != want {
			t.Errorf("with %d files there are %d connections, want %d", files, got, want)
		}
		if warned := logs.Len() > 0; warned != (want < 30000) {
			t.Errorf("with %d files the log says %+v", files, logs.All())
		}
	}
}
