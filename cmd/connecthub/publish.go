package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/events"
)

type publishCommand struct {
	User    int64  `xor:"to" placeholder:"ID" help:"Publish to this user."`
	Global  bool   `xor:"to" help:"Publish to everybody."`
	Service string `xor:"to" placeholder:"NAME" help:"Publish to this service."`

	ID             string `name:"id" help:"The event's id; the same id is published once."`
	Source         string `help:"Who publishes."`
	CorrelationID  string `name:"correlation-id" help:"Ties events of one affair together."`
	IdempotencyKey string `name:"idempotency-key" help:"Makes it safe to run the same command again."`

	hubClient `embed:""`

	Type string `arg:"" help:"What happened, such as user.login."`
	Data string `arg:"" optional:"" help:"The event's data, JSON; - reads it from standard input. A number below 0 goes behind --. Default: {}."`
}

// Run publishes one event and shows its receipt.
func (c *publishCommand) Run(ctx context.Context, a *app) error {
	var path string
	switch {
	case c.User != 0:
		path = "/v1/events/users/" + strconv.FormatInt(c.User, 10)
	case c.Global:
		path = "/v1/events/global"
	case c.Service != "":
		path = "/v1/events/services/" + url.PathEscape(c.Service)
		if _, err := events.Service(c.Service); err != nil {
			return usageError("--service must be 1 to 64 letters, digits, '_', '-' and '.', beginning with a letter or digit")
		}
	default:
		return usageError("say to whom: --user ID, --global or --service NAME")
	}
	data, err := c.data(a.stdin)
	if err != nil {
		return err
	}
	// The data goes along as it is; decoding it would change large numbers.
	body := append([]byte(`{"data":`), data...)
	for _, member := range []struct{ name, value string }{
		{"type", c.Type}, {"id", c.ID}, {"source", c.Source}, {"correlation_id", c.CorrelationID},
	} {
		if member.value != "" {
			quoted, err := json.Marshal(member.value)
			if err != nil {
				return err
			}
			body = append(append(body, `,"`+member.name+`":`...), quoted...)
		}
	}
	body = append(body, '}')
	var receipt api.Receipt
	c.idempotencyKey = c.IdempotencyKey
	if err := c.call(ctx, http.MethodPost, path, nil, body, &receipt); err != nil {
		return err
	}
	again := ""
	if receipt.Duplicate {
		again = ", published before"
	}
	_, err = fmt.Fprintf(a.stdout, "%s on %s at %s, %d subscribers%s\n",
		receipt.ID, receipt.Channel, receipt.Offset, receipt.Subscribers, again)
	return err
}

// data returns the event's data as it was given.
func (c *publishCommand) data(stdin io.Reader) ([]byte, error) {
	data := []byte(c.Data)
	if c.Data == "-" {
		const largest = 1 << 20
		var err error
		if data, err = io.ReadAll(io.LimitReader(stdin, largest+1)); err != nil {
			return nil, err
		}
		if len(data) > largest {
			return nil, usageError("the data has more than 1 MiB")
		}
	}
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return []byte("{}"), nil
	}
	if !json.Valid(data) {
		return nil, usageError(`the data is not JSON; quote it for the shell, as in '{"a":1}'`)
	}
	return data, nil
}
