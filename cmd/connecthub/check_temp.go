package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/connectbot-hub/connecthub/api"
)

// What the check keeps expires soon, should the check be cut off. Its lease does so before a user would notice.
const (
	checkTTL      = "60"
	checkLeaseTTL = "10"
)

// tempCheck takes a value, a form, a history and a lease through the temporary data. What it keeps has a name of its own, so
// that it meets nothing of the user's but the lease, of which a user has one.
type tempCheck struct {
	client *hubClient
	name   string
	// values, value, form, history and lease are paths.
	values, value, form, history, lease string

	// tag is the ETag of the value, or of the form.
	tag string
	// left are the paths of what is to be deleted in the end, token is that of the lease.
	left  []string
	token string
	// degraded says that an answer to this step came from the hub's memory.
	degraded bool
}

func newTempCheck(client *hubClient, userID int64) *tempCheck {
	name, user := "connecthub-check-"+rand.Text(), "/v1/users/"+strconv.FormatInt(userID, 10)
	return &tempCheck{
		client: client, name: name,
		values: user + "/temp", value: user + "/temp/" + name, form: user + "/forms/" + name, lease: user + "/lease",
		history: "/v1/conversations/" + name + "/messages",
	}
}

func (c *tempCheck) steps() []step {
	return []step{
		{"temp_data", "set a value for a minute", c.noted(c.put)},
		{"temp_data", "get it, with its ETag and its expiry", c.noted(c.get)},
		{"temp_data", "set it anew, and refuse an old ETag", c.noted(c.replace)},
		{"temp_data", "put two steps of a form", c.noted(c.putSteps)},
		{"temp_data", "patch the form and read it merged", c.noted(c.patch)},
		{"temp_data", "go back a step", c.noted(c.back)},
		{"temp_data", "submit the form, once", c.noted(c.submit)},
		{"temp_data", "append to a history and read it in order", c.noted(c.appendTo)},
		{"temp_data", "find the value's key in the list", c.noted(c.list)},
		{"temp_data", "delete the value", c.noted(c.remove)},
		{"temp_data", "take a lease, refuse it to others, release it", c.noted(c.leaseOne)},
	}
}

// noted tells of a step when the hub did it without Redis.
func (c *tempCheck) noted(do func(context.Context) error) func(context.Context) (string, error) {
	return func(ctx context.Context) (note string, err error) {
		c.degraded = false
		err = do(ctx)
		if c.degraded {
			note = "degraded: Redis is away, and the hub keeps it in its own memory"
		}
		return note, err
	}
}

// close deletes what the check has left behind, whatever became of it.
func (c *tempCheck) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
	defer cancel()
	for _, path := range c.left {
		_, _ = c.send(ctx, exchange{method: http.MethodDelete, path: path, status: http.StatusOK}) // It expires by itself.
	}
	if c.token != "" {
		_, _ = c.release(ctx, http.StatusOK) // As above.
	}
}

// exchange is a request and the status that the answer must have.
type exchange struct {
	method, path  string
	query         url.Values
	body, ifMatch string
	status        int
}

func (c *tempCheck) send(ctx context.Context, e exchange) (*answer, error) {
	var body []byte
	if e.body != "" {
		body = []byte(e.body)
	}
	req, err := c.client.request(ctx, e.method, e.path, e.query, body)
	if err != nil {
		return nil, err
	}
	if e.ifMatch != "" {
		req.Header.Set("If-Match", e.ifMatch)
	}
	res, err := c.client.do(req)
	if err != nil {
		return nil, c.client.unanswered(err)
	}
	defer func() { _ = res.Body.Close() }() // What was read counts.
	const largest = 1 << 20
	raw, err := io.ReadAll(io.LimitReader(res.Body, largest))
	if err != nil {
		return nil, c.client.unanswered(err)
	}
	c.degraded = c.degraded || res.Header.Get("Degraded") != ""
	switch {
	case res.StatusCode == e.status:
		return &answer{res.StatusCode, res.Header, raw}, nil
	case res.StatusCode < http.StatusMultipleChoices:
		return nil, fmt.Errorf("the status is %d, not %d", res.StatusCode, e.status)
	}
	return nil, problemError(res, raw)
}

// read sends a request and decodes the answer.
func (c *tempCheck) read(ctx context.Context, e exchange, out any) error {
	got, err := c.send(ctx, e)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(got.body, out); err != nil {
		return c.client.noHub(err)
	}
	return nil
}

// write sends a change and keeps the ETag of what there is then.
func (c *tempCheck) write(ctx context.Context, e exchange) error {
	got, err := c.send(ctx, e)
	if err != nil {
		return err
	}
	before := c.tag
	if c.tag = got.header.Get("ETag"); c.tag == "" || c.tag == before {
		return fmt.Errorf("the ETag is %q, and was %q before", c.tag, before)
	}
	return nil
}

// checkValue holds a number that loses its last digit where it is taken for a float.
const checkValue = `{"text":"Проверка ☕️","number":9007199254740993}`

func (c *tempCheck) put(ctx context.Context) error {
	c.left = append(c.left, c.value)
	return c.write(ctx, exchange{
		method: http.MethodPut, path: c.value, query: given("ttl", checkTTL), body: checkValue, status: http.StatusCreated,
	})
}

func (c *tempCheck) get(ctx context.Context) error {
	got, err := c.send(ctx, exchange{method: http.MethodGet, path: c.value, status: http.StatusOK})
	if err != nil {
		return err
	}
	const most = 60
	expires, err := strconv.Atoi(got.header.Get("Expires-In"))
	switch {
	case string(got.body) != checkValue:
		return errors.New("another value comes back")
	case got.header.Get("ETag") != c.tag:
		return fmt.Errorf("its ETag is %q, but %q when it was set", got.header.Get("ETag"), c.tag)
	case err != nil || expires < 1 || expires > most:
		return fmt.Errorf("it expires in %q seconds, but was set for %d", got.header.Get("Expires-In"), most)
	}
	return nil
}

