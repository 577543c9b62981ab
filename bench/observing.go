package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// serveCollector takes traces and forgets them.
func serveCollector(e *echo.Echo) {
	e.POST("/v1/traces", func(c echo.Context) error {
		if _, err := io.Copy(io.Discard, c.Request().Body); err != nil {
			return err
		}
		return c.Blob(http.StatusOK, "application/x-protobuf", nil)
	})
}

// observing measures what metrics, logs and traces cost a hub that publishes, and how fast it answers a probe meanwhile.
func observing(ctx context.Context, s *site, o *options) error {
	collector, err := s.role(ctx, "collector")
	if err != nil {
		return err
	}
	defer collector.stop()
	var targets []target
	for _, t := range []struct {
		name string
		env  []string
	}{
		{"(a) no metrics, no log but errors, no traces", []string{"METRICS_ADDR=off", "LOG_LEVEL=error"}},
		{"(b) as the hub starts, with metrics read each second", nil},
		{"(c) and each request logged (LOG_LEVEL=debug)", []string{"LOG_LEVEL=debug"}},
		{"(d) as (b), and 1 % of the requests traced", []string{
			"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + collector.addr, "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01",
		}},
	} {
		hub, err := s.observedHub(ctx, t.env)
		if err != nil {
			return err
		}
		defer hub.stop()
		targets = append(targets, target{t.name, hub.addr, publishToUsers(nil)})
	}
	if err := compare(ctx, o, "Publishing, observed", targets); err != nil {
		return err
	}
	return probing(ctx, o, targets[1].addr)
}

// observedHub starts a hub whose metrics are read each second, unless the environment turns them off.
func (s *site) observedHub(ctx context.Context, env []string) (*process, error) {
	metrics, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	hub, err := s.hubWith(ctx, append([]string{"METRICS_ADDR=" + metrics}, env...))
	if err != nil {
		return nil, err
	}
	hub.watch(ctx, func(ctx context.Context) {
		if res, err := get(ctx, "http://"+metrics+"/metrics"); err == nil {
			_, _ = io.Copy(io.Discard, res.Body) // Read, and nothing else.
			_ = res.Body.Close()
		}
	})
	return hub, nil
}

// get sends one request, whose answer the caller closes.
func get(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(req)
}

// probing asks a hub whether it is alive, 100 times a second on one connection, while it has nothing to do and while it
// publishes as fast as it can.
func probing(ctx context.Context, o *options, addr string) error {
	live := func(out []byte, _ int) []byte {
		return append(out, "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"...)
	}
	idle, err := probe(ctx, addr, o.length, live)
	if err != nil {
		return err
	}
	var busy []time.Duration
	var publishing sync.WaitGroup
	var loadErr error
	publishing.Go(func() {
		_, loadErr = load(ctx, addr, o.connections, time.Duration(o.rounds)*o.length, publishToUsers(nil))
	})
	busy, err = probe(ctx, addr, time.Duration(o.rounds)*o.length, live)
	publishing.Wait()
	if err := errors.Join(err, loadErr); err != nil {
		return fmt.Errorf("probing: %w", err)
	}
	fmt.Print("## A probe of /health/live\n\n| | probes | p50 | p99 |\n|---|---:|---:|---:|\n")
	for _, row := range []struct {
		name string
		took []time.Duration
	}{{"the hub is idle", idle}, {fmt.Sprintf("%d connections publish as fast as they can", o.connections), busy}} {
		fmt.Printf("| %s | %d | %s | %s |\n", row.name, len(row.took), short(quantile(row.took, 0.50)), short(quantile(row.took, 0.99)))
	}
	fmt.Println()
	return nil
}

// probe sends a request every 10 ms and returns how long each took.
func probe(ctx context.Context, addr string, length time.Duration, next request) ([]time.Duration, error) {
	c, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer c.close()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	var took []time.Duration
	for end := time.Now().Add(length); time.Now().Before(end); {
		start := time.Now()
		if err := c.do(next, 0); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
		<-again.C
	}
	return took, ctx.Err()
}
