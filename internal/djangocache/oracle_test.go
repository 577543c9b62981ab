//go:build clients

package djangocache_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"os/exec"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/djangocache"
)

// TestPythonOracle has Python read what this package wrote, and the other way round.
func TestPythonOracle(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatalf("install python3 (Debian: apt-get install python3): %v", err)
	}
	t.Run("Python writes", func(t *testing.T) {
		t.Parallel()
		pythonWrites(t, python)
	})
	t.Run("Python reads", func(t *testing.T) {
		t.Parallel()
		pythonReads(t, python)
	})
}

func oracle(tb testing.TB, python, what, stdin string) []string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), python, "testdata/oracle.py", what)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("oracle.py %s: %v\n%s", what, err, &stderr)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

func pythonWrites(tb testing.TB, python string) {
	tb.Helper()
	lines := oracle(tb, python, "dump", "")
	if len(lines) < 1000 {
		tb.Fatalf("only %d values", len(lines))
	}
	for _, line := range lines {
		var written struct{ Raw, Want string }
		if err := json.Unmarshal([]byte(line), &written); err != nil {
			tb.Fatal(err)
		}
		raw := unhex(tb, written.Raw)
		v, err := djangocache.Decode(raw)
		if got := describe(v); err != nil || got != written.Want {
			tb.Errorf("%.200s: %.200s, %v, want %.200s", written.Raw, got, err, written.Want)
		}
		s, err := djangocache.DecodeString(raw)
		if want, ok := v.(string); ok != (err == nil) || ok && want != string(s) {
			tb.Errorf("%.200s: DecodeString: %.200q, %v", written.Raw, s, err)
		}
	}
	tb.Logf("%d values", len(lines))
}

func pythonReads(tb testing.TB, python string) {
	tb.Helper()
	values := []any{
		math.NaN(), math.Inf(1), strings.Repeat("я", 40000), strings.Repeat("a", 11), make([]byte, 70000),
		int64(math.MinInt64), int64(math.MaxInt64), int64(math.MinInt32), int64(math.MaxInt32) + 1,
		new(big.Int).Lsh(big.NewInt(-1), 2048), new(big.Int).Lsh(big.NewInt(1), 2039),
		list{tuple{}, dict{}, list{}},
	}
	for seed := range 300 {
		values = append(values, genValue(3).Example(seed))
	}
	var input strings.Builder
	var want []string
	add := func(v any, raw []byte, err error) {
		tb.Helper()
		if err != nil {
			tb.Fatalf("%#v: %v", v, err)
		}
		fmt.Fprintf(&input, "%x\n", raw)
		want = append(want, describe(v))
	}
	for _, v := range values {
		raw, err := djangocache.Encode(v)
		add(v, raw, err)
		raw, err = djangocache.Pickle(v)
		add(v, raw, err)
		if s, ok := v.(string); ok {
			raw, err = djangocache.EncodeString(s)
			add(v, raw, err)
			raw, err = djangocache.AppendString(nil, s)
			add(v, raw, err)
		}
	}
	got := oracle(tb, python, "load", input.String())
	if len(got) != len(want) {
		tb.Fatalf("Python read %d values of %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			tb.Errorf("Python reads %.200s, want %.200s", got[i], want[i])
		}
	}
	tb.Logf("%d values", len(want))
}

// describe writes a value as oracle.py does.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "N"
	case bool:
		if v {
			return "T"
		}
		return "F"
	case int64, *big.Int:
		return fmt.Sprintf("i%x", v)
	case float64:
		return fmt.Sprintf("f%016x", math.Float64bits(v))
	case string:
		return "s" + hex.EncodeToString([]byte(v))
	case []byte:
		return "b" + hex.EncodeToString(v)
	case djangocache.List:
		return "[" + describeAll(v) + "]"
	case djangocache.Tuple:
		return "(" + describeAll(v) + ")"
	case djangocache.Dict:
		var items []string
		for _, pair := range v {
			items = append(items, describe(pair.Key)+":"+describe(pair.Value))
		}
		return "{" + strings.Join(items, " ") + "}"
	}
	return fmt.Sprintf("a Go %T", v)
}

func describeAll(items []any) string {
	var all []string
	for _, item := range items {
		all = append(all, describe(item))
	}
	return strings.Join(all, " ")
}
