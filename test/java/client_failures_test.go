//go:build java

package java

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/javaclient"
)

// A POST is sent once, whatever comes of it.
func TestClientTellsWhyAPostFailed(t *testing.T) {
	const late = 500 * time.Millisecond
	for name, test := range map[string]struct {
		fault   fault
		code    javaclient.Code
		status  int
		message string
	}{
		"refused":               {fault{Answer: "ERROR", Status: 400, Message: "Так нельзя"}, javaclient.CodeRefused, 400, "Так нельзя"},
		"refused without words": {fault{Answer: "EMPTY", Status: 400}, javaclient.CodeRefused, 400, ""},
		"refused by a proxy":    {fault{Answer: "HTML", Status: 413}, javaclient.CodeRefused, 413, ""},
		"not found":             {fault{Answer: "ERROR", Status: 404}, javaclient.CodeNotFound, 404, ""},
		"forbidden":             {fault{Answer: "EMPTY", Status: 403}, javaclient.CodeUnauthorized, 403, ""},
		"overloaded":            {fault{Answer: "ERROR", Status: 429, Message: "later"}, javaclient.CodeOverloaded, 429, "later"},
		"failed":                {fault{Answer: "ERROR", Status: 500, Message: "secret"}, javaclient.CodeServerError, 500, ""},
		"failed without words":  {fault{Answer: "EMPTY", Status: 503}, javaclient.CodeServerError, 503, ""},
		"a proxy's 502":         {fault{Answer: "HTML", Status: 502}, javaclient.CodeServerError, 502, ""},
		"a proxy's page":        {fault{Answer: "HTML"}, javaclient.CodeMalformed, 200, ""},
		"no answer in it":       {fault{Answer: "EMPTY"}, javaclient.CodeMalformed, 200, ""},
		"no content":            {fault{Answer: "EMPTY", Status: 204}, javaclient.CodeMalformed, 204, ""},
		"cut off":               {fault{Answer: "CUT"}, javaclient.CodeMalformed, 200, ""},
		"half of it":            {fault{Answer: "MALFORMED"}, javaclient.CodeMalformed, 200, ""},
		"too large":             {fault{Answer: "LARGE", Mebibytes: 3}, javaclient.CodeTooLarge, 200, ""},
		"redirected":            {fault{Answer: "REDIRECT", Status: 302, Location: algorithmsPath}, javaclient.CodeRedirected, 302, ""},
		"redirected as a POST":  {fault{Answer: "REDIRECT", Status: 307, Location: secretPath}, javaclient.CodeRedirected, 307, ""},
		"late":                  {fault{Delay: time.Hour.Milliseconds()}, javaclient.CodeTimeout, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := serviceFor(t)
			s.fail(simplePath, test.fault)
			cfg := javaclient.Config{URL: s.url, MaxAnswer: 2 << 20}
			if test.code == javaclient.CodeTimeout {
				cfg.Timeout = late
			}
			_, err := clientOf(t, cfg).Simple(t.Context(), javaclient.Call{}, people(2))
			failed := failsWith(t, err, test.code)
			// The framework has words of its own where the fault has none.
			message := failed.Message
			if message == "No message available" {
				message = ""
			}
			if failed.Status != test.status || message != test.message || failed.NotSent {
				t.Errorf("%+v", failed)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), s.url) {
				t.Errorf("it tells too much: %v", err)
			}
			s.got(simplePath, 1)
			if all := s.calls(); len(all.Paths) != 1 {
				t.Errorf("it followed to %+v", all)
			}
		})
	}
}

