package javaclient_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/javaclient"
)

// Neither the address's password nor the token, neither what is asked nor what is answered stands in an error or the log.
func TestNothingIsRepeated(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"no JSON":       answer(200, secret),
		"cut JSON":      answer(200, `{"pairs":[{"employee1":{"displayName":"`+secret),
		"no sense":      answer(200, `{"`+secret+`":1,"pairs":[{"employee1":{"id":1,"displayName":"`+secret+`"}}]}`),
		"wrong type":    answer(200, `{"pairs":[{"employee1":{"id":"`+secret+`"}}]}`),
		"twice":         answer(200, `{"`+secret+`":1,"`+secret+`":1}`),
		"error":         answer(200, `{"status":"error","error":"`+secret+`"}`),
		"400":           answer(400, `{"message":"`+secret+`"}`),
		"500":           answer(500, secret),
		"no HTTP":       raw(secret + "\r\n"),
		"bad header":    raw("HTTP/1.1 200 OK\r\n" + secret + "\r\n\r\n"),
		"bad status":    raw("HTTP/1.1 " + secret + "\r\n\r\n"),
		"bad length":    raw("HTTP/1.1 200 OK\r\nContent-Length: " + secret + "\r\n\r\n"),
		"bad encoding":  raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: " + secret + "\r\n\r\n"),
		"bad chunk":     raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + secret + "\r\n"),
		"bad gzip":      raw("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\n" + secret),
		"redirect":      func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/"+secret, http.StatusFound) },
		"reset":         reset,
		"hangs":         hang,
		"hangs in body": hangInBody,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core, logs := observer.New(zapcore.DebugLevel)
			server := serve(t, handler)
			cfg := patient(server.URL + "/" + secret)
			cfg.Logger, cfg.OpenFor = zap.New(core), time.Millisecond
			if strings.HasPrefix(name, "hangs") {
				cfg.Timeout = 20 * time.Millisecond
			}
			withToken, withUser := cfg, cfg
			withToken.Token = secret
			withUser.URL = strings.Replace(cfg.URL, "http://", "http://user:"+secret+"@", 1)
			for _, cfg := range []javaclient.Config{withToken, withUser} {
				client := newClient(t, cfg)
				for i := range 7 {
					_, err := client.Interest(t.Context(), javaclient.Call{RequestID: secret}, secret, []javaclient.Employee{
						{ID: 1, DisplayName: secret},
					})
					for _, err := range []error{err, client.Health(t.Context())} {
						if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "127.0.0.1") {
							t.Errorf("%d: %v", i, err)
						}
					}
				}
			}
			if text := fmt.Sprint(logs.All()); strings.Contains(text, secret) {
				t.Error(text)
			}
		})
	}
}

// What broke a connection is told without the addresses of its two ends, and the system's number can be found.
func TestWhatBrokeAConnection(t *testing.T) {
	t.Parallel()
	plain := serve(t, reset)
	user := "user:" + secret + "@"
	for name, test := range map[string]struct {
		url    string
		want   string
		number error
	}{
		"refused": {"http://" + user + refusedAddress(t), "unreachable: dial: connection refused", syscall.ECONNREFUSED},
		"reset":   {"http://" + user + plain.Listener.Addr().String(), "connection_lost: read: connection reset by peer", syscall.ECONNRESET},
		"no TLS":  {"https://" + user + plain.Listener.Addr().String(), "unreachable: the connection ended too early", nil},
		"no name": {"http://" + user + "no-such-host.invalid", "unreachable: lookup: ", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, patient(test.url))
			for _, call := range []func(context.Context, *javaclient.Client) error{post, get} {
				err := call(t.Context(), client)
				if text, found := strings.CutPrefix(fmt.Sprint(err), "javaclient: "+test.want); !found || text != "" && name != "no name" {
					t.Errorf("%v", err)
				}
				if test.number != nil && !errors.Is(err, test.number) {
					t.Errorf("%v is not %v", err, test.number)
				}
				for _, no := range []string{secret, "127.0.0.1", "invalid"} {
					if strings.Contains(fmt.Sprint(err), no) {
						t.Errorf("%v", err)
					}
				}
			}
		})
	}
}

// The lookups that fail, whatever the machine's resolver is like.
func TestLookupsThatFail(t *testing.T) {
	t.Parallel()
	for want, lookup := range map[string]net.DNSError{
		"lookup: no such host": {Err: "no such host", Name: secret, Server: "127.0.0.1:53", IsNotFound: true},
		"lookup: it failed":    {Err: "read udp 127.0.0.1:1->127.0.0.1:53: " + secret, Name: secret},
	} {
		client := newClient(t, patient("http://host"))
		client.Dial(func(_ context.Context, network, _ string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: network, Err: &lookup}
		})
		if err := post(t.Context(), client); fmt.Sprint(err) != "javaclient: unreachable: "+want {
			t.Errorf("%v", err)
		}
	}
}
