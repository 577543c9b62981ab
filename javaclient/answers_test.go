package javaclient_test

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/connectbot-hub/connecthub/javaclient"
)

// The shapes of answers with pairs, and what becomes of them. An empty result is CodeMalformed.
const (
	nested = `{"pairs":[{"employee1":{"id":101,"displayName":"Ann","department":7,"activeEmployee":true,"position_level":3},` +
		`"employee2":{"id":104,"preferences":{"with_newcomers":true},"excluded_partners":[5]},"valid":true}],` +
		`"unmatched":[{"id":7,"displayName":"Bob"}],"algorithm":"SIMPLE_RANDOM",` +
		`"meta":{"unmatched_count":1,"total_pairs":1},"totalPairs":1,"successRate":0.66,"matchedCount":2,"successful":true}`
	nestedResult = `{"RequestID":"","Algorithm":"SIMPLE_RANDOM","Pairs":[{"employee1_id":101,"employee2_id":104,` +
		`"employee1":{"id":101,"displayName":"Ann","department":"7","activeEmployee":true,"position_level":3},` +
		`"employee2":{"id":104,"excluded_partners":[5],"preferences":{"with_newcomers":true}}}],` +
		`"Unmatched":[7],"Meta":{"unmatched_count":1,"total_pairs":1}}`
	response = `{"requestId":"r-1","status":"ok","algorithm":"INTEREST_BASED","pairs":[{"employee1":{"id":1},"employee2":{"id":2}}],` +
		`"meta":{}}`
	responseResult = `{"RequestID":"r-1","Algorithm":"INTEREST_BASED","Pairs":[{"employee1_id":1,"employee2_id":2,` +
		`"employee1":{"id":1},"employee2":{"id":2}}],"Unmatched":null,"Meta":{}}`
	flat       = `{"transaction_id":"t","pairs":[{"employee1_id":1,"employee2_id":"2"}],"unmatched_employees":[3,"4",{"id":5},3]}`
	flatResult = `{"RequestID":"t","Algorithm":"","Pairs":[{"employee1_id":1,"employee2_id":2}],"Unmatched":[3,4,5],"Meta":null}`
	invalid    = `{"request_id":9,"unmatched":[],"pairs":[{"employee1_id":1,"employee2_id":2,"valid":false},` +
		`{"employee1":{"id":2},"employee2":{"id":3},"valid":true},{"employee1":{"id":4},"employee2":null,"valid":false},` +
		`{"employee1_id":4,"employee2_id":0,"valid":false},{"employee1":{"id":5},"employee2":{"id":5},"valid":false}]}`
	invalidResult = `{"RequestID":"9","Algorithm":"","Pairs":[{"employee1_id":2,"employee2_id":3,` +
		`"employee1":{"id":2},"employee2":{"id":3}}],"Unmatched":[1,4,5],"Meta":null}`
	both = `{"pairs":[{"employee1_id":1,"employee2_id":2,"employee1":{"id":1},"employee2":{"id":"2"}}],` +
		`"unmatched":[{"id":3}],"unmatched_employees":[3,4],"meta":[]}`
	bothResult = `{"RequestID":"","Algorithm":"","Pairs":[{"employee1_id":1,"employee2_id":2,` +
		`"employee1":{"id":1},"employee2":{"id":2}}],"Unmatched":[3,4],"Meta":null}`
	// Members of an employee that are of another type are left out, and those beside them are not.
	odd = `{"pairs":[{"employee1":{"id":"1","displayName":"Ann","username":true,"department":{"id":3},"position":[],"grade":1,` +
		`"interests":["go",2],"activeEmployee":"yes","excluded_partners":[{}],"preferences":{"with_newcomers":"true"},"x":[1]},` +
		`"employee2":{"id":2,"interests":["tea"],"activeEmployee":false,"grade":"LEAD","excluded_partners":["3",4],` +
		`"preferences":{"with_newcomers":true}}}]}`
	oddResult = `{"RequestID":"","Algorithm":"","Pairs":[{"employee1_id":1,"employee2_id":2,` +
		`"employee1":{"id":1,"displayName":"Ann","x":[1]},"employee2":{"id":2,"interests":["tea"],"activeEmployee":false,` +
		`"grade":"LEAD","excluded_partners":[3,4],"preferences":{"with_newcomers":true}}}],"Unmatched":null,"Meta":null}`
	brokenText = "{\"pairs\":[{\"employee1\":{\"id\":1,\"displayName\":\"\xff\",\"x\":\"a\xffb\"},\"employee2\":{\"id\":2}}]," +
		`"meta":{"x":"\ud800"}}`
	brokenTextResult = `{"RequestID":"","Algorithm":"","Pairs":[{"employee1_id":1,"employee2_id":2,` +
		`"employee1":{"id":1,"displayName":"�","x":"a�b"},"employee2":{"id":2}}],"Unmatched":null,"Meta":{"x":"�"}}`
	nobody       = `{"pairs":[],"unmatched":[]}`
	nobodyResult = `{"RequestID":"","Algorithm":"","Pairs":[],"Unmatched":[],"Meta":null}`
	untoldResult = `{"RequestID":"","Algorithm":"","Pairs":[],"Unmatched":null,"Meta":null}`
)

