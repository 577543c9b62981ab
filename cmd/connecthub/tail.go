package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/tmaxmax/go-sse"

	"github.com/connectbot-hub/connecthub/events"
)

type tailCommand struct {
	Channel []string      `required:"" placeholder:"CHANNEL" help:"user:123, global or service:matching. Repeat for more."`
	Type    []string      `placeholder:"TYPE" help:"Only these types, such as user.login or user.*. Repeat for more."`
	Since   time.Duration `xor:"from" placeholder:"10m" help:"Begin with what was published in this time. Default: with what comes now."`
	All     bool          `xor:"from" help:"Begin with all that the log holds."`
	JSON    bool          `name:"json" help:"Show each event as one line of JSON."`

	hubClient `embed:""`
}

// Run shows events until ctx ends. A lost connection is made again, from where it stood.
func (c *tailCommand) Run(ctx context.Context, a *app) error {
	query := url.Values{"channel": c.Channel, "type": c.Type}
	switch {
	case c.Since < 0:
		return usageError("--since must be above 0")
	case c.All:
		query.Set("last_event_id", "earliest")
	case c.Since > 0:
		query.Set("since", time.Now().Add(-c.Since).UTC().Format(time.RFC3339Nano))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := c.request(ctx, http.MethodGet, "/v1/stream", query, nil)
	if err != nil {
		return err
	}
	standard, err := c.transport()
	if err != nil {
		return err
	}
	transport := standard.Clone()
	transport.ResponseHeaderTimeout = 10 * time.Second
	defer transport.CloseIdleConnections()
	client := sse.Client{
		HTTPClient:        &http.Client{Transport: retryable{transport}},
		ResponseValidator: validateStream,
		Backoff:           sse.Backoff{MaxInterval: 5 * time.Second, Jitter: 0.1},
		OnRetry: func(err error, wait time.Duration) {
			_, _ = fmt.Fprintf(a.stderr, "connecthub: %v; connecting again in %v\n", c.why(err), wait.Round(time.Millisecond))
		},
	}
	connection := client.NewConnection(req)
	connection.Buffer(nil, 2<<20)
	var writeErr error
	connection.SubscribeToAll(func(ev sse.Event) {
		if writeErr == nil {
			writeErr = c.show(a.stdout, ev)
		}
		if writeErr != nil {
			cancel()
		}
	})
	err = connection.Connect()
	switch {
	case writeErr != nil:
		return writeErr
	case ctx.Err() != nil:
		return nil
	}
	return c.why(err)
}

// why returns what the hub said, or what became of the connection, without the words that the SSE client puts around it.
func (c *tailCommand) why(err error) error {
	var refused *refusedError
	var lost *sse.ConnectionError
	switch {
	case errors.As(err, &refused):
		return refused.error
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the hub ended the stream")
	case errors.As(err, &lost):
		return c.unanswered(lost.Err)
	}
	return err
}

// refusedError is an answer that is no stream.
type refusedError struct{ error }

// validateStream returns a refusedError unless the answer is a stream.
func validateStream(res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		if err := sse.DefaultValidator(res); err != nil {
			return &refusedError{fmt.Errorf("what answers is no hub: %w", err)}
		}
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return err
	}
	return &refusedError{problemError(res, raw)}
}

// retryable turns answers that may be better next time into failures of the connection, after which the SSE client tries
// again: it takes every answer that is no stream for final.
type retryable struct{ http.RoundTripper }

// RoundTrip is what http.Client calls.
func (r retryable) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := r.RoundTripper.RoundTrip(req)
	if err != nil || res.StatusCode < http.StatusInternalServerError && res.Header.Get("Retry-After") == "" {
		return res, err
	}
	defer func() { _ = res.Body.Close() }() // What was read counts.
	return nil, validateStream(res)
}

// show writes one frame.
func (c *tailCommand) show(w io.Writer, frame sse.Event) error {
	if frame.Data == "" {
		return nil // It only moved the cursor.
	}
	if frame.Type == "gap" || frame.Type == "slow" {
		line := "-- %s: %s\n"
		if c.JSON {
			line = `{"%s":%s}` + "\n"
		}
		_, err := fmt.Fprintf(w, line, frame.Type, frame.Data)
		return err
	}
	if c.JSON {
		_, err := fmt.Fprintln(w, frame.Data)
		return err
	}
	var ev struct {
		Type, Channel, Source, ID, Timestamp string
		Data                                 json.RawMessage
	}
	if err := json.Unmarshal([]byte(frame.Data), &ev); err != nil {
		return fmt.Errorf("the hub sent an event that is not JSON: %w", err)
	}
	at, err := events.ParseTimestamp(ev.Timestamp)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s  %s  %s  %s  from %s\n",
		at.Local().Format("2006-01-02 15:04:05.000"), ev.Channel, ev.Type, ev.Data, ev.Source)
	return err
}
