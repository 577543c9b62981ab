package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
)

const eventBody = `{"type":"activity.created","data":{"activity_id":42,"activity":"Тайный кофе","starts_at":"2026-11-24T12:30:00+03:00","with":[101,104]},"source":"bench"}`

// publishing compares what a publish costs with what it is made of.
func publishing(ctx context.Context, s *site, o *options) error {
	parse, err := s.role(ctx, "parse")
	if err != nil {
		return err
	}
	defer parse.stop()
	plain, err := s.role(ctx, "publish")
	if err != nil {
		return err
	}
	defer plain.stop()
	hub, err := s.hub(ctx)
	if err != nil {
		return err
	}
	defer hub.stop()
	var keys sequence
	targets := []struct {
		name, addr string
		header     func() string
	}{
		{"(a) Echo parses the body and answers", parse.addr, nil},
		{"(b) and sends PUBLISH through go-redis", plain.addr, nil},
		{"(c) the hub: log and PUBLISH, deduplicated by id", hub.addr, nil},
		{"(d) the hub with an Idempotency-Key", hub.addr, func() string { return "Idempotency-Key: bench-" + keys.next() + "\r\n" }},
	}
	samples := make([][]sample, len(targets))
	for round := range o.rounds + 1 {
		for i, t := range targets {
			got, err := load(ctx, t.addr, o.connections, o.length, publishToUsers(t.header))
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			if round > 0 { // The first warms up.
				samples[i] = append(samples[i], got)
			}
		}
	}
	fmt.Printf("## Publishing, %d connections\n\n| | requests/s | of (a) | p50 | p99 |\n|---|---:|---:|---:|---:|\n", o.connections)
	base := median(samples[0]).perSecond
	for i, t := range targets {
		m := median(samples[i])
		fmt.Printf("| %s | %.0f | %.2f | %s | %s |\n", t.name, m.perSecond, m.perSecond/base, short(m.p50), short(m.p99))
	}
	fmt.Println()
	return nil
}

// sequence gives numbers, each once.
type sequence struct {
	mu sync.Mutex
	n  int
}

func (s *sequence) next() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return strconv.Itoa(s.n)
}

// publishToUsers returns requests that publish to a thousand users in turn.
func publishToUsers(header func() string) request {
	return func(out []byte, n int) []byte {
		extra := ""
		if header != nil {
			extra = header()
		}
		return appendPublish(out, "users/"+strconv.Itoa(1+n%1000), extra, eventBody)
	}
}

func appendPublish(out []byte, to, header, body string) []byte {
	out = append(append(out, "POST /v1/events/"...), to...)
	out = append(out, " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "...)
	out = append(strconv.AppendInt(out, int64(len(body)), 10), "\r\n"...)
	return append(append(append(out, header...), "\r\n"...), body...)
}