func TestClientKnowsTheDataSource(t *testing.T) {
	s := serviceFor(t)
	for _, test := range []struct {
		switches switches
		path     string
		code     javaclient.Code // or empty
	}{
		{switches{DataSourceDown: true}, secretPath, javaclient.CodeDataSource},
		{switches{DataSourceDown: true}, fromAPIPath, javaclient.CodeDataSource},
		{switches{DataSourceDown: true, DataSourceStatus: 502}, secretPath, javaclient.CodeDataSource},
		{switches{DataSourceDown: true, DataSourceStatus: 502}, fromAPIPath, javaclient.CodeDataSource},
		{switches{DataSourceDown: true, DataSourceStatus: 500}, fromAPIPath, javaclient.CodeServerError},
		{switches{DataSourceDown: true}, simplePath, ""},
		{switches{NoEmployees: true}, fromAPIPath, javaclient.CodeNoEmployees},
		{switches{NoEmployees: true}, secretPath, ""},
	} {
		s.set(test.switches)
		s.forget()
		c := clientOf(t, javaclient.Config{URL: s.url})
		_, err := pairings(c)[test.path](t.Context(), javaclient.Call{})
		switch {
		case test.code != "":
			failsWith(t, err, test.code)
		case err != nil:
			t.Errorf("%s with %+v: %v", test.path, test.switches, err)
		}
		s.got(test.path, 1)
	}
	// With nobody to match, the service has no words at all.
	_, err := clientOf(t, javaclient.Config{URL: s.url}).SecretCoffee(t.Context(), javaclient.Call{}, javaclient.SecretCoffee{})
	if failed := failsWith(t, err, javaclient.CodeRefused); failed.Status != 400 || failed.Message != "" {
		t.Errorf("%+v", failed)
	}
}

func TestClientTriesAGetAgain(t *testing.T) {
	for name, test := range map[string]struct {
		fault fault
		code  javaclient.Code // or empty if it comes right
		asked int
	}{
		"once failed":       {fault{Times: 1, Answer: "ERROR", Status: 503}, "", 2},
		"twice failed":      {fault{Times: 2, Answer: "EMPTY", Status: 500}, "", 3},
		"once a proxy's":    {fault{Times: 1, Answer: "HTML"}, "", 2},
		"once cut off":      {fault{Times: 1, Answer: "CUT"}, "", 2},
		"once half of it":   {fault{Times: 1, Answer: "MALFORMED"}, "", 2},
		"once overloaded":   {fault{Times: 1, Answer: "ERROR", Status: 429}, "", 2},
		"always failed":     {fault{Answer: "ERROR", Status: 503}, javaclient.CodeServerError, 3},
		"once not found":    {fault{Times: 1, Answer: "ERROR", Status: 404}, javaclient.CodeNotFound, 1},
		"once redirected":   {fault{Times: 1, Answer: "REDIRECT", Status: 302, Location: "/"}, javaclient.CodeRedirected, 1},
		"once unauthorized": {fault{Times: 1, Answer: "EMPTY", Status: 401}, javaclient.CodeUnauthorized, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := serviceFor(t)
			s.fail(algorithmsPath, test.fault)
			c := clientOf(t, javaclient.Config{URL: s.url})
			algorithms, err := c.Algorithms(t.Context(), javaclient.Call{})
			if test.code != "" {
				failsWith(t, err, test.code)
			} else if err != nil || len(algorithms) != 3 {
				t.Errorf("%v, %v", algorithms, err)
			}
			s.got(algorithmsPath, test.asked)
			if retries := c.Stats().Retries; retries != int64(test.asked-1) {
				t.Errorf("%d retries are counted", retries)
			}
		})
	}
}

func TestClientHedgesALateGet(t *testing.T) {
	s := serviceFor(t)
	s.fail(algorithmsPath, fault{Times: 1, Delay: time.Hour.Milliseconds()})
	c := clientOf(t, javaclient.Config{URL: s.url, HedgeAfter: 20 * time.Millisecond})
	if algorithms, err := c.Algorithms(t.Context(), javaclient.Call{}); err != nil || len(algorithms) != 3 {
		t.Errorf("%v, %v", algorithms, err)
	}
	s.got(algorithmsPath, 2)
	if stats := c.Stats(); stats.Hedges != 1 || stats.Retries != 0 {
		t.Errorf("%+v", stats)
	}
}

