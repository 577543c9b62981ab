package api_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/api"
)

// pages reads page after page from the beginning, and returns the data of all events and how many each page held.
func (h *hub) pages(tb testing.TB, query, cursorName string) (data []string, sizes []int) {
	tb.Helper()
	cursor := ""
	for {
		p := h.list(tb, query+cursor)
		for _, event := range p.Events {
			data = append(data, string(event.Data))
		}
		sizes = append(sizes, len(p.Events))
		if p.NextCursor == nil {
			return data, sizes
		}
		if last := p.Events[len(p.Events)-1].Offset; *p.NextCursor != last {
			tb.Errorf("next_cursor is %s after %s", *p.NextCursor, last)
		}
		cursor = "&" + cursorName + "=" + url.QueryEscape(*p.NextCursor)
	}
}

func TestListPages(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	var up []string
	var receipts []api.Receipt
	for n := range 25 {
		receipts = append(receipts, h.publish(t, "user:123", fmt.Sprintf(`{"type":"tick","data":%d}`, n)))
		up = append(up, fmt.Sprint(n))
	}
	h.publish(t, "user:1234", `{"type":"tick","data":"another user's"}`)
	down := slices.Clone(up)
	slices.Reverse(down)
	for _, tt := range []struct {
		query string
		want  []string
		sizes []int
	}{
		{"channel=user:123&limit=10", up, []int{10, 10, 5}},
		{"channel=user:123&limit=10&reverse=false", up, []int{10, 10, 5}},
		{"channel=user:123&limit=10&reverse=true", down, []int{10, 10, 5}},
		{"channel=user:123&limit=5", up, []int{5, 5, 5, 5, 5}},
		{"channel=user:123&limit=5&reverse=true", down, []int{5, 5, 5, 5, 5}},
		{"channel=user:123&limit=24", up, []int{24, 1}},
		{"channel=user:123&limit=1000", up, []int{25}},
		{"channel=user:123", up, []int{25}},
	} {
		for _, name := range []string{"after", "cursor"} {
			if data, sizes := h.pages(t, tt.query, name); !slices.Equal(data, tt.want) || !slices.Equal(sizes, tt.sizes) {
				t.Errorf("%s, paged by %s: %v in pages of %v", tt.query, name, data, sizes)
			}
		}
	}
	if p := h.list(t, "channel=user:123&after=&cursor=&limit=&reverse="); len(p.Events) != 25 || string(p.Events[0].Data) != "0" {
		t.Errorf("with empty parameters: %+v", p)
	}

	// What is new: nothing, then one.
	newest := receipts[24].Offset
	if p := h.list(t, "channel=user:123&after="+newest); len(p.Events) != 0 || p.NextCursor != nil {
		t.Errorf("after the newest: %+v", p)
	}
	h.publish(t, "user:123", `{"type":"tick","data":25}`)
	if p := h.list(t, "channel=user:123&after="+newest); len(p.Events) != 1 || string(p.Events[0].Data) != "25" {
		t.Errorf("after the newest but one: %+v", p)
	}
	if p := h.list(t, "channel=user:123&reverse=true&after="+receipts[0].Offset); len(p.Events) != 0 {
		t.Errorf("before the oldest: %+v", p)
	}
	// Milliseconds alone are the end of the millisecond.
	ms, _, _ := strings.Cut(receipts[10].Offset, "-")
	for _, event := range h.list(t, "channel=user:123&after="+ms).Events {
		if millis(t, event.Offset) <= millis(t, receipts[10].Offset) {
			t.Errorf("after %s came %s", ms, event.Offset)
		}
	}
	if p := h.list(t, "channel=user:123&reverse=true&limit=1&after="+ms); millis(t, p.Events[0].Offset) != millis(t, receipts[10].Offset) {
		t.Errorf("before the end of %s came %s", ms, p.Events[0].Offset)
	}
}

// TestListAfterTrimmed asks for what follows an event that the log no longer holds.
func TestListAfterTrimmed(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	var receipts []api.Receipt
	for n := range 10 {
		receipts = append(receipts, h.publish(t, "global", fmt.Sprintf(`{"type":"tick","data":%d}`, n)))
	}
	h.trim(t, "global", 4)
	for _, query := range []string{"", "&after=" + receipts[2].Offset, "&after=1-0", "&after=0-0", "&after=" + receipts[5].Offset} {
		data, _ := h.pages(t, "channel=global&limit=1000"+query, "cursor")
		if !slices.Equal(data, []string{"6", "7", "8", "9"}) {
			t.Errorf("%s: %v", query, data)
		}
	}
	if p := h.list(t, "channel=global&reverse=true&after="+receipts[2].Offset); len(p.Events) != 0 {
		t.Errorf("before a trimmed event: %+v", p)
	}
	if p := h.list(t, "channel=global&after=18446744073709551615-18446744073709551615"); len(p.Events) != 0 {
		t.Errorf("after the last offset there can be: %+v", p)
	}
}

