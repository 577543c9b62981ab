//go:build clients

package clients

import (
	"encoding/json"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// received returns the events that a script has written so far, each as one line of JSON.
func (p *process) received(tb testing.TB) []event {
	tb.Helper()
	var all []event
	for _, text := range p.stdout.lines() {
		var ev event
		if err := json.Unmarshal([]byte(text), &ev); err != nil {
			tb.Fatalf("%q: %v", text, err)
		}
		if ev.Type == "gap" || ev.Type == "slow" {
			tb.Fatalf("the hub says %+v", ev)
		}
		if ev.Type != "open" {
			all = append(all, ev)
		}
	}
	return all
}

// TestEventSourceMissesNothing reads with the npm library eventsource while everything is broken once and events go on
// being published through another hub.
func TestEventSourceMissesNothing(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	const token = "a-token-of-decent-length"
	env := []string{"REDIS_URL=" + rds.URL(), "USER_LOG_ENTRIES=100000", "GLOBAL_LOG_ENTRIES=100000"}
	through := serve(t, env...)
	guarded := append(env, "HTTP_ADDR="+freeAddr(t))
	h := serve(t, guarded...)

	node := start(t, []string{"TOKEN=" + token}, "node", "eventsource.mjs",
		h.url+"/v1/stream?channel=user:123&channel=global", "user.login", "activity.created", "gap", "slow")
	node.says(t, `"open"`)
	h.followed(t)
	publisher := startPublisher(t, through)
	breakIt(t, rds, h, guarded, func() int { return len(node.received(t)) })
	sent := publisher.stop(t)
	node.await(t, "the last event", func() bool { return len(node.received(t)) >= sent })
	allOnce(t, node.received(t), sent)
	t.Logf("%d events", sent)
}

// TestEventSourceSendsAKey reads from a hub that wants one.
func TestEventSourceSendsAKey(t *testing.T) {
	t.Parallel()
	const token = "a-token-of-decent-length"
	h := serve(t, "REDIS_URL="+redistest.Shared(t).URL(), "CHANNEL_PREFIX="+redistest.Prefix(t), "SERVICE_AUTH_TOKEN="+token)
	stream := h.url + "/v1/stream?channel=user:123&last_event_id=earliest"
	run(t, []string{"HUB_URL=" + h.url, "SERVICE_AUTH_TOKEN=" + token}, binary, "publish", "--user", "123", "user.login", `{"n":0}`)

	node := start(t, []string{"TOKEN=" + token}, "node", "eventsource.mjs", stream, "user.login")
	node.await(t, "the event", func() bool { return len(node.received(t)) == 1 })

	refused := start(t, []string{"TOKEN=another-token-of-length"}, "node", "eventsource.mjs", stream, "user.login")
	<-refused.ended
	if code := refused.cmd.ProcessState.ExitCode(); code != 1 || len(refused.received(t)) != 0 {
		t.Errorf("with a wrong token it ended with status %d\n%s%s", code, refused.stdout, refused.stderr)
	}
}
