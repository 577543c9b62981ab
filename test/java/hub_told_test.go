//go:build java

package java

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// The channels of ConnectBot in Redis.
const (
	matchingChannel = "connectbot:service:matching"
	userChannel     = "connectbot:user:"
)

// told is an event as the bot reads it.
type told struct {
	ID, Type, Channel, Source, Offset string
	CorrelationID                     string `json:"correlation_id"`
	UserID                            *int64 `json:"user_id"`
	Data                              outcome
}

// outcome is the data of matching.completed, of both kinds, and of matching.failed; and in part what is known of a request.
type outcome struct {
	RequestID  string `json:"request_id"`
	Type       string
	Source     string
	Degraded   bool
	Reason     string
	Algorithm  string
	TotalPairs int   `json:"total_pairs"`
	PartnerID  int64 `json:"partner_id"`
	Pairs      []idPair
	Unmatched  []int64 `json:"unmatched_employees"`
	Code       string
}

type idPair struct {
	One int64 `json:"employee1_id"`
	Two int64 `json:"employee2_id"`
}

// everybody returns who is in the pairs or without a partner, in order.
func (o *outcome) everybody() []int64 {
	ids := slices.Clone(o.Unmatched)
	for _, pair := range o.Pairs {
		ids = append(ids, pair.One, pair.Two)
	}
	slices.Sort(ids)
	return ids
}

// known is what the hub knows of a request.
type known struct {
	State    string
	Attempts int
	Result   *outcome
	Error    *struct{ Code string }
}

// known asks for a request, which must be there.
func (h *hub) known(id string) (k known) {
	h.tb.Helper()
	h.get("/v1/matching/requests/"+id, &k)
	return k
}

// ends waits until requests have ended, and checks how. Nobody is told anything of them after that.
func (h *hub) ends(state string, ids ...string) {
	h.tb.Helper()
	for _, id := range ids {
		var k known
		redistest.Eventually(h.tb, 2*soon, "the request "+id+" is "+state, func() bool {
			got := whole(h.tb, h.url+"/v1/matching/requests/"+id, "")
			if got.status == http.StatusNotFound {
				return false // The event is on its way.
			}
			k = known{}
			if err := json.Unmarshal([]byte(got.body), &k); err != nil || got.status != http.StatusOK {
				h.tb.Fatalf("%d, %v\n%s", got.status, err, got.body)
			}
			return k.State == "completed" || k.State == "failed"
		})
		if k.State != state {
			h.tb.Fatalf("the request %s is %s: %+v", id, k.State, k.Error)
		}
	}
}

