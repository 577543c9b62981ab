package events_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

const (
	parent      = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	otherParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
)

func TestTheTraceOfAnEvent(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	p, log := newPublisher(t, rdb, cfg), newLog(t, rdb, cfg)
	ch := channel(t, "user:5")
	for given, want := range map[string]string{
		parent: parent, "": "", "00-1": "", "01" + parent[2:]: "", parent + "-x": "", strings.ToUpper(parent): "",
		`x"}` + parent[3:]: "", // What would end the envelope.
	} {
		receipt := publish(t, p, events.Message{Channel: ch, Type: "x", CorrelationID: "c", Traceparent: given})
		page, err := log.Read(t.Context(), events.Query{Channel: ch, Limit: 1, Reverse: true})
		if err != nil {
			t.Fatal(err)
		}
		ev, err := page.Records[0].Event()
		if err != nil || ev.ID != receipt.ID || ev.Traceparent != want {
			t.Errorf("%q: the event is %+v, %v", given, ev, err)
		}
		member := ""
		if want != "" {
			member = `,"traceparent":"` + want + `"`
		}
		if end := `,"correlation_id":"c"` + member + `,"offset":`; !strings.Contains(page.Records[0].JSON, end) {
			t.Errorf("%q: the envelope is %s", given, page.Records[0].JSON)
		}
	}
}

func TestARetryHasAnotherTrace(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	p, log := newPublisher(t, rdb, cfg), newLog(t, rdb, cfg)
	m := events.Message{Channel: channel(t, "user:5"), Type: "x", IdempotencyKey: "k", Traceparent: parent}
	first := publish(t, p, m)
	m.Traceparent = otherParent
	if again := publish(t, p, m); !again.Duplicate || !same(first, again) {
		t.Errorf("the retry is %+v", again)
	}
	page, err := log.Read(t.Context(), events.Query{Channel: m.Channel, Limit: 10})
	if err != nil || len(page.Records) != 1 || !strings.Contains(page.Records[0].JSON, parent) {
		t.Errorf("the log has %+v, %v", page, err)
	}
}

func TestAPublisherIsTraced(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	type traced struct {
		scope events.Scope
		err   error
	}
	var all []traced
	answer := parent
	cfg.Trace = func(_ context.Context, scope events.Scope) (string, func(error)) {
		return answer, func(err error) { all = append(all, traced{scope, err}) }
	}
	p, log := newPublisher(t, rdb, cfg), newLog(t, rdb, cfg)
	m := events.Message{Channel: channel(t, "service:s"), Type: "x", Traceparent: otherParent, IdempotencyKey: "k"}
	publish(t, p, m)
	answer = ""
	m.Channel = events.Global()
	publish(t, p, m)
	m.Type = "y"
	if _, err := p.Publish(t.Context(), m); !errors.Is(err, events.ErrKeyReused) {
		t.Errorf("the error is %v", err)
	}
	if _, err := p.Publish(t.Context(), events.Message{}); err == nil {
		t.Error("a message without anything was published")
	}
	if len(all) != 3 || all[0] != (traced{events.ScopeService, nil}) || all[1] != (traced{events.ScopeGlobal, nil}) ||
		all[2].scope != events.ScopeGlobal || !errors.Is(all[2].err, events.ErrKeyReused) {
		t.Errorf("it was told %+v", all)
	}
	for name, want := range map[string]string{"service:s": parent, "global": otherParent} {
		page, err := log.Read(t.Context(), events.Query{Channel: channel(t, name), Limit: 10})
		if err != nil || len(page.Records) != 1 || !strings.Contains(page.Records[0].JSON, want) {
			t.Errorf("%s has %+v, %v", name, page, err)
		}
	}
}
