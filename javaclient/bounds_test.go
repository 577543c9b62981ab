package javaclient_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/javaclient"
)

// list writes a JSON array of n elements, into which their number goes where %d is.
func list(n int, element string) string {
	var text strings.Builder
	text.WriteByte('[')
	for i := range n {
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteString(strings.ReplaceAll(element, "%d", fmt.Sprint(i+1)))
	}
	text.WriteByte(']')
	return text.String()
}

// decoders are those of the answers.
func decoders() map[string]func([]byte) error {
	return map[string]func([]byte) error{
		"result": func(body []byte) error {
			_, err := javaclient.DecodeResult(body)
			return err
		},
		"algorithms": func(body []byte) error {
			_, err := javaclient.DecodeAlgorithms(body)
			return err
		},
		"bracket": func(body []byte) error {
			_, err := javaclient.DecodeBracket(body)
			return err
		},
		"teams": func(body []byte) error {
			_, err := javaclient.DecodeTeams(body)
			return err
		},
	}
}

func TestListsAreBounded(t *testing.T) {
	t.Parallel()
	const people = 10_000
	for name, test := range map[string]struct {
		decoder string
		body    func(n int) string
		most    int
	}{
		"pairs": {"result", func(n int) string {
			return `{"pairs":` + list(n, `{"employee1":{"id":%d},"employee2":{"id":1%d000000}}`) + `}`
		}, people},
		"invalid pairs":       {"result", func(n int) string { return `{"pairs":` + list(n, `{"valid":false}`) + `}` }, people},
		"unmatched":           {"result", func(n int) string { return `{"pairs":[],"unmatched":` + list(n, `{"id":%d}`) + `}` }, people},
		"unmatched employees": {"result", func(n int) string { return `{"pairs":[],"unmatched_employees":` + list(n, "%d") + `}` }, people},
		"algorithms":          {"algorithms", func(n int) string { return `{"algorithms":` + list(n, `"%d"`) + `}` }, 100},
		"matches":             {"bracket", func(n int) string { return `{"matches":` + list(n, "{}") + `}` }, 100_000},
		"teams":               {"teams", func(n int) string { return `{"teams":` + list(n, `{"members":[%d]}`) + `}` }, people},
		"members": {"teams", func(n int) string {
			return `{"teams":[{"members":` + list(n-1, "%d") + `},{"members":[1000000]}]}`
		}, people},
		"members of a team": {"teams", func(n int) string { return `{"teams":[{"members":` + list(n, "%d") + `}]}` }, people},
	} {
		decode := decoders()[test.decoder]
		if err := decode([]byte(test.body(test.most))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := decode([]byte(test.body(test.most + 1))); err == nil || codeOf(t, err) != javaclient.CodeTooLarge {
			t.Errorf("%s, one more: %v", name, err)
		}
	}
}

// What is decoded of a large answer takes no more memory than a few times the answer. This measures what
// all of the process does, so that it must not be parallel.
func TestLargeAnswersTakeLittleMemory(t *testing.T) {
	const (
		size = 4 << 20
		most = 8 * size
	)
	for _, test := range []struct{ decoder, start, part, end string }{
		{"result", `{"pairs":[`, `{}`, `]}`},
		{"result", `{"pairs":[`, `{"valid":false}`, `]}`},
		{"result", `{"pairs":[`, `{"employee1":{},"employee2":{}}`, `]}`},
		{"result", `{"pairs":[`, `{"employee1":{"id":"1"},"employee2":{"username":true}}`, `]}`},
		{"result", `{"pairs":[],"unmatched":[`, `{}`, `]}`},
		{"result", `{"pairs":[],"unmatched_employees":[`, `1`, `]}`},
		{"algorithms", `{"algorithms":[`, `""`, `]}`},
		{"bracket", `{"matches":[`, `{}`, `]}`},
		{"teams", `{"teams":[`, `{}`, `]}`},
		{"teams", `{"teams":[`, `{"members":[1]}`, `]}`},
		{"teams", `{"teams":[{"members":[`, `1`, `]}]}`},
	} {
		body := []byte(test.start + strings.Repeat(test.part+",", size/(len(test.part)+1)) + test.part + test.end)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := decoders()[test.decoder](body)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; err == nil || took > most {
			t.Errorf("%s%s…: %d MiB, %v", test.start, test.part, took>>20, err)
		}
	}
}
