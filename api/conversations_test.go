package api_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/connectbot-hub/connecthub/api"
)

// TestConversation keeps the state of a conversation, which is a value of the user's.
func TestConversation(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	const path = "/v1/users/7/conversation"
	h.get(t, path).problem(t, 404, "value_not_found")
	h.delete(t, path).problem(t, 404, "value_not_found")
	first := h.put(t, path, `{"state": "waiting"}`)
	first.json(t, 201, `{"namespace":"user_7","key":"conversation_state","expires_in":7200}`)
	got := h.get(t, path)
	if got.json(t, 200, `{"state":"waiting"}`); got.tag(t) != first.tag(t) {
		t.Errorf("the ETag is %s, not %s", got.tag(t), first.tag(t))
	}
	got.left(t, 7200)
	h.get(t, "/v1/users/7/temp/conversation_state").json(t, 200, `{"state":"waiting"}`)
	if a := h.get(t, path, "If-None-Match: "+got.tag(t)); a.status != 304 {
		t.Errorf("what is known comes with %d", a.status)
	}
	if meta := decode[api.TempValue](t, h.get(t, path+"?meta=true").body); meta.Type != "dict" || string(meta.Data) != `{"state":"waiting"}` {
		t.Errorf("meta is %+v", meta)
	}
	h.put(t, path, `2`, `If-Match: "x"`).problem(t, 412, "precondition_failed")
	h.put(t, path+"?ttl=60", `2`, "If-Match: "+got.tag(t)).json(t, 200, `{"namespace":"user_7","key":"conversation_state","expires_in":60}`)
	h.delete(t, path).is(t, 200, "application/json")
	h.get(t, path).problem(t, 404, "value_not_found")
}

// messages checks the messages of a history.
func (h *hub) messages(tb testing.TB, query, want string) answer {
	tb.Helper()
	a := h.get(tb, "/v1/conversations/7/messages"+query)
	a.json(tb, 200, `{"messages":[`+want+`]}`)
	return a
}

// TestHistory appends to a history, and reads it.
func TestHistory(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	const path = "/v1/conversations/7/messages"
	if a := h.messages(t, "", ""); a.header.Get("Expires-In") != "" {
		t.Errorf("a history that is none expires in %s", a.header.Get("Expires-In"))
	}
	h.delete(t, path).problem(t, 404, "history_not_found")
	h.post(t, path, `{"message": {"text": "<&> Привет"}}`).json(t, 201, `{"conversation_id":"7","expires_in":604800,"length":1}`)
	h.post(t, path+"?ttl=100", `{"messages":[2, null , "три"]}`).json(t, 201, `{"conversation_id":"7","expires_in":100,"length":4}`)
	h.messages(t, "", `{"text":"<&> Привет"},2,null,"три"`).left(t, 100)
	h.messages(t, "?order=oldest&meta=false", `{"text":"<&> Привет"},2,null,"три"`)
	h.messages(t, "?order=newest", `"три",null,2,{"text":"<&> Привет"}`)
	h.messages(t, "?limit=2", `null,"три"`)
	h.messages(t, "?limit=2&order=newest", `"три",null`)
	a := h.get(t, path+"?meta=true&limit=3")
	a.is(t, 200, "application/json")
	ids := make(map[string]bool)
	for i, raw := range decode[api.MessageList](t, a.body).Messages {
		m := decode[api.Message](t, raw)
		if ids[m.ID] || m.ID == "" || m.At == "" || string(m.Message) != []string{`2`, `null`, `"три"`}[i] {
			t.Errorf("message %d is %s", i, raw)
		}
		ids[m.ID] = true
	}
	h.post(t, path+"?max_len=3", `{"message":5}`).json(t, 201, `{"conversation_id":"7","expires_in":604800,"length":3}`)
	h.messages(t, "", `null,"три",5`)
	h.get(t, "/v1/conversations/8/messages").json(t, 200, `{"messages":[]}`)
	h.delete(t, path).json(t, 200, `{"deleted":true}`)
	h.messages(t, "", "")
}

// TestHistoryLengths checks that 200 messages are kept and returned, unless the caller wants others.
func TestHistoryLengths(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	numbers := func(from, to int) string {
		var all []string
		for i := from; i <= to; i++ {
			all = append(all, fmt.Sprint(i))
		}
		return strings.Join(all, ",")
	}
	const path = "/v1/conversations/7/messages"
	h.post(t, path, `{"messages":[`+numbers(1, 250)+`]}`).json(t, 201, `{"conversation_id":"7","expires_in":604800,"length":200}`)
	h.messages(t, "?limit=1000", numbers(51, 250))
	h.post(t, path+"?max_len=1000", `{"messages":[`+numbers(251, 500)+`]}`).json(t, 201, `{"conversation_id":"7","expires_in":604800,"length":450}`)
	h.messages(t, "", numbers(301, 500))
	h.messages(t, "?limit=1000", numbers(51, 500))
}

// TestHistoryOfTwoClients lets two hubs append at once: nothing gets lost, and nothing comes between what was sent together.
func TestHistoryOfTwoClients(t *testing.T) {
	t.Parallel()
	hubs := []*hub{startHub(t, options{})}
	two := options{}
	two.events.Prefix = hubs[0].prefix
	hubs = append(hubs, startHub(t, two))
	const each = 30
	var all sync.WaitGroup
	for client, h := range hubs {
		all.Go(func() {
			for i := range each {
				body := fmt.Sprintf(`{"messages":["%d-%d-a","%d-%d-b"]}`, client, i, client, i)
				if a, err := h.try(t, "POST", "/v1/conversations/c/messages", strings.NewReader(body)); err != nil || a.status != 201 {
					t.Errorf("%v, %d", err, a.status)
				}
			}
		})
	}
	all.Wait()
	list := decode[api.MessageList](t, hubs[0].get(t, "/v1/conversations/c/messages").body).Messages
	next := []int{0, 0}
	for i := 0; i+1 < len(list); i += 2 {
		client := int(list[i][1] - '0')
		want := fmt.Sprintf("%d-%d", client, next[client])
		if string(list[i]) != `"`+want+`-a"` || string(list[i+1]) != `"`+want+`-b"` {
			t.Fatalf("at %d there are %s and %s, want those of %s", i, list[i], list[i+1], want)
		}
		next[client]++
	}
	if len(list) != 4*each {
		t.Errorf("%d messages came through", len(list))
	}
}
