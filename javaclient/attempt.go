package javaclient

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// newTransport makes the transport of all connections. HTTP/1.1 only, no proxy.
func newTransport(cfg Config) *http.Transport {
	// Tomcat closes a connection that was idle for 20 s. Who closes first loses no request.
	const idle = 15 * time.Second
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Protocols:              protocols,
		DialContext:            (&net.Dialer{Timeout: cfg.Timeout}).DialContext,
		TLSHandshakeTimeout:    cfg.Timeout,
		MaxIdleConns:           cfg.Concurrency,
		MaxIdleConnsPerHost:    cfg.Concurrency,
		IdleConnTimeout:        idle,
		MaxResponseHeaderBytes: 64 << 10,
		// A few dozen people with one system call each way.
		ReadBufferSize:  16 << 10,
		WriteBufferSize: 16 << 10,
	}
}

// attempt is the innermost transport: it sends a request once, reads all of the answer and judges it. It returns either a
// response without a body, when the exchange has accepted the answer, or an *attemptError.
//
// Once is what net/http makes of it: on a connection which the server had closed before anything was written, it sends the
// request again on another one. A POST it sends again in no other case, as long as there is no Idempotency-Key header.
type attempt struct {
	timeout   time.Duration
	maxAnswer int64
	transport *http.Transport
	// tracer makes spans; nil: nobody does.
	tracer trace.Tracer
}

// attemptError is an Error with what the policies want to know.
type attemptError struct {
	err *Error
	// retry says that another attempt is allowed and may help.
	retry bool
	// alone says that no other attempt of the same call was under way when this one ended.
	alone bool
}

func (e *attemptError) Error() string { return e.err.Error() }

// Unwrap returns the Error.
func (e *attemptError) Unwrap() error { return e.err }

// RoundTrip implements http.RoundTripper.
func (a *attempt) RoundTrip(req *http.Request) (*http.Response, error) {
	ex := exchangeOf(req)
	ex.running.Add(1)
	req, span := a.begin(req, ex)
	err := a.send(req, ex)
	end(span, err)
	alone := ex.running.Add(-1) == 0
	if err != nil && err.Code == CodeConnectionLost {
		// When the service was restarted, the connections that wait in the pool are as dead as this one was, and would cost
		// a request each.
		a.transport.CloseIdleConnections()
	}
	if err != nil {
		return nil, &attemptError{err, a.worthRetry(req, ex, err), alone}
	}
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, Request: req,
	}, nil
}

// worthRetry says whether the request may be sent again, and whether there is time to.
func (a *attempt) worthRetry(req *http.Request, ex *exchange, err *Error) bool {
	deadline, ok := req.Context().Deadline()
	if ex.over() != nil || ok && time.Until(deadline) <= max(err.RetryAfter, shortestPause) {
		return false
	}
	if req.Method != http.MethodGet {
		// No connection, no request. Anything else the service may have acted upon.
		return err.Code == CodeUnreachable && !ex.sent.Load()
	}
	switch err.Code {
	case CodeUnreachable, CodeConnectionLost, CodeTimeout, CodeMalformed, CodeOverloaded:
		return true
	case CodeServerError:
		return err.Status != http.StatusNotImplemented
	}
	return false
}

func (a *attempt) send(req *http.Request, ex *exchange) *Error {
	outer := req.Context()
	ctx, cancel := context.WithTimeout(outer, a.timeout)
	defer cancel()
	resp, err := a.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(ctx, ex.trace())))
	if err != nil {
		return ex.broken(outer, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if a.tracer != nil {
		trace.SpanFromContext(outer).SetAttributes(attribute.Int("http.response.status_code", resp.StatusCode))
	}
	if resp.StatusCode < http.StatusOK { // 101: what follows is no body.
		return &Error{Code: CodeMalformed, Status: resp.StatusCode, Err: errNotUnderstood}
	}
	body, err := readAll(resp, a.maxAnswer)
	if err != nil && ex.over() != nil {
		return ex.broken(outer, err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return ex.rejected(resp, body) // Whether all of its body came matters little.
	}
	failed := (*Error)(nil)
	switch {
	case err == nil:
		return ex.understood(resp.StatusCode, body)
	case errors.Is(err, errTooLarge):
		failed = &Error{Code: CodeTooLarge, Err: errTooLarge}
	case errors.Is(err, io.ErrUnexpectedEOF):
		failed = &Error{Code: CodeMalformed, Err: errCutOff}
	default:
		failed = ex.broken(outer, err)
	}
	failed.Status = resp.StatusCode
	return failed
}

// trace finds out whether an attempt had a connection. When a POST goes for another one within the same attempt, net/http
// has found that it wrote nothing to the first, which a service that was restarted had closed.
func (ex *exchange) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) {
			if ex.method != http.MethodGet {
				ex.sent.Store(false)
			}
		},
		GotConn: func(httptrace.GotConnInfo) { ex.sent.Store(true) },
	}
}

var (
	errTooLarge      = errors.New("its answer is too large")
	errCutOff        = errors.New("its answer is cut off")
	errNotUnderstood = errors.New("its answer is not understood")
)

// readAll reads the body, or fails with errTooLarge. It leaves the connection fit for the next request if what is beyond
// the limit is little.
func readAll(resp *http.Response, limit int64) ([]byte, error) {
	const usual, most, rest = 16 << 10, 1 << 20, 256 << 10
	if resp.ContentLength > limit+rest {
		return nil, errTooLarge
	}
	length := resp.ContentLength
	if length < 0 { // It comes in chunks, as it mostly does.
		length = usual
	}
	body := bytes.NewBuffer(make([]byte, 0, min(length, most)+bytes.MinRead))
	_, err := body.ReadFrom(io.LimitReader(resp.Body, limit+1))
	if err == nil && int64(body.Len()) > limit {
		_, _ = io.CopyN(io.Discard, resp.Body, rest)
		return nil, errTooLarge
	}
	return body.Bytes(), err
}

// broken says how an attempt ended that has no answer. What net/http says may quote addresses, passwords and the answer, and
// is not kept. outer is the context of the attempt without its own timeout.
func (ex *exchange) broken(outer context.Context, err error) *Error {
	var timeout net.Error
	switch over := ex.over(); {
	case errors.Is(over, context.Canceled), over == nil && errors.Is(outer.Err(), context.Canceled):
		return &Error{Code: CodeCanceled, Err: context.Canceled}
	case over != nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return &Error{Code: CodeTimeout, Err: context.DeadlineExceeded}
	case !ex.sent.Load():
		return &Error{Code: CodeUnreachable, Err: lost(err)}
	case isLost(err):
		return &Error{Code: CodeConnectionLost, Err: lost(err)}
	case strings.Contains(err.Error(), "response headers exceeded"):
		return &Error{Code: CodeTooLarge, Err: errTooLarge}
	}
	return &Error{Code: CodeMalformed, Err: errNotUnderstood}
}
