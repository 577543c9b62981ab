package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// streaming measures how fast one publisher's events reach many readers.
func streaming(ctx context.Context, s *site, o *options) error {
	fmt.Printf("## Streaming, 1 publisher, %d readers\n\n", o.readers)
	fmt.Printf("| | deliveries/s | p50 | p99 | at half that rate: p50 | p99 |\n|---|---:|---:|---:|---:|---:|\n")
	one := func(int) string { return "user:1" }
	each := func(i int) string { return "user:" + strconv.Itoa(1+i) }
	for _, c := range []struct {
		name     string
		channel  func(int) string
		perEvent int
	}{{"on one channel", one, o.readers}, {fmt.Sprintf("on %d channels, one reader each", o.readers), each, 1}} {
		var full, half []sample
		for range o.rounds {
			top, err := deliver(ctx, s, o, c.channel, c.perEvent, 0)
			if err != nil {
				return err
			}
			calm, err := deliver(ctx, s, o, c.channel, c.perEvent, top.perSecond/2)
			if err != nil {
				return err
			}
			full, half = append(full, top), append(half, calm)
		}
		f, h := median(full), median(half)
		fmt.Printf("| %s | %.0f | %s | %s | %s | %s |\n", c.name, f.perSecond, short(f.p50), short(f.p99), short(h.p50), short(h.p99))
	}
	fmt.Println()
	return nil
}

// deliver opens the readers and publishes for a while: as fast as they read, or at a given rate of deliveries.
func deliver(ctx context.Context, s *site, o *options, channel func(int) string, perEvent int, rate float64) (sample, error) {
	hub, err := s.hub(ctx)
	if err != nil {
		return sample{}, err
	}
	defer hub.stop()
	readers, err := openReaders(ctx, hub.addr, o.readers, channel)
	if err != nil {
		return sample{}, err
	}
	defer readers.close()

	// So many events may be on their way: enough to keep everybody busy, few enough that nobody is cut for slowness.
	outstanding := int64(16)
	publishers := 1
	if perEvent == 1 {
		outstanding, publishers = 4096, o.connections // One client with so many requests under way.
	}
	var sent atomic.Int64
	var firstErr atomic.Value
	begin := time.Now()
	until := begin.Add(o.length)
	var publishing sync.WaitGroup
	for range publishers {
		publishing.Go(func() {
			p, err := dial(ctx, hub.addr)
			if err != nil {
				firstErr.Store(err)
				return
			}
			defer p.close()
			for time.Now().Before(until) && ctx.Err() == nil {
				n := sent.Add(1)
				for readers.received.Load() < (n-outstanding)*int64(perEvent) && time.Now().Before(until) {
					time.Sleep(50 * time.Microsecond)
				}
				if rate > 0 {
					time.Sleep(time.Until(begin.Add(time.Duration(float64(n*int64(perEvent)) / rate * float64(time.Second)))))
				}
				to := "users/1"
				if perEvent == 1 {
					to = "users/" + strconv.FormatInt(1+n%int64(o.readers), 10)
				}
				tick := `{"type":"tick","data":{"at":` + strconv.FormatInt(time.Now().UnixNano(), 10) + `}}`
				publish := func(out []byte, _ int) []byte { return appendPublish(out, to, "", tick) }
				if err := p.do(publish, 0); err != nil {
					firstErr.Store(err)
					return
				}
			}
		})
	}
	publishing.Wait()
	if err, _ := firstErr.Load().(error); err != nil {
		return sample{}, err
	}
	want := sent.Load() * int64(perEvent)
	for deadline := time.Now().Add(10 * time.Second); readers.received.Load() < want; {
		if time.Now().After(deadline) {
			return sample{}, fmt.Errorf("%d of %d deliveries came", readers.received.Load(), want)
		}
		time.Sleep(time.Millisecond)
	}
	elapsed := readers.last().Sub(begin)
	if got := readers.received.Load(); got != want {
		return sample{}, fmt.Errorf("%d deliveries came of %d", got, want)
	}
	latencies := readers.latencies()
	return sample{perSecond: float64(want) / elapsed.Seconds(), p50: quantile(latencies, 0.50), p99: quantile(latencies, 0.99)}, nil
}

