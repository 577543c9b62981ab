//go:build clients

package clients

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// newPython makes a virtual environment with what the tests need and returns its interpreter.
func newPython(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	python := filepath.Join(dir, "bin", "python")
	run(tb, nil, "python3", "-m", "venv", dir)
	run(tb, nil, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", "requirements.txt")
	return python
}

// TestPython runs the services and the bot, which know nothing of the hub, in one virtual environment.
func TestPython(t *testing.T) {
	t.Parallel()
	python := newPython(t)
	t.Run("subscribe", func(t *testing.T) {
		t.Parallel()
		pythonSubscribes(t, python)
	})
	t.Run("publish", func(t *testing.T) {
		t.Parallel()
		pythonPublishes(t, python)
	})
	t.Run("Django", func(t *testing.T) {
		t.Parallel()
		djangoShares(t, python)
	})
	t.Run("Django was there before", func(t *testing.T) {
		t.Parallel()
		djangoWasThere(t, python)
	})
}

// pythonSubscribes reads with redis-py.
func pythonSubscribes(tb testing.TB, python string) {
	tb.Helper()
	rds := redistest.Start(tb) // Of its own: the channels have the names that services know.
	h := serve(tb, "REDIS_URL="+rds.URL())
	exact := start(tb, nil, python, "subscriber.py", rds.URL(), "connectbot:user:123", "connectbot:global", "connectbot:service:matching")
	pattern := start(tb, nil, python, "subscriber.py", rds.URL(), "connectbot:*")
	for p, subscriptions := range map[*process]int{exact: 3, pattern: 1} {
		p.await(tb, "the subscriptions", func() bool { return strings.Count(p.stdout.String(), "subscribed") == subscriptions })
	}
	const data = `{"name":"Анна","big":9007199254740993,"list":[1,null,true]}`
	for _, to := range [][]string{{"--user", "123"}, {"--global"}, {"--service", "matching"}} {
		args := append([]string{"publish", "user.login", data, "--source", "test"}, to...)
		run(tb, []string{"HUB_URL=" + h.url}, binary, args...)
	}

	for _, p := range []*process{exact, pattern} {
		p.await(tb, "three events", func() bool { return strings.Count(p.stdout.String(), `"event"`) >= 3 })
		var heard []string
		for _, text := range p.stdout.lines() {
			var got struct {
				Channel string
				Event   struct {
					ID, Type, Timestamp, Channel, Source, Offset string
					Data                                         json.RawMessage
				}
				Types map[string]string
			}
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				tb.Fatalf("%q: %v", text, err)
			}
			if got.Channel == "" {
				continue // It says that it is subscribed.
			}
			heard = append(heard, got.Channel)
			userID := "NoneType"
			if strings.Contains(got.Channel, ":user:") {
				userID = "int"
			}
			wantTypes := map[string]string{
				"id": "str", "type": "str", "data": "dict", "timestamp": "str", "channel": "str", "user_id": userID, "source": "str", "offset": "str",
			}
			if !reflect.DeepEqual(got.Types, wantTypes) {
				tb.Errorf("on %s the fields are %v, want %v", got.Channel, got.Types, wantTypes)
			}
			if got.Event.Type != "user.login" || got.Event.Source != "test" || got.Event.Channel != got.Channel || len(got.Event.ID) != 36 {
				tb.Errorf("on %s came %s", got.Channel, text)
			}
			// Python's json.dumps writes numbers in full and other letters as escapes.
			if want := `{"name": "\u0410\u043d\u043d\u0430", "big": 9007199254740993, "list": [1, null, true]}`; string(got.Event.Data) != want {
				tb.Errorf("on %s the data is %s", got.Channel, got.Event.Data)
			}
		}
		if want := []string{"connectbot:user:123", "connectbot:global", "connectbot:service:matching"}; !reflect.DeepEqual(heard, want) {
			tb.Errorf("%q heard %q, want %q", p.cmd.Args, heard, want)
		}
	}
}

// pythonPublishes publishes with redis-py.
func pythonPublishes(tb testing.TB, python string) {
	tb.Helper()
	raw, err := os.ReadFile("../../events/testdata/bot-events.json")
	if err != nil {
		tb.Fatal(err)
	}
	var recorded []struct{ Channel, Payload string }
	if err := json.Unmarshal(raw, &recorded); err != nil || len(recorded) == 0 {
		tb.Fatalf("%d recorded events, %v", len(recorded), err)
	}
	rds := redistest.Start(tb)
	h := serve(tb, "REDIS_URL="+rds.URL())
	curl := start(tb, nil, "curl", "-sSN", h.url+"/v1/stream?channel=user:123&channel=global&channel=service:matching")
	curl.says(tb, "retry: ")
	run(tb, nil, "sh", "-c", `exec "$0" publisher.py "$1" <../../events/testdata/bot-events.json`, python, rds.URL())
	for _, record := range recorded {
		var want map[string]any
		if err := json.Unmarshal([]byte(record.Payload), &want); err != nil {
			tb.Fatal(err)
		}
		id, _ := want["id"].(string)
		curl.await(tb, "the event "+id, func() bool { return strings.Contains(curl.stdout.String(), id) })
		for _, text := range curl.stdout.lines() {
			data, ok := strings.CutPrefix(text, "data: ")
			if !ok || !strings.Contains(data, id) {
				continue
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(data), &got); err != nil {
				tb.Fatalf("%q: %v", data, err)
			}
			for _, field := range []string{"id", "type", "data", "channel", "user_id", "source"} {
				if !reflect.DeepEqual(got[field], want[field]) {
					tb.Errorf("%s of %s is %v, want %v", field, id, got[field], want[field])
				}
			}
			if offset, _ := got["offset"].(string); offset == "" {
				tb.Errorf("%s has no offset: %s", id, data)
			}
		}
	}
	if n := strings.Count(curl.stdout.String(), "data: "); n != len(recorded) {
		tb.Errorf("%d events came, %d were published:\n%s", n, len(recorded), curl.stdout)
	}
}
