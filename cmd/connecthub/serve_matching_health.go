package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/connectbot-hub/connecthub/health"
	"github.com/connectbot-hub/connecthub/javaclient"
)

// addChecks adds what /health tells of matching. The Java service is no reason to take a hub out of service, with its events
// and menus, not even where nobody else matches.
func (p *pairing) addChecks(checker *health.Checker) {
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

// checkService tells how the Java service is, and what becomes of requests meanwhile. It passes only while the breaker is closed.
func (p *pairing) checkService(ctx context.Context) error {
	err := p.asksService(ctx)
	state := p.client.Breaker()
	if err == nil || state == javaclient.StateClosed {
		return err
	}
	return health.Warning(err.Error() + " Its breaker is " + strings.ReplaceAll(string(state), "_", " ") + ".")
}

func (p *pairing) asksService(ctx context.Context) error {
	meanwhile := ": the hub matches people by itself."
	if !p.fallback {
		meanwhile = ": nobody is matched. Requests that may wait do so for MATCHING_RETRY_FOR, and then fail."
	}
	err := p.client.Health(ctx)
	reason, degraded := p.Degraded()
	problem := &javaclient.Error{}
	switch errors.As(err, &problem); {
	case err == nil && p.client.Breaker() != javaclient.StateClosed:
		return health.Warning("The matching service says that it is well, but its calls fail" + meanwhile)
	case err == nil && degraded:
		return health.Warning("The matching service says that it is well, but its last answer was of no use (" + string(reason) + ")" + meanwhile)
	case err == nil:
		return nil
	case !p.named && p.fallback && problem.Code == javaclient.CodeUnreachable:
		return nil // Nobody has said that there is one.
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
