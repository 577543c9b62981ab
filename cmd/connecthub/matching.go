package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/connectbot-hub/connecthub/api"
)

type matchingCommand struct {
	Ls      matchingLsCommand      `cmd:"" help:"List the requests that failed and wait for somebody to look at them, or those that wait for their turn."`
	Show    matchingShowCommand    `cmd:"" help:"Show a request: how far it is, its result, and what went wrong."`
	Retry   matchingRetryCommand   `cmd:"" help:"Try requests that failed once more."`
	Request matchingRequestCommand `cmd:"" help:"Ask for pairs among users, as the bot does. Each of them is told of the partner."`
}

const matchingRequestsPath = "/v1/matching/requests"

// matchingPath is the path of a request.
func matchingPath(id string) (string, error) {
	if id == "" || id == "." || id == ".." { // Which would be another path.
		return "", usageError("a request's id must be one that connecthub matching ls shows, or that came with its answer")
	}
	return matchingRequestsPath + "/" + url.PathEscape(id), nil
}

// eachRequest calls do with the requests in a state, newest first, until it returns false.
func (c *hubClient) eachRequest(ctx context.Context, state string, do func(api.MatchingStatus) (bool, error)) error {
	for cursor := ""; ; {
		var page api.MatchingStatusList
		query := given("state", state, "limit", "100", "cursor", cursor)
		if err := c.call(ctx, http.MethodGet, matchingRequestsPath, query, nil, &page); err != nil {
			return err
		}
		for _, status := range page.Requests {
			if more, err := do(status); err != nil || !more {
				return err
			}
		}
		if page.NextCursor == nil {
			return nil
		}
		cursor = *page.NextCursor
	}
}

type matchingLsCommand struct {
	State string `enum:"failed,queued" default:"failed" help:"failed: those that were given up. queued: those that wait or are worked on."`
	Limit int    `default:"100" help:"How many to show."`
	JSON  bool   `name:"json" help:"Show each as one line of JSON."`

	hubClient `embed:""`
}

// Run shows the requests, one a line.
func (c *matchingLsCommand) Run(ctx context.Context, a *app) error {
	if c.Limit < 1 {
		return usageError("--limit must be at least 1")
	}
	var shown []api.MatchingStatus
	more := false
	err := c.eachRequest(ctx, c.State, func(status api.MatchingStatus) (bool, error) {
		if more = len(shown) == c.Limit; !more {
			shown = append(shown, status)
		}
		return !more, nil
	})
	if err != nil {
		return err
	}
	switch {
	case len(shown) == 0:
		none := "No request has failed."
		if c.State == string(api.MatchingStatusStateQueued) {
			none = "No request is queued."
		}
		_, err = fmt.Fprintln(a.stderr, none)
	case more:
		_, err = fmt.Fprintf(a.stderr, "There are more: say --limit.\n")
	}
	if err != nil || len(shown) == 0 {
		return err
	}
	if c.JSON {
		lines := json.NewEncoder(a.stdout)
		for _, status := range shown {
			if err := lines.Encode(status); err != nil {
				return err
			}
		}
		return nil
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "REQUEST\tSTATE\tATTEMPTS\tCHANGED\tWHY\n")
	for _, s := range shown {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\n", s.RequestID, s.State, s.Attempts, s.UpdatedAt, cmp.Or(failureCode(&s), "-"))
	}
	return table.Flush()
}

func failureCode(s *api.MatchingStatus) string {
	if s.Error == nil {
		return ""
	}
	return s.Error.Code
}

type matchingShowCommand struct {
	JSON bool `name:"json" help:"Show it in JSON, as the hub answers."`

	hubClient `embed:""`

	ID string `arg:"" help:"Which request."`
}

// Run shows a request.
func (c *matchingShowCommand) Run(ctx context.Context, a *app) error {
	path, err := matchingPath(c.ID)
	if err != nil {
		return err
	}
	got, err := c.get(ctx, path, nil)
	if err != nil {
		return err
	}
	if c.JSON {
		_, err := fmt.Fprintf(a.stdout, "%s\n", bytes.TrimSpace(got.body))
		return err
	}
	var status api.MatchingStatus
	if err := json.Unmarshal(got.body, &status); err != nil {
		return c.noHub(err)
	}
	return show(a.stdout, &status)
}