// logged returns the events of a type in a channel's log.
func (h *hub) logged(channel, kind string) []told {
	h.tb.Helper()
	var page struct{ Events []json.RawMessage }
	h.get("/v1/events?limit=1000&channel="+channel, &page)
	var all []told
	for _, text := range page.Events {
		var e told
		if err := json.Unmarshal(text, &struct{ Type *string }{&e.Type}); err != nil {
			h.tb.Fatal(err)
		}
		if e.Type != kind {
			continue // Its data may be anything.
		}
		if err := json.Unmarshal(text, &e); err != nil {
			h.tb.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// toldOnce waits until requests, each with its people, are completed, and checks what the logs hold: one event for the service
// and one for each who has a partner, which agree. It returns what the service is told of each request.
func (h *hub) toldOnce(asked map[string][]int64) map[string]told {
	h.tb.Helper()
	h.ends("completed", slices.Collect(maps.Keys(asked))...)
	all := map[string]told{}
	for _, e := range h.logged("service:matching", "matching.completed") {
		id := e.Data.RequestID
		if _, ok := asked[id]; !ok {
			h.tb.Errorf("the service is told of %s, which nobody asked for", id)
		}
		if _, twice := all[id]; twice {
			h.tb.Errorf("the service is told of %s twice", id)
		}
		all[id] = e
	}
	partners := map[string]map[int64]int64{}
	for id := range asked {
		partners[id] = map[int64]int64{}
	}
	for id, users := range asked {
		e, ok := all[id]
		if !ok || !slices.Equal(e.Data.everybody(), users) || e.Data.TotalPairs != len(e.Data.Pairs) {
			h.tb.Errorf("of %s, with %v, the service is told %+v", id, users, e)
		}
		for _, pair := range e.Data.Pairs {
			partners[id][pair.One], partners[id][pair.Two] = pair.Two, pair.One
		}
		if k := h.known(id); k.Result == nil || !slices.Equal(k.Result.Pairs, e.Data.Pairs) || k.Result.Source != e.Data.Source {
			h.tb.Errorf("of %s is known %+v, and told %+v", id, k.Result, e.Data)
		}
	}
	for _, user := range slices.Compact(slices.Sorted(flat(asked))) {
		heard := map[string]int64{}
		for _, e := range h.logged("user:"+strconv.FormatInt(user, 10), "matching.completed") {
			if _, twice := heard[e.Data.RequestID]; twice {
				h.tb.Errorf("user %d is told of %s twice", user, e.Data.RequestID)
			}
			heard[e.Data.RequestID] = e.Data.PartnerID
			if service := all[e.Data.RequestID]; e.UserID == nil || *e.UserID != user || e.Data.Source != service.Data.Source ||
				e.Data.Degraded != service.Data.Degraded || e.CorrelationID != service.CorrelationID || e.Source != "connecthub" {
				h.tb.Errorf("user %d is told %+v, and the service %+v", user, e, service)
			}
		}
		want := map[string]int64{}
		for id := range partners {
			if partner, ok := partners[id][user]; ok {
				want[id] = partner
			}
		}
		if !maps.Equal(heard, want) {
			h.tb.Errorf("user %d is told of the partners %v, want %v", user, heard, want)
		}
	}
	return all
}

// flat yields all people of all requests.
func flat(asked map[string][]int64) func(func(int64) bool) {
	return func(yield func(int64) bool) {
		for _, users := range asked {
			for _, user := range users {
				if !yield(user) {
					return
				}
			}
		}
	}
}

// listener notes what is published on Redis, as the bot hears it.
type listener struct {
	mu  sync.Mutex
	all []told
}

// listen hears everything that is published on the channels of ConnectBot from now on, until the test ends.
func listen(tb testing.TB, rds *redistest.Server) *listener {
	tb.Helper()
	ps := rds.Client().PSubscribe(tb.Context(), "connectbot:*")
	if _, err := ps.Receive(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	l, ended := &listener{}, make(chan struct{})
	go func() {
		defer close(ended)
		for {
			msg, err := ps.ReceiveMessage(tb.Context())
			if err != nil {
				return // It is closed.
			}
			l.note(tb, msg)
		}
	}()
	tb.Cleanup(func() {
		_ = ps.Close()
		<-ended
	})
	return l
}

func (l *listener) note(tb testing.TB, msg *redis.Message) {
	tb.Helper()
	var e told
	if err := json.Unmarshal([]byte(msg.Payload), &e); err != nil || e.Channel != msg.Channel {
		tb.Errorf("on %s is said %s: %v", msg.Channel, msg.Payload, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, e)
}

// heard returns the events of a type that were heard on a channel.
func (l *listener) heard(channel, kind string) []told {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.all), func(e told) bool { return e.Channel != channel || e.Type != kind })
}

// count returns how many events matching.completed were heard on all channels.
func (l *listener) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, e := range l.all {
		if e.Type == "matching.completed" {
			n++
		}
	}
	return n
}

// publish publishes as the bot does.
func publish(tb testing.TB, rdb *redis.Client, payload string) {
	tb.Helper()
	if err := rdb.Publish(tb.Context(), matchingChannel, payload).Err(); err != nil {
		tb.Fatal(err)
	}
}
