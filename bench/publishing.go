package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// sample is what one measurement gave.
type sample struct {
	perSecond float64
	p50, p99  time.Duration
}

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
			got, err := load(ctx, t.addr, o.connections, o.length, t.header)
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

// load publishes on so many connections, one request after the other on each.
func load(ctx context.Context, addr string, connections int, length time.Duration, header func() string) (sample, error) {
	var mu sync.Mutex
	var all []time.Duration
	var firstErr error
	var workers sync.WaitGroup
	begin := time.Now()
	for c := range connections {
		workers.Go(func() {
			took, err := publishLoop(ctx, addr, c, begin.Add(length), header)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			if err != nil && firstErr == nil {
				firstErr = err
			}
		})
	}
	workers.Wait()
	elapsed := time.Since(begin)
	if firstErr != nil {
		return sample{}, firstErr
	}
	return sample{perSecond: float64(len(all)) / elapsed.Seconds(), p50: quantile(all, 0.50), p99: quantile(all, 0.99)}, nil
}

// publishLoop publishes to a thousand users in turn and returns how long each request took.
func publishLoop(ctx context.Context, addr string, worker int, until time.Time, header func() string) ([]time.Duration, error) {
	p, err := dialPublisher(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer p.close()
	var took []time.Duration
	for n := worker * 17; ; n++ {
		start := time.Now()
		if start.After(until) {
			return took, ctx.Err()
		}
		extra := ""
		if header != nil {
			extra = header()
		}
		if err := p.publish("users/"+strconv.Itoa(1+n%1000), extra, eventBody); err != nil {
			return took, err
		}
		took = append(took, time.Since(start))
	}
}

// httpPublisher is a client that costs as little as possible, so that the server is what is measured.
type httpPublisher struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

func dialPublisher(ctx context.Context, addr string) (*httpPublisher, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &httpPublisher{conn: conn, in: bufio.NewReader(conn)}, nil
}

func (p *httpPublisher) close() { _ = p.conn.Close() }

func (p *httpPublisher) publish(to, header, body string) error {
	p.out = append(append(p.out[:0], "POST /v1/events/"...), to...)
	p.out = append(p.out, " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "...)
	p.out = append(strconv.AppendInt(p.out, int64(len(body)), 10), "\r\n"...)
	p.out = append(append(append(p.out, header...), "\r\n"...), body...)
	if _, err := p.conn.Write(p.out); err != nil {
		return err
	}
	status, err := p.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 201")) {
		rest, _ := io.ReadAll(io.LimitReader(p.in, 1000))
		return fmt.Errorf("the answer was %s%s", status, rest)
	}
	length := 0
	for {
		line, err := p.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= len("\r\n") {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
	_, err = p.in.Discard(length)
	return err
}

func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)]
}

// median returns the sample with the median throughput.
func median(samples []sample) sample {
	sorted := slices.SortedFunc(slices.Values(samples), func(a, b sample) int {
		switch {
		case a.perSecond < b.perSecond:
			return -1
		case a.perSecond > b.perSecond:
			return 1
		}
		return 0
	})
	return sorted[len(sorted)/2]
}

func short(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000)
}
