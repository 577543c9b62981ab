package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redistest"
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
		{"DELETE", "/v1/menus/123", "", "user_menus_cleared", 200},
		{"DELETE", "/v1/menus/123/main", "", "menu_cleared", 200},
		{"DELETE", "/v1/conversations/c/messages", "", "conversation_cleared", 404},
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

// TestWhatClearsIsWrittenDown holds every DELETE of the contract to a list: it is written down, or it is said here that it is not.
func TestWhatClearsIsWrittenDown(t *testing.T) {
	t.Parallel()
	notWritten := map[string]string{
		"/v1/temp/{namespace}/{key}":                    "a value",
		"/v1/users/{user_id}/temp/{key}":                "a value",
		"/v1/users/{user_id}/forms/{form}/steps/{step}": "a step of a form",
		"/v1/users/{user_id}/forms/{form}":              "a form",
		"/v1/users/{user_id}/conversation":              "the place in a dialogue",
		"/v1/users/{user_id}/lease":                     "a lease, by who has it",
	}
	core, logs := observer.New(zapcore.DebugLevel)
	h := startHub(t, options{api: api.Config{Audit: zap.New(core)}})
	for path, item := range parseContract(t, readContract(t)).Paths.Map() {
		if item.Delete == nil {
			continue
		}
		a := h.call(t, "DELETE", sample(path), "")
		lines := logs.TakeAll()
		if what, ok := notWritten[path]; ok {
			if len(lines) != 0 {
				t.Errorf("DELETE %s, of %s, is written down: %v", path, what, lines)
			}
			delete(notWritten, path)
		} else if len(lines) != 1 {
			t.Errorf("DELETE %s, which is answered with %d, is written down %d times", path, a.status, len(lines))
		}
	}
	for path := range notWritten {
		t.Errorf("DELETE %s is not in the contract", path)
	}
}

// TestRefusedRequestsDoNotFillTheAuditLog has a key without rights ask again and again, while one that has them does too.
func TestRefusedRequestsDoNotFillTheAuditLog(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.DebugLevel)
	h, tokens := startKeyedHubWith(t, map[string][]string{"root": {"*"}, "bot": {"menus"}}, options{api: api.Config{Audit: zap.New(core)}})
	const many = 300
	began := time.Now()
	for range many {
		h.call(t, "DELETE", "/v1/cache", "", "Authorization: Service "+tokens["bot"]).problem(t, 403, "forbidden")
		h.call(t, "DELETE", "/v1/temp/sessions", "", "Authorization: Service "+tokens["root"]).is(t, 200, "application/json")
	}
	h.call(t, "DELETE", "/v1/users/1/temp", "", "Authorization: Service "+tokens["bot"]).problem(t, 403, "forbidden") // Another action.
	redistest.Eventually(t, 10*time.Second, "a line says how many were left out", func() bool {
		h.call(t, "DELETE", "/v1/cache", "", "Authorization: Service "+tokens["bot"])
		all := logs.FilterMessage("cache_cleared").All()
		return time.Since(began) > time.Second && all[len(all)-1].ContextMap()["left_out"] != nil
	})
	most := 10 * (int(time.Since(began)/time.Second) + 1)
	told, leftOut := logs.FilterMessage("cache_cleared").All(), int64(0)
	if len(told) > most {
		t.Errorf("%d lines tell that a key was refused, at most %d should", len(told), most)
	}
	for _, line := range told {
		if n, ok := line.ContextMap()["left_out"].(int64); ok {
			leftOut += n
		}
	}
	if all := int64(len(told)) + leftOut; all < many {
		t.Errorf("%d refusals are told of, %d of them as left out, want at least %d", all, leftOut, many)
	}
	if n := logs.FilterMessage("namespace_cleared").Len(); n != many {
		t.Errorf("%d lines tell what was done, want %d", n, many)
	}
	if n := logs.FilterMessage("user_temp_cleared").Len(); n != 1 {
		t.Errorf("%d lines tell of another action", n)
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
