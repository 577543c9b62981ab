package api_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/internal/tracing"
)

// publishingTo makes spans of publishing, as the command does.
func publishingTo(provider trace.TracerProvider) func(context.Context, events.Scope) (string, func(error)) {
	publishing := tracing.Publishing(provider)
	return func(ctx context.Context, scope events.Scope) (string, func(error)) {
		return publishing(ctx, string(scope))
	}
}

// spans are those that the hub of a test made.
type spans struct{ kept *tracetest.InMemoryExporter }

// tracingHub is a hub that traces, and what it makes of it.
func tracingHub(tb testing.TB, o options, sampled sdktrace.Sampler) (*hub, spans) {
	tb.Helper()
	s := spans{tracetest.NewInMemoryExporter()}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(s.kept), sdktrace.WithSampler(sampled))
	tb.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	o.api.Tracing = provider
	return startHub(tb, o), s
}

// await returns the only span of a name, when it is there. A span ends after its answer was sent.
func (s spans) await(tb testing.TB, name string) tracetest.SpanStub {
	tb.Helper()
	var found []tracetest.SpanStub
	redistest.Eventually(tb, soon, "there is a span "+name, func() bool {
		found = s.all(name)
		return len(found) > 0
	})
	if len(found) > 1 {
		tb.Errorf("there are %d spans %s", len(found), name)
	}
	return found[0]
}

// all returns the spans of a name.
func (s spans) all(name string) []tracetest.SpanStub {
	return slices.DeleteFunc(s.kept.GetSpans(), func(stub tracetest.SpanStub) bool { return stub.Name != name })
}

// under returns the names of the spans below one, without the setting up of connections.
func (s spans) under(parent tracetest.SpanStub) []string {
	var names []string
	for _, stub := range s.kept.GetSpans() {
		if stub.Parent.SpanID() == parent.SpanContext.SpanID() && stub.Name != "HELLO" {
			names = append(names, stub.Name)
		}
	}
	return names
}

// parentOf is the traceparent of a span.
func parentOf(stub tracetest.SpanStub) string { return tracing.Traceparent(stub.SpanContext) }

const (
	callersTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan   = "00f067aa0ba902b7"
	callersParent = "00-" + callersTrace + "-" + callersSpan + "-01"
)

// TestTraceOfAnEvent follows a trace from the caller through the hub to a reader of a stream.
func TestTraceOfAnEvent(t *testing.T) {
	t.Parallel()
	h, spans := tracingHub(t, options{}, sdktrace.ParentBased(sdktrace.AlwaysSample()))
	s := h.follow(t, "channel=user:123")
	h.publish(t, "user:123", `{"type":"tick","data":1}`, "Traceparent: "+callersParent, "Tracestate: a=1")
	request, publishing := spans.await(t, "POST /v1/events/users/:user_id"), spans.await(t, "publish user")
	if request.SpanContext.TraceID().String() != callersTrace || request.Parent.SpanID().String() != callersSpan ||
		request.SpanKind != trace.SpanKindServer || request.SpanContext.TraceState().String() != "a=1" {
		t.Errorf("the request is %+v", request)
	}
	want := []attribute.KeyValue{
		attribute.String("http.request.method", "POST"), attribute.Int("http.response.status_code", 201),
		attribute.String("http.route", "/v1/events/users/:user_id"),
	}
	if !slices.Equal(request.Attributes, want) || request.Status.Code != codes.Unset {
		t.Errorf("the request says %v %v", request.Attributes, request.Status)
	}
	if publishing.Parent.SpanID() != request.SpanContext.SpanID() || publishing.SpanKind != trace.SpanKindProducer {
		t.Errorf("the publishing is %+v", publishing)
	}
	if event := s.event(t); event.Traceparent != parentOf(publishing) {
		t.Errorf("the reader gets %q, not %q", event.Traceparent, parentOf(publishing))
	}

	h.publish(t, "global", `{"type":"tick"}`) // Nobody's trace: one of its own.
	if root := spans.await(t, "POST /v1/events/global"); root.Parent.IsValid() || root.SpanContext.TraceID().String() == callersTrace {
		t.Errorf("the request is %+v", root)
	}
	h.get(t, "/nothing/here").problem(t, 404, "not_found")
	if lost := spans.await(t, "GET"); len(lost.Attributes) != 2 {
		t.Errorf("a request to nowhere says %v", lost.Attributes)
	}
	h.get(t, "/v1/events?channel=global").is(t, 200, "application/json")
	if list := spans.await(t, "GET /v1/events"); !slices.Equal(spans.under(list), []string{"XRANGE"}) && len(spans.under(list)) != 1 {
		t.Errorf("below it are %v", spans.under(list))
	}
}