// show writes what is known of a request.
func show(out io.Writer, s *api.MatchingStatus) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "request\t%s\nstate\t%s\nattempts\t%d\n", s.RequestID, s.State, s.Attempts)
	switch {
	case s.Retries == 1:
		fmt.Fprintf(table, "retried\tonce by hand\n")
	case s.Retries > 1:
		fmt.Fprintf(table, "retried\t%d times by hand\n", s.Retries)
	}
	fmt.Fprintf(table, "asked\t%s\nchanged\t%s\n", s.CreatedAt, s.UpdatedAt)
	if s.NextAttemptAt != "" {
		fmt.Fprintf(table, "next attempt\t%s\n", s.NextAttemptAt)
	}
	if s.Error != nil {
		fmt.Fprintf(table, "went wrong\t%s\n", strings.TrimSuffix(s.Error.Code+": "+s.Error.Detail, ": "))
	}
	if s.Result != nil {
		by := string(s.Result.Source)
		if s.Result.Degraded {
			by = "the hub, as the Java service was away"
		}
		fmt.Fprintf(table, "matched by\t%s\n", by)
		for _, p := range s.Result.Pairs {
			fmt.Fprintf(table, "pair\t%d and %d\n", p.Employee1ID, p.Employee2ID)
		}
		for _, id := range s.Result.UnmatchedEmployees {
			fmt.Fprintf(table, "no partner\t%d\n", id)
		}
	}
	return table.Flush()
}

type matchingRetryCommand struct {
	All bool `help:"All that failed."`

	hubClient `embed:""`

	ID []string `arg:"" name:"id" optional:"" help:"Which requests."`
}

// Run retries requests and shows which. One that cannot be retried does not keep the others from it.
func (c *matchingRetryCommand) Run(ctx context.Context, a *app) error {
	if c.All == (len(c.ID) > 0) {
		return usageError("say which requests: ID ..., or --all, but not both")
	}
	ids := c.ID
	if c.All { // Before the first is retried, as a list that gets shorter cannot be paged through.
		err := c.eachRequest(ctx, "failed", func(s api.MatchingStatus) (bool, error) {
			ids = append(ids, s.RequestID)
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	var failures []error
	for _, id := range ids {
		if err := c.retry(ctx, id); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", id, err))
			continue
		}
		if _, err := fmt.Fprintf(a.stdout, "Retried: %s\n", id); err != nil {
			return err
		}
	}
	if c.All && len(ids) == 0 {
		_, err := fmt.Fprintln(a.stderr, "No request has failed.")
		return err
	}
	return errors.Join(failures...)
}

func (c *matchingRetryCommand) retry(ctx context.Context, id string) error {
	path, err := matchingPath(id)
	if err != nil {
		return err
	}
	var status api.MatchingStatus
	return c.call(ctx, http.MethodPost, path+"/retry", nil, nil, &status)
}

type matchingRequestCommand struct {
	Type      string `placeholder:"TYPE" help:"What the pairs are for, such as coffee or lunch. Default: coffee."`
	Algorithm string `placeholder:"NAME" help:"One of those that the Java service knows. Default: what goes with the type."`
	Interest  string `placeholder:"NAME" help:"What they should share an interest in."`
	ID        string `name:"id" placeholder:"ID" help:"The id of the request. The same one asked twice is done once. Default: one is made."`
	Wait      bool   `help:"Wait until it is done, and show it. Exit status 1 when it failed."`

	hubClient `embed:""`

	UserID []int64 `arg:"" help:"Whom to match."`
}

// Run asks and shows the request's id or, if that is wanted, what became of it.
func (c *matchingRequestCommand) Run(ctx context.Context, a *app) error {
	request := map[string]any{"users": c.UserID}
	for name, value := range map[string]string{
		"type": c.Type, "algorithm": c.Algorithm, "interest": c.Interest, "request_id": c.ID,
	} {
		if value != "" {
			request[name] = value
		}
	}
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	var status api.MatchingStatus
	if err := c.call(ctx, http.MethodPost, matchingRequestsPath, nil, body, &status); err != nil {
		return err
	}
	if !c.Wait {
		_, err := fmt.Fprintln(a.stdout, status.RequestID)
		return err
	}
	return c.await(ctx, a, status.RequestID)
}

// await waits until a request is completed or failed, and shows it.
func (c *matchingRequestCommand) await(ctx context.Context, a *app, id string) error {
	path, err := matchingPath(id)
	if err != nil {
		return err
	}
	const often = 100 * time.Millisecond
	again := time.NewTicker(often)
	defer again.Stop()
	for {
		got, err := c.get(ctx, path, nil)
		if ctx.Err() != nil { // Whether it was waiting or asking.
			return fmt.Errorf("the request %s goes on: %w", id, ctx.Err())
		}
		if err != nil {
			return err
		}
		var status api.MatchingStatus
		if err := json.Unmarshal(got.body, &status); err != nil {
			return c.noHub(err)
		}
		if status.State == api.MatchingStatusStateCompleted || status.State == api.MatchingStatusStateFailed {
			if err := show(a.stdout, &status); err != nil {
				return err
			}
			if status.State == api.MatchingStatusStateFailed {
				return errSilent
			}
			return nil
		}
		select {
		case <-ctx.Done(): // Said above.
		case <-again.C:
		}
	}
}
