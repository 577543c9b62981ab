//go:build java

package java

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestAppAnswersFlat(t *testing.T) {
	s := serviceFor(t)
	s.set(switches{Flat: true})
	for path, body := range map[string]string{
		simplePath:                         `[{"id":1},{"id":2},{"id":3}]`,
		interestPath + "?interest=nothing": `[{"id":1},{"id":2},{"id":3}]`,
		secretPath:                         `{"employees":[{"id":1,"activeEmployee":true},{"id":2,"activeEmployee":true},{"id":3,"activeEmployee":true}]}`,
		fromAPIPath:                        `{"department_ids":[1]}`,
	} {
		var got struct {
			TransactionID string `json:"transaction_id"`
			Pairs         []struct {
				Employee1ID int64 `json:"employee1_id"`
				Employee2ID int64 `json:"employee2_id"`
			}
			Unmatched []int64 `json:"unmatched_employees"`
			Meta      appMeta
		}
		whole(t, s.url+path, body).decode(t, &got)
		ids := slices.Clone(got.Unmatched)
		for _, pair := range got.Pairs {
			ids = append(ids, pair.Employee1ID, pair.Employee2ID)
		}
		slices.Sort(ids)
		want := []int64{1, 2, 3}
		if path == fromAPIPath {
			want = []int64{3, 6, 9, 12}
		}
		if !slices.Equal(ids, want) || got.TransactionID == "" || len(got.Pairs) != got.Meta.TotalPairs {
			t.Errorf("%s says %+v", path, got)
		}
	}
}

func TestAppCounts(t *testing.T) {
	s := serviceFor(t)
	req, err := http.NewRequest(http.MethodPost, s.url+interestPath+"?interest=x", strings.NewReader(`[{"id":1}]`))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "X-Request-ID": "r-1", "Traceparent": "00-1-2-01", "Authorization": "Service x",
	} {
		req.Header.Set(name, value)
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got, want := s.calls().Paths[interestPath], (arrived{1, http.MethodPost, "r-1", "00-1-2-01", true}); got != want {
		t.Errorf("it tells %+v", got)
	}
	whole(t, s.url+interestPath, "[]")
	if got, want := s.calls().Paths[interestPath], (arrived{2, http.MethodPost, "", "", false}); got != want {
		t.Errorf("it tells %+v", got)
	}
	if got := s.calls(); got.Connections != 2 || got.MostAtOnce != 1 {
		t.Errorf("it tells %+v", got)
	}
	s.forget()
	if got := s.calls(); len(got.Paths) != 0 || got.Connections != 0 || got.MostAtOnce != 0 {
		t.Errorf("it has not forgotten %+v", got)
	}
}

func TestAppMeetsFaults(t *testing.T) {
	s := serviceFor(t)
	usual := whole(t, s.url+algorithmsPath, "").body
	half := usual[:len(usual)/2]
	for _, test := range []struct {
		fault  fault
		status int
		body   string
		err    error
	}{
		{fault{Answer: "EMPTY"}, 200, "", nil},
		{fault{Answer: "EMPTY", Status: 503}, 503, "", nil},
		{fault{Answer: "HTML", Status: 502}, 502, "<html><head><title>502</title></head><body><h1>502</h1></body></html>\n", nil},
		{fault{Answer: "REDIRECT", Status: 302, Location: "/elsewhere"}, 302, "", nil},
		{fault{Answer: "CUT"}, 200, half, io.ErrUnexpectedEOF},
		{fault{Answer: "MALFORMED"}, 200, half, nil},
		{fault{Answer: "LARGE", Mebibytes: 3}, 200, `{"filling":"` + strings.Repeat("x", 3<<20) + `"}`, nil},
	} {
		s.fail(algorithmsPath, test.fault)
		got, err := plain(t, s.url+algorithmsPath, "")
		if err != nil || got.status != test.status || got.body != test.body || !errors.Is(got.err, test.err) {
			t.Errorf("%+v: %v, %d %.100q %v", test.fault, err, got.status, got.body, got.err)
		}
		if location := got.header.Get("Location"); location != test.fault.Location {
			t.Errorf("%+v sends to %q", test.fault, location)
		}
	}
	s.fail(algorithmsPath, fault{Answer: "ERROR", Status: 500, Message: "it hurts", Times: 1})
	isFrameworkError(t, whole(t, s.url+algorithmsPath, ""), 500, "it hurts", algorithmsPath)
	if got := whole(t, s.url+algorithmsPath, ""); got.status != 200 || got.body != usual {
		t.Errorf("after the last time: %d %s", got.status, got.body)
	}
}

