//go:build clients

package clients

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// printed finds the commands that a hub shows when it starts.
var printed = regexp.MustCompile(`(?m)^  (curl .*)$`)

func TestCurlRunsWhatTheHubPrints(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ hub, shell []string }{
		"embedded Redis, no key": {nil, nil},
		"Redis and a key": {
			[]string{
				"REDIS_URL=" + redistest.Shared(t).URL(), "CHANNEL_PREFIX=" + redistest.Prefix(t), "HTTP_ADDR=0.0.0.0:0",
				"SERVICE_AUTH_TOKEN=a-token-of-decent-length",
			},
			[]string{"SERVICE_AUTH_TOKEN=a-token-of-decent-length"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := serve(t, test.hub...)
			h.says(t, "Stop the hub with Ctrl+C.")
			commands := printed.FindAllStringSubmatch(h.stdout.String(), -1)
			if len(commands) != 4 {
				t.Fatalf("the hub shows %d commands:\n%s", len(commands), h.stdout)
			}
			stream := start(t, test.shell, "sh", "-c", commands[0][1])
			stream.says(t, "retry: ")
			if receipt := run(t, test.shell, "sh", "-c", commands[1][1]); !strings.Contains(receipt, `"status":"published"`) {
				t.Errorf("publishing says %s", receipt)
			}
			stream.says(t, "\nevent: user.login\ndata: {")
			stream.says(t, `"data":{"name":"Анна"}`)
			if log := run(t, test.shell, "sh", "-c", commands[2][1]); !strings.Contains(log, `"data":{"name":"Анна"}`) {
				t.Errorf("the log says %s", log)
			}
			if menu := run(t, test.shell, "sh", "-c", commands[3][1]); !strings.Contains(menu, `"label":"👤 Профиль"`) {
				t.Errorf("the menu is %s", menu)
			}
			h.stop(t)
			stream.succeeds(t)
		})
	}
}

func TestCurlReadsAStream(t *testing.T) {
	t.Parallel()
	h := serve(t, "REDIS_URL="+redistest.Shared(t).URL(), "CHANNEL_PREFIX="+redistest.Prefix(t))
	publish := func(n int) {
		t.Helper()
		run(t, []string{"HUB_URL=" + h.url}, binary, "publish", "--user", "123", "user.login", fmt.Sprintf(`{"n":%d}`, n))
	}
	url := h.url + "/v1/stream?channel=user:123"
	stream := start(t, nil, "curl", "-sSN", "-D", "/dev/stderr", url)
	stream.says(t, "retry: ")
	for _, header := range []string{"HTTP/1.1 200 OK", "Content-Type: text/event-stream", "X-Accel-Buffering: no", "Cache-Control: no-store"} {
		if !strings.Contains(strings.ToLower(stream.stderr.String()), strings.ToLower(header)) {
			t.Errorf("no %q in the headers:\n%s", header, stream.stderr)
		}
	}
	publish(1)
	publish(2)
	stream.says(t, `"data":{"n":2}`)
	ids := regexp.MustCompile(`(?m)^id: (\S+)\nevent: user\.login\ndata: \{.*"data":\{"n":(\d)\}.*\}\n\n`).
		FindAllStringSubmatch(stream.stdout.String(), -1)
	if len(ids) != 2 || ids[0][2] != "1" {
		t.Fatalf("the stream says:\n%s", stream.stdout)
	}

	resumed := start(t, nil, "curl", "-sSN", "-H", "Last-Event-ID: "+ids[0][1], url)
	resumed.says(t, `"data":{"n":2}`)
	if strings.Contains(resumed.stdout.String(), `"data":{"n":1}`) {
		t.Errorf("resuming after the first event repeats it:\n%s", resumed.stdout)
	}

	h.stop(t)
	for _, p := range []*process{stream, resumed} {
		p.succeeds(t)
		if n := strings.Count(p.stdout.String(), "retry: "); n != 2 {
			t.Errorf("the stream ends without a hint when to come back:\n%s", p.stdout)
		}
	}
}
