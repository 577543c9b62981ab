// Package contracttest holds the hub's HTTP responses to its contract, api/openapi.yaml, in tests.
//
// A test sends its requests through Transport. Every response is then checked: that the operation may give this status,
// the headers, the content type and the body. Requests are not checked, as tests send bad ones on purpose. Of a stream the
// headers are checked and the frames are not, for the body is left to the test.
package contracttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// Transport returns a transport that sends requests through base, http.DefaultTransport when that is nil, and fails the
// test for each response that breaks the contract. The response is returned all the same. It is safe for concurrent
// use; requests must have ended before the test does.
func Transport(tb testing.TB, base http.RoundTripper) http.RoundTripper {
	tb.Helper()
	if base == nil {
		base = http.DefaultTransport
	}
	c, err := loaded()
	if err != nil {
		tb.Fatalf("contract: %v", err)
	}
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		if err := c.check(req, resp); err != nil {
			tb.Errorf("%s %s answered %d against the contract: %v", req.Method, req.URL.Path, resp.StatusCode, err)
		}
		return resp, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// contract is openapi.yaml, ready to judge responses.
type contract struct {
	router routers.Router
	// unmatched judges the answers to requests that no operation is for.
	unmatched *routers.Route
	// problems is x-problems by code.
	problems map[string]problem
}

// problem is what a response and x-problems say of a problem.
type problem struct {
	Type, Title, Code string
	Status            int
	RequestID         string `json:"request_id"`
}

// loaded is load, called once: to read the contract takes longer than most tests do.
var loaded = sync.OnceValues(load) //nolint:gochecknoglobals // It is the same for all tests of a binary.

// load reads the contract of the module that the test belongs to. That it is sound is tested where it lies.
func load() (*contract, error) {
	path, err := find(filepath.Join("api", "openapi.yaml"))
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromFile(path)
	if err != nil {
		return nil, err
	}
	doc.Servers = nil // Tests have servers of their own.
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, err
	}
	// The library's registry is global. Of the contract's types it lacks pages only: problem+json it knows, and any other
	// +json it reads as JSON.
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.PlainBodyDecoder)
	c := &contract{router: router, problems: make(map[string]problem)}
	if c.unmatched, err = unmatched(doc); err != nil {
		return nil, err
	}
	listed, err := json.Marshal(doc.Extensions["x-problems"])
	if err != nil {
		return nil, err
	}
	var problems []problem
	if err := json.Unmarshal(listed, &problems); err != nil {
		return nil, fmt.Errorf("x-problems: %w", err)
	}
	for _, p := range problems {
		c.problems[p.Code] = p
	}
	return c, nil
}

// find looks for a file of the module, from the working directory upwards to go.mod.
func find(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, name), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = parent
	}
}

// unmatched makes an operation of x-unmatched, which says what a request that no operation is for may be answered.
func unmatched(doc *openapi3.T) (*routers.Route, error) {
	operation := openapi3.NewOperation()
	operation.Responses = &openapi3.Responses{}
	list, _ := doc.Extensions["x-unmatched"].(map[string]any)
	for status, item := range list {
		reference, _ := item.(map[string]any)
		ref, _ := reference["$ref"].(string)
		response := doc.Components.Responses[strings.TrimPrefix(ref, "#/components/responses/")]
		if response == nil {
			return nil, fmt.Errorf("x-unmatched %s: no response %q", status, ref)
		}
		operation.Responses.Set(status, response)
	}
	return &routers.Route{Spec: doc, Operation: operation}, nil
}

// check judges a response. It reads the body, unless that is a stream, and puts it back.
func (c *contract) check(req *http.Request, resp *http.Response) error {
	route, params, err := c.router.FindRoute(req)
	if err != nil {
		route = c.unmatched
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 resp.StatusCode,
		Header:                 resp.Header,
		Options:                &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	if req.Method == http.MethodHead { // Whatever the headers say of the body, there is none. The library checks nothing of HEAD.
		input.RequestValidationInput.Request = req.Clone(req.Context())
		input.RequestValidationInput.Request.Method = http.MethodGet
		input.Options.ExcludeResponseBody = true
		return openapi3filter.ValidateResponse(req.Context(), input)
	}
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if mediaType == "text/event-stream" {
		declared := route.Operation.Responses.Status(resp.StatusCode)
		if declared != nil && declared.Value.Content.Get(mediaType) == nil {
			return errors.New("no stream is declared here")
		}
		input.Options.ExcludeResponseBody = true
		return openapi3filter.ValidateResponse(req.Context(), input)
	}
	body, err := io.ReadAll(resp.Body)
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}
	input.SetBodyBytes(body)
	if err := openapi3filter.ValidateResponse(req.Context(), input); err != nil {
		return fmt.Errorf("%w\nbody: %s", err, body)
	}
	if mediaType == "application/problem+json" {
		return c.checkProblem(resp, body)
	}
	return nil
}

// checkProblem checks what a schema cannot say: that the parts of a problem agree, and that the code is listed.
func (c *contract) checkProblem(resp *http.Response, body []byte) error {
	var p problem
	if err := json.Unmarshal(body, &p); err != nil {
		return err
	}
	switch listed, ok := c.problems[p.Code]; {
	case !ok:
		return fmt.Errorf("x-problems does not list the code %q", p.Code)
	case listed.Status != resp.StatusCode || p.Status != resp.StatusCode:
		return fmt.Errorf("the problem says status %d, and x-problems says %d for %s", p.Status, listed.Status, p.Code)
	case listed.Title != p.Title:
		return fmt.Errorf("the problem is called %q, and x-problems calls %s %q", p.Title, p.Code, listed.Title)
	case p.Type != "/docs#problem-"+p.Code:
		return fmt.Errorf("the problem has the type %q, of another code than %s", p.Type, p.Code)
	case p.RequestID != resp.Header.Get("X-Request-ID"):
		return fmt.Errorf("the problem has the request_id %q, and X-Request-ID is another", p.RequestID)
	}
	return nil
}
