package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/internal/tracing"
	"github.com/connectbot-hub/connecthub/internal/tracing/traceparent"
)

// memory keeps the spans that are made.
func memory(tb testing.TB, options ...sdktrace.TracerProviderOption) (*sdktrace.TracerProvider, *tracetest.InMemoryExporter) {
	tb.Helper()
	kept := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(append(options, sdktrace.WithSyncer(kept))...)
	tb.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	return provider, kept
}

// secret stands for what may not be in a span.
const secret = "s3cret-user-47"

func TestSpansOfRedis(t *testing.T) {
	t.Parallel()
	provider, kept := memory(t)
	client, err := redisconn.Open(redistest.Shared(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	client.AddHook(tracing.Redis(provider, "main"))
	key := redistest.Prefix(t) + secret

	if err := client.Set(t.Context(), key, secret, 0).Err(); err != nil || len(kept.GetSpans()) != 0 {
		t.Fatalf("without a trace there are %v, %v", kept.GetSpans(), err)
	}
	ctx, parent := provider.Tracer("test").Start(t.Context(), "a request")
	want := map[string]string{} // from a name to the type of the error
	do := func(name, failure string, err error) {
		t.Helper()
		want[name] = failure
		if (err != nil) != (failure != "") && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "NOSCRIPT") {
			t.Fatalf("%s: %v", name, err)
		}
	}
	do("GET", "", client.Get(ctx, key).Err())
	do("GETDEL", "", client.GetDel(ctx, key+"none").Err())
	do("INCR", "ERR", client.Incr(ctx, key).Err())
	do("LPUSH", "WRONGTYPE", client.LPush(ctx, key, secret).Err())
	do("EVALSHA", "", client.EvalSha(ctx, strings.Repeat("0", 40), []string{key}).Err())
	do("EVAL", "ERR", client.Eval(ctx, "return redis.error_reply(KEYS[1])", []string{key}).Err())
	_, err = client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Get(ctx, key)
		pipe.Get(ctx, key+"x")
		return nil
	})
	do("PIPELINE GET", "", err)
	_, err = client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, key, secret, 0)
		return nil
	})
	do("PIPELINE", "", err)
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	do("STRLEN", "canceled", client.StrLen(canceled, key).Err())
	for _, s := range kept.GetSpans() {
		if s.Name == "HELLO" { // A connection was made for it.
			continue
		}
		failure, ok := want[s.Name]
		if !ok || s.Parent.SpanID() != parent.SpanContext().SpanID() || s.SpanKind != trace.SpanKindClient {
			t.Errorf("there is a span %+v", s)
		}
		delete(want, s.Name)
		text := fmt.Sprint(s.Attributes, s.Events, s.Status)
		if strings.Contains(text, secret) || !strings.Contains(text, "connecthub.redis") {
			t.Errorf("%s says %s", s.Name, text)
		}
		if (s.Status.Code == codes.Error) != (failure != "") || failure != "" && !strings.Contains(text, failure) {
			t.Errorf("%s failed with %s, want %q", s.Name, text, failure)
		}
	}
	if len(want) > 0 {
		t.Errorf("there is no span of %v", want)
	}
	parent.End()
	before := len(kept.GetSpans())
	if err := client.Get(ctx, key).Err(); err != nil || len(kept.GetSpans()) != before {
		t.Errorf("what goes on after the request is traced: %v", err)
	}
}

func TestSpansOfPublishing(t *testing.T) {
	t.Parallel()
	provider, kept := memory(t)
	publishing := tracing.Publishing(provider)
	if parent, end := publishing(t.Context(), "user"); parent != "" {
		t.Errorf("without a trace the event gets %q", parent)
	} else {
		end(nil)
	}
	ctx, request := provider.Tracer("test").Start(t.Context(), "a request")
	for name, fails := range map[string]error{"user": nil, "global": errors.New(secret)} {
		kept.Reset()
		parent, end := publishing(ctx, name)
		end(fails)
		all := kept.GetSpans()
		if len(all) != 1 || all[0].Name != "publish "+name || all[0].SpanKind != trace.SpanKindProducer ||
			all[0].Parent.SpanID() != request.SpanContext().SpanID() || (all[0].Status.Code == codes.Error) != (fails != nil) {
			t.Fatalf("the spans are %+v", all)
		}
		trace, span := traceparent.IDs(parent)
		if trace != all[0].SpanContext.TraceID().String() || span != all[0].SpanContext.SpanID().String() || !strings.HasSuffix(parent, "-01") {
			t.Errorf("the event gets %q", parent)
		}
		if text := fmt.Sprint(all[0]); strings.Contains(text, secret) {
			t.Error(text)
		}
	}

	// A trace that is not sampled goes along, so that whoever reads the event does not sample it either.
	provider, kept = memory(t, sdktrace.WithSampler(sdktrace.NeverSample()))
	ctx, request = provider.Tracer("test").Start(t.Context(), "a request")
	parent, end := tracing.Publishing(provider)(ctx, "user")
	end(nil)
	if want := tracing.Traceparent(request.SpanContext()); parent != want || !strings.HasSuffix(parent, "-00") || len(kept.GetSpans()) != 0 {
		t.Errorf("the event gets %q", parent)
	}
}
