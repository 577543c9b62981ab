package javaclient_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-resty/resty/v2"

	"github.com/connectbot-hub/connecthub/javaclient"
)

// benchPeople are as many employees as a small office has, and the answer that pairs them.
func benchPeople() (people []javaclient.Employee, answer string) {
	const n = 100
	active := true
	people = make([]javaclient.Employee, n)
	for i := range people {
		people[i] = javaclient.Employee{
			ID: int64(i + 1), DisplayName: "Some Body", Department: "7", Position: "engineer", Active: &active, Interests: []string{"go", "tea"},
		}
	}
	var pairs []string
	for i := 1; i <= n; i += 2 {
		pairs = append(pairs, fmt.Sprintf(`{"employee1":{"id":%d,"displayName":"Some Body","department":"7","activeEmployee":true},`+
			`"employee2":{"id":%d,"displayName":"Some Body","department":"8","activeEmployee":true},"valid":true}`, i, i+1))
	}
	return people, `{"pairs":[` + strings.Join(pairs, ",") + `],"unmatched":[],"algorithm":"SIMPLE_RANDOM","meta":{}}`
}

// conns is how many calls are under way at the same time.
const conns = 64

// BenchmarkCall compares a call by the client with the same by resty alone: encode, send, decode. Both are made in turns,
// so that what else the machine does is the same for both. It reports how long each takes at the median.
func BenchmarkCall(b *testing.B) {
	people, body := benchPeople()
	server := serve(b, answer(200, body))
	client := newClient(b, javaclient.Config{URL: server.URL})
	transport := &http.Transport{MaxIdleConns: conns, MaxIdleConnsPerHost: conns}
	b.Cleanup(transport.CloseIdleConnections)
	bare := resty.NewWithClient(&http.Client{Transport: transport, Timeout: 10 * time.Second})
	calls := [2]func() error{
		func() error {
			_, err := client.Simple(b.Context(), javaclient.Call{RequestID: "r"}, people)
			return err
		},
		func() error { return bareCall(bare, server.URL, people) },
	}
	for _, atOnce := range []int{1, conns} {
		b.Run(fmt.Sprintf("%d", atOnce), func(b *testing.B) {
			var mu sync.Mutex
			var took [2][]time.Duration
			var next atomic.Int64
			for b.Loop() {
				var callers sync.WaitGroup
				for range atOnce {
					callers.Go(func() {
						which := next.Add(1) / int64(atOnce) % 2
						start := time.Now()
						err := calls[which]()
						mu.Lock()
						defer mu.Unlock()
						took[which] = append(took[which], time.Since(start))
						if err != nil {
							b.Error(err)
						}
					})
				}
				callers.Wait()
			}
			for i, name := range []string{"client-p50-us", "resty-p50-us"} {
				if slices.Sort(took[i]); len(took[i]) > 0 {
					b.ReportMetric(float64(took[i][len(took[i])/2].Microseconds()), name)
				}
			}
		})
	}
}

func bareCall(client *resty.Client, url string, people []javaclient.Employee) error {
	request, err := json.Marshal(people)
	if err != nil {
		return err
	}
	resp, err := client.R().SetHeader("Content-Type", "application/json").SetBody(request).
		Post(url + "/api/matching/coffee/simple")
	if err != nil {
		return err
	}
	var result struct {
		Pairs     []javaclient.Pair     `json:"pairs"`
		Unmatched []javaclient.Employee `json:"unmatched"`
	}
	return json.Unmarshal(resp.Body(), &result)
}

func BenchmarkDecodeResult(b *testing.B) {
	_, body := benchPeople()
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := javaclient.DecodeResult([]byte(body)); err != nil {
			b.Fatal(err)
		}
	}
}

// While the breaker is open, a call costs the service nothing and the caller little.
func BenchmarkBreakerOpen(b *testing.B) {
	server := serve(b, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusInternalServerError)
	})
	client := newClient(b, javaclient.Config{URL: server.URL, OpenFor: time.Hour})
	for range 5 {
		_ = post(b.Context(), client)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := post(b.Context(), client); err == nil {
			b.Fatal("no error")
		}
	}
}
