// Command bench measures the hub against what it is made of, on this machine and in one run: it starts a redis-server of
// its own, the hub as a process of its own and, for comparison, servers that do only a part of the hub's work. It prints
// Markdown tables for docs/benchmarks.md.
//
// The numbers of one run may be compared with each other; those of two machines, or of a machine that is busy with other
// things, may not. The load comes from the same machine and takes its share of it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"
)

// options say how long and how often is measured.
type options struct {
	rounds      int
	length      time.Duration
	connections int
	readers     int
	idle        int
	only        string
}

func (o *options) wants(part string) bool { return o.only == "" || strings.Contains(o.only, part) }

func main() {
	var o options
	role := flag.String("role", "", "internal: what this process serves")
	redisURL := flag.String("redis", "", "internal: the Redis of that role")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds; the median of all is shown")
	flag.DurationVar(&o.length, "length", 3*time.Second, "how long each measurement of a round takes")
	flag.IntVar(&o.connections, "connections", 64, "connections that send requests")
	flag.IntVar(&o.readers, "readers", 1000, "streams that read")
	flag.IntVar(&o.idle, "idle", 10000, "idle streams whose memory is measured")
	flag.StringVar(&o.only, "only", "", "publish, stream, memory, menu, temp, match or observe; default all")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *role != "" {
		err = serveRole(ctx, *role, *redisURL)
	} else {
		err = measure(ctx, &o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measure runs all parts.
func measure(ctx context.Context, o *options) error {
	s, err := newSite(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	fmt.Printf("%s, %s, %d rounds of %v each, median.\n\n", machine(), time.Now().UTC().Format(time.DateOnly), o.rounds, o.length)
	for _, part := range []struct {
		name string
		run  func(context.Context, *site, *options) error
	}{{"publish", publishing}, {"stream", streaming}, {"memory", memory}, {"menu", menus}, {"temp", temporary}, {"match", matching}, {"observe", observing}} {
		if !o.wants(part.name) {
			continue
		}
		if err := part.run(ctx, s, o); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}
