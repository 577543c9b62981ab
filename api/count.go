package api

import (
	"sync/atomic"

	"github.com/connectbot-hub/connecthub/events"
)

// answeredRequests counts the requests that were answered, by the status of the answer.
type answeredRequests [600]atomic.Int64

// add counts a request. What is no status of HTTP would be a fault of the hub, and counts as 0.
func (a *answeredRequests) add(status int) {
	if status < 0 || status >= len(a) {
		status = 0
	}
	a[status].Add(1)
}

// Requests returns how many requests were answered since the server was made, by the status of the answer; statuses that
// never were are not there. A stream counts when it begins, over HTTP/2 when it ends. It is safe for concurrent use, and the
// counts are read one after the other, not all at the same instant.
func (s *Server) Requests() map[int]int64 {
	counts := make(map[int]int64)
	for status := range s.answered {
		if n := s.answered[status].Load(); n > 0 {
			counts[status] = n
		}
	}
	return counts
}

// refusedEvents counts what was to be published and never came to the publisher, which counts the rest.
type refusedEvents struct{ users, global, services atomic.Int64 }

func (r *refusedEvents) add(scope events.Scope) {
	switch scope {
	case events.ScopeUser:
		r.users.Add(1)
	case events.ScopeService:
		r.services.Add(1)
	default:
		r.global.Add(1)
	}
}

// Refused returns how many requests to publish an event were refused since the server was made before they came to
// Deps.Publisher, by the scope of the channel: with a path, a header or a body that cannot be, or with a key that may not
// publish this there. It is safe for concurrent use.
func (s *Server) Refused() map[events.Scope]int64 {
	return map[events.Scope]int64{
		events.ScopeUser:    s.refused.users.Load(),
		events.ScopeGlobal:  s.refused.global.Load(),
		events.ScopeService: s.refused.services.Load(),
	}
}
