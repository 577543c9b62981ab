package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestShutdownDelay stops a hub as a balancer meets it: readiness is red while requests are still answered.
func TestShutdownDelay(t *testing.T) {
	t.Parallel()
	const delay = 2 * time.Second
	hub := serve(t, onSharedRedis(t).with("SHUTDOWN_DELAY", delay.String()))
	hub.healthy(t)
	began := time.Now()
	hub.interrupt()
	redistest.Eventually(t, soon, "readiness is red", func() bool {
		status, _ := hub.get(t, "/health/ready")
		return status == http.StatusServiceUnavailable
	})
	call(t, hub.client(), "publish", "--global", "while.it.leaves").want(t, 0)
	if status, body := hub.get(t, "/health/live"); status != http.StatusOK {
		t.Errorf("it is dead: %s", body)
	}
	hub.wait(t, 0)
	if took := time.Since(began); took < delay {
		t.Errorf("it ended after %v", took)
	}
	if log := hub.stderr.String(); strings.Contains(log, "a check does not pass") && strings.Contains(log, "shutting down") &&
		strings.LastIndex(log, "a check does not pass") > strings.Index(log, "shutting down") {
		t.Errorf("a check failed because the hub stopped: %s", log)
	}
}

// TestCheckWaitsForItsTurn tests a hub that lets few requests through.
func TestCheckWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t).with("RATE_LIMIT_PER_ADDRESS", "5"))
	call(t, hub.client(), "check", "--component", "events").want(t, 0)
	call(t, hub.client(), "check", "--component", "events").want(t, 0)
	call(t, hub.client(), "check", "--component", "events").want(t, 0)
}
