package javaclient

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

// understood judges an answer with a status of 2xx.
func (ex *exchange) understood(status int, body []byte) *Error {
	err := ex.accept(body)
	if err == nil {
		return nil
	}
	failed := &Error{Code: CodeMalformed, Err: errNotUnderstood}
	if told := (*Error)(nil); errors.As(err, &told) {
		failed = told
	}
	failed.Status = status
	return failed
}

// rejected judges an answer with a status from 300 on, of whose body the end may be missing.
func (ex *exchange) rejected(resp *http.Response, body []byte) *Error {
	failed := &Error{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header)}
	if ex.explain != nil {
		failed.Code = ex.explain(resp.StatusCode, body)
	}
	switch status := resp.StatusCode; {
	case failed.Code != "":
	case status < 400:
		failed.Code = CodeRedirected
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		failed.Code = CodeUnauthorized
	case status == http.StatusNotFound:
		failed.Code = CodeNotFound
	case status == http.StatusTooManyRequests:
		failed.Code = CodeOverloaded
	case status < 500:
		failed.Code = CodeRefused
	default:
		failed.Code = CodeServerError
	}
	if resp.StatusCode >= 400 && resp.StatusCode < 500 {
		failed.Message = message(resp.Header, body)
	}
	return failed
}

// sourceFailure knows that a 502 means the service's data source, unless a proxy before it says so in HTML.
func sourceFailure(status int, body []byte) Code {
	if code := toldCode(body); code != "" || status != http.StatusBadGateway || isHTML(body) {
		return code
	}
	return CodeDataSource
}

// toldCode looks into a failure's body for what MatchingResponse says in its member error.
func toldCode(body []byte) Code {
	var told struct {
		Error Text `json:"error"`
	}
	if json.Unmarshal(body, &told) != nil {
		return ""
	}
	return sourceCode(told.Error)
}

// sourceCode returns the code for what a MatchingResponse says of its data source, or "".
func sourceCode(told Text) Code {
	switch told {
	case "data_api_failed":
		return CodeDataSource
	case "no_employees_from_api":
		return CodeNoEmployees
	}
	return ""
}

// healthFailure knows the service whose data source alone is down.
func healthFailure(status int, body []byte) Code {
	var told struct {
		Status Text `json:"status"`
	}
	if status == http.StatusServiceUnavailable && json.Unmarshal(body, &told) == nil && told.Status == "DEGRADED" {
		return CodeDataSource
	}
	return ""
}

// healthy reads a health call's answer. OK is what the service says, UP what its framework does; either will do.
func healthy(body []byte) (struct{}, error) {
	told, err := decode[struct {
		Status Text `json:"status"`
	}](body)
	status := strings.ToUpper(string(told.Status))
	switch {
	case err != nil || status == "":
		return struct{}{}, errNotUnderstood
	case status == "DEGRADED":
		return struct{}{}, &Error{Code: CodeDataSource}
	case status != "OK" && status != "UP":
		return struct{}{}, &Error{Code: CodeServerError}
	}
	return struct{}{}, nil
}

// retryAfter reads the header, in seconds or as a date, and returns at most an hour, and 0 if it says nothing of use.
func retryAfter(header http.Header) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, time.Hour)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(time.Until(at), 0), time.Hour)
	}
	return 0
}

// maxMessage bounds Error.Message in bytes.
const maxMessage = 500

// message finds the service's words in a refusal: the framework's message, else its error, else a plain text.
func message(header http.Header, body []byte) string {
	if isHTML(body) || strings.Contains(header.Get("Content-Type"), "html") {
		return ""
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 || body[0] != '{' && body[0] != '[' {
		return printable(string(body))
	}
	var told struct {
		Message Text `json:"message"`
		Error   Text `json:"error"`
	}
	if json.Unmarshal(body, &told) != nil {
		return ""
	}
	if words := printable(string(told.Message)); words != "" {
		return words
	}
	return printable(string(told.Error))
}

func isHTML(body []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) }

// printable makes one line of the text, of at most maxMessage bytes.
func printable(text string) string {
	if len(text) > 8*maxMessage { // No more is worth looking at.
		text = text[:8*maxMessage]
	}
	text = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return -1
		case unicode.IsPrint(r):
			return r
		}
		return ' '
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= maxMessage {
		return text
	}
	end := maxMessage
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.TrimSpace(text[:end])
}
