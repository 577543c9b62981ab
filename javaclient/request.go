package javaclient

import (
	"errors"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/go-resty/resty/v2"

	"github.com/connectbot-hub/connecthub/internal/tracing/traceparent"
)

// request is one call of the service.
type request struct {
	name     CallName // empty for one to the service's health
	call     Call
	method   string
	path     string // below Config.URL, without a slash in front
	interest string // a parameter of the address, if it is not empty
	body     any    // becomes JSON; nil for none
	// health is for a call that is tried once and passes by the breaker, the bulkhead and the counts.
	health bool
	// explain finds a code for a failure that this call, and no other, has with a status from 300 on, or returns "". It may be nil.
	explain func(status int, body []byte) Code
}

func post(name CallName, call Call, path string, body any) request {
	return request{name: name, call: call, method: http.MethodPost, path: path, body: body}
}

// allActive returns the employees with Active set, of which the service makes no sense when it is left out.
func allActive(employees []Employee) []Employee {
	unset := func(e Employee) bool { return e.Active == nil }
	if !slices.ContainsFunc(employees, unset) {
		return employees
	}
	active := true
	employees = slices.Clone(employees)
	for i := range employees {
		if employees[i].Active == nil {
			employees[i].Active = &active
		}
	}
	return employees
}

// errNoRequest does not repeat what was to be sent.
var errNoRequest = errors.New("what is asked cannot be written as JSON: a member is named twice or no JSON")

// encode writes the request's body. It fails on members of Other that are no JSON or have the name of a field.
func (r *request) encode() ([]byte, error) {
	if r.body == nil {
		return nil, nil
	}
	body, err := json.Marshal(r.body, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return nil, &Error{Code: CodeRefused, NotSent: true, Err: errNoRequest}
	}
	return body, nil
}

// longestID bounds X-Request-ID and longestState tracestate, for which W3C Trace Context says 512 characters.
const longestID, longestState = 256, 512

// setHeaders leaves out what does not fit a header, so that it neither fails the call nor ends up in an error.
func (c Call) setHeaders(to *resty.Request) {
	if fits(c.RequestID, '!', longestID) {
		to.SetHeader("X-Request-ID", c.RequestID)
	}
	if !traceparent.Valid(c.Traceparent) {
		return // W3C Trace Context, 3.3: a tracestate is nothing without it.
	}
	to.SetHeader("traceparent", c.Traceparent)
	if fits(c.Tracestate, ' ', longestState) {
		to.SetHeader("tracestate", c.Tracestate)
	}
}

// fits says whether value has 1 to longest characters of ASCII, from lowest to the tilde.
func fits(value string, lowest byte, longest int) bool {
	for i := range len(value) {
		if value[i] < lowest || value[i] > '~' {
			return false
		}
	}
	return value != "" && len(value) <= longest
}
