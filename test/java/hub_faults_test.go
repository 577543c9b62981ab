//go:build java

package java

import (
	"encoding/json"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestHubBehindABrokenNetwork has what breaks between a hub and the service, for a hub with a fallback and one without.
func TestHubBehindABrokenNetwork(t *testing.T) {
	const (
		patience, total = 700 * time.Millisecond, 2 * time.Second
		slack           = 2 * time.Second // for a busy machine
	)
	for name, test := range map[string]struct {
		spoil  func(*proxy)
		reason string
		// posts is how many requests reach the service for one of the bot.
		posts  int
		status int
		code   string
	}{
		"requests reset":      {func(p *proxy) { p.reset(requests) }, "connection_lost", 0, 502, "matching_service_failed"},
		"requests cut":        {func(p *proxy) { p.cut(requests, 60) }, "connection_lost", 0, 502, "matching_service_failed"},
		"requests hang":       {func(p *proxy) { p.hang(requests) }, "timeout", 0, 504, "matching_service_timeout"},
		"requests late":       {func(p *proxy) { p.late(requests, 2*patience) }, "timeout", 1, 504, "matching_service_timeout"},
		"answers reset":       {func(p *proxy) { p.reset(answers) }, "connection_lost", 1, 502, "matching_service_failed"},
		"answers cut":         {func(p *proxy) { p.cut(answers, 140) }, "malformed_answer", 1, 502, "matching_service_failed"},
		"answers hang":        {func(p *proxy) { p.hang(answers) }, "timeout", 1, 504, "matching_service_timeout"},
		"answers late":        {func(p *proxy) { p.late(answers, 2*patience) }, "timeout", 1, 504, "matching_service_timeout"},
		"connections refused": {func(p *proxy) { p.down() }, "unreachable", 0, 503, "matching_service_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serviceFor(t)
			p, rds := between(t, s), redistest.Start(t)
			settings := []string{"JAVA_SERVICE_URL=" + p.url, "JAVA_TIMEOUT=" + patience.String(), "JAVA_TIMEOUT_TOTAL=" + total.String()}
			with := startHub(t, rds, settings...)
			without := startHub(t, redistest.Start(t), append(settings, "MATCHING_FALLBACK=off")...)
			longest := patience + slack
			if test.reason == "unreachable" {
				longest = total + slack
			}
			timely := func(h *hub, path, body string, status int) answer {
				t.Helper()
				began := time.Now()
				got := h.post(path, body, status)
				if took := time.Since(began); took > longest {
					t.Errorf("%s is answered after %v", path, took)
				}
				return got
			}
			test.spoil(p)
			for path, body := range map[string]string{
				hubSimple:     staff(4),
				hubTournament: `{"participants":[{"id":1},{"id":2}]}`,
				hubTeams:      `{"participants":[{"id":1},{"id":2}],"team_size":2}`,
			} {
				got := timely(with, path, body, http.StatusOK)
				var origin struct {
					Source   string
					Degraded bool
					Reason   string
				}
				err := json.Unmarshal([]byte(got.body), &origin)
				// Three attempts for each call soon open the breaker.
				known := origin.Reason == test.reason || test.reason == "unreachable" && origin.Reason == "breaker_open"
				if err != nil || origin.Source != "fallback" || !origin.Degraded || !known || got.header.Get("Degraded") != "fallback" {
					t.Errorf("%s answers %s", path, got.body)
				}
			}
			s.got(simplePath, test.posts)
			s.got(bracketPath, test.posts)
			s.got(teamsPath, test.posts)

			s.forget()
			got := timely(without, hubSimple, staff(4), test.status)
			failsAs(t, got, test.code)
			s.got(simplePath, test.posts)
			got = timely(with, hubFromAPI, `{}`, test.status)
			failsAs(t, got, test.code)
			s.got(fromAPIPath, test.posts)

			// Once it is healed, and the breaker has seen that, all is well.
			p.heal()
			if test.reason == "unreachable" {
				p.up()
			}
			s.forget()
			redistest.Eventually(t, soon, "the service is asked again", func() bool {
				return whole(t, without.url+hubSimple, staff(4)).status == http.StatusOK
			})
			s.got(simplePath, 1)
		})
	}
}

// failsAs checks what an answer says went wrong, and that it says when to come again.
func failsAs(tb testing.TB, got answer, code string) {
	tb.Helper()
	var problem struct{ Code string }
	if err := json.Unmarshal([]byte(got.body), &problem); err != nil || problem.Code != code ||
		got.header.Get("Content-Type") != "application/problem+json" {
		tb.Errorf("%d %s, want %s", got.status, got.body, code)
	}
	if after, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || after < 1 {
		tb.Errorf("%s: Retry-After is %q", code, got.header.Get("Retry-After"))
	}
}

// TestHubLeavesAFailingServiceAlone opens the breaker.
func TestHubLeavesAFailingServiceAlone(t *testing.T) {
	const inRow = 5 // after which it opens
	for name, test := range map[string]struct {
		spoil   func(*proxy)
		status  int
		arrived int
	}{
		"hangs":   {func(p *proxy) { p.hang(answers) }, 504, inRow},
		"resets":  {func(p *proxy) { p.reset(requests) }, 502, 0},
		"is late": {func(p *proxy) { p.late(answers, time.Minute) }, 504, inRow},
	} {
		t.Run(name, func(t *testing.T) {
			s := serviceFor(t)
			p, rds := between(t, s), redistest.Start(t)
			h := startHub(t, rds, "JAVA_SERVICE_URL="+p.url, "JAVA_TIMEOUT=300ms", "JAVA_TIMEOUT_TOTAL=1s", "MATCHING_FALLBACK=off")
			test.spoil(p)
			for range inRow {
				h.post(hubSimple, staff(4), test.status)
			}
			quickest := time.Hour
			for range 10 {
				began := time.Now()
				got := h.post(hubSimple, staff(4), http.StatusServiceUnavailable)
				quickest = min(quickest, time.Since(began))
				failsAs(t, got, "matching_service_unavailable")
			}
			if quickest > 20*time.Millisecond {
				t.Errorf("it is refused after %v", quickest)
			}
			s.got(simplePath, test.arrived)
			p.heal()
			s.forget()
			redistest.Eventually(t, soon, "the service is asked again", func() bool {
				return whole(t, h.url+hubSimple, staff(4)).status == http.StatusOK
			})
			s.got(simplePath, 1)
		})
	}
}