func (c *tempCheck) replace(ctx context.Context) error {
	old := c.tag
	change := exchange{
		method: http.MethodPut, path: c.value, query: given("ttl", checkTTL), body: checkValue, ifMatch: old, status: http.StatusOK,
	}
	if err := c.write(ctx, change); err != nil {
		return err
	}
	change.status = http.StatusPreconditionFailed
	refused, err := c.send(ctx, change)
	if err == nil && refused.header.Get("ETag") != c.tag {
		err = errors.New("the refusal does not tell the ETag of what is there")
	}
	return err
}

func (c *tempCheck) putSteps(ctx context.Context) error {
	c.left = append(c.left, c.form)
	for _, s := range []struct {
		name, data string
		status     int
	}{{"interests", `["coffee"]`, http.StatusCreated}, {"time", `"10:00"`, http.StatusOK}} {
		err := c.write(ctx, exchange{
			method: http.MethodPut, path: c.form + "/steps/" + s.name, query: given("ttl", checkTTL), body: s.data, status: s.status,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *tempCheck) patch(ctx context.Context) error {
	err := c.write(ctx, exchange{
		method: http.MethodPatch, path: c.form, query: given("ttl", checkTTL),
		body: `{"steps":{"time":"11:00"}}`, ifMatch: c.tag, status: http.StatusOK,
	})
	if err != nil {
		return err
	}
	var form api.Form
	if err := c.read(ctx, exchange{method: http.MethodGet, path: c.form, status: http.StatusOK}, &form); err != nil {
		return err
	}
	return holds(form.Steps, `{"interests":["coffee"],"time":"11:00"}`)
}

func holds(steps json.RawMessage, want string) error {
	if string(steps) != want {
		return fmt.Errorf("the form holds other steps than %s", want)
	}
	return nil
}

func (c *tempCheck) back(ctx context.Context) error {
	var form api.FormBack
	err := c.read(ctx, exchange{method: http.MethodPost, path: c.form + "/back", ifMatch: c.tag, status: http.StatusOK}, &form)
	if err != nil {
		return err
	}
	return holds(form.Steps, `{"interests":["coffee"]}`)
}

func (c *tempCheck) submit(ctx context.Context) error {
	submit := exchange{method: http.MethodPost, path: c.form + "/submit", status: http.StatusOK}
	var form api.Submission
	if err := c.read(ctx, submit, &form); err != nil {
		return err
	}
	if err := holds(form.Steps, `{"interests":["coffee"]}`); err != nil {
		return err
	}
	submit.status = http.StatusNotFound
	_, err := c.send(ctx, submit)
	return err
}

func (c *tempCheck) appendTo(ctx context.Context) error {
	c.left = append(c.left, c.history)
	for _, body := range []string{`{"messages":["раз","два"]}`, `{"message":"три"}`} {
		_, err := c.send(ctx, exchange{
			method: http.MethodPost, path: c.history, query: given("ttl", checkTTL), body: body, status: http.StatusCreated,
		})
		if err != nil {
			return err
		}
	}
	var history struct{ Messages []string }
	if err := c.read(ctx, exchange{method: http.MethodGet, path: c.history, status: http.StatusOK}, &history); err != nil {
		return err
	}
	if want := []string{"раз", "два", "три"}; !slices.Equal(history.Messages, want) {
		return fmt.Errorf("the history is %q, not %q", history.Messages, want)
	}
	return nil
}

func (c *tempCheck) list(ctx context.Context) error {
	for cursor := ""; ; {
		var page api.TempKeyList
		err := c.read(ctx, exchange{
			method: http.MethodGet, path: c.values, query: given("limit", "1000", "cursor", cursor), status: http.StatusOK,
		}, &page)
		switch {
		case err != nil:
			return err
		case slices.ContainsFunc(page.Keys, func(k api.TempListedKey) bool { return k.Key == c.name }):
			return nil
		case page.NextCursor == nil:
			return errors.New("it is not there")
		}
		cursor = *page.NextCursor
	}
}

func (c *tempCheck) remove(ctx context.Context) error {
	if _, err := c.send(ctx, exchange{method: http.MethodDelete, path: c.value, status: http.StatusOK}); err != nil {
		return err
	}
	_, err := c.send(ctx, exchange{method: http.MethodGet, path: c.value, status: http.StatusNotFound})
	return err
}

func (c *tempCheck) leaseOne(ctx context.Context) error {
	const wait = "5" // Another check may have it.
	take := exchange{method: http.MethodPost, path: c.lease, query: given("ttl", checkLeaseTTL, "wait", wait), status: http.StatusCreated}
	var lease api.Lease
	if err := c.read(ctx, take, &lease); err != nil {
		return err
	}
	c.token = lease.Token
	take.query, take.status = given("ttl", checkLeaseTTL), http.StatusConflict
	if _, err := c.send(ctx, take); err != nil {
		return err
	}
	if _, err := c.release(ctx, http.StatusOK); err != nil {
		return err
	}
	_, err := c.release(ctx, http.StatusNotFound) // Who has released it has it no more.
	return err
}

func (c *tempCheck) release(ctx context.Context, status int) (*answer, error) {
	return c.send(ctx, exchange{method: http.MethodDelete, path: c.lease, query: given("token", c.token), status: status})
}
