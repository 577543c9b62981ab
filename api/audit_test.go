package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/api"
)

// TestAdministrationIsWrittenDown checks each action that is, and that others are not.
func TestAdministrationIsWrittenDown(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.DebugLevel)
	o := options{api: api.Config{Audit: zap.New(core)}, matching: &matchingOptions{java: startJava(t)}}
	h, tokens := startKeyedHubWith(t, map[string][]string{"root": {"*"}, "bot": {"publish:*", "subscribe:*"}}, o)
	for _, tt := range []struct {
		method, path, body string
		action             string
		status             int
	}{
		{"DELETE", "/v1/cache", "", "cache_cleared", 200},
		{"DELETE", "/v1/users/123/cache", "", "user_cache_cleared", 200},
		{"DELETE", "/v1/users/0/cache", "", "user_cache_cleared", 422},
		{"POST", "/v1/menus/invalidate", `{"all":true}`, "menus_invalidated", 200},
		{"POST", "/v1/menus/invalidate", `{"all":"s3cret"}`, "menus_invalidated", 422},
		{"POST", "/v1/menus/dead-writes/7/retry", "", "dead_write_retried", 404},
		{"DELETE", "/v1/temp/sessions", "", "namespace_cleared", 200},
		{"DELETE", "/v1/users/123/temp", "", "user_temp_cleared", 200},
		{"DELETE", "/v1/users/123/forms", "", "forms_cleared", 200},
		{"POST", "/v1/matching/requests/none/retry", "", "matching_retried", 404},
		{"GET", "/v1/menus/definitions", "", "", 200},
		{"DELETE", "/v1/users/123/temp/key", "", "", 404},
		{"GET", "/stats", "", "", 200},
	} {
		for _, who := range []string{"root", "bot"} {
			id := fmt.Sprintf("%s-%s", who, tt.action)
			a := h.call(t, tt.method, tt.path+"?token=s3cret", tt.body, "Authorization: Service "+tokens[who], "X-Request-ID: "+id)
			status, outcome := tt.status, "done"
			if who == "bot" && tt.action != "" {
				status = http.StatusForbidden
			}
			if status >= 400 {
				outcome = "refused"
			}
			if who == "root" || tt.action != "" {
				if a.status != status {
					t.Fatalf("%s %s by %s: %d %s, want %d", tt.method, tt.path, who, a.status, a.body, status)
				}
			}
			lines := logs.TakeAll()
			if tt.action == "" {
				if len(lines) != 0 {
					t.Errorf("%s %s was written down: %v", tt.method, tt.path, lines)
				}
				continue
			}
			if len(lines) != 1 {
				t.Fatalf("%s %s: %d lines", tt.method, tt.path, len(lines))
			}
			got := lines[0].ContextMap()
			if lines[0].Message != tt.action || got["status"] != int64(status) || got["outcome"] != outcome || got["path"] != tt.path ||
				got["key"] != "id-"+who || got["name"] != who || got["request_id"] != id || got["remote"] != "127.0.0.1" {
				t.Errorf("%s %s by %s: %s %v", tt.method, tt.path, who, lines[0].Message, got)
			}
			if route, _ := got["route"].(string); !strings.HasPrefix(route, tt.method+" /v1/") {
				t.Errorf("the route is %q", route)
			}
			if strings.Contains(fmt.Sprint(got), "s3cret") {
				t.Errorf("the line holds what the request did: %v", got)
			}
		}
	}
	// Who has no key is not written down: anybody could fill the file.
	h.call(t, "DELETE", "/v1/cache", "").problem(t, 401, "unauthorized")
	if lines := logs.TakeAll(); len(lines) != 0 {
		t.Errorf("a request without a key was written down: %v", lines)
	}
}

// TestAuditOfOddPaths checks that what callers write into a path is bounded and escaped, and that without keys it is written
// down too.
func TestAuditOfOddPaths(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.DebugLevel)
	h := startHub(t, options{api: api.Config{Audit: zap.New(core)}})
	for _, namespace := range []string{"a%0ab", "%1b%5b31m", strings.Repeat("n", 5000), "%d0%bf", "a%22b"} {
		h.call(t, "DELETE", "/v1/temp/"+namespace, "")
		lines := logs.TakeAll()
		if len(lines) != 1 {
			t.Fatalf("%d lines", len(lines))
		}
		path, _ := lines[0].ContextMap()["path"].(string)
		if len(path) > 600 || strings.ContainsAny(path, "\n\x1b\"") {
			t.Errorf("the path is %q", path)
		}
		if _, ok := lines[0].ContextMap()["key"]; ok {
			t.Error("there is a key")
		}
	}
}
