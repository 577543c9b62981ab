package javaclient

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/bulkhead"
)

// exchange is a call with all its attempts. It travels in the context of their HTTP requests, as each attempt is judged
// where it is made, so that an answer without sense is a failed attempt too.
type exchange struct {
	*request
	// encoded is the request's body, or nil.
	encoded []byte
	// accept makes sense of the body of an answer with a status of 2xx, and keeps what it made.
	accept func(body []byte) error
	// over returns the error of the call's own context, which tells whether time is up or the caller has left.
	over func() error
	// began is when its turn had come; the zero Time before.
	began time.Time
	// running is how many attempts are under way.
	running atomic.Int32
	// sent is set when an attempt got a connection, on which it may have sent something.
	sent atomic.Bool
	// last is how the last attempt failed.
	last atomic.Pointer[Error]
}

type exchangeKey struct{}

// exchangeOf finds what converse put into a request's context.
func exchangeOf(req *http.Request) *exchange {
	ex, _ := req.Context().Value(exchangeKey{}).(*exchange)
	return ex
}

// ask makes one call and returns what decode makes of the answer. Its errors are *Error.
func ask[T any](ctx context.Context, c *Client, r request, decode func(body []byte) (T, error)) (T, error) {
	// A GET may have two answers at the same time, either of which will do.
	var answer atomic.Pointer[T]
	ex := exchange{request: &r}
	encoded, err := r.encode()
	if err == nil {
		ex.encoded = encoded
		ex.accept = func(body []byte) error {
			value, err := decode(body)
			if err == nil {
				answer.Store(&value)
			}
			return err
		}
		err = c.converse(ctx, &ex)
	}
	value := answer.Load()
	if value == nil {
		value = new(T)
	} else {
		err = nil // Time was up when the answer was there already.
	}
	if !r.health {
		c.counts.add(err)
		c.tell(&ex, err)
	}
	return *value, err
}

// tell tells how long a call took, unless nothing was sent because the breaker opened as its turn came.
func (c *Client) tell(ex *exchange, err error) {
	if c.cfg.OnCall == nil || ex.began.IsZero() {
		return
	}
	if failed := (*Error)(nil); errors.As(err, &failed) && failed.Code == CodeBreakerOpen {
		return
	}
	c.cfg.OnCall(ex.name, err == nil, time.Since(ex.began))
}

// converse waits for its turn and has the request sent.
func (c *Client) converse(ctx context.Context, ex *exchange) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.TotalTimeout)
	defer cancel()
	ex.over = ctx.Err
	if !ex.health {
		// Asked before there is a turn to wait for, so that the answer is there at once.
		if wait, refuses := c.breaker.refuses(); refuses {
			return &Error{Code: CodeBreakerOpen, RetryAfter: wait, NotSent: true}
		}
		if err := c.bulkhead.AcquirePermitWithMaxWait(ctx, c.cfg.QueueFor); err != nil {
			return ex.failure(err)
		}
		defer c.bulkhead.ReleasePermit()
	}
	ex.began = time.Now()
	req := c.resty.R().SetContext(context.WithValue(ctx, exchangeKey{}, ex))
	ex.call.setHeaders(req)
	if ex.interest != "" {
		req.SetQueryParam("interest", ex.interest)
	}
	if ex.encoded != nil {
		req.SetHeader("Content-Type", "application/json").SetBody(bytes.NewReader(ex.encoded))
	}
	if _, err := req.Execute(ex.method, c.base.JoinPath(ex.path).String()); err != nil {
		return ex.failure(err)
	}
	return nil
}

// failure says how the call failed: of the errors that the policies, resty and net/http wrap around the attempts' own,
// some quote the address.
func (ex *exchange) failure(err error) *Error {
	failed := &Error{}
	last := ex.last.Load()
	switch {
	case errors.As(err, &failed) && (failed.Code != CodeBreakerOpen || last == nil):
		copied := *failed
		failed = &copied
	case errors.Is(ex.over(), context.Canceled):
		failed = &Error{Code: CodeCanceled, Err: context.Canceled}
	case last != nil: // Time, the budget or the breaker forbade another attempt.
		copied := *last
		failed = &copied
	case errors.Is(err, bulkhead.ErrFull):
		failed = &Error{Code: CodeBusy}
	case errors.Is(err, context.DeadlineExceeded), ex.over() != nil:
		failed = &Error{Code: CodeTimeout, Err: context.DeadlineExceeded}
	default:
		failed = &Error{Code: CodeRefused, Err: errNoRequest}
	}
	failed.NotSent = !ex.sent.Load()
	return failed
}
