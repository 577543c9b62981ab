package main

import (
	"context"
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
	return compare(ctx, o, "Publishing", []target{
		{"(a) Echo parses the body and answers", parse.addr, publishToUsers(nil)},
		{"(b) and sends PUBLISH through go-redis", plain.addr, publishToUsers(nil)},
		{"(c) the hub: log and PUBLISH, deduplicated by id", hub.addr, publishToUsers(nil)},
		{"(d) the hub with an Idempotency-Key", hub.addr, publishToUsers(func() string { return "Idempotency-Key: bench-" + keys.next() + "\r\n" })},
	})
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
