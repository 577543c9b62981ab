package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// sample is what one measurement gave.
type sample struct {
	requests  int
	perSecond float64
	p50, p99  time.Duration
}

// target is a server and what it is asked for.
type target struct {
	name, addr string
	next       request
}

// compare puts load on each target in turn, again and again, and prints a table in which the first is the measure.
func compare(ctx context.Context, o *options, title string, targets []target) error {
	samples := make([][]sample, len(targets))
	for round := range o.rounds + 1 {
		for i, t := range targets {
			got, err := load(ctx, t.addr, o.connections, o.length, t.next)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			if round > 0 { // The first warms up.
				samples[i] = append(samples[i], got)
			}
		}
	}
	fmt.Printf("## %s, %d connections\n\n| | requests/s | of (a) | p50 | p99 |\n|---|---:|---:|---:|---:|\n", title, o.connections)
	base := median(samples[0]).perSecond
	for i, t := range targets {
		m := median(samples[i])
		fmt.Printf("| %s | %.0f | %.2f | %s | %s |\n", t.name, m.perSecond, m.perSecond/base, short(m.p50), short(m.p99))
	}
	fmt.Println()
	return nil
}

// request appends the n-th request of a load, as it goes over the wire.
type request func(out []byte, n int) []byte

// load sends requests on so many connections, one after the other on each.
func load(ctx context.Context, addr string, connections int, length time.Duration, next request) (sample, error) {
	var mu sync.Mutex
	var all []time.Duration
	var firstErr error
	var workers sync.WaitGroup
	begin := time.Now()
	for c := range connections {
		workers.Go(func() {
			took, err := loadLoop(ctx, addr, c, begin.Add(length), next)
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
	return sample{
		requests: len(all), perSecond: float64(len(all)) / elapsed.Seconds(), p50: quantile(all, 0.50), p99: quantile(all, 0.99),
	}, nil
}

// loadLoop sends requests and returns how long each took.
func loadLoop(ctx context.Context, addr string, worker int, until time.Time, next request) ([]time.Duration, error) {
	c, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer c.close()
	var took []time.Duration
	for n := worker * 7_654_321; ; n++ { // Each connection begins elsewhere.
		start := time.Now()
		if start.After(until) {
			return took, ctx.Err()
		}
		if err := c.do(next, n); err != nil {
			return took, err
		}
		took = append(took, time.Since(start))
	}
}

// httpClient is a client that costs as little as possible, so that the server is what is measured.
type httpClient struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

func dial(ctx context.Context, addr string) (*httpClient, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &httpClient{conn: conn, in: bufio.NewReader(conn)}, nil
}

func (c *httpClient) close() { _ = c.conn.Close() }

// do sends a request and reads the answer, which has to be a success.
func (c *httpClient) do(next request, n int) error {
	c.out = next(c.out[:0], n)
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	head, err := c.head()
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 2")) {
		answer, _ := c.in.Peek(c.in.Buffered())
		return fmt.Errorf("the answer was %s", answer)
	}
	length, chunked := 0, bytes.Contains(head, []byte("\r\nTransfer-Encoding: chunked\r\n"))
	if _, value, ok := bytes.Cut(head, []byte("\r\nContent-Length: ")); ok {
		value, _, _ = bytes.Cut(value, []byte("\r\n"))
		length, _ = strconv.Atoi(string(value))
	}
	if _, err = c.in.Discard(len(head) + length); err != nil || !chunked {
		return err
	}
	return c.chunks()
}

// chunks reads a body that comes in chunks, without trailers.
func (c *httpClient) chunks() error {
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseUint(strings.TrimSpace(line), 16, 31)
		if err != nil {
			return err
		}
		if _, err := c.in.Discard(int(size) + len("\r\n")); err != nil || size == 0 {
			return err
		}
	}
}

// head waits for an answer's head, and leaves it where it is.
func (c *httpClient) head() ([]byte, error) {
	end := []byte("\r\n\r\n")
	for wanted := 1; ; wanted = c.in.Buffered() + 1 {
		if _, err := c.in.Peek(wanted); err != nil {
			return nil, err
		}
		have, _ := c.in.Peek(c.in.Buffered())
		if i := bytes.Index(have, end); i >= 0 {
			return have[:i+len(end)], nil
		}
	}
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

// getJSON gets JSON, once.
func getJSON(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // It was only read.
	return json.NewDecoder(res.Body).Decode(into)
}
