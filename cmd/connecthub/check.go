package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/tmaxmax/go-sse"

	"github.com/connectbot-hub/connecthub/api"
)

type checkCommand struct {
	Component string `enum:"all,events,cache,temp_data,matching,health" default:"all" help:"What to test: all, events, cache, temp_data, matching or health."`
	UserID    int64  `name:"user-id" placeholder:"ID" help:"Send the test events to this user's channel, test the cache with this user's menus, which are cleared, and keep temporary data of this user for a moment; matching pairs people who do not exist. Default: the channel of the service connecthub-check, which nobody reads, and for the rest user 9223372036854775807, who is nobody."`
	Direct    bool   `help:"Test no running hub, but the Redis and the Java service themselves: with a hub that is started for the test alone, with the settings of serve from the environment. It works apart from running hubs and the bot, under prefixes of its own, which end in -check."`
	JSON      bool   `name:"json" help:"Show each step as one line of JSON."`

	hubClient `embed:""`
}

// step is one step of the self-test.
type step struct {
	component, name string
	// do returns an error, or what somebody should know all the same.
	do func(context.Context) (note string, err error)
}

// stepTimeout bounds each step, but for those of matching.
const stepTimeout = 10 * time.Second

func (s *step) timeout() time.Duration {
	if s.component == "matching" {
		return matchingPatience
	}
	return stepTimeout
}

// Run runs the steps in turn; what fails in one component does not keep the next from being tested.
func (c *checkCommand) Run(ctx context.Context, a *app) (err error) {
	if c.UserID < 0 {
		return usageError("--user-id must be above 0")
	}
	var first []step
	if c.Direct {
		stop, startErr := c.ownHub(ctx, a)
		if startErr != nil {
			return startErr
		}
		defer func() { err = errors.Join(err, stop()) }()
		first = []step{{"health", "start a hub", quiet(c.started)}}
	}
	if _, err := c.request(ctx, http.MethodGet, "", nil, nil); err != nil {
		return err // A setting is wrong: there is no hub to test.
	}
	if _, err := c.transport(); err != nil {
		return err
	}
	checks := &eventsCheck{client: &c.hubClient, channel: "service:connecthub-check", path: "/v1/events/services/connecthub-check"}
	userID := cmp.Or(c.UserID, nobody)
	cache, temp := newCacheCheck(&c.hubClient, userID), newTempCheck(&c.hubClient, userID)
	matching := newMatchingCheck(&c.hubClient)
	if c.UserID > 0 {
		id := strconv.FormatInt(c.UserID, 10)
		checks.channel, checks.path = "user:"+id, "/v1/events/users/"+id
	}
	steps := slices.Concat(first, []step{
		{"health", "the process answers", quiet(func(ctx context.Context) error { _, err := c.health(ctx, "/health/live"); return err })},
		{"health", "it can accept events", quiet(func(ctx context.Context) error { _, err := c.health(ctx, "/health/ready"); return err })},
		{"health", "no check fails", func(ctx context.Context) (string, error) { return c.health(ctx, "/health") }},
		{"events", "open a stream", quiet(checks.open)},
		{"events", "publish an event", quiet(checks.publish)},
		{"events", "receive it on the stream", quiet(checks.receive)},
		{"events", "find it in the log", quiet(checks.find)},
		{"events", "publish it again, which must change nothing", quiet(checks.repeat)},
	}, cache.steps(), temp.steps(), matching.steps())
	defer checks.close()
	defer cache.close(ctx)
	defer temp.close(ctx)
	failed := map[string]bool{}
	for _, s := range steps {
		if c.Component != "all" && c.Component != s.component {
			continue
		}
		if failed[s.component] && s.component != "health" {
			continue // Each step of these components needs the one before.
		}
		stepCtx, cancel := context.WithTimeout(ctx, s.timeout())
		start := time.Now()
		note, err := s.do(stepCtx)
		took := time.Since(start)
		cancel()
		failed[s.component] = failed[s.component] || err != nil
		if err := c.show(a, s, took, note, err); err != nil {
			return err
		}
	}
	if slices.Contains(slices.Collect(maps.Values(failed)), true) {
		return errSilent
	}
	return nil
}

// quiet makes a step of one that has nothing to tell but whether it failed.
func quiet(do func(context.Context) error) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return "", do(ctx) }
}

