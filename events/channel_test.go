package events_test

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/events"
)

func TestParseChannel(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 64)
	for _, test := range []struct {
		in      string
		scope   events.Scope
		user    int64
		service string
	}{
		{in: "global", scope: events.ScopeGlobal},
		{in: "user:1", scope: events.ScopeUser, user: 1},
		{in: "user:9223372036854775807", scope: events.ScopeUser, user: math.MaxInt64},
		{in: "service:matching", scope: events.ScopeService, service: "matching"},
		{in: "service:a", scope: events.ScopeService, service: "a"},
		{in: "service:Menu_cache-2.1", scope: events.ScopeService, service: "Menu_cache-2.1"},
		{in: "service:" + long, scope: events.ScopeService, service: long},
		{in: "service:global", scope: events.ScopeService, service: "global"},
	} {
		ch, err := events.ParseChannel(test.in)
		if err != nil {
			t.Errorf("%s: %v", test.in, err)
			continue
		}
		user, isUser := ch.UserID()
		if ch.Scope() != test.scope || user != test.user || isUser != (test.scope == events.ScopeUser) || ch.ServiceName() != test.service {
			t.Errorf("%s: scope %s, user %d (%v), service %q", test.in, ch.Scope(), user, isUser, ch.ServiceName())
		}
		if ch.String() != test.in || ch.IsZero() {
			t.Errorf("%s became %s, zero %v", test.in, ch, ch.IsZero())
		}
	}
	for _, in := range []string{
		"", ":", "global:", "global:1", "Global", "user", "user:", "user:0", "user:-1", "user:+1", "user:01", "user:1 ",
		"user:9223372036854775808", "user:1e3", "user:١", "user:1:2", "service", "service:", "service:.a", "service:-a",
		"service:_a", "service:a b", "service:a:b", "service:a{b}", "service:a*", "service:ä", "service:a\n",
		"service:" + long + "n", "connectbot:user:1", "users:1",
	} {
		if ch, err := events.ParseChannel(in); !errors.Is(err, events.ErrBadChannel) || !ch.IsZero() {
			t.Errorf("%q: %v, %v", in, ch, err)
		}
	}
}

func TestChannelConstructors(t *testing.T) {
	t.Parallel()
	if user, err := events.User(77); err != nil || user != channel(t, "user:77") {
		t.Error(user, err)
	}
	for _, id := range []int64{0, -1, math.MinInt64} {
		if _, err := events.User(id); !errors.Is(err, events.ErrBadChannel) {
			t.Errorf("user %d: %v", id, err)
		}
	}
	if service, err := events.Service("matching"); err != nil || service != channel(t, "service:matching") {
		t.Error(service, err)
	}
	if events.Global() != channel(t, "global") {
		t.Error("Global is not global")
	}
	var zero events.Channel
	if _, isUser := zero.UserID(); !zero.IsZero() || zero.String() != "" || isUser || zero.ServiceName() != "" {
		t.Errorf("the zero Channel: %q", zero)
	}
}

// FuzzParseChannel checks that what is taken is written back as it was, and is fit for a name in Redis.
func FuzzParseChannel(f *testing.F) {
	for _, s := range []string{"", "global", "user:1", "user:-1", "user:01", "service:matching", "service:a.b", "service:{a}", "user:9223372036854775808"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		ch, err := events.ParseChannel(in)
		if err != nil {
			if !errors.Is(err, events.ErrBadChannel) || !ch.IsZero() {
				t.Fatalf("%q: %v, %v", in, ch, err)
			}
			return
		}
		if ch.String() != in {
			t.Fatalf("%q became %q", in, ch)
		}
		if strings.ContainsAny(in, "{}*?[]^\\\"@, \r\n") || len(in) > 80 {
			t.Fatalf("%q is not fit for a key, a pattern or a cursor", in)
		}
		again := ch
		switch id, isUser := ch.UserID(); {
		case isUser:
			again, err = events.User(id)
			if in != "user:"+strconv.FormatInt(id, 10) {
				t.Fatalf("%q is user %d", in, id)
			}
		case ch.Scope() == events.ScopeService:
			again, err = events.Service(ch.ServiceName())
		}
		if err != nil || again != ch {
			t.Fatalf("%q is %v, made anew it is %v: %v", in, ch, again, err)
		}
	})
}
