package menucache_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/menucache"
)

const (
	secret = "s3cret"
	// longEnough bounds what should come about at once, on a machine that is busy with other tests.
	longEnough = 20 * time.Second
)

func newSource(tb testing.TB, cfg menucache.SourceConfig) *menucache.Source {
	tb.Helper()
	s, err := menucache.NewSource(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// serve runs a menu source. It is closed after the Source that newSource makes later.
func serve(tb testing.TB, handler http.HandlerFunc) *httptest.Server {
	tb.Helper()
	server := httptest.NewServer(handler)
	tb.Cleanup(server.Close)
	return server
}

func TestNewSourceChecksWithoutRepeating(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg  menucache.SourceConfig
		want string // in the error; empty: no error
	}{
		"plain":          {menucache.SourceConfig{URL: "http://host:8080"}, ""},
		"with a path":    {menucache.SourceConfig{URL: "https://host/api/v1/", Token: "t", Timeout: time.Second}, ""},
		"with a user":    {menucache.SourceConfig{URL: "https://user:" + secret + "@host"}, ""},
		"empty":          {menucache.SourceConfig{}, "http://"},
		"other scheme":   {menucache.SourceConfig{URL: "ftp://user:" + secret + "@host"}, "http://"},
		"no scheme":      {menucache.SourceConfig{URL: "host:80/" + secret}, "http://"},
		"no host":        {menucache.SourceConfig{URL: "http:///" + secret}, "with a host"},
		"only a port":    {menucache.SourceConfig{URL: "http://:80"}, "with a host"},
		"unreadable":     {menucache.SourceConfig{URL: "http://user:" + secret + "%zz@host"}, "http://"},
		"bad port":       {menucache.SourceConfig{URL: "http://user:" + secret + "/x@host"}, "http://"},
		"query":          {menucache.SourceConfig{URL: "http://host/?" + secret}, "no query"},
		"fragment":       {menucache.SourceConfig{URL: "http://host/#" + secret}, "no query"},
		"token":          {menucache.SourceConfig{URL: "http://host", Token: secret + "\n"}, "token"},
		"timeout":        {menucache.SourceConfig{URL: "http://host", Timeout: -1}, "timeout"},
		"smallest value": {menucache.SourceConfig{URL: "http://[::1]", Timeout: time.Millisecond}, ""},
	} {
		s, err := menucache.NewSource(test.cfg)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), secret)):
			t.Errorf("%s: %v", name, err)
		}
		if s != nil {
			s.Close()
		}
	}
}

func TestSourceAsks(t *testing.T) {
	t.Parallel()
	var got atomic.Pointer[http.Request]
	var body atomic.Value
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		body.Store(string(raw))
		got.Store(r)
		_, _ = io.WriteString(w, ` {"options":[]} `)
	})
	source := newSource(t, menucache.SourceConfig{URL: server.URL + "/api/", Token: secret})
	key := menucache.Key{UserID: 1 << 40, Type: "a/b {c}"}

	menu, err := source.Get(t.Context(), key, "super_admin", "en")
	if err != nil || string(menu) != ` {"options":[]} ` {
		t.Errorf("%q, %v", menu, err)
	}
	r := got.Load()
	if r.Method != http.MethodGet || r.RequestURI != "/api/menus/1099511627776/a%2Fb%20%7Bc%7D?lang=en&role=super_admin" {
		t.Errorf("%s %s", r.Method, r.RequestURI)
	}
	if r.Header.Get("Authorization") != "Service "+secret || r.Header.Get("User-Agent") != "connecthub" {
		t.Errorf("headers %v", r.Header)
	}
	if _, err := source.Get(t.Context(), key, "", ""); err != nil || got.Load().URL.RawQuery != "" {
		t.Errorf("%q, %v", got.Load().URL.RawQuery, err)
	}

	if err := source.Put(t.Context(), key, []byte(`{"a": 1}`), "17"); err != nil {
		t.Error(err)
	}
	r = got.Load()
	if r.Method != http.MethodPut || r.RequestURI != "/api/menus/1099511627776/a%2Fb%20%7Bc%7D" || body.Load() != `{"a": 1}` {
		t.Errorf("%s %s %s", r.Method, r.RequestURI, body.Load())
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "X-Write-Id": "17", "Idempotency-Key": "17", "Authorization": "Service " + secret,
	} {
		if r.Header.Get(name) != want {
			t.Errorf("%s: %q", name, r.Header.Get(name))
		}
	}
	if r.ContentLength != 8 {
		t.Errorf("Content-Length %d", r.ContentLength)
	}
	if err := source.Put(t.Context(), key, []byte(`{}`), ""); err != nil || got.Load().Header["X-Write-Id"] != nil {
		t.Errorf("%v, %v", got.Load().Header, err)
	}
}

