package main

import (
	"net/http"
	"strings"
	"testing"
)

func TestCheckFindsMatchingThatDoesNotWork(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t).with("JAVA_SERVICE_URL", newJava(t).URL))
	for _, test := range []struct {
		name string
		// The fault is in the answers to requests whose path has this part.
		part string
		body replacement
		want string
	}{
		{"it lists none", "/algorithms", replacement{`"total":3`, `"total":4`}, "list the algorithms: 3 are listed, and the total is said to be 4"},
		{"it sends pages", "/algorithms", replacement{`{`, `<`}, "list the algorithms: what answers at http://127.0.0.1:"},
		{
			"it forgets somebody", "/simple",
			replacement{`"pairs":[{`, `"pairs":[],"x":[{`},
			"pair four people, so that nobody is forgotten: 4 of 4 people are forgotten",
		},
		{
			"it pairs somebody twice", "/simple",
			replacement{`"employee1_id":9223372036854775803`, `"employee1_id":9223372036854775801`},
			"somebody is named twice, or did not take part",
		},
		{
			"it pairs strangers", "/simple",
			replacement{`"unmatched_employees":[`, `"unmatched_employees":[5`},
			"somebody is named twice, or did not take part",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			env := hub.behind(t, nil, func(res *http.Response) {
				if strings.Contains(res.Request.URL.Path, test.part) {
					test.body.in(t, res)
				}
			})
			call(t, env, "check", "--component", "matching").want(t, 1, "FAIL  matching", test.want)
		})
	}
}

func TestCheckTellsThatTheHubMatches(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t))
	call(t, hub.client(), "check", "--component", "matching").want(t, 0,
		"(degraded: the Java service is away)", "(degraded: the Java service is away, the hub has matched them)")
	off := serve(t, onSharedRedis(t).with("MATCHING_FALLBACK", "off"))
	call(t, off.client(), "check", "--component", "matching").want(t, 1, "FAIL  matching", "503 matching_service_unavailable")
	// Nobody is told.
	hub.completed(t, "user:9223372036854775801", 0)
	hub.completed(t, "service:matching", 0)
}
