package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/internal/redisconn"
)

// matchingPeople is how many take part in a request that is measured.
const matchingPeople = 20

// employees is the body of such a request, with what is known of people in a company.
func employees() []byte {
	all := make([]map[string]any, matchingPeople)
	for i := range all {
		all[i] = map[string]any{
			"id": i + 1, "displayName": fmt.Sprint("Employee Number ", i+1), "department": strconv.Itoa(i % 4), "position": "Engineer",
			"username": fmt.Sprint("employee", i+1), "interests": []string{"coffee", "chess"}, "activeEmployee": true, "grade": "MIDDLE",
		}
	}
	body, _ := json.Marshal(all) // It is our own.
	return body
}

// serveJava answers as the Java service does, always with the same pairs, after /{delay}.
func serveJava(e *echo.Echo) {
	var all []json.RawMessage
	_ = json.Unmarshal(employees(), &all) // It is our own.
	type pair struct {
		Employee1 json.RawMessage `json:"employee1"`
		Employee2 json.RawMessage `json:"employee2"`
		Valid     bool            `json:"valid"`
	}
	pairs := make([]pair, 0, len(all)/2)
	for i := 0; i+1 < len(all); i += 2 {
		pairs = append(pairs, pair{all[i], all[i+1], true})
	}
	answer, _ := json.Marshal(map[string]any{ // It is our own.
		"pairs": pairs, "unmatched": []int{}, "algorithm": "SIMPLE_RANDOM", "totalPairs": len(pairs), "successful": true,
	})
	e.POST("/java/:delay/api/matching/coffee/simple", func(c echo.Context) error {
		delay, err := time.ParseDuration(c.Param("delay"))
		if err != nil {
			return err
		}
		if _, err := new(bytes.Buffer).ReadFrom(c.Request().Body); err != nil {
			return err
		}
		time.Sleep(delay)
		return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, answer)
	})
}

// matching compares a call of the Java service through the hub with one of resty itself, and measures what a job adds.
func matching(ctx context.Context, s *site, o *options) error {
	java, err := s.role(ctx, "java")
	if err != nil {
		return err
	}
	defer java.stop()
	fmt.Printf("## Matching, %d connections, %d people\n\n| the service takes | p50 direct, with resty | p50 through the hub | ratio | direct/s | through the hub/s | CPU of the hub |\n|---:|---:|---:|---:|---:|---:|---:|\n",
		o.connections, matchingPeople)
	for _, delay := range []time.Duration{0, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond} {
		if err := forwarding(ctx, s, o, java, delay); err != nil {
			return err
		}
	}
	fmt.Println()
	return jobs(ctx, s, o, java)
}

// forwarding measures one line of that table.
func forwarding(ctx context.Context, s *site, o *options, java *process, delay time.Duration) error {
	base := "http://" + java.addr + "/java/" + delay.String()
	hub, err := s.hub(ctx, "--java-service-url", base)
	if err != nil {
		return err
	}
	defer hub.stop()
	var direct, through []sample
	var busy time.Duration
	requests := 0
	for round := range o.rounds + 1 {
		d, err := restyLoad(ctx, o, base+"/api/matching/coffee/simple")
		if err != nil {
			return err
		}
		before, err := hub.cpu()
		if err != nil {
			return err
		}
		h, err := restyLoad(ctx, o, "http://"+hub.addr+"/v1/matching/coffee/simple")
		if err != nil {
			return err
		}
		after, err := hub.cpu()
		if err != nil {
			return err
		}
		if round > 0 { // The first warms up.
			direct, through = append(direct, d), append(through, h)
			busy, requests = busy+after-before, requests+h.requests
		}
	}
	d, h := median(direct), median(through)
	fmt.Printf("| %v | %s | %s | %.2f | %.0f | %.0f | %d µs |\n", delay, short(d.p50), short(h.p50), float64(h.p50)/float64(d.p50),
		d.perSecond, h.perSecond, busy.Microseconds()/int64(max(requests, 1)))
	return nil
}

// restyLoad posts the employees on so many connections, one request after the other on each.
func restyLoad(ctx context.Context, o *options, url string) (sample, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: o.connections}
	defer transport.CloseIdleConnections()
	client := resty.NewWithClient(&http.Client{Transport: transport})
	body := employees()
	var mu sync.Mutex
	var all []time.Duration
	var failure error
	var workers sync.WaitGroup
	begin := time.Now()
	for range o.connections {
		workers.Go(func() {
			var took []time.Duration
			var err error
			for time.Since(begin) < o.length && err == nil {
				start := time.Now()
				var answer struct{ Pairs []json.RawMessage }
				var res *resty.Response
				res, err = client.R().SetContext(ctx).SetHeader("Content-Type", "application/json").SetBody(body).SetResult(&answer).Post(url)
				if err == nil && len(answer.Pairs) != matchingPeople/2 {
					err = fmt.Errorf("the answer was %s", res.Status())
				}
				took = append(took, time.Since(start))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			if err != nil {
				failure = err
			}
		})
	}
	workers.Wait()
	return sample{
		requests: len(all), perSecond: float64(len(all)) / time.Since(begin).Seconds(), p50: quantile(all, 0.50), p99: quantile(all, 0.99),
	}, failure
}

// jobs measures the way from an event matching.request to the events that answer it, one request after the other.
func jobs(ctx context.Context, s *site, o *options, java *process) error {
	const delay = 20 * time.Millisecond
	hub, err := s.hub(ctx, "--java-service-url", "http://"+java.addr+"/java/"+delay.String())
	if err != nil {
		return err
	}
	defer hub.stop()
	rdb, err := redisconn.Open(s.redisURL)
	if err != nil {
		return err
	}
	defer func() { _ = rdb.Close() }() // It fails only when closed twice.
	heard := rdb.Subscribe(ctx, "connectbot:service:matching", "connectbot:user:"+strconv.Itoa(matchingPeople))
	defer func() { _ = heard.Close() }() // The same.
	users := make([]string, matchingPeople)
	for i := range users {
		users[i] = strconv.Itoa(i + 1)
	}
	body := []byte(`{"type":"matching.request","data":{"users":[` + strings.Join(users, ",") + `],"type":"coffee"}}`)
	var service, user []time.Duration
	const warmUp = 20
	for n := range o.rounds*100 + warmUp {
		start := time.Now()
		res, err := post(ctx, "http://"+hub.addr+"/v1/events/services/matching", body)
		if err != nil {
			return err
		}
		if res != http.StatusCreated {
			return fmt.Errorf("publishing was answered with %d", res)
		}
		for told := 0; told < 2; {
			msg, err := heard.ReceiveMessage(ctx)
			if err != nil {
				return err
			}
			if !strings.Contains(msg.Payload, `"matching.completed"`) {
				continue
			}
			told++
			switch took := time.Since(start) - delay; {
			case n < warmUp:
			case strings.HasSuffix(msg.Channel, ":matching"):
				service = append(service, took)
			default:
				user = append(user, took)
			}
		}
	}
	fmt.Printf("A job of %d people, from the POST of its event to the events that answer it, beyond the %v that the service takes: "+
		"for the service p50 %s, p99 %s; for a user p50 %s, p99 %s (%d jobs, one after the other).\n\n",
		matchingPeople, delay, short(quantile(service, 0.50)), short(quantile(service, 0.99)),
		short(quantile(user, 0.50)), short(quantile(user, 0.99)), len(service))
	return nil
}

// post posts JSON and returns the status.
func post(ctx context.Context, url string, body []byte) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }() // It was only read.
	_, err = new(bytes.Buffer).ReadFrom(res.Body)
	return res.StatusCode, err
}
