package javaclient

import (
	"fmt"
	"time"
)

// Code says what went wrong. Codes are stable: callers may store and compare them.
type Code string

// The codes.
const (
	// CodeRefused: the service refused what was asked, with a status 4xx that has no code of its own. Without a status: what
	// was asked cannot be written as JSON.
	CodeRefused Code = "refused"
	// CodeNoEmployees: its data source knows nobody who is meant.
	CodeNoEmployees Code = "no_employees"
	// CodeNotFound: the service has no such call, as not every deployment has all of them.
	CodeNotFound Code = "not_found"
	// CodeUnauthorized: it does not take the token (401, 403).
	CodeUnauthorized Code = "unauthorized"
	// CodeOverloaded: it asks to come later (429).
	CodeOverloaded Code = "overloaded"
	// CodeDataSource: its own data source failed. For calls that need that source, a status of 502 says so.
	CodeDataSource Code = "data_source_failed"
	// CodeServerError: it failed (5xx), or says so in a 200: with a "status" other than ok.
	CodeServerError Code = "server_error"
	// CodeMalformed: what it answered is not understood, is empty, or is cut off.
	CodeMalformed Code = "malformed_answer"
	// CodeTooLarge: its answer is larger than Config.MaxAnswer, or a list in it is longer than the package's documentation says.
	CodeTooLarge Code = "answer_too_large"
	// CodeRedirected: it answered with a redirect, which is not followed.
	CodeRedirected Code = "redirected"
	// CodeTimeout: there was no answer in time, Config's or the caller's.
	CodeTimeout Code = "timeout"
	// CodeUnreachable: there was no connection; nothing was sent.
	CodeUnreachable Code = "unreachable"
	// CodeConnectionLost: the connection broke before the answer was there.
	CodeConnectionLost Code = "connection_lost"
	// CodeBreakerOpen: the service failed lately and was not asked.
	CodeBreakerOpen Code = "breaker_open"
	// CodeBusy: Config.Concurrency calls are under way; the service was not asked.
	CodeBusy Code = "busy"
	// CodeCanceled: the caller's context was cancelled.
	CodeCanceled Code = "canceled"
)

// Error is what every call of a Client returns when it fails.
type Error struct {
	Code Code
	// Status is that of the service's answer, 0 if there was none.
	Status int
	// Message is what the service says, in words, when it refused or failed in a 200: at most 500 bytes of printable text, or empty. It may
	// hold what the caller sent, so that it is for the caller and not for a log.
	Message string
	// RetryAfter is how long to wait before it is worth trying again, 0 if that is not known.
	RetryAfter time.Duration
	// NotSent says that it is certain that the service got nothing of the request.
	NotSent bool
	// Err is the cause, if there is one: errors.Is finds context.Canceled and context.DeadlineExceeded, and the
	// system's number for a connection that broke. It holds nothing of the request and the answer, and no address.
	Err error
}

// Error tells the code, the status and the cause, and neither the message nor any address.
func (e *Error) Error() string {
	text := "javaclient: " + string(e.Code)
	if e.Status != 0 {
		text += fmt.Sprintf(" (status %d)", e.Status)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
