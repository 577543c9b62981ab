package tempdata

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestMergePatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ target, patch, want string }{
		// RFC 7396, appendix A.
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},

		// Bytes and order.
		{
			`{"z":1.50,"\u0061":"\u0418","n":{"y":1E5,"x":[null]}}`, `{"n":{"w":2,"y":null},"b":0}`,
			`{"z":1.50,"\u0061":"\u0418","n":{"x":[null],"w":2},"b":0}`,
		},
		{`{"\u0061":1,"b":2}`, `{"a":3,"\u0062":null}`, `{"\u0061":3}`},
		{`{"\"":1}`, `{"\u0022":{"\\":2}}`, `{"\"":{"\\":2}}`},
		{`{"":1}`, `{"":{"":null,"a":[null,{"b":null}]}}`, `{"":{"a":[null,{"b":null}]}}`},
		{`{"a":1,"b":2,"c":3}`, `{"d":4,"c":null,"a":null,"b":null,"e":5}`, `{"d":4,"e":5}`},
		{`{"a":1,"b":2,"c":3}`, `{"c":30,"a":10}`, `{"a":10,"b":2,"c":30}`},
		{`{"a":{"b":1}}`, `{"a":{}}`, `{"a":{"b":1}}`},
		{`{"a":"{"}`, `{"b":"{"}`, `{"a":"{","b":"{"}`},
		{`7`, `{}`, `{}`},

		// Where there is nothing.
		{``, `{"a":{"b":null,"c":1}}`, `{"a":{"c":1}}`},
		{``, `{}`, `{}`},
		{``, `null`, `null`},
		{``, `[{"a":null}]`, `[{"a":null}]`},
	} {
		var target []byte
		if c.target != "" {
			target = []byte(c.target)
		}
		got, err := mergePatch(target, []byte(c.patch))
		if err != nil || string(got) != c.want {
			t.Errorf("%s patched with %s: %s, %v; want %s", c.target, c.patch, got, err, c.want)
		}
	}
}

func TestMergePatchRefuses(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":`, 64) + "[]" + strings.Repeat("}", 64)
	for _, patch := range []string{deep, ``, `{"a"`, `{"a":}`, `{"a":1,"a":2}`, `{"a":{"b":1}`, `x`} {
		if got, err := mergePatch([]byte(`{}`), []byte(patch)); !errors.Is(err, ErrMalformed) {
			t.Errorf("a patch of %q: %s, %v", patch, got, err)
		}
	}
	for _, target := range []string{``, `{"a"`, `{"a":}`, `{"a":1`, `{"b":`, `{"b":}`, `{"c":1,"c":1}`, `{"c":}`, `x`, deep} {
		if got, err := mergePatch([]byte(target), []byte(`{"b":{"d":1},"c":null}`)); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%q patched: %s, %v", target, got, err)
		}
		if got, err := mergePatch([]byte(target), []byte(`1`)); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%q patched with 1: %s, %v", target, got, err)
		}
	}
	// A depth that both have is no greater depth.
	deepest := strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64)
	if got, err := mergePatch([]byte(deepest), []byte(deepest)); err != nil || string(got) != deepest {
		t.Errorf("a patch of 64 levels: %.80s, %v", got, err)
	}
}

// reference is RFC 7396, section 2.
func reference(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	result := map[string]any{}
	if members, ok := target.(map[string]any); ok {
		for name, value := range members {
			result[name] = value
		}
	}
	for name, value := range changes {
		if value == nil {
			delete(result, name)
		} else {
			result[name] = reference(result[name], value)
		}
	}
	return result
}

// checkMergePatch holds the result, and laws that every result keeps, against the reference.
func checkMergePatch(target, patch []byte) error {
	read := func(data []byte) (value any) {
		if data != nil {
			dec := json.NewDecoder(bytes.NewReader(data))
			dec.UseNumber()
			if err := dec.Decode(&value); err != nil {
				panic(err)
			}
		}
		return value
	}
	targetBefore, patchBefore := bytes.Clone(target), bytes.Clone(patch)
	got, err := mergePatch(target, patch)
	if err != nil {
		return err
	}
	if !bytes.Equal(target, targetBefore) || !bytes.Equal(patch, patchBefore) {
		return errors.New("what it was given was changed")
	}
	if same, err := compact(got, len(target)+len(patch)); err != nil || !bytes.Equal(same, got) {
		return fmt.Errorf("%s is not compact: %w", got, err)
	}
	if want := reference(read(target), read(patch)); !reflect.DeepEqual(read(got), want) {
		return fmt.Errorf("became %s, want %v", got, want)
	}
	if again, err := mergePatch(got, patch); err != nil || !bytes.Equal(again, got) {
		return fmt.Errorf("applied twice it became %s, %w", again, err)
	}
	if len(target) > 0 && target[0] == '{' {
		if same, err := mergePatch(target, []byte("{}")); err != nil || !bytes.Equal(same, target) {
			return fmt.Errorf("with nothing to change %s became %s, %w", target, same, err)
		}
	}
	return nil
}

// values draws compact JSON with few names, so that they meet, and with more than one way to write them.
func values(depth int) *rapid.Generator[string] {
	plain := rapid.SampledFrom([]string{"null", "null", "true", "1", "1.0", "-0", `"И"`, `"\u0418"`, "[null]", `[{"a":null}]`, "{}"})
	if depth == 0 {
		return plain
	}
	object := rapid.Custom(func(t *rapid.T) string {
		var members []string
		for _, names := range [][]string{{`"a"`, `"\u0061"`}, {`"b"`}, {`"\""`, `"\u0022"`}, {`""`}} {
			if rapid.Bool().Draw(t, "has") {
				members = append(members, rapid.SampledFrom(names).Draw(t, "name")+":"+values(depth-1).Draw(t, "value"))
			}
		}
		return "{" + strings.Join(rapid.Permutation(members).Draw(t, "members"), ",") + "}"
	})
	return rapid.OneOf(object, object, plain)
}

func TestMergePatchIsTheReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var target []byte
		if rapid.IntRange(0, 9).Draw(t, "exists") > 0 {
			target = []byte(values(4).Draw(t, "target"))
		}
		if err := checkMergePatch(target, []byte(values(4).Draw(t, "patch"))); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzMergePatch(f *testing.F) {
	f.Add([]byte(`{"a":{"b":1.0,"c":[null]},"\u0061b":"{"}`), []byte(`{"a":{"b":null,"d":{"e":null}},"ab":2}`))
	f.Add([]byte(`[1]`), []byte(`{"a":{}}`))
	f.Add([]byte(`{"a":1`), []byte(`{"a":{"b":`))
	f.Add([]byte(``), []byte(`null`))
	f.Fuzz(func(t *testing.T, target, patch []byte) {
		_, _ = mergePatch(target, patch) // Whatever they are.
		var err error
		if target, err = compact(target, MaxValueSize); err != nil {
			target = nil
		}
		if patch, err = compact(patch, MaxValueSize); err != nil {
			return
		}
		if err := checkMergePatch(target, patch); err != nil {
			t.Fatal(err)
		}
	})
}
