package api_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/javaclient"
)

// TestMatchingServiceFails has Java answer in bad ways, with nobody to answer in its place.
func TestMatchingServiceFails(t *testing.T) {
	t.Parallel()
	html := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>hunter2</html>")
	}
	for name, tt := range map[string]struct {
		answer     http.HandlerFunc
		status     int
		body       string
		want       int
		code       string
		retryAfter string
		detail     string
	}{
		"400 with a message": {nil, 400, `{"status":400,"error":"Bad Request","message":"seed must be a number"}`, 422, "matching_refused", "", "seed must be a number"},
		"400 without a body": {nil, 400, ``, 422, "matching_refused", "", "refused"},
		"422":                {nil, 422, `{"message":"too few"}`, 422, "matching_refused", "", "too few"},
		"404":                {nil, 404, ``, 422, "matching_refused", "", "no such call"},
		"no employees":       {nil, 200, `{"status":"error","error":"no_employees_from_api"}`, 422, "matching_refused", "", "knows nobody"},
		"401":                {nil, 401, `{"message":"hunter2"}`, 502, "matching_service_failed", "5", "unauthorized"},
		"500":                {nil, 500, `{"message":"hunter2"}`, 502, "matching_service_failed", "5", "server_error"},
		"502":                {nil, 502, ``, 502, "matching_service_failed", "5", "Try again."},
		"data source":        {nil, 200, `{"status":"error","error":"data_api_failed"}`, 502, "matching_service_failed", "5", "data_source_failed"},
		"empty":              {nil, 200, ``, 502, "matching_service_failed", "5", "malformed_answer"},
		"cut":                {nil, 200, `{"pairs":[{"employee1_id":1,`, 502, "matching_service_failed", "5", "malformed_answer"},
		"HTML":               {html, 0, ``, 502, "matching_service_failed", "5", "malformed_answer"},
		"429":                {nil, 429, ``, 503, "matching_service_unavailable", "1", "overloaded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, java := startMatchingHub(t, matchingOptions{alone: true})
			if tt.answer != nil {
				java.answers(tt.answer)
			} else {
				java.says(tt.status, tt.body)
			}
			for path, body := range map[string]string{
				coffee: group(2), "/v1/matching/secret-coffee": `{"employees":` + group(2) + `}`, "/v1/matching/secret-coffee/from-api": `{}`,
			} {
				a := h.post(t, path, body)
				p := a.problem(t, tt.want, tt.code)
				if p.Retryable != (tt.retryAfter != "") || a.header.Get("Retry-After") != tt.retryAfter || !strings.Contains(p.Detail, tt.detail) || strings.Contains(p.Detail, secret) {
					t.Errorf("%s: retryable %t, Retry-After %q: %s", path, p.Retryable, a.header.Get("Retry-After"), p.Detail)
				}
			}
		})
	}
}

// TestMatchingRetryAfter passes on for how long Java asks to be left alone.
func TestMatchingRetryAfter(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{alone: true})
	java.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "17")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	a := h.post(t, coffee, group(2))
	a.problem(t, 503, "matching_service_unavailable")
	if got := a.header.Get("Retry-After"); got != "17" {
		t.Errorf("Retry-After is %s, want 17", got)
	}
}

// TestMatchingServiceIsSlow has Java not answer in time.
func TestMatchingServiceIsSlow(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{alone: true, client: javaclient.Config{Timeout: 50 * time.Millisecond}})
	java.hangs(t)
	a := h.post(t, coffee, group(2))
	if p := a.problem(t, 504, "matching_service_timeout"); !p.Retryable || a.header.Get("Retry-After") != "5" {
		t.Errorf("retryable %t, Retry-After %q", p.Retryable, a.header.Get("Retry-After"))
	}
}

// TestMatchingServiceIsDown has nobody listen where Java should, and then has the breaker answer in its place.
func TestMatchingServiceIsDown(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{alone: true, client: javaclient.Config{OpenFor: time.Hour}})
	java.server.Close()
	details := make(map[string]bool)
	for range 12 {
		a := h.post(t, coffee, group(2))
		p := a.problem(t, 503, "matching_service_unavailable")
		details[p.Detail] = true
		if retryAfter := a.header.Get("Retry-After"); !p.Retryable || retryAfter == "" || strings.Contains(p.Detail, "breaker_open") && retryAfter == "1" {
			t.Errorf("retryable %t, Retry-After %q: %s", p.Retryable, retryAfter, p.Detail)
		}
	}
	for _, reason := range []string{"unreachable", "breaker_open"} {
		if !details["The matching service cannot be asked now: "+reason+". Try again."] {
			t.Errorf("nobody was told %s: %v", reason, details)
		}
	}
	h.get(t, "/v1/matching/algorithms").problem(t, 503, "matching_service_unavailable")
}