// results are the shapes by what they show.
func results() map[string][2]string {
	return map[string][2]string{
		"MatchingResult":            {nested, nestedResult},
		"MatchingResponse":          {response, responseResult},
		"flat":                      {flat, flatResult},
		"invalid pairs":             {invalid, invalidResult},
		"flat and nested":           {both, bothResult},
		"odd members":               {odd, oddResult},
		"no pairs":                  {nobody, nobodyResult},
		"only invalid, no list":     {`{"pairs":[{"employee1_id":1,"employee2_id":2,"valid":false}]}`, untoldResult},
		"null and unknown members":  {`{"pairs":[],"unmatched":null,"meta":null,"status":null,"x":[{}]}`, untoldResult},
		"broken text":               {"{\"pairs\":[],\"x\":\"\xff\"}", untoldResult},
		"broken text that is kept":  {brokenText, brokenTextResult},
		"no pairs member":           {`{"unmatched":[]}`, ""},
		"null pairs":                {`{"pairs":null}`, ""},
		"pairs of something else":   {`{"pairs":[1]}`, ""},
		"pair of nobody":            {`{"pairs":[{}]}`, ""},
		"pair of one":               {`{"pairs":[{"employee1_id":1}]}`, ""},
		"pair with oneself":         {`{"pairs":[{"employee1_id":1,"employee2":{"id":1}}]}`, ""},
		"twice":                     {`{"pairs":[{"employee1_id":1,"employee2_id":2},{"employee1_id":2,"employee2_id":3}]}`, ""},
		"contradiction":             {`{"pairs":[{"employee1_id":1,"employee1":{"id":3},"employee2_id":2}]}`, ""},
		"paired and unmatched":      {`{"pairs":[{"employee1_id":1,"employee2_id":2}],"unmatched":[2]}`, ""},
		"id 0":                      {`{"pairs":[{"employee1_id":0,"employee2_id":2}]}`, ""},
		"id below 0":                {`{"pairs":[{"employee1":{"id":-1},"employee2_id":2}]}`, ""},
		"id with a fraction":        {`{"pairs":[{"employee1_id":1.5,"employee2_id":2}]}`, ""},
		"id too large":              {`{"pairs":[{"employee1_id":9223372036854775808,"employee2_id":2}]}`, ""},
		"id in words":               {`{"pairs":[{"employee1_id":"one","employee2_id":2}]}`, ""},
		"empty id":                  {`{"pairs":[{"employee1_id":"","employee2_id":2}]}`, ""},
		"true as id":                {`{"pairs":[{"employee1_id":true,"employee2_id":2}]}`, ""},
		"no id":                     {`{"pairs":[{"employee1":{},"employee2_id":2}]}`, ""},
		"unmatched 0":               {`{"pairs":[],"unmatched_employees":[0]}`, ""},
		"unmatched without id":      {`{"pairs":[],"unmatched":[{}]}`, ""},
		"unmatched null":            {`{"pairs":[],"unmatched":[null]}`, ""},
		"list":                      {`[]`, ""},
		"null":                      {`null`, ""},
		"string":                    {`"ok"`, ""},
		"empty":                     {``, ""},
		"blank":                     {" \n", ""},
		"HTML":                      {`<!DOCTYPE html><html></html>`, ""},
		"cut":                       {nested[:100], ""},
		"more than one value":       {nobody + nobody, ""},
		"named twice":               {`{"pairs":[],"pairs":[]}`, ""},
		"very deep":                 {`{"pairs":[],"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, ""},
		"employee of another type":  {`{"pairs":[{"employee1":1,"employee2_id":2}]}`, ""},
		"odd member and no id":      {`{"pairs":[{"employee1":{"username":true},"employee2_id":2}]}`, ""},
		"odd member and odd id":     {`{"pairs":[{"employee1":{"id":[],"username":true},"employee2_id":2}]}`, ""},
		"wrong type of unmatched":   {`{"pairs":[],"unmatched":7}`, ""},
		"valid is no truth value":   {`{"pairs":[{"employee1_id":1,"employee2_id":2,"valid":"no"}]}`, ""},
		"error in a shape of pairs": {`{"status":"ERROR","pairs":[]}`, "server_error"},
		"data source":               {`{"status":"error","error":"data_api_failed"}`, "data_source_failed"},
		"nobody there":              {`{"requestId":"1","status":"error","error":"no_employees_from_api","pairs":[]}`, "no_employees"},
		"unknown error":             {`{"status":"error","error":"oops"}`, "server_error"},
		"shouted status":            {`{"status":"OK","pairs":[]}`, untoldResult},
		"empty status":              {`{"status":"","pairs":[]}`, untoldResult},
		"unknown status":            {`{"status":"failed","pairs":[]}`, "server_error"},
		"the framework's error":     {`{"status":500,"error":"Internal Server Error","path":"/x"}`, "server_error"},
		"data source, ok":           {`{"status":"ok","error":"data_api_failed","pairs":[]}`, "data_source_failed"},
		"data source, degraded":     {`{"status":"degraded","error":"data_api_failed","pairs":[]}`, "data_source_failed"},
		"data source, no status":    {`{"error":"data_api_failed"}`, "data_source_failed"},
		"nobody there, no status":   {`{"error":"no_employees_from_api","pairs":[]}`, "no_employees"},
		"unknown error, no status":  {`{"error":"oops"}`, ""},
	}
}

func TestResults(t *testing.T) {
	t.Parallel()
	for name, test := range results() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, answer(200, test[0]))
			client := newClient(t, patient(server.URL))
			for call, ask := range map[string]func() (javaclient.Result, error){
				"simple":   func() (javaclient.Result, error) { return client.Simple(t.Context(), javaclient.Call{}, nil) },
				"interest": func() (javaclient.Result, error) { return client.Interest(t.Context(), javaclient.Call{}, "go", nil) },
				"secret coffee": func() (javaclient.Result, error) {
					return client.SecretCoffee(t.Context(), javaclient.Call{}, javaclient.SecretCoffee{})
				},
				"from api": func() (javaclient.Result, error) {
					return client.FromAPI(t.Context(), javaclient.Call{}, javaclient.FromAPI{})
				},
			} {
				result, err := ask()
				if !strings.HasPrefix(test[1], "{") {
					want := javaclient.CodeMalformed
					if test[1] != "" {
						want = javaclient.Code(test[1])
					}
					failed := failureOf(t, err)
					if failed.Code != want && failed.Code != javaclient.CodeBreakerOpen || !reflect.DeepEqual(result, javaclient.Result{}) {
						t.Errorf("%s: %+v, %+v", call, result, err)
					}
					continue
				}
				if err != nil {
					t.Fatalf("%s: %v", call, err)
				}
				got, err := json.Marshal(result, json.FormatNilSliceAsNull(true))
				if err != nil || string(got) != test[1] {
					t.Errorf("%s: %v\n%s, not\n%s", call, err, got, test[1])
				}
			}
		})
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	const framework = `{"timestamp":"2026-01-01","status":400,"error":"Bad Request","message":"employees: must  not\nbe\tempty","path":"/x"}`
	const page = `<html><head><title>502 Bad Gateway</title></head></html>`
	const degraded = `{"status":"DEGRADED"}`
	simple := func(ctx context.Context, c *javaclient.Client) error { return post(ctx, c) }
	coffee := func(ctx context.Context, c *javaclient.Client) error {
		_, err := c.SecretCoffee(ctx, javaclient.Call{}, javaclient.SecretCoffee{})
		return err
	}
	fromAPI := func(ctx context.Context, c *javaclient.Client) error {
		_, err := c.FromAPI(ctx, javaclient.Call{}, javaclient.FromAPI{})
		return err
	}
	health := func(ctx context.Context, c *javaclient.Client) error { return c.Health(ctx) }
	actuator := func(ctx context.Context, c *javaclient.Client) error { return c.Actuator(ctx) }
	for name, test := range map[string]struct {
		call    func(context.Context, *javaclient.Client) error
		status  int
		body    string
		code    javaclient.Code
		message string
	}{
		"the framework's message": {simple, 400, framework, javaclient.CodeRefused, "employees: must not be empty"},
		"the framework's error":   {simple, 415, `{"error":"Unsupported Media Type"}`, javaclient.CodeRefused, "Unsupported Media Type"},
		"blank message":           {simple, 400, `{"error":"Bad Request","message":" "}`, javaclient.CodeRefused, "Bad Request"},
		"plain text":              {simple, 400, " no such\x00 interest \n", javaclient.CodeRefused, "no such interest"},
		"HTML":                    {simple, 400, " \n" + page, javaclient.CodeRefused, ""},
		"other JSON":              {simple, 400, `["x"]`, javaclient.CodeRefused, ""},
		"cut JSON":                {simple, 400, `{"message":"x`, javaclient.CodeRefused, ""},
		"message of another type": {simple, 400, `{"message":{"a":1}}`, javaclient.CodeRefused, ""},
		"empty body":              {coffee, 400, ``, javaclient.CodeRefused, ""},
		"long message": {
			simple, 422, `{"message":"` + strings.Repeat("я", 400) + `"}`, javaclient.CodeRefused, strings.Repeat("я", 250),
		},
		"cut at a rune": {
			simple, 422, `{"message":"x` + strings.Repeat("я", 40000) + `"}`, javaclient.CodeRefused, "x" + strings.Repeat("я", 249),
		},
		"not authorized":     {simple, 401, framework, javaclient.CodeUnauthorized, "employees: must not be empty"},
		"forbidden":          {simple, 403, "", javaclient.CodeUnauthorized, ""},
		"not found":          {simple, 404, `{"error":"Not Found"}`, javaclient.CodeNotFound, "Not Found"},
		"too many":           {simple, 429, "", javaclient.CodeOverloaded, ""},
		"redirect":           {simple, 302, "", javaclient.CodeRedirected, ""},
		"moved":              {simple, 308, page, javaclient.CodeRedirected, ""},
		"not modified":       {simple, 304, "", javaclient.CodeRedirected, ""},
		"204":                {simple, 204, "", javaclient.CodeMalformed, ""},
		"empty 200":          {simple, 200, "", javaclient.CodeMalformed, ""},
		"500":                {simple, 500, framework, javaclient.CodeServerError, ""},
		"502 elsewhere":      {simple, 502, "", javaclient.CodeServerError, ""},
		"502 coffee":         {coffee, 502, "", javaclient.CodeDataSource, ""},
		"502 coffee, proxy":  {coffee, 502, page, javaclient.CodeServerError, ""},
		"502 from api":       {fromAPI, 502, "", javaclient.CodeDataSource, ""},
		"502 from api, HTML": {fromAPI, 502, page, javaclient.CodeServerError, ""},
		"500 from api":       {fromAPI, 500, "", javaclient.CodeServerError, ""},
		"500 that tells":     {fromAPI, 500, `{"status":"error","error":"data_api_failed"}`, javaclient.CodeDataSource, ""},
		"502 nobody":         {fromAPI, 502, `{"status":"error","error":"no_employees_from_api"}`, javaclient.CodeNoEmployees, ""},
		"201":                {simple, 201, somePair, "", ""},
		"error with words":   {simple, 200, `{"status":"error","error":"x","message":"no\u0007 luck"}`, javaclient.CodeServerError, "no luck"},
		"other status":       {simple, 200, `{"status":"degraded","message":"not today"}`, javaclient.CodeServerError, "not today"},
		"404 nobody":         {fromAPI, 404, `{"error":"no_employees_from_api"}`, javaclient.CodeNoEmployees, "no_employees_from_api"},
		"error with a name":  {simple, 200, `{"status":"error","error":"bad_algorithm"}`, javaclient.CodeServerError, "bad_algorithm"},

		"health":            {health, 200, `{"status":"OK"}`, "", ""},
		"health degraded":   {health, 503, degraded, javaclient.CodeDataSource, ""},
		"degraded in a 200": {health, 200, degraded, javaclient.CodeDataSource, ""},
		"health down":       {health, 503, `{"status":"DOWN"}`, javaclient.CodeServerError, ""},
		"health, proxy":     {health, 503, page, javaclient.CodeServerError, ""},
		"health, no body":   {health, 200, "", javaclient.CodeMalformed, ""},
		"health, HTML":      {health, 200, page, javaclient.CodeMalformed, ""},
		"health not found":  {health, 404, "", javaclient.CodeNotFound, ""},
		"actuator":          {actuator, 200, `{"status":"UP","components":{}}`, "", ""},
		"actuator down":     {actuator, 503, `{"status":"DOWN"}`, javaclient.CodeServerError, ""},
		"down in a 200":     {actuator, 200, `{"status":"DOWN"}`, javaclient.CodeServerError, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				answer(test.status, test.body)(w, r)
			})
			err := test.call(t.Context(), newClient(t, patient(server.URL)))
			failed := failureOf(t, err)
			if failed.Code != test.code || failed.Message != test.message || err != nil && failed.Status != test.status {
				t.Errorf("%+v", failed)
			}
			if server.hits.Load() != 1 || !utf8.ValidString(failed.Message) || failed.NotSent {
				t.Errorf("%d requests, %q", server.hits.Load(), failed.Message)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for value, want := range map[string][2]time.Duration{
		"":                    {0, 0},
		"7":                   {7 * time.Second, 7 * time.Second},
		"-7":                  {0, 0},
		"1.5":                 {0, 0},
		"soon":                {0, 0},
		"99999":               {time.Hour, time.Hour},
		"9999999999999999999": {0, 0},
		time.Now().Add(time.Minute).UTC().Format(http.TimeFormat):  {time.Second, time.Minute},
		time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat): {0, 0},
	} {
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", value)
			w.WriteHeader(http.StatusTooManyRequests)
		})
		err := failureOf(t, post(t.Context(), newClient(t, patient(server.URL))))
		if err.Code != javaclient.CodeOverloaded || err.RetryAfter < want[0] || err.RetryAfter > want[1] {
			t.Errorf("%q: %+v", value, err)
		}
	}
}

