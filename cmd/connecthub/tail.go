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
	Since   time.Duration `placeholder:"10m" help:"Begin with what was published in this time. Default: with what comes now."`
	All     bool          `help:"Begin with all that the log holds."`
	JSON    bool          `name:"json" help:"Show each event as one line of JSON."`

	hubClient `embed:""`
}

// Run shows events until ctx ends. A lost connection is made again, from where it stood.
func (c *tailCommand) Run(ctx context.Context, a *app) error {
	query := url.Values{"channel": c.Channel, "type": c.Type}
	switch {
	case c.All:
		query.Set("last_event_id", "earliest")
	case c.Since > 0:
		query.Set("since", time.Now().Add(-c.Since).UTC().Format(time.RFC3339Nano))
	}
	req, err := c.request(ctx, http.MethodGet, "/v1/stream", query, nil)
	if err != nil {
		return err
	}
	client := sse.Client{
		HTTPClient:        &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: 10 * time.Second}},
		ResponseValidator: validateStream,
		Backoff:           sse.Backoff{MaxInterval: 5 * time.Second},
		OnRetry: func(err error, wait time.Duration) {
			_, _ = fmt.Fprintf(a.stderr, "connecthub: the stream ended (%v), connecting again in %v\n", err, wait.Round(time.Millisecond))
		},
	}
	connection := client.NewConnection(req)
	connection.Buffer(nil, 2<<20)
	var writeErr error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	connection.SubscribeToAll(func(ev sse.Event) {
		if err := c.show(a.stdout, ev); err != nil {
			writeErr = err
			cancel()
		}
	})
	err = connection.Connect()
	switch {
	case writeErr != nil:
		return writeErr
	case ctx.Err() != nil:
		return nil
	case errors.As(err, new(*refusedError)):
		return errors.Unwrap(err)
	}
	return err
}

// refusedError is an answer that trying again would not change.
type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

// temporaryError makes the client try again.
type temporaryError struct{ error }

// Temporary is what the client asks.
func (temporaryError) Temporary() bool { return true }

// Timeout is what the client asks.
func (temporaryError) Timeout() bool { return false }

func validateStream(res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		return sse.DefaultValidator(res)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return temporaryError{err}
	}
	err = problemError(res, raw)
	if res.Header.Get("Retry-After") != "" || res.StatusCode >= http.StatusInternalServerError {
		return temporaryError{err}
	}
	return &refusedError{err}
}

// show writes one frame.
func (c *tailCommand) show(w io.Writer, frame sse.Event) error {
	if frame.Data == "" {
		return nil // It only moved the cursor.
	}
	if frame.Type == "gap" || frame.Type == "slow" {
		_, err := fmt.Fprintf(w, `{"%s":%s}`+"\n", frame.Type, frame.Data)
		if !c.JSON {
			_, err = fmt.Fprintf(w, "-- %s: %s\n", frame.Type, frame.Data)
		}
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
		at.Local().Format("15:04:05.000"), ev.Channel, ev.Type, ev.Data, ev.Source)
	return err
}