func (c *checkCommand) show(a *app, s step, took time.Duration, note string, failure error) error {
	if c.JSON {
		line := struct {
			Component string  `json:"component"`
			Step      string  `json:"step"`
			OK        bool    `json:"ok"`
			Ms        float64 `json:"ms"`
			Note      string  `json:"note,omitempty"`
			Error     string  `json:"error,omitempty"`
		}{s.component, s.name, failure == nil, float64(took.Microseconds()) / 1000, note, ""}
		if failure != nil {
			line.Error = failure.Error()
		}
		return json.NewEncoder(a.stdout).Encode(line)
	}
	mark, why := "ok  ", ""
	switch {
	case failure != nil:
		mark, why = "FAIL", ": "+failure.Error()
	case note != "":
		why = " (" + note + ")"
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %-9s %8.1f ms  %s%s\n", mark, s.component, float64(took.Microseconds())/1000, s.name, why)
	return err
}

// health asks one of the health endpoints. What it warns of is no failure.
func (c *checkCommand) health(ctx context.Context, path string) (note string, err error) {
	var report api.Health
	if err := c.call(ctx, http.MethodGet, path, nil, nil, &report); err != nil {
		return "", err
	}
	var told []string
	for name, results := range report.Checks {
		for _, r := range results {
			if r.Status == report.Status && r.Status != api.HealthStatusPass {
				told = append(told, name+": "+r.Output)
			}
		}
	}
	slices.Sort(told)
	text := strings.Join(told, "; ")
	if report.Status == api.HealthStatusFail {
		return "", errors.New(cmp.Or(text, "the hub says fail"))
	}
	return text, nil
}

// eventsCheck sends an event through the hub and sees where it gets to.
type eventsCheck struct {
	client        *hubClient
	channel, path string

	id     string
	body   []byte
	first  api.Receipt
	frames chan sse.Event
	ended  chan error
	stream context.CancelFunc
	reader sync.WaitGroup
}

// open opens the stream, which outlives this step.
func (c *eventsCheck) open(ctx context.Context) error {
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.stream = cancel
	req, err := c.client.request(streamCtx, http.MethodGet, "/v1/stream", url.Values{"channel": {c.channel}}, nil)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, cancel)()
	res, err := c.client.do(req)
	if err != nil {
		return c.client.unanswered(cmp.Or(ctx.Err(), err))
	}
	if err := validateStream(res); err != nil {
		_ = res.Body.Close() // What was read counts.
		return err
	}
	c.frames, c.ended = make(chan sse.Event, 16), make(chan error, 1)
	c.reader.Go(func() {
		defer func() { _ = res.Body.Close() }() // The check is over.
		for frame, err := range sse.Read(res.Body, &sse.ReadConfig{MaxEventSize: 2 << 20}) {
			if err != nil {
				c.ended <- err
				return
			}
			select {
			case c.frames <- frame:
			case <-streamCtx.Done():
				return
			}
		}
		c.ended <- errors.New("the hub ended the stream")
	})
	return nil
}

func (c *eventsCheck) close() {
	if c.stream != nil {
		c.stream()
	}
	c.reader.Wait()
}

func (c *eventsCheck) publish(ctx context.Context) error {
	c.id = uuid.NewString()
	body, err := json.Marshal(map[string]any{
		"type": "test_event", "id": c.id, "source": "connecthub-check", "data": map[string]string{"message": "Проверка"},
	})
	if err != nil {
		return err
	}
	c.body = body
	return c.client.call(ctx, http.MethodPost, c.path, nil, body, &c.first)
}

func (c *eventsCheck) receive(ctx context.Context) error {
	for {
		select {
		case frame := <-c.frames:
			var ev api.Event
			if json.Unmarshal([]byte(frame.Data), &ev) == nil && ev.ID == c.id {
				if ev.Offset != c.first.Offset {
					return fmt.Errorf("it came with offset %s, but was published at %s", ev.Offset, c.first.Offset)
				}
				return nil
			}
		case err := <-c.ended:
			return err
		case <-ctx.Done():
			return errors.New("it did not come")
		}
	}
}

func (c *eventsCheck) find(ctx context.Context) error {
	var page api.EventList
	query := url.Values{"channel": {c.channel}, "reverse": {"true"}, "limit": {"1000"}}
	if err := c.client.call(ctx, http.MethodGet, "/v1/events", query, nil, &page); err != nil {
		return err
	}
	for _, ev := range page.Events {
		if ev.ID == c.id {
			return nil
		}
	}
	return errors.New("it is not there")
}

func (c *eventsCheck) repeat(ctx context.Context) error {
	var second api.Receipt
	if err := c.client.call(ctx, http.MethodPost, c.path, nil, c.body, &second); err != nil {
		return err
	}
	if !second.Duplicate || second.Offset != c.first.Offset {
		return errors.New("it was published twice")
	}
	return nil
}
