package javaclient_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
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
			cfg := patient(strings.Replace(server.URL, "http://", "http://user:"+secret+"@", 1) + "/" + secret)
			cfg.Token, cfg.Logger, cfg.OpenFor = secret, zap.New(core), time.Millisecond
			if strings.HasPrefix(name, "hangs") {
				cfg.Timeout = 20 * time.Millisecond
			}
			client := newClient(t, cfg)
			for i := range 7 {
				_, err := client.Interest(t.Context(), javaclient.Call{RequestID: secret}, secret, []javaclient.Employee{
					{ID: 1, DisplayName: secret},
				})
				if err == nil || strings.Contains(err.Error(), secret) {
					t.Errorf("%d: %v", i, err)
				}
				if err := client.Health(t.Context()); err == nil || strings.Contains(err.Error(), secret) {
					t.Errorf("%d: %v", i, err)
				}
			}
			if text := fmt.Sprint(logs.All()); strings.Contains(text, secret) {
				t.Error(text)
			}
		})
	}
}

func TestUnreachableRepeatsNothing(t *testing.T) {
	t.Parallel()
	plain := serve(t, answer(200, somePair))
	for _, url := range []string{
		"http://user:" + secret + "@" + refusedAddress(t), "https://user:" + secret + "@" + plain.Listener.Addr().String(),
	} {
		client := newClient(t, patient(url))
		for _, call := range []func(context.Context, *javaclient.Client) error{post, get} {
			if err := call(t.Context(), client); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%v", err)
			}
		}
	}
}
