package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// secret stands in bad bodies where an error message of a JSON decoder would quote it.
const secret = "hunter2"

// TestBadEvents sends bodies that are no event.
func TestBadEvents(t *testing.T) {
	h := startHub(t, options{})
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, tt := range []struct {
		name, body string
		status     int
		code       string
		fields     []string
	}{
		{"empty", "", 400, "malformed_json", nil},
		{"blank", " \n ", 400, "malformed_json", nil},
		{"word", secret, 400, "malformed_json", nil},
		{"cut in a name", `{"` + secret, 400, "malformed_json", nil},
		{"cut in a value", `{"type":"` + secret, 400, "malformed_json", nil},
		{"cut after a value", `{"type":"tick","data":["` + secret + `"`, 400, "malformed_json", nil},
		{"single quotes", `{'type':'` + secret + `'}`, 400, "malformed_json", nil},
		{"name without quotes", `{` + secret + `:1}`, 400, "malformed_json", nil},
		{"trailing comma", `{"type":"` + secret + `",}`, 400, "malformed_json", nil},
		{"comment", `{"type":"tick" /* ` + secret + ` */}`, 400, "malformed_json", nil},
		{"NaN", `{"type":"tick","data":NaN}`, 400, "malformed_json", nil},
		{"bad number", `{"type":"tick","data":01}`, 400, "malformed_json", nil},
		{"bad escape", `{"type":"tick","data":"\x` + secret + `"}`, 400, "malformed_json", nil},
		{"raw line break", "{\"type\":\"tick\",\"data\":\"" + secret + "\n\"}", 400, "malformed_json", nil},
		{"byte order mark", "\ufeff" + `{"type":"tick"}`, 400, "malformed_json", nil},
		{"form", "type=tick&data=" + secret, 400, "malformed_json", nil},
		{"invalid UTF-8", "{\"type\":\"tick\",\"data\":\"" + secret + "\xff\"}", 400, "malformed_json", nil},
		{"invalid UTF-8 in a name", "{\"type\":\"tick\",\"data\":{\"" + secret + "\xc3\x28\":1}}", 400, "malformed_json", nil},
		{"overlong UTF-8", "{\"type\":\"tick\",\"data\":\"\xc0\xaf\"}", 400, "malformed_json", nil},
		{"UTF-16", "\xff\xfe{\x00\"\x00t\x00", 400, "malformed_json", nil},
		{"half an emoji", `{"type":"tick","data":"` + secret + `\ud83d"}`, 400, "malformed_json", nil},
		{"array", `[{"type":"` + secret + `"}]`, 400, "malformed_json", nil},
		{"text", `"` + secret + `"`, 400, "malformed_json", nil},
		{"null", `null`, 400, "malformed_json", nil},
		{"second object", `{"type":"tick"}{"type":"` + secret + `"}`, 400, "malformed_json", nil},
		{"trailing word", `{"type":"tick"} ` + secret, 400, "malformed_json", nil},
		{"trailing brace", `{"type":"tick"}}`, 400, "malformed_json", nil},

		{"no type", `{}`, 422, "invalid_fields", []string{"type"}},
		{"unknown member", `{"type":"tick","colour":"` + secret + `"}`, 422, "invalid_fields", []string{"colour"}},
		{"Type", `{"Type":"tick"}`, 422, "invalid_fields", []string{"Type", "type"}},
		{"channel", `{"type":"tick","channel":"user:1"}`, 422, "invalid_fields", []string{"channel"}},
		{"unknown and wrong", `{"type":7,"colour":1,"id":null,"data":` + nested(65) + `}`, 422, "invalid_fields", []string{"type", "colour", "id", "data"}},
		{"type twice", `{"type":"tick","type":"` + secret + `"}`, 422, "invalid_fields", []string{"type"}},
		{"type twice, once escaped", `{"type":"tick","typ\u0065":"tock"}`, 422, "invalid_fields", []string{"type"}},
		{"key of data twice", `{"type":"tick","data":{"users":[{"a":"` + secret + `","a":2}]}}`, 422, "invalid_fields", []string{"data/users/0/a"}},
		{"empty name", `{"type":"tick","":"` + secret + `"}`, 422, "invalid_fields", []string{"(empty)"}},

		{"65 levels", `{"type":"tick","data":` + nested(65) + `}`, 422, "invalid_fields", []string{"data"}},
		{"65 levels of objects", `{"type":"tick","data":` + strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65) + `}`, 422, "invalid_fields", []string{"data"}},
		{"400000 levels", `{"type":"tick","data":` + nested(400_000) + `}`, 422, "invalid_fields", []string{"data"}},

		{"type is a number", `{"type":7}`, 422, "invalid_fields", []string{"type"}},
		{"type is null", `{"type":null}`, 422, "invalid_fields", []string{"type"}},
		{"all are numbers", `{"type":1,"id":2,"source":3,"timestamp":4,"correlation_id":5}`, 422, "invalid_fields", []string{"type", "id", "source", "timestamp", "correlation_id"}},
		{"all are empty", `{"type":"","id":"","source":"","timestamp":"","correlation_id":""}`, 422, "invalid_fields", []string{"type", "id", "source", "timestamp", "correlation_id"}},

		{"type in capitals", `{"type":"User.Login"}`, 422, "invalid_fields", []string{"type"}},
		{"type with a blank", `{"type":"user login"}`, 422, "invalid_fields", []string{"type"}},
		{"type with a dot too many", `{"type":"user..login"}`, 422, "invalid_fields", []string{"type"}},
		{"type with a leading dot", `{"type":".login"}`, 422, "invalid_fields", []string{"type"}},
		{"type with a trailing dot", `{"type":"user."}`, 422, "invalid_fields", []string{"type"}},
		{"type with a star", `{"type":"user.*"}`, 422, "invalid_fields", []string{"type"}},
		{"type in cyrillic", `{"type":"вход"}`, 422, "invalid_fields", []string{"type"}},
		{"type with a line break", `{"type":"a\nid: 1"}`, 422, "invalid_fields", []string{"type"}},
		{"type of 129 bytes", `{"type":"` + strings.Repeat("a", 129) + `"}`, 422, "invalid_fields", []string{"type"}},
		{"gap", `{"type":"gap"}`, 422, "invalid_fields", []string{"type"}},
		{"slow", `{"type":"slow"}`, 422, "invalid_fields", []string{"type"}},

		{"id with a blank", `{"type":"tick","id":"a b"}`, 422, "invalid_fields", []string{"id"}},
		{"id with a quote", `{"type":"tick","id":"a\"b"}`, 422, "invalid_fields", []string{"id"}},
		{"id with a backslash", `{"type":"tick","id":"a\\b"}`, 422, "invalid_fields", []string{"id"}},
		{"id in cyrillic", `{"type":"tick","id":"ид"}`, 422, "invalid_fields", []string{"id"}},
		{"id of 129 bytes", `{"type":"tick","id":"` + strings.Repeat("a", 129) + `"}`, 422, "invalid_fields", []string{"id"}},
		{"source of 129 bytes", `{"type":"tick","source":"` + strings.Repeat("a", 129) + `"}`, 422, "invalid_fields", []string{"source"}},
		{"source with a line break", `{"type":"tick","source":"a\nb"}`, 422, "invalid_fields", []string{"source"}},
		{"correlation_id of 130 bytes", `{"type":"tick","correlation_id":"` + strings.Repeat("я", 65) + `"}`, 422, "invalid_fields", []string{"correlation_id"}},
		{"date only", `{"type":"tick","timestamp":"2026-11-21"}`, 422, "invalid_fields", []string{"timestamp"}},
		{"31 February", `{"type":"tick","timestamp":"2026-02-31T00:00:00Z"}`, 422, "invalid_fields", []string{"timestamp"}},
		{"words for a time", `{"type":"tick","timestamp":"yesterday"}`, 422, "invalid_fields", []string{"timestamp"}},
		{"seconds for a time", `{"type":"tick","timestamp":"1795252500"}`, 422, "invalid_fields", []string{"timestamp"}},

		{"65 KiB of data", `{"type":"tick","data":"` + strings.Repeat("x", 65<<10) + `"}`, 413, "payload_too_large", nil},
		{"1 MiB and a byte", `{"type":"tick"}` + strings.Repeat(" ", 1<<20-len(`{"type":"tick"}`)+1), 413, "payload_too_large", nil},
		{"3 MiB", `{"type":"tick","data":"` + strings.Repeat("x", 3<<20) + `"}`, 413, "payload_too_large", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, sized := range []bool{true, false} {
				var a answer
				if sized {
					a = h.post(t, "/v1/events/users/123", tt.body)
				} else {
					var err error
					if a, err = h.try(t, http.MethodPost, "/v1/events/users/123", unsized{strings.NewReader(tt.body)}); err != nil {
						t.Fatal(err)
					}
				}
				p := a.problem(t, tt.status, tt.code, tt.fields...)
				if p.Instance != "/v1/events/users/123" || p.Retryable {
					t.Errorf("instance %q, retryable %t", p.Instance, p.Retryable)
				}
				if strings.Contains(string(a.body), secret) {
					t.Errorf("the answer repeats what the body holds: %s", a.body)
				}
			}
		})
	}
	if n := h.logLength(t, "user:123"); n != 0 {
		t.Errorf("%d bad events are in the log", n)
	}
}