// TestTraceThatIsNotSampled goes on all the same, so that others do not sample it either.
func TestTraceThatIsNotSampled(t *testing.T) {
	t.Parallel()
	h, spans := tracingHub(t, options{}, sdktrace.ParentBased(sdktrace.NeverSample()))
	h.publish(t, "global", `{"type":"tick"}`)
	h.publish(t, "global", `{"type":"tick"}`, "Traceparent: "+strings.TrimSuffix(callersParent, "01")+"00")
	all := h.list(t, "channel=global").Events
	if parent := all[0].Traceparent; len(parent) != 55 || !strings.HasSuffix(parent, "-00") {
		t.Errorf("the first event has the trace %q", parent)
	}
	if parent := all[1].Traceparent; !strings.HasPrefix(parent, "00-"+callersTrace) || !strings.HasSuffix(parent, "-00") {
		t.Errorf("the second event has the trace %q", parent)
	}
	if n := len(spans.kept.GetSpans()); n != 0 {
		t.Errorf("there are %d spans", n)
	}
}

// TestTraceWithoutTracing has a caller's trace pass through a hub that does not trace, into events and the log.
func TestTraceWithoutTracing(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{})
	given := "Traceparent: " + callersParent
	h.publish(t, "user:123", `{"type":"tick"}`, given, "X-Request-ID: r-1")
	h.publish(t, "user:123", `{"type":"tick"}`, "X-Request-ID: r-2")
	h.publish(t, "user:123", `{"type":"tick"}`, "Traceparent: "+callersParent+"-odd", "X-Request-ID: r-3")
	h.publish(t, "user:123", `{"type":"tick","data":1}`, given, "Idempotency-Key: k")
	h.publish(t, "user:123", `{"type":"tick","data":1}`, "Traceparent: "+strings.ReplaceAll(callersParent, "4", "5"), "Idempotency-Key: k")
	h.call(t, http.MethodPut, "/v1/users/123/forms/f/steps/one", `1`)
	h.post(t, "/v1/users/123/forms/f/submit", `{"publish":{"channel":"user:123","type":"form.done"}}`, given).is(t, 200, "application/json")
	for n, event := range h.list(t, "channel=user:123").Events {
		if want := []string{callersParent, "", "", callersParent, callersParent}[n]; event.Traceparent != want {
			t.Errorf("event %d has the trace %q, want %q", n, event.Traceparent, want)
		}
	}
	h.post(t, "/v1/events/users/123", `{"type":"tick","traceparent":"`+callersParent+`"}`).problem(t, 422, "invalid_fields", "traceparent")
	for id, want := range map[string]string{"r-1": callersTrace + " " + callersSpan, "r-2": " ", "r-3": " "} {
		fields := h.loggedRequest(t, id)
		if got := fmt.Sprint(orNothing(fields["trace_id"]), " ", orNothing(fields["span_id"])); got != want {
			t.Errorf("%s is logged with %q", id, got)
		}
	}
	h.post(t, matchingRequests, `{"request_id":"m-1","users":[1,2]}`, given).accepted(t)
	h.await(t, "m-1", "completed")
	if got := java.only(t, javaSimple).header.Get("Traceparent"); got != callersParent {
		t.Errorf("Java got %q", got)
	}
	for _, channel := range []string{"service:matching", "user:1", "user:2"} {
		for _, event := range h.completions(t, channel) {
			if event.Traceparent != callersParent {
				t.Errorf("%s is told with the trace %q", channel, event.Traceparent)
			}
		}
	}
}

func orNothing(value any) any {
	if value == nil {
		return ""
	}
	return value
}

// loggedRequest returns the fields of a request's line in the log.
func (h *hub) loggedRequest(tb testing.TB, id string) (fields map[string]any) {
	tb.Helper()
	redistest.Eventually(tb, soon, "the request is logged", func() bool {
		for _, line := range h.logs.FilterMessage("request").All() {
			if fields = line.ContextMap(); fields["request_id"] == id {
				return true
			}
		}
		return false
	})
	return fields
}

// TestTraceInTheLog names the span of a request.
func TestTraceInTheLog(t *testing.T) {
	t.Parallel()
	h, spans := tracingHub(t, options{}, sdktrace.AlwaysSample())
	h.get(t, "/v1/events/types", "X-Request-ID: r-1", "Traceparent: "+callersParent).is(t, 200, "application/json")
	span := spans.await(t, "GET /v1/events/types")
	if fields := h.loggedRequest(t, "r-1"); fields["trace_id"] != callersTrace || fields["span_id"] != span.SpanContext.SpanID().String() {
		t.Errorf("it is logged with %v", fields)
	}
}

