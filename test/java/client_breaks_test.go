//go:build java

package java

import (
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/javaclient"
)

// What breaks between the client and the service: a POST that may have been sent is not sent again, a GET is.
func TestClientBehindABrokenNetwork(t *testing.T) {
	const patience, little = 300 * time.Millisecond, 50 * time.Millisecond
	for name, test := range map[string]struct {
		spoil       func(*proxy)
		code        javaclient.Code
		posts, gets int // how many arrive
		notSent     bool
	}{
		"requests reset":        {func(p *proxy) { p.reset(requests) }, javaclient.CodeConnectionLost, 0, 0, false},
		"requests cut":          {func(p *proxy) { p.cut(requests, 60) }, javaclient.CodeConnectionLost, 0, 0, false},
		"requests hang":         {func(p *proxy) { p.hang(requests) }, javaclient.CodeTimeout, 0, 0, false},
		"answers reset":         {func(p *proxy) { p.reset(answers) }, javaclient.CodeConnectionLost, 1, 3, false},
		"answers cut":           {func(p *proxy) { p.cut(answers, 140) }, javaclient.CodeMalformed, 1, 3, false},
		"answers hang":          {func(p *proxy) { p.hang(answers) }, javaclient.CodeTimeout, 1, 3, false},
		"answers late":          {func(p *proxy) { p.late(answers, time.Hour) }, javaclient.CodeTimeout, 1, 3, false},
		"answers a little late": {func(p *proxy) { p.late(answers, little) }, "", 1, 1, false},
		"connections refused":   {func(p *proxy) { p.down() }, javaclient.CodeUnreachable, 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := serviceFor(t)
			p := between(t, s)
			cfg := javaclient.Config{URL: p.url}
			if test.code == javaclient.CodeTimeout {
				cfg.Timeout = patience
			}
			c := clientOf(t, cfg)
			check := func(err error) {
				t.Helper()
				if test.code == "" {
					if err != nil {
						t.Error(err)
					}
				} else if failed := failsWith(t, err, test.code); failed.NotSent != test.notSent {
					t.Errorf("%+v", failed)
				}
			}
			test.spoil(p)
			_, err := c.Simple(t.Context(), javaclient.Call{}, people(2))
			check(err)
			s.got(simplePath, test.posts)
			_, err = c.Algorithms(t.Context(), javaclient.Call{})
			check(err)
			s.got(algorithmsPath, test.gets)
			s.got(simplePath, test.posts)
		})
	}
}

// A connection that was fine when it was used last is broken now, and the client may or may not have noticed.
func TestClientFindsItsConnectionBroken(t *testing.T) {
	s := serviceFor(t)
	p := between(t, s)
	for range 20 {
		c := clientOf(t, javaclient.Config{URL: p.url})
		if _, err := c.Simple(t.Context(), javaclient.Call{}, people(2)); err != nil {
			t.Fatal(err)
		}
		p.down()
		p.up()
		s.forget()
		if _, err := c.Simple(t.Context(), javaclient.Call{}, people(2)); err == nil {
			s.got(simplePath, 1)
		} else if failed := failsWith(t, err, javaclient.CodeConnectionLost); failed.NotSent {
			t.Errorf("%+v", failed)
		}
		if n := s.calls().Paths[simplePath].Count; n > 1 {
			t.Errorf("a POST arrived %d times", n)
		}
		// A GET comes through, either way.
		p.down()
		p.up()
		if _, err := c.Algorithms(t.Context(), javaclient.Call{}); err != nil {
			t.Error(err)
		}
	}
}

func TestClientSeesTheServiceCrash(t *testing.T) {
	s := serviceFor(t)
	c := clientOf(t, javaclient.Config{URL: s.url})
	s.late(simplePath, time.Hour)
	ended := make(chan error)
	go func() {
		_, err := c.Simple(t.Context(), javaclient.Call{}, people(2))
		ended <- err
	}()
	s.got(simplePath, 1)
	s.crash()
	if failed := failsWith(t, <-ended, javaclient.CodeConnectionLost); failed.NotSent {
		t.Errorf("%+v", failed)
	}
	failsWith(t, c.Health(t.Context()), javaclient.CodeUnreachable)
	_, err := c.Simple(t.Context(), javaclient.Call{}, people(2))
	if failed := failsWith(t, err, javaclient.CodeUnreachable); !failed.NotSent {
		t.Errorf("%+v", failed)
	}
	s.restart()
	if _, err := c.Simple(t.Context(), javaclient.Call{}, people(2)); err != nil {
		t.Error(err)
	}
	s.got(simplePath, 1)
	if state := c.Breaker(); state != javaclient.StateClosed {
		t.Errorf("the breaker is %s", state)
	}
}

func TestClientLeavesAFailingServiceAlone(t *testing.T) {
	const inRow = 5 // after which the breaker opens
	for name, test := range map[string]struct {
		spoil   func(*service, *proxy)
		mend    func(*service, *proxy)
		code    javaclient.Code
		arrived int
	}{
		"failures": {
			func(s *service, _ *proxy) { s.fail(simplePath, fault{Answer: "ERROR", Status: 500}) },
			func(s *service, _ *proxy) { s.set(switches{}) },
			javaclient.CodeServerError, inRow,
		},
		"slowness": {
			func(s *service, _ *proxy) { s.late(simplePath, time.Hour) },
			func(s *service, _ *proxy) { s.set(switches{}) },
			javaclient.CodeTimeout, inRow,
		},
		"broken connections": {
			func(_ *service, p *proxy) { p.reset(requests) },
			func(_ *service, p *proxy) { p.heal() },
			javaclient.CodeConnectionLost, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serviceFor(t)
			p := between(t, s)
			cfg := javaclient.Config{URL: p.url, OpenFor: 2 * time.Second}
			if test.code == javaclient.CodeTimeout {
				cfg.Timeout = 300 * time.Millisecond
			}
			c := clientOf(t, cfg)
			call := func() error {
				_, err := c.Simple(t.Context(), javaclient.Call{}, people(2))
				return err
			}
			test.spoil(s, p)
			for range inRow {
				failsWith(t, call(), test.code)
			}
			if state := c.Breaker(); state != javaclient.StateOpen {
				t.Fatalf("after %d failures it is %s", inRow, state)
			}
			quickest := time.Hour
			for range 10 {
				began := time.Now()
				failed := failsWith(t, call(), javaclient.CodeBreakerOpen)
				quickest = min(quickest, time.Since(began))
				if !failed.NotSent || failed.RetryAfter <= 0 {
					t.Errorf("%+v", failed)
				}
			}
			if quickest > 5*time.Millisecond {
				t.Errorf("it refuses after %v", quickest)
			}
			s.got(simplePath, test.arrived)

			test.mend(s, p)
			s.forget()
			redistest.Eventually(t, soon, "the service is asked again", func() bool { return call() == nil })
			if state := c.Breaker(); state != javaclient.StateClosed {
				t.Errorf("the service is back, and the breaker is %s", state)
			}
			s.got(simplePath, 1)
			if stats := c.Stats(); stats.Opened != 1 || stats.Retries != 0 {
				t.Errorf("%+v", stats)
			}
		})
	}
}