// TestBadChannels publishes on channels that are none.
func TestBadChannels(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for _, id := range []string{
		"0", "-1", "01", "+1", "1.0", "1e3", "0x1", "1_000", "9223372036854775808", "18446744073709551616", "abc", "%20", "%201",
		"1%20", "%D9%A1", "1%2F2", "null",
	} {
		h.post(t, "/v1/events/users/"+id, `{"type":"tick"}`).problem(t, 422, "invalid_fields", "user_id")
	}
	for _, name := range []string{
		"-a", ".a", "_a", "a%20b", "a:b", "a*", "a%2Fb", "%D1%81", "a%0Ab", "a%7D", strings.Repeat("a", 65),
	} {
		h.post(t, "/v1/events/services/"+name, `{"type":"tick"}`).problem(t, 422, "invalid_fields", "service")
	}
	h.publish(t, "service:"+strings.Repeat("a", 64), `{"type":"tick"}`)
}

// TestBadMedia sends bodies of other types.
func TestBadMedia(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for _, header := range []string{
		"Content-Type:", "Content-Type: text/plain", "Content-Type: application/x-www-form-urlencoded",
		"Content-Type: multipart/form-data; boundary=x", "Content-Type: application/jsonp", "Content-Type: application/vnd.api+json",
		"Content-Type: application/json; charset=utf-16", "Content-Type: application/json; charset", "Content-Type: json",
		"Content-Encoding: gzip", "Content-Encoding: br",
	} {
		h.post(t, "/v1/events/global", `{"type":"tick"}`, header).problem(t, 415, "unsupported_media_type")
	}
	if n := h.logLength(t, "global"); n != 0 {
		t.Errorf("the log holds %d events", n)
	}
}

