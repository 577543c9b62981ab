package api_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/events"
)

func (a answer) submission(tb testing.TB) api.Submission {
	tb.Helper()
	a.is(tb, 200, "application/json")
	s := decode[api.Submission](tb, a.body)
	if s.ID == "" || s.Form != "activity" || s.UserID != 7 || s.UpdatedAt == "" || s.Degraded {
		tb.Errorf("the submission is %s", a.body)
	}
	return s
}

// TestSubmit takes a form out.
func TestSubmit(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for _, body := range []string{"", "{}", " { } "} {
		h.post(t, form+"/submit", body).problem(t, 404, "form_not_found")
		h.put(t, form+"/steps/b", `"<&>"`)
		h.put(t, form+"/steps/a", `1.0`)
		s := h.post(t, form+"/submit", body).submission(t)
		if string(s.Steps) != `{"b":"<&>","a":1.0}` || s.Duplicate || s.Published != nil {
			t.Errorf("the submission is %+v", s)
		}
		h.get(t, form).problem(t, 404, "form_not_found")
		h.post(t, form+"/submit", body).problem(t, 404, "form_not_found")
	}
	// No body at all needs no media type.
	h.put(t, form+"/steps/a", `1`)
	h.post(t, form+"/submit", "", "Content-Type:").submission(t)
	if n := h.logLength(t, "global"); n != 0 {
		t.Errorf("%d events were published", n)
	}
}

// TestSubmitOnce lets many submit one form at once, to two hubs: one of them gets it, and one event is published.
func TestSubmitOnce(t *testing.T) {
	t.Parallel()
	hubs := []*hub{startHub(t, options{})}
	two := options{}
	two.events.Prefix = hubs[0].prefix
	hubs = append(hubs, startHub(t, two))
	for _, body := range []string{"", `{"publish":{"channel":"service:matching","type":"matching.request"}}`} {
		hubs[0].put(t, form+"/steps/a", `1`)
		const n = 40
		var got, again atomic.Int32
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				a, err := hubs[i%2].try(t, "POST", form+"/submit", strings.NewReader(body))
				switch {
				case err != nil:
					t.Error(err)
				case a.status == 200 && a.submission(t).Duplicate:
					again.Add(1)
				case a.status == 200:
					got.Add(1)
				case a.status != 404:
					t.Errorf("answered %d: %s", a.status, a.body)
				}
			})
		}
		all.Wait()
		if got.Load() != 1 || body == "" && again.Load() > 0 {
			t.Errorf("%d of %d got the form, and %d once more", got.Load(), n, again.Load())
		}
	}
	if events := hubs[0].logLength(t, "service:matching"); events != 1 {
		t.Errorf("%d events were published", events)
	}
}

// TestSubmitWithEvent publishes the form that is taken out, and again with the same key, which publishes nothing more.
func TestSubmitWithEvent(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for _, channel := range []string{"service:matching", "user:8", "global"} {
		messages := h.subscribe(t, channel)
		h.put(t, form+"/steps/profile", `{"name":"Анна <&>","n":1.50}`)
		body := `{"publish":{"channel":"` + channel + `","type":"form.submitted","correlation_id":"c-1"}}`
		key := "Idempotency-Key: activity-42-" + strings.ReplaceAll(channel, ":", "-")
		first := h.post(t, form+"/submit", body, key).submission(t)
		if first.Duplicate || first.Published == nil || first.Published.ID != first.ID || first.Published.Duplicate || first.Published.Channel != h.full(channel) {
			t.Fatalf("the submission is %+v, published %+v", first, first.Published)
		}
		event := decode[struct {
			ID, Type, Source, Channel, Timestamp, Offset string
			CorrelationID                                string `json:"correlation_id"`
			UserID                                       *int64 `json:"user_id"`
			Data                                         struct {
				UserID       int64  `json:"user_id"`
				Form         string `json:"form"`
				SubmissionID string `json:"submission_id"`
				Steps        struct {
					Profile struct {
						Name string
						N    float64
					}
				}
			}
		}](t, []byte(nextMessage(t, messages).payload))
		if event.ID != first.ID || event.Type != "form.submitted" || event.CorrelationID != "c-1" || event.Data.UserID != 7 || event.Data.Form != "activity" ||
			event.Data.SubmissionID != first.ID || event.Data.Steps.Profile.Name != "Анна <&>" {
			t.Errorf("the event is %+v", event)
		}
		again := h.post(t, form+"/submit", body, key).submission(t)
		if !again.Duplicate || again.ID != first.ID || string(again.Steps) != string(first.Steps) || again.Published == nil ||
			again.Published.Offset != first.Published.Offset || !again.Published.Duplicate {
			t.Errorf("again it is %+v, published %+v", again, again.Published)
		}
		h.post(t, form+"/submit", body).problem(t, 404, "form_not_found")
		h.post(t, form+"/submit", body, key+"x").problem(t, 404, "form_not_found")
		if n := h.logLength(t, channel); n != 1 {
			t.Errorf("the log of %s holds %d events", channel, n)
		}
	}
}

