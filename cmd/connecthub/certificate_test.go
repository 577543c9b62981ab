package main

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/health"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// fakeCertificate is one with this end and fault.
type fakeCertificate struct {
	end   time.Time
	fault error
}

func (c fakeCertificate) Expires() time.Time { return c.end }
func (c fakeCertificate) Err() error         { return c.fault }

func TestCheckCertificate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	day, fault := 24*time.Hour, errors.New("no such file")
	for name, test := range map[string]struct {
		left   time.Duration
		fault  error
		status health.Status
		want   string
	}{
		"well":           {15 * day, nil, health.Pass, ""},
		"soon":           {13 * day, nil, health.Warn, "The certificate expires at 2026-12-05T10:00:00Z."},
		"fault":          {15 * day, fault, health.Warn, "The files of TLS cannot be used, what was read before is served, until 2026-12-07T10:00:00Z: see the log."},
		"fault and soon": {day, fault, health.Warn, "The files of TLS cannot be used, what was read before is served, until 2026-11-23T10:00:00Z: see the log."},
		"over":           {0, nil, health.Fail, "The certificate expired at 2026-11-22T10:00:00Z: clients refuse it."},
		"fault and over": {-day, fault, health.Fail, "The certificate expired at 2026-11-21T10:00:00Z: clients refuse it."},
	} {
		err := checkCertificate(fakeCertificate{now.Add(test.left), test.fault}, now)
		checker := health.New(health.Config{})
		checker.Add("certificate", "component", func(context.Context) error { return err })
		got := checker.Report(t.Context()).Results[0]
		if got.Status != test.status || got.Output != test.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestTheCertificateIsWatched checks /health and the metric of a hub whose certificate is broken while nobody connects with TLS.
func TestTheCertificateIsWatched(t *testing.T) {
	t.Parallel()
	files := newCertificates(t)
	hub := serve(t, measured(environment{"TLS_CERT_FILE": files.cert, "TLS_KEY_FILE": files.key, "HEALTH_INTERVAL": "200ms"}))
	addr, _ := hub.operationsAt(t) // Which is without TLS.
	tells := func(output string) {
		t.Helper()
		redistest.Eventually(t, soon, "/health says "+output, func() bool {
			var report api.Health
			if _, body := ask(t, addr, "", "/health"); json.Unmarshal([]byte(body), &report) != nil {
				t.Fatalf("/health says %s", body)
			}
			checks := report.Checks["certificate"]
			return len(checks) == 1 && checks[0].Status == api.HealthStatusWarn && strings.Contains(checks[0].Output, output)
		})
	}
	tells("The certificate expires at ") // In an hour.
	write(t, files.key, "nonsense")
	tells("The files of TLS cannot be used")
	found := false
	for line := range strings.Lines(hub.scrape(t)) {
		text, ours := strings.CutPrefix(strings.TrimSpace(line), "connecthub_tls_certificate_expiry_timestamp_seconds ")
		if !ours {
			continue
		}
		found = true
		end, err := strconv.ParseFloat(text, 64)
		if left := time.Until(time.Unix(int64(end), 0)); err != nil || left < 0 || left > time.Hour {
			t.Errorf("the metric says %s, %v", text, err)
		}
	}
	if !found {
		t.Error("there is no metric")
	}
}