// TestTraceOfRedis has the commands of menus and temporary data below their requests.
func TestTraceOfRedis(t *testing.T) {
	t.Parallel()
	h, spans := tracingHub(t, options{}, sdktrace.AlwaysSample())
	h.get(t, "/v1/menus/123/main")
	h.call(t, http.MethodPut, "/v1/temp/forms/k", `{"a":1}`).is(t, 201, "application/json")
	h.get(t, "/v1/temp/forms/k").is(t, 200, "application/json")
	for _, name := range []string{"GET /v1/menus/:user_id/:menu_type", "PUT /v1/temp/:namespace/:key", "GET /v1/temp/:namespace/:key"} {
		if request := spans.await(t, name); len(spans.under(request)) == 0 {
			t.Errorf("there is nothing below %s", name)
		}
	}
	for _, stub := range spans.kept.GetSpans() {
		if !stub.Parent.IsValid() && stub.SpanKind != trace.SpanKindServer {
			t.Errorf("%s is in a trace of its own", stub.Name)
		}
	}
}

// TestWhatIsNotTraced asks for health, metrics and a stream.
func TestWhatIsNotTraced(t *testing.T) {
	t.Parallel()
	h, spans := tracingHub(t, options{}, sdktrace.AlwaysSample())
	for _, path := range []string{"/health", "/health/live", "/health/ready", "/health/startup"} {
		h.get(t, path, "Traceparent: "+callersParent).is(t, 200, "application/health+json")
	}
	h.follow(t, "channel=user:123").close()
	h.get(t, "/v1/events/types").is(t, 200, "application/json")
	spans.await(t, "GET /v1/events/types")
	if n := len(spans.kept.GetSpans()); n != 1 {
		t.Errorf("there are %d spans: %+v", n, spans.kept.GetSpans())
	}
}

// TestTraceOfAFailure marks what the hub could not do.
func TestTraceOfAFailure(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	h, spans := tracingHub(t, options{redis: redis}, sdktrace.AlwaysSample())
	redis.Stop()
	h.post(t, "/v1/events/users/123", `{"type":"tick"}`).problem(t, 503, "redis_unavailable")
	request, publishing := spans.await(t, "POST /v1/events/users/:user_id"), spans.await(t, "publish user")
	if request.Status.Code != codes.Error || publishing.Status.Code != codes.Error {
		t.Errorf("the spans say %v and %v", request.Status, publishing.Status)
	}
}

// TestTraceOfMatching follows traces to Java: of a call, of a request that waits, and of one that came as an event.
func TestTraceOfMatching(t *testing.T) {
	t.Parallel()
	java := startJava(t)
	h, spans := tracingHub(t, options{matching: &matchingOptions{java: java, byEvent: true}}, sdktrace.ParentBased(sdktrace.AlwaysSample()))
	const javaSpan = "POST /" + "api/matching/coffee/simple"
	h.post(t, "/v1/matching/coffee/simple", `[{"id":1},{"id":2}]`, "Traceparent: "+callersParent).is(t, 200, "application/json")
	call := spans.await(t, javaSpan)
	if request := spans.await(t, "POST /v1/matching/coffee/simple"); call.Parent.SpanID() != request.SpanContext.SpanID() || call.SpanKind != trace.SpanKindClient {
		t.Errorf("the call is %+v", call)
	}
	if got := java.only(t, javaSimple).header.Get("Traceparent"); got != parentOf(call) {
		t.Errorf("Java got %q, not %q", got, parentOf(call))
	}
	if text := fmt.Sprint(call.Attributes); !strings.Contains(text, "http.response.status_code") || !strings.Contains(text, "url.template") {
		t.Errorf("the call says %s", text)
	}

	for id, ask := range map[string]func(){
		"by-request": func() {
			h.post(t, matchingRequests, `{"request_id":"by-request","users":[1,2]}`, "Traceparent: "+callersParent).accepted(t)
		},
		"by-event": func() { // As the bot publishes it, which knows nothing of hubs.
			h.publishRaw(t, h.full("service:matching"), `{"id":"e-1","type":"matching.request","timestamp":"2026-11-21T19:11:26Z","channel":"x","user_id":null,`+
				`"source":"bot","correlation_id":"c","data":{"request_id":"by-event","users":[1,2]},"traceparent":"`+callersParent+`"}`)
		},
	} {
		spans.kept.Reset()
		ask()
		redistest.Eventually(t, soon, id+" is known", func() bool { return h.get(t, matchingRequests+"/"+id).status == 200 })
		h.await(t, id, "completed")
		job := spans.await(t, "process matching")
		call := spans.await(t, javaSpan)
		if job.SpanContext.TraceID().String() != callersTrace || job.SpanKind != trace.SpanKindConsumer ||
			call.Parent.SpanID() != job.SpanContext.SpanID() {
			t.Errorf("%s: the job is %+v, the call %+v", id, job, call)
		}
		producers := map[string]bool{}
		for _, name := range []string{"publish user", "publish service"} {
			for _, stub := range spans.all(name) {
				if stub.Parent.SpanID() == job.SpanContext.SpanID() {
					producers[parentOf(stub)] = true
				}
			}
		}
		for _, channel := range []string{"service:matching", "user:1", "user:2"} {
			told := h.completions(t, channel)
			if last := told[len(told)-1]; !producers[last.Traceparent] {
				t.Errorf("%s: %s is told with the trace %q, not one of %v", id, channel, last.Traceparent, producers)
			}
		}
		if calls := java.calls(javaSimple); calls[len(calls)-1].header.Get("Traceparent") != parentOf(call) {
			t.Errorf("%s: Java got %q", id, calls[len(calls)-1].header.Get("Traceparent"))
		}
	}
}