// TestSubmitKeepsTheForm submits in ways that cannot be published: the form stays as it is.
func TestSubmitKeepsTheForm(t *testing.T) {
	t.Parallel()
	h, tokens := startKeyedHub(t, map[string][]string{"bot": {"temp", "publish:user.*", "publish:service:matching"}})
	auth := "Authorization: Service " + tokens["bot"]
	tag := h.put(t, form+"/steps/a", `1`, auth).tag(t)
	for body, status := range map[string]int{
		`{"publish":{"channel":"global","type":"system.maintenance"}}`:       403,
		`{"publish":{"channel":"service:mail","type":"matching.request"}}`:   403,
		`{"publish":{"channel":"service:matching","type":"Bad Type"}}`:       422,
		`{"publish":{"channel":"service:matching"}}`:                         422,
		`{"publish":{"channel":"service:matching","type":"a"}} {}`:           400,
		`{"publish":{"channel":"service:matching","type":"a","extra":true}}`: 422,
	} {
		h.post(t, form+"/submit", body, auth).is(t, status, "application/problem+json")
		if got := h.get(t, form, auth).tag(t); got != tag {
			t.Errorf("after %s the form has the ETag %s, not %s", body, got, tag)
		}
	}
	large := `"` + strings.Repeat("x", 63<<10) + `"`
	h.put(t, form+"/steps/large", large, auth)
	publish := `{"publish":{"channel":"service:matching","type":"a"}}`
	p := h.post(t, form+"/submit", publish, auth).problem(t, 413, "payload_too_large")
	if !strings.Contains(p.Detail, "publish") {
		t.Errorf("the detail is %q", p.Detail)
	}
	for i := range 90 { // The names alone make too much of it.
		h.put(t, form+"/steps/"+fmt.Sprintf("%0118d", i), `1`, auth)
	}
	h.put(t, form+"/steps/large", `"`+strings.Repeat("x", 61<<10)+`"`, auth)
	h.post(t, form+"/submit", publish, auth).problem(t, 413, "payload_too_large")
	h.get(t, form+"/steps/large", auth).is(t, 200, "application/json")
	if s := h.post(t, form+"/submit", "", auth).submission(t); len(s.Steps) < 61<<10 {
		t.Errorf("the steps have %d bytes", len(s.Steps))
	}
	h.put(t, form+"/steps/a", `"`+strings.Repeat("x", 61<<10)+`"`, auth)
	if s := h.post(t, form+"/submit", publish, auth).submission(t); s.Published == nil {
		t.Error("there is no receipt")
	}
	if source := h.lastEventSource(t, "service:matching"); source != "bot" {
		t.Errorf("the source is %q, want the key's name", source)
	}
}

// lastEventSource reads the log in Redis.
func (h *hub) lastEventSource(tb testing.TB, channel string) string {
	tb.Helper()
	log, err := h.redis.Client().XRevRangeN(tb.Context(), h.logKey(channel), "+", "-", 1).Result()
	if err != nil || len(log) != 1 {
		tb.Fatalf("the log: %v, %v", log, err)
	}
	for _, value := range log[0].Values {
		if text, _ := value.(string); strings.Contains(text, `"source":"`) {
			_, text, _ = strings.Cut(text, `"source":"`)
			text, _, _ = strings.Cut(text, `"`)
			return text
		}
	}
	return ""
}

// away is a publisher that hears nothing of Redis, which may hear it, until it is told that both are back.
type away struct {
	publisher
	heard bool
	back  *atomic.Bool
}

func (p away) Publish(ctx context.Context, m events.Message) (events.Receipt, error) {
	if p.back.Load() {
		return p.publisher.Publish(ctx, m)
	}
	if p.heard {
		_, _ = p.publisher.Publish(ctx, m)
	}
	return events.Receipt{}, fmt.Errorf("publish: %w", events.ErrUnavailable)
}

