package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/api"
)

// TestTempBatch sets and gets many values at once.
func TestTempBatch(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for base := range places {
		a := h.post(t, base+"/batch", `{"set":[{"key":"b","data":{"x": "<&>"}, "ttl":100},{"key":"a","data":null},{"ttl":1,"data":[1.50],"key":"c"}]}`)
		a.is(t, 200, "application/json")
		results := decode[api.TempResults](t, a.body).Results
		if len(results) != 3 || results[0].Key != "b" || results[1].Key != "a" || results[2].Key != "c" ||
			results[0].ExpiresIn != 100 || results[1].ExpiresIn != 1800 || results[2].ExpiresIn != 1 {
			t.Errorf("the results are %s", a.body)
		}
		h.get(t, base+"/b").json(t, 200, `{"x":"<&>"}`)
		h.post(t, base+"/c/touch", "")
		if tag := h.get(t, base+"/a").tag(t); tag != results[1].Etag {
			t.Errorf("the ETag of a is %s, and was told as %s", tag, results[1].Etag)
		}
		a = h.post(t, base+"/batch", `{"get":["none","b","a"]}`)
		a.is(t, 200, "application/json")
		values := decode[api.TempValues](t, a.body).Values
		if len(values) != 3 || values[0].Found || values[0].Key != "none" || values[0].Data != nil || values[0].Etag != "" ||
			!values[1].Found || string(values[1].Data) != `{"x":"<&>"}` || values[1].Etag != results[0].Etag || values[1].ExpiresIn == nil ||
			!values[2].Found || string(values[2].Data) != `null` {
			t.Errorf("the values are %s", a.body)
		}
	}
	var set, get strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&set, `,{"key":"k%d","data":%d}`, i, i)
		fmt.Fprintf(&get, `,"k%d"`, i)
	}
	if got := decode[api.TempResults](t, h.post(t, "/v1/temp/many/batch", `{"set":[`+set.String()[1:]+`]}`).body); len(got.Results) != 1000 {
		t.Errorf("%d results", len(got.Results))
	}
	for i, v := range decode[api.TempValues](t, h.post(t, "/v1/temp/many/batch", `{"get":[`+get.String()[1:]+`]}`).body).Values {
		if string(v.Data) != fmt.Sprint(i) {
			t.Errorf("k%d is %s", i, v.Data)
		}
	}
	h.delete(t, "/v1/temp/many").json(t, 200, `{"cleared":1000}`)
}
