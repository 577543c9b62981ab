//go:build prometheus

package prometheus

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// server is a running Prometheus.
type server struct {
	*program
	url string
}

var serving = regexp.MustCompile(`msg="Listening on" address=(\S+)`)

// startServer starts a Prometheus with the files of deploy/, and returns once it is ready. It reads the hub at this address
// every second, and what the rules call minutes are seconds to it.
func startServer(tb testing.TB, metrics string) *server {
	tb.Helper()
	dir := tb.TempDir()
	config := replaced(tb, read(tb, configFile), "15s", "1s", "127.0.0.1:8091", metrics)
	write(tb, filepath.Join(dir, "prometheus.yml"), config)
	write(tb, filepath.Join(dir, filepath.Base(rulesFile)), hurried(tb, read(tb, rulesFile)))
	s := &server{program: start(tb, nil, "prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0")}
	s.await("Prometheus listens", func() bool {
		if found := serving.FindStringSubmatch(s.said.String()); found != nil {
			s.url = "http://" + found[1]
		}
		return s.url != ""
	})
	s.await("Prometheus is ready", func() bool { status, _ := get(tb, s.url+"/-/ready"); return status == http.StatusOK })
	return s
}

var (
	waits = regexp.MustCompile(`for: \d+m\n`)
	spans = regexp.MustCompile(`\[\d+[mh]\]`)
)

// hurried makes rules wait for 3 s and look back for 15 s.
func hurried(tb testing.TB, rules string) string {
	tb.Helper()
	if !waits.MatchString(rules) || !spans.MatchString(rules) {
		tb.Fatal("the rules wait for nothing")
	}
	return spans.ReplaceAllString(waits.ReplaceAllString(rules, "for: 3s\n"), "[15s]")
}

// sample is one value of a query's answer, as a vector has it.
type sample struct {
	Metric map[string]string
	Value  float64
}

// UnmarshalJSON reads it as Prometheus writes it: [time, "value"].
func (s *sample) UnmarshalJSON(raw []byte) (err error) {
	var wire struct {
		Metric map[string]string
		Value  [2]any
	}
	if err := json.Unmarshal(raw, &wire); err != nil {
		return err
	}
	text, _ := wire.Value[1].(string)
	s.Metric = wire.Metric
	s.Value, err = strconv.ParseFloat(text, 64)
	return err
}

// ask calls the API and reads the answer's data; what Prometheus refuses ends the test.
func (s *server) ask(path string, query url.Values, data any) {
	s.tb.Helper()
	status, body := get(s.tb, s.url+"/api/v1/"+path+"?"+query.Encode())
	var answer struct {
		Status, Error string
		Warnings      []string
		Data          json.RawMessage
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Status != "success" || len(answer.Warnings) > 0 {
		s.tb.Fatalf("%s %v: status %d, %v\n%s", path, query, status, err, body)
	}
	if err := json.Unmarshal(answer.Data, data); err != nil {
		s.tb.Fatalf("%s %v: %v\n%s", path, query, err, body)
	}
}

// query evaluates an expression now.
func (s *server) query(expr string) []sample {
	s.tb.Helper()
	var data struct{ Result []sample }
	s.ask("query", url.Values{"query": {expr}}, &data)
	return data.Result
}

// value evaluates an expression to one number.
func (s *server) value(expr string) (value float64, ok bool) {
	s.tb.Helper()
	if got := s.query(expr); len(got) == 1 {
		return got[0].Value, true
	}
	return 0, false
}

// alerts returns the state, pending or firing, of each alert that is on.
func (s *server) alerts() map[string]string {
	s.tb.Helper()
	var data struct {
		Alerts []struct {
			Labels, Annotations map[string]string
			State               string
		}
	}
	s.ask("alerts", nil, &data)
	states := make(map[string]string)
	for _, alert := range data.Alerts {
		name := alert.Labels["alertname"]
		if states[name] != "firing" {
			states[name] = alert.State
		}
		for what, text := range alert.Annotations {
			if strings.Contains(text, "<no value>") || strings.Contains(text, "<error") || strings.Contains(text, "{{") {
				s.tb.Errorf("the %s of %s says %q", what, name, text)
			}
		}
	}
	return states
}

func read(tb testing.TB, name string) string {
	tb.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

func write(tb testing.TB, name, text string) {
	tb.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// replaced replaces pairs of old and new, each of which must be there.
func replaced(tb testing.TB, text string, pairs ...string) string {
	tb.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			tb.Fatalf("there is no %q in\n%s", pairs[i], text)
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}