// TestSubmitPutsTheFormBack fails to publish at first, or seems to. In the end there is one event.
func TestSubmitPutsTheFormBack(t *testing.T) {
	t.Parallel()
	for _, heard := range []bool{false, true} {
		for _, key := range []string{"Idempotency-Key: k", "Idempotency-Key:"} {
			var back atomic.Bool
			h := startHub(t, options{wrap: func(p publisher) publisher { return away{p, heard, &back} }})
			h.put(t, form+"/steps/a", `1`)
			const body = `{"publish":{"channel":"user:7","type":"a"}}`
			p := h.post(t, form+"/submit", body, key).problem(t, 503, "redis_unavailable")
			if strings.Contains(p.Detail, "harm") || !p.Retryable {
				t.Errorf("the detail is %q, retryable %t", p.Detail, p.Retryable)
			}
			h.get(t, form+"/steps/a").json(t, 200, `1`)
			back.Store(true)
			if s := h.post(t, form+"/submit", body, key).submission(t); s.Duplicate || s.Published == nil || s.Published.ID != s.ID || s.Published.Duplicate != heard {
				t.Errorf("the submission is %+v, published %+v", s, s.Published)
			}
			if n := h.logLength(t, "user:7"); n != 1 {
				t.Errorf("%d events were published", n)
			}
		}
	}
}

// TestSubmitKeysOfCallers checks that two callers who happen to use one key do not meet.
func TestSubmitKeysOfCallers(t *testing.T) {
	t.Parallel()
	h, tokens := startKeyedHub(t, map[string][]string{"one": {"temp"}, "two": {"temp"}})
	one, two := "Authorization: Service "+tokens["one"], "Authorization: Service "+tokens["two"]
	key := "Idempotency-Key: " + strings.Repeat("k", 255)
	h.put(t, form+"/steps/a", `1`, one)
	first := h.post(t, form+"/submit", "", one, key).submission(t)
	h.post(t, form+"/submit", "", two, key).problem(t, 404, "form_not_found")
	if again := h.post(t, form+"/submit", "", one, key).submission(t); !again.Duplicate || again.ID != first.ID {
		t.Errorf("again it is %+v", again)
	}
}

// TestSubmitKeyIsForOneSubmission sends a key again, when there is another form, another condition or another event.
func TestSubmitKeyIsForOneSubmission(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for i, tt := range []struct {
		body   string
		others []string
	}{
		{``, []string{
			`{"publish":{"channel":"user:7","type":"a"}}`,
		}},
		{`{"publish":{"channel":"user:7","type":"a","correlation_id":"c"}}`, []string{
			``, `{}`, `{"publish":{"channel":"user:8","type":"a","correlation_id":"c"}}`, `{"publish":{"channel":"user:7","type":"b","correlation_id":"c"}}`,
			`{"publish":{"channel":"user:7","type":"a","correlation_id":"d"}}`, `{"publish":{"channel":"user:7","type":"a"}}`,
		}},
	} {
		key := fmt.Sprintf("Idempotency-Key: k%d", i)
		tag := h.put(t, form+"/steps/a", `1`).tag(t)
		first := h.post(t, form+"/submit", tt.body, key, "If-Match: "+tag).submission(t)
		h.put(t, form+"/steps/b", `2`)
		published := h.logLength(t, "user:7")
		for _, headers := range [][]string{{key}, {key, "If-Match: " + tag}, {key, "If-Match: *"}} {
			again := h.post(t, form+"/submit", tt.body, headers...).submission(t)
			if !again.Duplicate || again.ID != first.ID || string(again.Steps) != `{"a":1}` {
				t.Errorf("%q: again it is %+v", headers, again)
			}
		}
		for _, other := range tt.others {
			p := h.post(t, form+"/submit", other, key).problem(t, 422, "idempotency_key_reused", "Idempotency-Key")
			if p.Retryable || !strings.Contains(p.Detail, "publish") {
				t.Errorf("the detail is %q, retryable %t", p.Detail, p.Retryable)
			}
		}
		if f := h.get(t, form).form(t); string(f.Steps) != `{"b":2}` {
			t.Errorf("the other form has the steps %s", f.Steps)
		}
		if n := h.logLength(t, "user:7") + h.logLength(t, "user:8"); n != published {
			t.Errorf("%d events were published, want %d", n, published)
		}
		h.post(t, form+"/submit", "", key+"-other").submission(t)
	}
}

// TestSubmitSaysWhatIsWrongWithTheType names it once.
func TestSubmitSaysWhatIsWrongWithTheType(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for given, want := range map[string]string{
		``:              "publish.type is required.",
		`,"type":""`:    "publish.type must not be empty.",
		`,"type":"Bad"`: "publish.type must be lower case words (a-z, 0-9, _ and -) joined by dots.",
		`,"type":"` + strings.Repeat("x", 129) + `"`: "publish.type must have 1 to 128 bytes.",
	} {
		p := h.post(t, form+"/submit", `{"publish":{"channel":"global"`+given+`}}`).problem(t, 422, "invalid_fields", "publish.type")
		if p.Detail != want {
			t.Errorf("%s: the detail is %q, want %q", given, p.Detail, want)
		}
	}
}