func TestAppIsLate(t *testing.T) {
	s := serviceFor(t)
	began := time.Now()
	s.late(algorithmsPath, 200*time.Millisecond)
	whole(t, s.url+algorithmsPath, "")
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("it was late by %v", took)
	}
	// A delay ends with the switch.
	s.late(algorithmsPath, time.Hour)
	ended := make(chan error)
	go func() {
		_, err := plain(t, s.url+algorithmsPath, "")
		ended <- err
	}()
	redistest.Eventually(t, soon, "the call arrives", func() bool { return s.calls().Paths[algorithmsPath].Count == 2 })
	s.set(switches{})
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAppCrashes(t *testing.T) {
	s := serviceFor(t)
	s.crash()
	if _, err := plain(t, s.url+algorithmsPath, ""); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the crashed service: %v", err)
	}
	s.restart()
	if got := whole(t, s.url+algorithmsPath, ""); got.status != 200 {
		t.Errorf("the restarted service: %d", got.status)
	}
}

func TestAppBehindAProxy(t *testing.T) {
	s := serviceFor(t)
	p := between(t, s)
	body := `[{"id":1},{"id":2}]`
	usual := whole(t, p.url+simplePath, body)
	for name, test := range map[string]struct {
		spoil   func()
		err     error // while asking
		bodyErr error // while reading
		arrives int
	}{
		"the request reset":     {func() { p.reset(requests) }, syscall.ECONNRESET, nil, 0},
		"the answer reset":      {func() { p.reset(answers) }, syscall.ECONNRESET, nil, 1},
		"the answer cut":        {func() { p.cut(answers, 150) }, nil, io.ErrUnexpectedEOF, 1},
		"late":                  {func() { p.late(answers, 50*time.Millisecond) }, nil, nil, 1},
		"the connection closed": {func() { p.cut(requests, 10) }, io.EOF, nil, 0},
		"nothing":               {func() {}, nil, nil, 1},
	} {
		s.forget()
		test.spoil()
		got, err := plain(t, p.url+simplePath, body)
		if !errors.Is(err, test.err) || !errors.Is(got.err, test.bodyErr) {
			t.Errorf("%s: %v, %v", name, err, got.err)
		}
		if whole := err == nil && got.err == nil; whole && (got.status != 200 || len(got.body) != len(usual.body)) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		p.heal()
		s.got(simplePath, test.arrives)
	}

	// A client that asked for the connection to be closed would see the service close it.
	client := &http.Client{Transport: &http.Transport{}, Timeout: 200 * time.Millisecond}
	for direction, arrives := range map[string]int{requests: 0, answers: 1} {
		s.forget()
		p.hang(direction)
		res, err := client.Post(p.url+simplePath, "application/json", strings.NewReader(body))
		if err == nil {
			_ = res.Body.Close()
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the %s hang: %v", direction, err)
		}
		p.heal()
		s.got(simplePath, arrives)
	}

	p.down()
	if _, err := plain(t, p.url+simplePath, body); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the proxy is down: %v", err)
	}
	p.up()
	if got := whole(t, p.url+simplePath, body); got.status != 200 {
		t.Errorf("the proxy is up: %d", got.status)
	}
}