// hang answers nothing until the caller has gone.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // Only then is a leaving caller noticed.
	<-r.Context().Done()
}

// raw answers with these bytes and ends the connection.
func raw(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, answer)
		_ = conn.Close()
	}
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// large is a menu of so many bytes.
func large(size int) string { return `{"a":"` + strings.Repeat("x", size-8) + `"}` }

func TestSourceGetFaults(t *testing.T) {
	t.Parallel()
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    error // nil: a menu
		says    string
	}{
		"not found":            {answer(404, secret), menucache.ErrNotFound, "not found"},
		"gone":                 {answer(410, secret), menucache.ErrSourceUnavailable, "status 410"},
		"unauthorized":         {answer(401, secret), menucache.ErrSourceUnavailable, "status 401"},
		"failure":              {answer(500, strings.Repeat(secret, 100_000)), menucache.ErrSourceUnavailable, "status 500"},
		"unavailable":          {answer(503, ""), menucache.ErrSourceUnavailable, "status 503"},
		"no content":           {answer(204, ""), menucache.ErrSourceUnavailable, "status 204"},
		"created":              {answer(201, "{}"), menucache.ErrSourceUnavailable, "status 201"},
		"redirect":             {http.RedirectHandler(elsewhere.URL, http.StatusFound).ServeHTTP, menucache.ErrSourceUnavailable, "status 302"},
		"HTML":                 {answer(200, "<html>"+secret), menucache.ErrSourceUnavailable, "no JSON object"},
		"nothing":              {answer(200, ""), menucache.ErrSourceUnavailable, "no JSON object"},
		"null":                 {answer(200, "null"), menucache.ErrSourceUnavailable, "no JSON object"},
		"a list":               {answer(200, "[{}]"), menucache.ErrSourceUnavailable, "no JSON object"},
		"two objects":          {answer(200, "{}{}"), menucache.ErrSourceUnavailable, "no JSON object"},
		"half an object":       {answer(200, `{"`+secret), menucache.ErrSourceUnavailable, "no JSON object"},
		"no UTF-8":             {answer(200, "{\"a\":\"\xff\"}"), menucache.ErrSourceUnavailable, "no JSON object"},
		"largest":              {answer(200, large(menucache.MaxMenuSize)), nil, ""},
		"too large":            {answer(200, large(menucache.MaxMenuSize+1)), menucache.ErrSourceUnavailable, "larger than"},
		"small but compressed": {compressed(large(50 << 20)), menucache.ErrSourceUnavailable, "larger than"},
		"cut body":             {raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"" + secret), menucache.ErrSourceUnavailable, "too early"},
		"cut chunk":            {raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\"" + secret), menucache.ErrSourceUnavailable, "too early"},
		"no answer":            {raw(""), menucache.ErrSourceUnavailable, "too early"},
		"no HTTP":              {raw(secret + " " + secret + "\r\n\r\n"), menucache.ErrSourceUnavailable, "not understood"},
		"bad status":           {raw("HTTP/1.1 " + secret + "\r\n\r\n"), menucache.ErrSourceUnavailable, "not understood"},
		"bad header":           {raw("HTTP/1.1 200 OK\r\n" + secret + "\r\n\r\n"), menucache.ErrSourceUnavailable, "not understood"},
		"bad chunk":            {raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + secret + "\r\n"), menucache.ErrSourceUnavailable, "not understood"},
		"huge header":          {raw("HTTP/1.1 200 OK\r\nA: " + strings.Repeat(secret, 100_000) + "\r\n\r\n{}"), menucache.ErrSourceUnavailable, ""},
		"hangs":                {hang, menucache.ErrSourceUnavailable, "in time"},
		"hangs in the body": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"a":`)
			_ = http.NewResponseController(w).Flush()
			hang(w, r)
		}, menucache.ErrSourceUnavailable, "in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				test.handler(w, r)
			})
			cfg := menucache.SourceConfig{URL: server.URL, Token: secret, Timeout: longEnough}
			if test.says == "in time" {
				cfg.Timeout = 50 * time.Millisecond
			}
			menu, err := newSource(t, cfg).Get(t.Context(), menucache.Key{UserID: 1, Type: "main"}, "user", "ru")
			if !errors.Is(err, test.want) || (err == nil) != (menu != nil) {
				t.Fatalf("%d bytes, %v", len(menu), err)
			}
			if err != nil && (!strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), secret)) {
				t.Error(err)
			}
			if calls.Load() != 1 {
				t.Errorf("%d calls", calls.Load())
			}
		})
	}
}

func compressed(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		zip := gzip.NewWriter(w)
		_, _ = io.WriteString(zip, body)
		_ = zip.Close()
	}
}

// TestSourceAway calls a port where nobody listens, one that says nothing, one without the right certificate, and leaves.
func TestSourceAway(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(nil)
	closed.Close()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	secure := httptest.NewUnstartedServer(answer(200, "{}"))
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	t.Cleanup(secure.Close)
	key := menucache.Key{UserID: 1, Type: "main"}
	for address, says := range map[string]string{
		strings.Replace(closed.URL, "http://", "http://user:"+secret+"@", 1): "refused",
		"http://" + listener.Addr().String():                                 "in time",
		secure.URL:                                                           "certificate",
	} {
		source := newSource(t, menucache.SourceConfig{URL: address, Timeout: time.Second})
		_, getErr := source.Get(t.Context(), key, "", "")
		putErr := source.Put(t.Context(), key, []byte("{}"), "")
		for _, err := range []error{getErr, putErr} {
			if !errors.Is(err, menucache.ErrSourceUnavailable) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), secret) {
				t.Error(err)
			}
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	server := serve(t, func(w http.ResponseWriter, r *http.Request) { cancel(); hang(w, r) })
	_, err = newSource(t, menucache.SourceConfig{URL: server.URL, Timeout: longEnough}).Get(ctx, key, "", "")
	if !errors.Is(err, menucache.ErrSourceUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who left: %v", err)
	}
}

func TestSourcePutAnswers(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{
		200: nil, 201: nil, 202: nil, 204: nil,
		302: menucache.ErrSourceUnavailable, 304: menucache.ErrSourceUnavailable,
		400: menucache.ErrSourceRefused, 401: menucache.ErrSourceRefused, 404: menucache.ErrSourceRefused,
		409: menucache.ErrSourceRefused, 413: menucache.ErrSourceRefused, 422: menucache.ErrSourceRefused,
		408: menucache.ErrSourceUnavailable, 425: menucache.ErrSourceUnavailable, 429: menucache.ErrSourceUnavailable,
		500: menucache.ErrSourceUnavailable, 503: menucache.ErrSourceUnavailable,
	} {
		var calls atomic.Int64
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			body := secret
			if status == 204 || status == 304 {
				body = ""
			}
			answer(status, body)(w, r)
		})
		source := newSource(t, menucache.SourceConfig{URL: server.URL, Timeout: longEnough})
		err := source.Put(t.Context(), menucache.Key{UserID: 1, Type: "main"}, []byte("{}"), "1")
		if !errors.Is(err, want) || calls.Load() != 1 {
			t.Errorf("%d: %v after %d calls", status, err, calls.Load())
		}
		if err != nil && (!strings.Contains(err.Error(), fmt.Sprint("status ", status)) || strings.Contains(err.Error(), secret)) {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// TestSourceKeepsConnections makes many calls of every kind over one connection.
func TestSourceKeepsConnections(t *testing.T) {
	t.Parallel()
	var calls, connections atomic.Int64
	answers := []http.HandlerFunc{
		answer(200, "{}"), answer(404, "none"), answer(500, "sorry"), answer(200, "<html>"), answer(204, ""),
		answer(200, large(menucache.MaxMenuSize+10)),
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		answers[calls.Add(1)%int64(len(answers))](w, r)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	source := newSource(t, menucache.SourceConfig{URL: server.URL, Timeout: longEnough})
	for range 30 {
		_, _ = source.Get(t.Context(), menucache.Key{UserID: 1, Type: "main"}, "user", "")
		_ = source.Put(t.Context(), menucache.Key{UserID: 1, Type: "main"}, []byte("{}"), "")
	}
	if calls.Load() != 60 || connections.Load() != 1 {
		t.Errorf("%d calls over %d connections", calls.Load(), connections.Load())
	}
}
