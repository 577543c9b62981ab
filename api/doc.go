// Package api is the hub's HTTP surface: the contract in openapi.yaml, the handlers, access keys, and the one place where
// errors become problem+json answers.
//
// Guarantee: every answer is described in openapi.yaml; every outside input is bounded; no payload, token or internal
// error text leaves the process in an answer or a log line. Limit: it holds no state but open streams; what is
// promised about events is promised by package events.
package api
