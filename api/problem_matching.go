package api

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/connectbot-hub/connecthub/javaclient"
	"github.com/connectbot-hub/connecthub/matching"
)

const (
	codeMatchingRefused     = "matching_refused"
	codeMatchingFailed      = "matching_service_failed"
	codeMatchingTimeout     = "matching_service_timeout"
	codeMatchingUnavailable = "matching_service_unavailable"
	codeMatchingQueueFull   = "matching_queue_full"
	codeMatchingInProgress  = "matching_in_progress"
	codeMatchingNotFound    = "matching_request_not_found"
	codeMatchingNotFailed   = "matching_request_not_failed"
)

// problemOfMatching is problemOf for what packages matching and javaclient return; nil for what it does not know.
func problemOfMatching(err error) *problem {
	var invalid *matching.InvalidError
	var service *javaclient.Error
	switch {
	case errors.As(err, &invalid):
		return invalidContent(invalid.Fields)
	case errors.Is(err, matching.ErrMalformed):
		return malformed("The body is no JSON: " + after(err, matching.ErrMalformed) + ".")
	case errors.Is(err, matching.ErrTooMany):
		return tooLarge("A request names at most " + strconv.Itoa(matching.MaxPeople) + " people.")
	case errors.Is(err, matching.ErrIDReused):
		return &problem{
			status: http.StatusUnprocessableEntity, code: codeKeyReused, title: "The idempotency key was used before",
			detail: "The same request_id came with another request. Use a new one for a new request.",
			fields: []FieldProblem{{Field: "request_id", Problem: "was used for another request"}},
		}
	case errors.Is(err, matching.ErrBusy):
		return &problem{
			status: http.StatusServiceUnavailable, code: codeMatchingUnavailable, title: "The matching service is unavailable",
			detail:     "The matching service is away, and the hub matches as many requests itself as it can. Try again.",
			retryAfter: 5,
		}
	case errors.Is(err, matching.ErrKeyReused):
		return keyReused("The same Idempotency-Key came with another request. Use a new one for a new request.",
			"was used for another request")
	case errors.Is(err, matching.ErrFull):
		return &problem{
			status: http.StatusServiceUnavailable, code: codeMatchingQueueFull, title: "Too many requests wait",
			detail:     "As many requests for matching wait as may wait. This one was not taken. Try again later.",
			retryAfter: 5,
		}
	case errors.Is(err, matching.ErrInProgress):
		return &problem{
			status: http.StatusServiceUnavailable, code: codeMatchingInProgress, title: "The same request is under way",
			detail:     "Another request with the same Idempotency-Key is under way and has no answer yet. Try again with the same key.",
			retryAfter: 5,
		}
	case errors.Is(err, matching.ErrUnavailable):
		return redisAway("Try again, with the same Idempotency-Key or request_id if there was one.")
	case errors.Is(err, matching.ErrNotFound):
		return &problem{
			status: http.StatusNotFound, code: codeMatchingNotFound, title: "There is no such request",
			detail: "No request for matching has this id. Perhaps it was answered too long ago.",
		}
	case errors.Is(err, matching.ErrNotFailed):
		return &problem{
			status: http.StatusConflict, code: codeMatchingNotFailed, title: "The request has not failed",
			detail: "Only a request that failed can be tried again. This one waits, is worked on or is completed.",
		}
	case errors.Is(err, matching.ErrClosed):
		return shuttingDown()
	case errors.As(err, &service):
		return problemOfService(service)
	}
	return nil
}

// problemOfService is what is wrong with the matching service, or what it says is wrong with a request. A request that it
// failed at may be sent again: it matches at random, and nobody has seen what came of it.
func problemOfService(err *javaclient.Error) *problem {
	switch err.Code {
	case javaclient.CodeRefused, javaclient.CodeNoEmployees, javaclient.CodeNotFound:
		return refused(err)
	case javaclient.CodeTimeout:
		return &problem{
			status: http.StatusGatewayTimeout, code: codeMatchingTimeout, title: "The matching service is too slow",
			detail: "The matching service did not answer in time. Try again.", retryAfter: 5,
		}
	case javaclient.CodeUnreachable, javaclient.CodeBreakerOpen, javaclient.CodeBusy, javaclient.CodeOverloaded:
		return &problem{
			status: http.StatusServiceUnavailable, code: codeMatchingUnavailable, title: "The matching service is unavailable",
			detail:     "The matching service cannot be asked now: " + string(err.Code) + ". Try again.",
			retryAfter: max(1, int((err.RetryAfter+time.Second-1)/time.Second)),
		}
	case javaclient.CodeCanceled:
		return shuttingDown() // Nobody reads this: the client has gone.
	}
	return &problem{
		status: http.StatusBadGateway, code: codeMatchingFailed, title: "The matching service failed",
		detail:     "The matching service failed, or what it answered cannot be used: " + string(err.Code) + ". Try again.",
		retryAfter: 5,
	}
}

// refused passes on what the matching service says of a request.
func refused(err *javaclient.Error) *problem {
	detail := "The matching service refused the request"
	switch err.Code {
	case javaclient.CodeNoEmployees:
		detail = "The matching service knows nobody who is meant"
	case javaclient.CodeNotFound:
		detail = "The matching service has no such call"
	}
	if err.Message != "" {
		detail += ": " + err.Message
	} else {
		detail += "."
	}
	return &problem{
		status: http.StatusUnprocessableEntity, code: codeMatchingRefused, title: "The matching service refused the request",
		detail: detail,
	}
}
