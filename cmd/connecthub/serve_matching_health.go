package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/health"
	"github.com/connectbot-hub/connecthub/javaclient"
)

// addChecks adds what /health tells of matching. The Java service is no reason to take a hub out of service, with its events
// and menus, not even where nobody else matches.
func (p *pairing) addChecks(checker *health.Checker) {
	const patience = 800 * time.Millisecond // Less than the checker's, which takes what is too slow for a failure.
	add := func(name string, check health.Probe) {
		checker.Add(name, "component", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			return check(ctx)
		})
	}
	add("matching_service", p.checkService)
	add("matching_requests", p.checkRequests)
}

// checkService tells how the Java service is, and what becomes of requests meanwhile.
func (p *pairing) checkService(ctx context.Context) error {
	meanwhile := ": the hub matches people by itself."
	if !p.fallback {
		meanwhile = ": nobody is matched. Requests that may wait do so for MATCHING_RETRY_FOR, and then fail."
	}
	err := p.client.Health(ctx)
	reason, degraded := p.Degraded()
	problem := &javaclient.Error{}
	switch errors.As(err, &problem); {
	case err == nil && p.client.Breaker() == javaclient.StateOpen:
		return health.Warning("The matching service says that it is well, but its calls fail" + meanwhile)
	case err == nil && degraded:
		return health.Warning("The matching service says that it is well, but its last answer was of no use (" + string(reason) + ")" + meanwhile)
	case err == nil:
		return nil
	case problem.Code == javaclient.CodeDataSource:
		return health.Warning("The data source of the matching service is down: what needs it fails.")
	case problem.Code == javaclient.CodeUnauthorized:
		return health.Warning("The matching service wants a token, or another than the hub shows it, see JAVA_SERVICE_TOKEN" + meanwhile)
	case problem.Code == javaclient.CodeMalformed && !degraded: // Nothing is known to go wrong because of that.
		return health.Warning("The matching service answers, but what it answers to /api/v1/matching/health is not understood.")
	case problem.Code == javaclient.CodeNotFound, problem.Code == javaclient.CodeMalformed:
		return health.Warning("What answers at JAVA_SERVICE_URL is no matching service" + meanwhile)
	}
	return health.Warning("The matching service does not answer, or fails" + meanwhile)
}

// checkRequests tells whether requests are worked on, and of those that were given up.
func (p *pairing) checkRequests(ctx context.Context) error {
	err := p.jobs.Check(ctx)
	dead := int64(0)
	if err == nil {
		_, dead, err = p.jobs.Depth(ctx)
	}
	if err == nil {
		err = p.consumer.Check(ctx)
	}
	switch {
	case err != nil: // The cause may hold Redis' address.
		return errors.New("requests for matching are not worked on: Redis does not answer, or does not do what they need")
	case dead > 0:
		return health.Warning(fmt.Sprintf("Requests for matching were given up: %d. See connecthub matching ls.", dead))
	}
	return nil
}

// stats are what /stats shows of matching. Requests are counted for a second at most.
func (p *pairing) stats() *api.MatchingStats {
	m, j, c, e := p.Stats(), p.jobs.Stats(), p.client.Stats(), p.consumer.Stats()
	stats := &api.MatchingStats{
		Breaker: api.MatchingStatsBreaker(p.client.Breaker()),
		Calls: map[string]int64{
			"java": m.Java, "fallback": m.Fallback, "repeated": m.Repeated, "failed": m.Failed,
			"service_calls": c.Calls, "service_retries": c.Retries, "service_hedges": c.Hedges, "breaker_opened": c.Opened,
		},
		Jobs: map[string]int64{
			"accepted": j.Accepted, "known": j.Known, "completed": j.Completed, "fallback": j.Fallback, "failed": j.Failed,
			"told": j.Told, "events_taken": e.Handled, "events_taken_over": e.Claimed, "events_refused": e.Failed, "events_lost": e.Lost,
		},
	}
	for code, n := range c.Failures {
		stats.Calls["service_failed_"+string(code)] = n
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if waiting, dead, err := p.jobs.Depth(ctx); err == nil { // Else nobody knows.
		stats.Jobs["waiting"], stats.Jobs["dead"] = waiting, dead
	}
	return stats
}