// TestMatchingFallback has the hub match itself while Java is away, in each of its ways, except where it knows nobody.
func TestMatchingFallback(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{client: javaclient.Config{OpenFor: time.Hour}})
	java.server.Close()
	for path, body := range matchingCalls() {
		a := h.post(t, path, body, "Idempotency-Key: "+path)
		switch {
		case strings.HasSuffix(path, "/from-api"):
			a.problem(t, 503, "matching_service_unavailable")
			continue
		case strings.HasSuffix(path, "/tournament"):
			bracket := decode[api.MatchingBracket](t, a.body)
			if bracket.Source != "fallback" || !bracket.Degraded || bracket.Reason == "" || len(bracket.Matches) < 2 {
				t.Errorf("%s: %s", path, a.body)
			}
		case strings.HasSuffix(path, "/teams"):
			teams := decode[api.MatchingTeams](t, a.body)
			named := slices.Clone(teams.UnmatchedEmployees)
			for _, team := range teams.Teams {
				named = append(named, team.Members...)
			}
			slices.Sort(named)
			if teams.Source != "fallback" || !teams.Degraded || teams.Reason == "" || !slices.Equal(named, from101(5)) {
				t.Errorf("%s: %s", path, a.body)
			}
		default:
			if got := a.pairs(t, "fallback", from101(5)...); len(got.Pairs) != 2 || len(got.UnmatchedEmployees) != 1 {
				t.Errorf("%s: %s", path, a.body)
			}
		}
		again := h.post(t, path, body, "Idempotency-Key: "+path)
		for _, a := range []answer{a, again} {
			if a.status != 200 || a.header.Get("Degraded") != "fallback" {
				t.Errorf("%s: %d, Degraded %q", path, a.status, a.header.Get("Degraded"))
			}
		}
		if string(again.body) != string(a.body) || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: the same key gives %s, and gave %s", path, again.body, a.body)
		}
	}
	// What Java would refuse is refused without it, too.
	h.post(t, coffee, `[]`).problem(t, 422, "invalid_fields", "employees")
	// Nobody is paired with whom they exclude.
	got := h.post(t, coffee, `[{"id":1,"excluded_partners":[2]},{"id":2},{"id":3,"excluded_partners":[1]}]`).pairs(t, "fallback", 1, 2, 3)
	if len(got.Pairs) != 1 || got.Pairs[0].Employee1ID+got.Pairs[0].Employee2ID != 5 {
		t.Errorf("the pairs are %+v", got.Pairs)
	}
}

// TestMatchingFallbackReasons names why it was the hub that matched.
func TestMatchingFallbackReasons(t *testing.T) {
	t.Parallel()
	for reason, answer := range map[string]struct {
		status int
		body   string
	}{
		"server_error": {500, ``}, "malformed_answer": {200, `{"pairs":[`}, "data_source_failed": {200, `{"status":"error","error":"data_api_failed"}`},
		"not_found": {404, ``}, "unauthorized": {403, ``},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			h, java := startMatchingHub(t, matchingOptions{})
			java.says(answer.status, answer.body)
			if got := h.post(t, coffee, group(4)).pairs(t, "fallback", from101(4)...); got.Reason != reason {
				t.Errorf("the reason is %s, want %s", got.Reason, reason)
			}
			java.answers(nil)
			h.post(t, coffee, group(4)).pairs(t, "java", from101(4)...)
		})
	}
	t.Run("somebody else", func(t *testing.T) {
		t.Parallel()
		h, java := startMatchingHub(t, matchingOptions{})
		java.says(200, `{"pairs":[{"employee1_id":101,"employee2_id":999}]}`)
		h.post(t, coffee, group(2)).pairs(t, "fallback", from101(2)...)
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		h, java := startMatchingHub(t, matchingOptions{})
		java.says(400, `{"message":"too few"}`)
		h.post(t, coffee, group(2)).problem(t, 422, "matching_refused")
	})
}

// TestAlgorithmsWithoutJava lists the algorithms it is known for while it never told any, and afterwards what it told.
func TestAlgorithmsWithoutJava(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{})
	java.says(503, ``)
	a := h.get(t, "/v1/matching/algorithms")
	a.is(t, 200, "application/json")
	got := decode[api.MatchingAlgorithms](t, a.body)
	if !slices.Equal(got.Algorithms, []string{"SIMPLE_RANDOM", "INTEREST_BASED", "CROSS_DEPARTMENT"}) || got.Total != 3 || got.Source != "fallback" ||
		!got.Degraded || a.header.Get("Degraded") != "fallback" {
		t.Errorf("the answer is %s", a.body)
	}
	p := h.post(t, "/v1/matching/secret-coffee", `{"algorithm":"ROUND_TABLE","employees":`+group(2)+`}`).problem(t, 422, "invalid_fields", "algorithm")
	if !strings.Contains(p.Detail, "must be one of SIMPLE_RANDOM, INTEREST_BASED, CROSS_DEPARTMENT.") {
		t.Errorf("the detail is %q", p.Detail)
	}
}

// TestMatchingLogsNobody matches people well and badly, and finds nothing of them in the log.
func TestMatchingLogsNobody(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{})
	for _, answer := range []struct {
		status int
		body   string
	}{{0, ``}, {400, `{"message":"Анна is not known"}`}, {500, `{"message":"Анна"}`}, {200, `{"pairs":["Анна"]}`}, {200, `{"pairs":["Анна`}} {
		if answer.status != 0 {
			java.says(answer.status, answer.body)
		}
		for path, body := range matchingCalls() {
			h.post(t, path, body)
			h.post(t, path, body+"x")
		}
		id := h.post(t, matchingRequests, `{"employees":`+group(2)+`}`).accepted(t).RequestID
		redistest.Eventually(t, soon, "the request is answered", func() bool {
			state := h.status(t, id).State
			return state == api.MatchingStatusStateCompleted || state == api.MatchingStatusStateFailed
		})
	}
	if h.logs.Len() == 0 {
		t.Error("nothing is logged")
	}
	for _, entry := range h.logs.All() {
		if text := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(text, "Анна") {
			t.Errorf("the log says %s", text)
		}
	}
}