// readers are open streams that count what they get.
type readers struct {
	conns    []net.Conn
	received atomic.Int64
	lastNano atomic.Int64
	done     sync.WaitGroup

	mu   sync.Mutex
	took []time.Duration
}

// measuredReaders is how many of the readers also look at the time of each event; the others only count.
const measuredReaders = 20

func openReaders(ctx context.Context, addr string, n int, channel func(int) string) (*readers, error) {
	r := &readers{conns: make([]net.Conn, n)}
	var firstErr atomic.Value
	var opening sync.WaitGroup
	slots := make(chan struct{}, 64)
	for i := range n {
		slots <- struct{}{}
		opening.Go(func() {
			defer func() { <-slots }()
			conn, err := openStream(ctx, addr, channel(i))
			if err != nil {
				firstErr.Store(err)
				return
			}
			r.conns[i] = conn
		})
	}
	opening.Wait()
	if err, _ := firstErr.Load().(error); err != nil {
		r.close()
		return nil, err
	}
	for i, conn := range r.conns {
		r.done.Go(func() { r.read(conn, i%max(n/measuredReaders, 1) == 0) })
	}
	return r, nil
}

// openStream opens a stream and returns its connection behind the first frame.
func openStream(ctx context.Context, addr, channel string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte("GET /v1/stream?channel=" + channel + " HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
		return nil, err
	}
	var head []byte
	one := make([]byte, 1)
	for !bytes.Contains(head, []byte("\n\n")) {
		if _, err := conn.Read(one); err != nil {
			return nil, err
		}
		if head = append(head, one[0]); len(head) > 4096 {
			return nil, errors.New("no stream: " + string(head))
		}
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
		return nil, errors.New("no stream: " + string(head))
	}
	return conn, nil
}

// read counts events: each has one line that begins with "data: ".
func (r *readers) read(conn net.Conn, measured bool) {
	buf := make([]byte, 32<<10)
	var line []byte
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		now := time.Now()
		got := int64(0)
		if !measured {
			// A frame has one "{"at":" and nothing else has.
			line = append(line, buf[:n]...)
			got = int64(bytes.Count(line, atMark))
			line = append(line[:0], line[max(bytes.LastIndex(line, atMark)+len(atMark), len(line)-len(atMark)+1, 0):]...)
		} else {
			line = append(line, buf[:n]...)
			for {
				i := bytes.Index(line, atMark)
				if i < 0 {
					break
				}
				end := bytes.IndexByte(line[i:], '}')
				if end < 0 {
					break
				}
				at, _ := strconv.ParseInt(string(line[i+len(atMark):i+end]), 10, 64)
				r.mu.Lock()
				r.took = append(r.took, now.Sub(time.Unix(0, at)))
				r.mu.Unlock()
				line = line[i+end:]
				got++
			}
			line = append([]byte(nil), line...)
		}
		r.received.Add(got)
		r.lastNano.Store(now.UnixNano())
	}
}

var atMark = []byte(`{"at":`) //nolint:gochecknoglobals // A constant.

func (r *readers) last() time.Time { return time.Unix(0, r.lastNano.Load()) }

func (r *readers) latencies() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.took
}

func (r *readers) close() {
	for _, conn := range r.conns {
		if conn != nil {
			_ = conn.Close()
		}
	}
	r.done.Wait()
}

// memory measures what an idle stream costs the hub.
func memory(ctx context.Context, s *site, o *options) error {
	hub, err := s.hub(ctx)
	if err != nil {
		return err
	}
	defer hub.stop()
	before, err := hub.residentKB()
	if err != nil {
		return err
	}
	readers, err := openReaders(ctx, hub.addr, o.idle, func(i int) string { return "user:" + strconv.Itoa(1+i) })
	if err != nil {
		return err
	}
	defer readers.close()
	time.Sleep(o.length)
	after, err := hub.residentKB()
	if err != nil {
		return err
	}
	fmt.Printf("## Memory\n\n%d idle streams, each on a channel of its own: the hub grew from %.0f MB to %.0f MB, %.1f KB per stream.\n\n",
		o.idle, float64(before)/1024, float64(after)/1024, float64(after-before)/float64(o.idle))
	return nil
}
