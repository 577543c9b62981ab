package main

import (
	"context"
	"os"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/tracing"
)

// startTracing sends traces where the OTEL_ variables say, if they do. They may also be in the file .env, which the SDK of
// OpenTelemetry knows nothing of: what the environment lacks is put there. stopTracing is set unless there is an error.
func (h *hub) startTracing(ctx context.Context) (err error) {
	file, err := readDotEnv()
	if err != nil {
		return err
	}
	for name, value := range file {
		if strings.HasPrefix(name, "OTEL_") && os.Getenv(name) == "" && h.app.env(name) == value {
			if err := os.Setenv(name, value); err != nil {
				return &settingError{name, "cannot be used: " + err.Error()}
			}
		}
	}
	h.tracing, h.stopTracing, err = tracing.Start(ctx, tracing.Config{
		Version: h.app.version, Lookup: h.app.env, Console: h.app.stdout,
	})
	if err != nil {
		return usageError(err.Error()) // There are no flags for it.
	}
	if h.tracing != nil {
		otel.SetErrorHandler(&tracingErrors{log: h.log})
	}
	return nil
}

// tracingErrors tells the log that traces are lost, now and then, as long as they are.
type tracingErrors struct {
	log *zap.Logger

	mu   sync.Mutex
	last time.Time
}

// Handle implements otel.ErrorHandler.
func (e *tracingErrors) Handle(err error) {
	const often = time.Minute
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := time.Now(); e.last.IsZero() || now.Sub(e.last) >= often {
		e.last = now
		e.log.Warn("traces are lost: the collector does not take them", zap.Error(err))
	}
}

// traceRedis makes spans of what is sent to Redis on behalf of a request.
func (h *hub) traceRedis() {
	if h.tracing == nil {
		return
	}
	h.rdb.AddHook(tracing.Redis(h.tracing, "main"))
	if h.eventsRDB != h.rdb {
		h.eventsRDB.AddHook(tracing.Redis(h.tracing, "events"))
	}
}

// tracePublishing returns what makes spans of what is published, nil when nobody traces.
func (h *hub) tracePublishing() func(context.Context, events.Scope) (string, func(error)) {
	if h.tracing == nil {
		return nil
	}
	publishing := tracing.Publishing(h.tracing)
	return func(ctx context.Context, scope events.Scope) (string, func(error)) {
		return publishing(ctx, string(scope))
	}
}

// traceWaiting returns what makes spans of the round trips to Redis that temporary data shares, nil when nobody traces.
func (h *hub) traceWaiting() func(context.Context) func(bool) {
	if h.tracing == nil {
		return nil
	}
	return tracing.Waiting(h.tracing, "main")
}
