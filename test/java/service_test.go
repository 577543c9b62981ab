//go:build java

package java

import (
	"net/http"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// The paths of the service's calls.
const (
	actuatorPath   = "/actuator/health"
	healthPath     = "/api/v1/matching/health"
	algorithmsPath = "/api/matching/algorithms"
	simplePath     = "/api/matching/coffee/simple"
	interestPath   = "/api/matching/coffee/interest"
	secretPath     = "/api/v1/matching/match/secret-coffee"
	fromAPIPath    = "/api/v1/matching/match/secret-coffee/from-api"
	bracketPath    = "/api/matching/tournament/bracket"
	teamsPath      = "/api/matching/teams/generate"
)

// service is the matching service as one test sees it. Its methods are for the test's own goroutine.
type service struct {
	tb  testing.TB
	jvm *jvm
	url string
}

// serviceFor returns the service with all switches off and nothing counted, running even if the test before crashed it.
// All tests share it, so that none of them may be parallel.
func serviceFor(tb testing.TB) *service {
	tb.Helper()
	s := &service{tb: tb, jvm: theJVM, url: "http://" + theJVM.addr}
	if s.jvm.ended() {
		s.restart()
	}
	s.set(switches{})
	redistest.Eventually(tb, soon, "what the test before asked for ends", func() bool { return s.calls().UnderWay == 0 })
	s.forget()
	return s
}

// switches are what goes wrong; README.md of the service explains each.
type switches struct {
	Faults           map[string]fault `json:"faults,omitempty"`
	Flat             bool             `json:"flat,omitempty"`
	DataSourceDown   bool             `json:"dataSourceDown,omitempty"`
	DataSourceStatus int              `json:"dataSourceStatus,omitempty"`
	NoEmployees      bool             `json:"noEmployees,omitempty"`
	Down             bool             `json:"down,omitempty"`
	NotDeployed      bool             `json:"notDeployed,omitempty"`
	Token            string           `json:"token,omitempty"`
}

// fault is what requests to a path meet.
type fault struct {
	Times     int    `json:"times,omitempty"`
	Delay     int64  `json:"delay,omitempty"` // in milliseconds
	Answer    string `json:"answer,omitempty"`
	Status    int    `json:"status,omitempty"`
	Message   string `json:"message,omitempty"`
	Location  string `json:"location,omitempty"`
	Mebibytes int    `json:"mebibytes,omitempty"`
}

// set sets these switches and no others.
func (s *service) set(all switches) {
	s.tb.Helper()
	s.ask(http.MethodPost, "/test/switches", all, nil)
}

// fail lets requests to a path meet a fault, and nothing else go wrong.
func (s *service) fail(path string, f fault) {
	s.tb.Helper()
	s.set(switches{Faults: map[string]fault{path: f}})
}

// late lets requests to a path wait for their answer, and nothing else go wrong.
func (s *service) late(path string, by time.Duration) {
	s.tb.Helper()
	s.fail(path, fault{Delay: by.Milliseconds()})
}

// calls are the requests that arrived since they were forgotten.
type calls struct {
	Paths       map[string]arrived
	Connections int
	UnderWay    int
	MostAtOnce  int
}

// arrived are the requests to one path, and what the last of them brought along.
type arrived struct {
	Count                          int
	Method, RequestID, Traceparent string
	Authorized                     bool
}

func (s *service) calls() calls {
	s.tb.Helper()
	var all calls
	s.ask(http.MethodGet, "/test/calls", nil, &all)
	return all
}

// got checks how many requests to a path arrived. The last may be on its way still.
func (s *service) got(path string, want int) {
	s.tb.Helper()
	redistest.Eventually(s.tb, soon, path+" is asked", func() bool { return s.calls().Paths[path].Count >= want })
	if n := s.calls().Paths[path].Count; n != want {
		s.tb.Errorf("%d requests to %s arrived, want %d", n, path, want)
	}
}

// forget counts from 0 again.
func (s *service) forget() {
	s.tb.Helper()
	s.ask(http.MethodDelete, "/test/calls", nil, nil)
}

// crash ends the service as kill -9 would, and returns when it is gone.
func (s *service) crash() {
	s.tb.Helper()
	if err := s.jvm.ask(http.MethodPost, "/test/crash", nil, nil); err == nil {
		s.tb.Fatal("the service answered instead of crashing")
	}
	select {
	case <-s.jvm.gone:
	case <-time.After(soon):
		s.tb.Fatal("the service has not crashed")
	}
}

// restart starts the service that has crashed, at its old address and with nothing of its switches and counts.
func (s *service) restart() {
	s.tb.Helper()
	if err := s.jvm.start(); err != nil {
		s.tb.Fatal(err)
	}
}

func (s *service) ask(method, path string, body, answer any) {
	s.tb.Helper()
	if err := s.jvm.ask(method, path, body, answer); err != nil {
		s.tb.Fatal(err)
	}
}
