package matching

import (
	"errors"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/connectbot-hub/connecthub/javaclient"
)

// Codes of a Failure that are not the service's.
const (
	codeInvalid   = "invalid_request"
	codeTooMany   = "too_many_people"
	codeMalformed = "malformed_json"
	codeInternal  = "internal_error"
	codeExhausted = "exhausted"
)

// maxDetail bounds what is told of a failure, in bytes.
const maxDetail = 1000

// failureOf is what is told of an error.
func failureOf(err error) Failure {
	failure := describe(err)
	if len(failure.Detail) > maxDetail {
		failure.Detail = strings.ToValidUTF8(failure.Detail[:maxDetail], "")
	}
	return failure
}

func describe(err error) Failure {
	var problem *javaclient.Error
	var invalid *InvalidError
	switch {
	case errors.As(err, &problem):
		return Failure{string(problem.Code), problem.Message}
	case errors.As(err, &invalid):
		return Failure{codeInvalid, invalid.text()}
	case errors.Is(err, ErrTooMany):
		return Failure{codeTooMany, ""}
	case errors.Is(err, ErrMalformed):
		return Failure{codeMalformed, ""}
	}
	return Failure{codeInternal, ""}
}

// text is how a failure lies in the queue.
func (f Failure) text() string {
	text, err := json.Marshal(f)
	if err != nil {
		return ""
	}
	return string(text)
}

// readFailure reads what text wrote, nil if that is nothing.
func readFailure(text string) *Failure {
	if text == "" {
		return nil
	}
	var f Failure
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return &Failure{Code: codeInternal} // The queue's own words, which are for the log.
	}
	return &f
}