// TestNobodyIsInASpan does much for one person, and looks for the person in all that is exported.
func TestNobodyIsInASpan(t *testing.T) {
	t.Parallel()
	const user, name, secret = "4711471147", "Wilhelmine", "s3cret"
	java := startJava(t)
	key, token, err := api.NewKey("id-bot", "bot", []string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := api.NewKeys(key)
	if err != nil {
		t.Fatal(err)
	}
	h, spans := tracingHub(t, options{matching: &matchingOptions{java: java}, api: api.Config{Keys: keys}}, sdktrace.AlwaysSample())
	auth := []string{"Authorization: Bearer " + token, "X-Request-ID: " + secret + user, "User-Agent: " + name}
	person := `{"id":` + user + `,"name":"` + name + `","interests":["` + secret + `"]}`
	for _, call := range []struct{ method, path, body string }{
		{"POST", "/v1/events/users/" + user, `{"type":"tick","data":{"name":"` + name + `"},"source":"` + secret + `","correlation_id":"` + secret + `"}`},
		{"POST", "/v1/events/services/" + secret, `{"type":"tick"}`},
		{"GET", "/v1/events?channel=user:" + user, ""},
		{"GET", "/v1/menus/" + user + "/main?name=" + name, ""},
		{"PUT", "/v1/menus/" + user + "/" + secret, `{"menu":{"text":"` + name + `"}}`},
		{"PUT", "/v1/temp/" + secret + "/" + name, `"` + name + `"`},
		{"PUT", "/v1/users/" + user + "/temp/" + name, `"` + name + `"`},
		{"GET", "/v1/users/" + user + "/temp/" + name, ""},
		{"PUT", "/v1/users/" + user + "/forms/" + secret + "/steps/" + name, `"` + name + `"`},
		{"POST", "/v1/matching/coffee/interest?interest=" + secret, `[` + person + `,{"id":1}]`},
		{"POST", matchingRequests, `{"request_id":"` + secret + `","employees":[` + person + `,{"id":1}]}`},
		{"GET", "/nothing/" + user + "?token=" + secret, ""},
		{"ODD-" + strings.ToUpper(name), "/v1/events/global", ""},
	} {
		if _, err := h.try(t, call.method, call.path, strings.NewReader(call.body), auth...); err != nil {
			t.Fatal(err)
		}
	}
	h.get(t, "/v1/events?channel=user:"+user, "Authorization: Bearer "+secret).problem(t, 401, "unauthorized")
	redistest.Eventually(t, soon, "the request for matching is done", func() bool { return len(spans.all("process matching")) > 0 })
	h.stop(t)
	all := spans.kept.GetSpans()
	if len(all) < 20 {
		t.Errorf("there are only %d spans", len(all))
	}
	forbidden := []string{user, name, strings.ToUpper(name), secret, token, h.prefix, hex.EncodeToString([]byte(secret))}
	for _, stub := range all {
		text := fmt.Sprint(stub.Name, stub.Attributes, stub.Events, stub.Links, stub.Status)
		for _, word := range forbidden {
			if strings.Contains(text, word) {
				t.Errorf("%q is in %s", word, text)
			}
		}
	}
}