func TestClientEndsWithItsCaller(t *testing.T) {
	s := serviceFor(t)
	c := clientOf(t, javaclient.Config{URL: s.url})
	s.late(simplePath, time.Hour)

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := c.Simple(ctx, javaclient.Call{}, people(2))
	failsWith(t, err, javaclient.CodeTimeout)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the deadline: %v", err)
	}
	s.got(simplePath, 1)

	ctx, cancel = context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := c.Simple(ctx, javaclient.Call{}, people(2))
		ended <- err
	}()
	s.got(simplePath, 2)
	cancel()
	err = <-ended
	failsWith(t, err, javaclient.CodeCanceled)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the cancellation: %v", err)
	}
	s.got(simplePath, 2)
}

func TestClientLetsNoMoreThroughThanItMay(t *testing.T) {
	s := serviceFor(t)
	const most = 4
	c := clientOf(t, javaclient.Config{URL: s.url, Concurrency: most, QueueFor: soon})
	s.late(simplePath, 20*time.Millisecond)
	ended := make(chan error)
	const many = 10 * most
	for range many {
		go func() {
			_, err := c.Simple(t.Context(), javaclient.Call{}, people(2))
			ended <- err
		}()
	}
	var failed []error
	for range many {
		failed = append(failed, <-ended)
	}
	if err := errors.Join(failed...); err != nil {
		t.Fatal(err)
	}
	s.got(simplePath, many)
	// net/http may find a connection free while it makes another, which then waits for its use.
	if all := s.calls(); all.MostAtOnce > most || all.Connections > 2*most {
		t.Errorf("%d at once, on %d connections", all.MostAtOnce, all.Connections)
	}

	s.late(simplePath, time.Hour)
	hurried := clientOf(t, javaclient.Config{URL: s.url, Concurrency: 1, QueueFor: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := hurried.Simple(ctx, javaclient.Call{}, people(2))
		ended <- err
	}()
	s.got(simplePath, many+1)
	_, err := hurried.Simple(t.Context(), javaclient.Call{}, people(2))
	if failure := failsWith(t, err, javaclient.CodeBusy); !failure.NotSent {
		t.Errorf("%+v", failure)
	}
	cancel()
	failsWith(t, <-ended, javaclient.CodeCanceled)
	s.got(simplePath, many+1)
}

// Tomcat closes a connection after 100 requests, and after each 400, 500 and 503; nothing else may cost one.
func TestClientKeepsItsConnections(t *testing.T) {
	s := serviceFor(t)
	for name, test := range map[string]struct {
		faults []fault
		calls  int
		most   int
	}{
		"all is well":                 {[]fault{{}}, 250, 3},
		"failures of which it lives":  {[]fault{{Answer: "ERROR", Status: 404}, {Answer: "HTML", Status: 422}, {}, {Answer: "EMPTY", Status: 401}, {}}, 60, 1},
		"answers without sense":       {[]fault{{Answer: "HTML"}, {}, {Answer: "EMPTY"}, {}, {Answer: "MALFORMED"}, {}, {}, {}}, 60, 1},
		"redirects and a proxy's 502": {[]fault{{Answer: "REDIRECT", Status: 302}, {}, {Answer: "HTML", Status: 502}, {}}, 60, 1},
		"failures that close it":      {[]fault{{Answer: "ERROR", Status: 400}, {}, {}}, 60, 21},
	} {
		t.Run(name, func(t *testing.T) {
			c := clientOf(t, javaclient.Config{URL: s.url})
			s.forget()
			statuses := map[string]int{}
			for i := range test.calls {
				if f := test.faults[i%len(test.faults)]; f == (fault{}) {
					s.set(switches{})
				} else {
					s.fail(simplePath, f)
				}
				_, err := c.Simple(t.Context(), javaclient.Call{}, people(2))
				statuses[fmt.Sprint(err)]++
			}
			if all := s.calls(); all.Connections > test.most || all.Paths[simplePath].Count != test.calls {
				t.Errorf("%d calls came as %d on %d connections, want %d: %v",
					test.calls, all.Paths[simplePath].Count, all.Connections, test.most, statuses)
			}
		})
	}
}
