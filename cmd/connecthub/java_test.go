package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
)

// java stands for the Java service.
type java struct {
	*httptest.Server
	// health is the status of its own health, 0 for 200; vague makes that one of another form, failing makes everything else
	// answer 500, and hanging not at all.
	health                  atomic.Int32
	vague, failing, hanging atomic.Bool

	mu sync.Mutex
	// calls are the paths that were asked for, but for the health, and shown what came as Authorization with the last one.
	calls []string
	shown string
}

func newJava(tb testing.TB) *java {
	tb.Helper()
	j := &java{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/matching/health", func(w http.ResponseWriter, _ *http.Request) {
		status, text := http.StatusOK, `{"status":"OK"}`
		if code := int(j.health.Load()); code != 0 {
			status, text = code, `{"status":"DEGRADED"}`
		}
		if j.vague.Load() {
			text = `{"healthy":true}`
		}
		answerJava(w, status, text)
	})
	mux.HandleFunc("GET /api/matching/algorithms", j.answers(func(w http.ResponseWriter, _ []byte) {
		answerJava(w, http.StatusOK, `{"algorithms":["SIMPLE_RANDOM","INTEREST_BASED","CROSS_DEPARTMENT"],"total":3}`)
	}))
	mux.HandleFunc("POST /api/matching/coffee/simple", j.answers(func(w http.ResponseWriter, body []byte) {
		var people []json.RawMessage
		if err := json.Unmarshal(body, &people); err != nil {
			answerJava(w, http.StatusBadRequest, `{"status":400}`)
			return
		}
		type pair struct {
			One   json.RawMessage `json:"employee1"`
			Two   json.RawMessage `json:"employee2"`
			Valid bool            `json:"valid"`
		}
		result := struct {
			Pairs     []pair            `json:"pairs"`
			Unmatched []json.RawMessage `json:"unmatched"`
			Algorithm string            `json:"algorithm"`
		}{Algorithm: "SIMPLE_RANDOM", Pairs: []pair{}, Unmatched: []json.RawMessage{}}
		for ; len(people) > 1; people = people[2:] {
			result.Pairs = append(result.Pairs, pair{people[0], people[1], true})
		}
		result.Unmatched = append(result.Unmatched, people...)
		text, err := json.Marshal(result)
		if err != nil {
			tb.Error(err)
		}
		answerJava(w, http.StatusOK, string(text))
	}))
	j.Server = httptest.NewServer(mux)
	tb.Cleanup(j.Close)
	return j
}

// answers notes a call and answers it, unless the service fails.
func (j *java) answers(answer func(w http.ResponseWriter, body []byte)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		j.mu.Lock()
		j.calls, j.shown = append(j.calls, r.URL.Path), r.Header.Get("Authorization")
		j.mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if j.hanging.Load() {
			<-r.Context().Done()
			return
		}
		if err != nil || j.failing.Load() {
			answerJava(w, http.StatusInternalServerError, `{"status":500,"error":"Internal Server Error"}`)
			return
		}
		answer(w, body)
	}
}

func answerJava(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// lastShown returns what came as Authorization with the last call.
func (j *java) lastShown() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.shown
}

// coffees counts the calls that ask for pairs.
func (j *java) coffees() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, call := range j.calls {
		if call == "/api/matching/coffee/simple" {
			n++
		}
	}
	return n
}