func TestOtherAnswers(t *testing.T) {
	t.Parallel()
	ask := map[string]func(*javaclient.Client) (any, error){
		"algorithms": func(c *javaclient.Client) (any, error) { return c.Algorithms(t.Context(), javaclient.Call{}) },
		"tournament": func(c *javaclient.Client) (any, error) {
			return c.Tournament(t.Context(), javaclient.Call{}, javaclient.Tournament{})
		},
		"teams": func(c *javaclient.Client) (any, error) {
			return c.Teams(t.Context(), javaclient.Call{}, javaclient.Teams{})
		},
	}
	names := func(n int) string { return `{"algorithms":["X"` + strings.Repeat(`,"X"`, n-1) + `]}` }
	for _, test := range []struct{ call, body, want string }{
		{"algorithms", algorithms, `["SIMPLE_RANDOM","INTEREST_BASED"]`},
		{"algorithms", `{"algorithms":[]}`, `[]`},
		{"algorithms", names(100), `["X"` + strings.Repeat(`,"X"`, 99) + `]`},
		{"algorithms", `{"algorithms":[""]}`, ""},
		{"algorithms", `{"algorithms":["` + strings.Repeat("x", 129) + `"]}`, ""},
		{"algorithms", `{"algorithms":[1]}`, ""},
		{"algorithms", `{"total":0}`, ""},
		{"algorithms", `["X"]`, ""},
		{"tournament", `{"matches":[{"a":1,"b":[{}]},{}]}`, `{"matches":[{"a":1,"b":[{}]},{}]}`},
		{"tournament", `{"matches":[]}`, `{"matches":[]}`},
		{"tournament", `{"matches":[1]}`, ""},
		{"tournament", `{"matches":[null]}`, ""},
		{"tournament", `{}`, ""},
		{"teams", `{"teams":[{"members":[1,"2"],"name":"A"},{"members":[3]}],"x":1}`, `[{"members":[1,2],"name":"A"},{"members":[3]}]`},
		{"teams", `{"teams":[]}`, `[]`},
		{"teams", `{"teams":[{"members":[1]},{"members":[1]}]}`, ""},
		{"teams", `{"teams":[{"members":[0]}]}`, ""},
		{"teams", `{"teams":[{"members":[]}]}`, ""},
		{"teams", `{"teams":[{}]}`, ""},
		{"teams", `{"teams":[null]}`, ""},
		{"teams", `{"teams":[{"members":null}]}`, ""},
		{"teams", `{"teams":null}`, ""},
		{"teams", `{"teams":{}}`, ""},
		{"teams", `{}`, ""},
	} {
		server := serve(t, answer(200, test.body))
		cfg := patient(server.URL)
		got, err := ask[test.call](newClient(t, cfg))
		if test.want == "" {
			if codeOf(t, err) != javaclient.CodeMalformed {
				t.Errorf("%s, %.60s: %+v, %v", test.call, test.body, got, err)
			}
			continue
		}
		text, failed := json.Marshal(got)
		if err != nil || failed != nil || string(text) != test.want {
			t.Errorf("%s, %.60s: %v, %v\n%s", test.call, test.body, err, failed, text)
		}
	}
}
