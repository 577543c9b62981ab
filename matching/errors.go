package matching

import (
	"errors"
	"fmt"
	"strings"
)

// What goes wrong. Besides these and InvalidError, calls return the errors of package javaclient when there is no fallback.
var (
	// ErrMalformed says, in the words after it, why a request is no JSON.
	ErrMalformed = errors.New("matching: malformed JSON")
	// ErrTooMany says that a request names more than MaxPeople.
	ErrTooMany = fmt.Errorf("matching: more than %d people", MaxPeople)
	// ErrKeyReused says that an idempotency key, or the id of a request, came with another request before.
	ErrKeyReused = errors.New("matching: the idempotency key was used for another request")
	// ErrIDReused is an ErrKeyReused of a request's id.
	ErrIDReused = fmt.Errorf("%w: it is the request_id", ErrKeyReused)
	// ErrUnavailable says that Redis did not answer. The same call may succeed later, and may be made again.
	ErrUnavailable = errors.New("matching: Redis is unavailable")
	// ErrBusy says that too many requests are matched without the service. The same call may succeed later.
	ErrBusy = errors.New("matching: too many requests are matched without the service")
	// ErrFull says that too many requests wait.
	ErrFull = errors.New("matching: too many requests wait")
	// ErrNotFound says that there is no such request.
	ErrNotFound = errors.New("matching: no such request")
	// ErrNotFailed says that a request did not fail, so that it cannot be tried again.
	ErrNotFailed = errors.New("matching: the request has not failed")
	// ErrInProgress says that another call with the same idempotency key is under way and has no answer yet. The same call
	// may succeed later.
	ErrInProgress = errors.New("matching: another call with the same key is under way")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("matching: closed")
)

// InvalidError says which parts of a request are wrong.
type InvalidError struct{ Fields []FieldProblem }

// FieldProblem says what is wrong with one of them: employees, employees[3].id, users[0], interest, algorithm,
// participants[1].id, team_size, request_id, cursor and so on.
type FieldProblem struct{ Field, Problem string }

func (e *InvalidError) Error() string { return "matching: invalid " + e.text() }

// text is what is wrong, in words.
func (e *InvalidError) text() string {
	told := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		told[i] = f.Field + " " + f.Problem
	}
	return strings.Join(told, "; ")
}

// problems collects what is wrong with a request.
type problems []FieldProblem

// mostProblems bounds what is told of one request.
const mostProblems = 20

func (p *problems) add(field, problem string) {
	if len(*p) < mostProblems {
		*p = append(*p, FieldProblem{field, problem})
	}
}

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &InvalidError{Fields: p}
}