// TestUnmatched asks for paths and methods that are not there.
func TestUnmatched(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for _, path := range []string{
		"/", "/v1", "/v1/", "/v2/events", "/v1/event", "/v1/events/", "/v1/events/users", "/v1/events/users/",
		"/v1/events/users/1/", "/v1/events/users/1/2", "/v1/events/users/%31/2", "/v1/events/services/a/",
		"/v1/events/services", "/v1/streams", "/health/", "/health/x", "/metrics", "/docs/", "/favicon.ico", "/v1/events%2Ftypes",
		"/../etc/passwd", "/%00", "/v1/menu", "/v1/menus/", "/v1/menus/1/", "/v1/menus/1/main/", "/v1/menus/1/main/x",
		"/v1/menus/1/main/refresh/", "/v1/menus/callbacks/a/b", "/v1/menus/dead-writes/1-0/x",
		"/v1/temp", "/v1/temp/", "/v1/temp/n/", "/v1/temp/n/k/", "/v1/temp/n/k/x", "/v1/temp/n/k/touch/", "/v1/temp/n/batch/x/y",
		"/v1/users", "/v1/users/1", "/v1/users/1/", "/v1/users/1/temp/", "/v1/users/1/temp/k/x", "/v1/users/1/form", "/v1/users/1/forms/",
		"/v1/users/1/forms/f/steps", "/v1/users/1/forms/f/steps/", "/v1/users/1/forms/f/steps/s/x", "/v1/users/1/forms/f/x",
		"/v1/users/1/conversation/", "/v1/users/1/lease/x", "/v1/users/1/cache/", "/v1/cache/", "/v1/conversations", "/v1/conversations/c",
		"/v1/conversations/c/messages/", "/v1/conversations/c/messages/1",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			p := h.call(t, method, path, "{}").problem(t, 404, "not_found")
			if p.Instance != path {
				t.Errorf("instance %q, want %q", p.Instance, path)
			}
		}
	}
	for path, methods := range map[string][]string{
		"/v1/events/users/1": {"POST"}, "/v1/events/global": {"POST"}, "/v1/events/services/a": {"POST"}, "/v1/events": {"GET"},
		"/v1/events/types": {"GET"}, "/v1/stream": {"GET"}, "/health": {"GET", "HEAD"},
		"/health/live": {"GET", "HEAD"}, "/health/ready": {"GET", "HEAD"}, "/health/startup": {"GET", "HEAD"},
		"/stats": {"GET"}, "/openapi.yaml": {"GET"}, "/docs": {"GET"},
		"/v1/menus": {"GET"}, "/v1/menus/1": {"DELETE"}, "/v1/menus/1/main": {"GET", "POST", "PUT", "DELETE"},
		"/v1/menus/1/main/refresh": {"POST"}, "/v1/menus/warm": {"POST"}, "/v1/menus/invalidate": {"POST"},
		"/v1/menus/definitions": {"GET"}, "/v1/menus/dead-writes": {"GET"}, "/v1/menus/callbacks/cb:x": {"GET"},
		"/v1/menus/dead-writes/1-0/retry": {"POST"},
		"/v1/temp/n":                      {"GET", "DELETE"}, "/v1/temp/n/k": {"GET", "HEAD", "PUT", "DELETE"}, "/v1/temp/n/k/touch": {"POST"},
		"/v1/users/1/temp": {"GET", "DELETE"}, "/v1/users/1/temp/k": {"GET", "HEAD", "PUT", "DELETE"}, "/v1/users/1/temp/k/touch": {"POST"},
		"/v1/users/1/forms": {"GET", "DELETE"}, "/v1/users/1/forms/f": {"GET", "PATCH", "DELETE"},
		"/v1/users/1/forms/f/steps/s": {"GET", "PUT", "DELETE"}, "/v1/users/1/forms/f/submit": {"POST"}, "/v1/users/1/forms/f/back": {"POST"},
		"/v1/users/1/conversation": {"GET", "PUT", "DELETE"}, "/v1/users/1/lease": {"POST", "DELETE"}, "/v1/users/1/cache": {"DELETE"},
		"/v1/cache": {"DELETE"}, "/v1/conversations/c/messages": {"GET", "POST", "DELETE"},
	} {
		for _, method := range []string{"GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "PROPFIND"} {
			if slices.Contains(methods, method) {
				continue
			}
			a := h.call(t, method, path, "{}")
			if a.is(t, 405, "application/problem+json"); method != "HEAD" {
				a.problem(t, 405, "method_not_allowed")
			}
			allowed := strings.Split(strings.ReplaceAll(a.header.Get("Allow"), " ", ""), ",")
			for _, want := range methods {
				if !slices.Contains(allowed, want) || slices.Contains(allowed, method) {
					t.Errorf("%s %s: Allow says %q", method, path, allowed)
				}
			}
		}
	}
}