func TestListEmpty(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.publish(t, "user:1", `{"type":"tick"}`)
	for _, query := range []string{"channel=user:2", "channel=service:unknown&reverse=true", "channel=global&after=1-0&limit=1"} {
		a := h.get(t, "/v1/events?"+query)
		a.is(t, 200, "application/json")
		if got := strings.TrimSpace(string(a.body)); got != `{"events":[],"next_cursor":null}` {
			t.Errorf("%s: %s", query, got)
		}
	}
}

func TestListBadParameters(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for _, tt := range []struct {
		query  string
		fields []string
	}{
		{"", []string{"channel"}},
		{"channel=", []string{"channel"}},
		{"channel=user", []string{"channel"}},
		{"channel=user:0", []string{"channel"}},
		{"channel=user:01", []string{"channel"}},
		{"channel=user:*", []string{"channel"}},
		{"channel=everybody", []string{"channel"}},
		{"channel=connectbot:user:1", []string{"channel"}},
		{"channel=global:x", []string{"channel"}},
		{"channel=service:", []string{"channel"}},
		{"channel=global&channel=user:1", []string{"channel"}},
		{"channel=global&limit=0", []string{"limit"}},
		{"channel=global&limit=-1", []string{"limit"}},
		{"channel=global&limit=1001", []string{"limit"}},
		{"channel=global&limit=ten", []string{"limit"}},
		{"channel=global&limit=1.5", []string{"limit"}},
		{"channel=global&limit=99999999999999999999", []string{"limit"}},
		{"channel=global&limit=1&limit=2", []string{"limit"}},
		{"channel=global&reverse=yes", []string{"reverse"}},
		{"channel=global&reverse=1", []string{"reverse"}},
		{"channel=global&after=soon", []string{"after"}},
		{"channel=global&after=1-", []string{"after"}},
		{"channel=global&after=-1", []string{"after"}},
		{"channel=global&after=1-2-3", []string{"after"}},
		{"channel=global&after=18446744073709551616-0", []string{"after"}},
		{"channel=global&cursor=soon", []string{"cursor"}},
		{"channel=global&after=1-0&cursor=1-0", []string{"cursor"}},
		{"channel=x&after=x&cursor=x&limit=x&reverse=x", []string{"channel", "after", "cursor", "cursor", "limit", "reverse"}},
	} {
		h.get(t, "/v1/events?"+tt.query).problem(t, 422, "invalid_fields", tt.fields...)
	}
}

// TestListTypes checks that the types of ConnectBot's documents are all there, each with its channels.
func TestListTypes(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	a := h.get(t, "/v1/events/types")
	a.is(t, 200, "application/json")
	list := decode[api.EventTypeList](t, a.body)
	if list.NextCursor != nil {
		t.Errorf("next_cursor is %q", *list.NextCursor)
	}
	got := make(map[string]string)
	for _, typ := range list.Types {
		channels := make([]string, len(typ.Channels))
		for i, ch := range typ.Channels {
			channels[i] = string(ch)
		}
		if len(typ.Description) < 10 || !strings.HasSuffix(typ.Description, ".") {
			t.Errorf("%s is described as %q", typ.Type, typ.Description)
		}
		if _, twice := got[typ.Type]; twice {
			t.Errorf("%s is listed twice", typ.Type)
		}
		got[typ.Type] = strings.Join(channels, " ")
	}
	want := map[string]string{
		"user.created": "global", "user.updated": "user global", "user.deleted": "global", "user.login": "user", "user.logout": "user",
		"activity.created": "user", "activity.updated": "user", "activity.cancelled": "user", "activity.completed": "user",
		"matching.request": "service", "matching.completed": "service user", "matching.failed": "service",
		"system.cache_cleared": "user global", "system.service_started": "global", "system.service_stopped": "global", "system.health_changed": "global",
		"notification.sent": "user", "notification.delivered": "user", "notification.read": "user",
		"system.maintenance": "global", "user.menu_opened": "user", "user.cache_cleared": "user",
	}
	for typ, channels := range want {
		if got[typ] != channels {
			t.Errorf("%s goes to %q, want %q", typ, got[typ], channels)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d types, want %d: %v", len(got), len(want), got)
	}
}
