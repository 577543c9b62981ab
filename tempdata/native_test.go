package tempdata

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// The layout is what the Store needs.
var _ layout = (*native)(nil)

// written is when values are written, and readBack how that is read.
func written() time.Time {
	return time.Date(2026, 11, 21, 22, 11, 26, 325_925_999, time.FixedZone("MSK", 3*60*60))
}

func readBack() time.Time { return time.Date(2026, 11, 21, 19, 11, 26, 325_925_000, time.UTC) }

func newTestNative(tb testing.TB) *native {
	tb.Helper()
	n, err := newNative("hub")
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// draft is JSON as the bot keeps it, of about size bytes.
func draft(size int) []byte {
	words := strings.Fields(`встреча обед вслепую четверг шахматы теннис прогулка кофе люблю книги маркетинг отдел разработка
		привет коллеги можно завтра вечером утром переговорная этаж познакомиться новый проект обсудить музыка концерт
		фотография велосипед горы путешествия английский курсы кино настольные игры парк набережная собака кулинария`)
	names := strings.Fields("Анна Дмитрий Екатерина Илья Ольга Сергей Мария Артём Полина Роман Петренко Черных Савченко Мельник")
	pick := rand.New(rand.NewPCG(1, 2)).IntN
	var text bytes.Buffer
	text.WriteString(`{"step":"interests","user_id":123456789`)
	if size > 200 {
		text.WriteString(`,"items":[`)
		for i := 0; text.Len() < size-180; i++ {
			if i > 0 {
				text.WriteByte(',')
			}
			fmt.Fprintf(&text, `{"id":%d,"name":"%s %s","active":%t,"score":%d.%d,"note":"`, pick(1e6), names[pick(10)],
				names[10+pick(4)], pick(3) > 0, pick(5), pick(10))
			for range pick(8) {
				text.WriteString(words[pick(len(words))] + " ")
			}
			text.WriteString(`"}`)
		}
		text.WriteByte(']')
	}
	text.WriteString(`,"comment":"Анна, ☕️ в четверг в 12:30?"}`)
	return text.Bytes()
}

func TestNativeKeys(t *testing.T) {
	t.Parallel()
	n := newTestNative(t)
	for _, key := range []Key{
		{"activity_drafts", "draft_123"}, {"user_5", "conversation_state"}, {"a:b", "c:d.e-F"}, {strings.Repeat("n", 128), "7"},
	} {
		name := n.redisKey(key)
		if name != "hub:temp:"+key.Namespace+"/"+key.Name {
			t.Errorf("%v is under %s", key, name)
		}
		if back, ok := n.parse(name); !ok || back != key {
			t.Errorf("%s is read as %v, %v", name, back, ok)
		}
	}
	for _, name := range []string{
		"", "hub:temp:", "hub:temp:a", "hub:temp:/", "hub:temp:a/", "hub:temp:/a", "hub:temp:a/b/c", "hub:temp:a b/c", "hub:temp:a/ы",
		"hub2:temp:a/b", "hub:a/b", "a/b", "hub:temp:" + strings.Repeat("n", 129) + "/a",
	} {
		if key, ok := n.parse(name); ok {
			t.Errorf("%q is read as %v", name, key)
		}
	}
}

func TestNativeValues(t *testing.T) {
	t.Parallel()
	n := newTestNative(t)
	largest := []byte(`"` + strings.Repeat("ж", MaxValueSize/2-1) + `"`)
	for _, c := range []struct {
		data       []byte
		typ        string
		compressed bool
	}{
		{[]byte("1"), "int", false},
		{[]byte("null"), "NoneType", false},
		{[]byte(`"z"`), "str", false},
		{draft(900), "dict", false},
		{[]byte("[" + strings.Repeat("1,", 511) + "1]"), "list", true},
		{[]byte("[" + strings.Repeat("1,", 510) + "1]"), "list", false}, // One byte too few.
		{draft(64 << 10), "dict", true},
		{noise(8 << 10), "str", false},
		{noise(MaxValueSize), "str", false},
		{largest, "str", true},
	} {
		raw, err := n.encode(Key{"a", "b"}, c.data, written())
		if err != nil {
			t.Fatal(err)
		}
		if head := "1795288286325925."; string(raw[:len(head)]) != head {
			t.Errorf("it begins with %s, not %s", raw[:headSize], head)
		}
		if compressed := raw[headSize-1] == 'z'; compressed != c.compressed || compressed && len(raw)-headSize > len(c.data)*9/10 {
			t.Errorf("%.40s of %d bytes takes %d, compressed: %v", c.data, len(c.data), len(raw), compressed)
		}
		got, err := n.decode(Key{"a", "b"}, string(raw))
		if err != nil || !bytes.Equal(got.data, c.data) || got.typ != c.typ || got.at != readBack() {
			t.Errorf("%.40s came back as %.40s, %s of %v, %v", c.data, got.data, got.typ, got.at, err)
		}
	}
}

// noise is a string of size bytes, with its quotes, that does not compress by a tenth.
func noise(size int) []byte {
	text := bytes.Repeat([]byte(`"`), size)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range text[1 : size-1] {
		text[i+1] = ' ' + byte(random.Uint64()%95)
		if text[i+1] == '"' || text[i+1] == '\\' {
			text[i+1] = 'x'
		}
	}
	return text
}

func TestNativeNeverWritesTheSameTwice(t *testing.T) {
	t.Parallel()
	n := newTestNative(t)
	seen := map[string]bool{}
	for range 1000 {
		raw, err := n.encode(Key{"a", "b"}, []byte("1"), written())
		if err != nil || seen[string(raw)] {
			t.Fatalf("%s again, %v", raw, err)
		}
		seen[string(raw)] = true
	}
}

func TestNativeRefusesToWrite(t *testing.T) {
	t.Parallel()
	n := newTestNative(t)
	if _, err := n.encode(Key{}, bytes.Repeat([]byte("1"), MaxValueSize+1), written()); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a value that cannot be read back: %v", err)
	}
	for _, at := range []time.Time{{}, time.UnixMicro(-1), time.UnixMicro(1e16)} {
		if raw, err := n.encode(Key{}, []byte("1"), at); err == nil {
			t.Errorf("written at %v: %s", at, raw)
		}
	}
	for _, at := range []time.Time{time.UnixMicro(0).UTC(), time.UnixMicro(1e16 - 1).UTC()} {
		raw, err := n.encode(Key{}, []byte("1"), at)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := n.decode(Key{}, string(raw)); err != nil || got.at != at {
			t.Errorf("written at %v, read as of %v, %v", at, got.at, err)
		}
	}
}

const foreignHead = "1795288286325925.abcdefghij"

// compressed is data as another program may compress it, without its size if it is large.
func compressed(tb testing.TB, data []byte) string {
	tb.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(MaxValueSize))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.String()
}

func TestNativeReadsWhatOthersWrote(t *testing.T) {
	t.Parallel()
	n := newTestNative(t)
	for raw, want := range map[string]string{
		foreignHead + ` {"a":1}`:                                                    `{"a":1}`,
		foreignHead + "  [1, \"И\"]\n":                                              `[1,"И"]`,
		foreignHead + "z" + compressed(t, []byte(` { "a" : [ ] } `)):                `{"a":[]}`,
		foreignHead + "z" + compressed(t, draft(MaxValueSize-1000)):                 string(draft(MaxValueSize - 1000)),
		foreignHead + "z" + compressed(t, []byte("1")) + compressed(t, []byte("2")): "12",
	} {
		got, err := n.decode(Key{"a", "b"}, raw)
		if err != nil || string(got.data) != want || got.typ != typeOf([]byte(want)) || got.at != readBack() {
			t.Errorf("%.80q: %.80s, %s of %v, %v", raw, got.data, got.typ, got.at, err)
		}
	}
}

func TestNativeRefusesToRead(t *testing.T) {
	t.Parallel()
	n := newTestNative(t)
	bomb := bytes.Repeat([]byte(" "), 64<<20)
	large := draft(MaxValueSize + 200)
	raws := []string{
		"", " ", "1", `{"a":1}`, "1795288286325925", "1795288286325925.", foreignHead, foreignHead + " ", foreignHead + "z",
		foreignHead + `{"a":1}`, foreignHead + "y1", foreignHead + "\n1", "+795288286325925.abcdefghij 1", "179528828632592_.abcdefghij 1",
		" 795288286325925.abcdefghij 1", "-000000000000001.abcdefghij 1", "1795288286325925,abcdefghij 1", "1795288286325925.abcdefghi  1",
		"1795288286325925.ABCDEFGHIJ 1", "1795288286325925.abcdefghi\xff 1", "17952882863259251.abcdefghij 1", "0x95288286325925.abcdefghij 1",
		foreignHead + " {", foreignHead + ` {"a":1}}`, foreignHead + ` {"a":1,"a":2}`, foreignHead + " '1'", foreignHead + " \"\xff\"",
		foreignHead + " " + nestedLists(65), foreignHead + " " + string(large),
		foreignHead + "z1", foreignHead + "z" + compressed(t, nil), foreignHead + "z" + compressed(t, []byte("{")),
		foreignHead + "z" + compressed(t, []byte(`{"a":1,"a":2}`)), foreignHead + "z" + compressed(t, large),
		foreignHead + "z" + compressed(t, []byte("[1,2,3]"))[:12], foreignHead + "z" + compressed(t, []byte("[1]")) + "x",
		// With its size told, without it, and in frames of which each is small enough.
		foreignHead + "z" + string(n.encoder.EncodeAll(bomb, nil)), foreignHead + "z" + compressed(t, bomb),
		foreignHead + "z" + strings.Repeat(compressed(t, bomb[:MaxValueSize/2]), 1000),
		"\x80\x04K\x01.",
	}
	own, err := n.encode(Key{"a", "b"}, draft(4<<10), written())
	if err != nil {
		t.Fatal(err)
	}
	for i := headSize; i < len(own); i += 7 {
		damaged := bytes.Clone(own)
		damaged[i] ^= 4
		raws = append(raws, string(damaged), string(own[:i]))
	}
	for _, raw := range raws {
		got, err := n.decode(Key{"a", "b"}, raw)
		if !errors.Is(err, ErrUnreadable) || errors.Is(err, ErrMalformed) || errors.Is(err, ErrTooLarge) {
			t.Errorf("%.80q: %.80s, %v", raw, got.data, err)
		}
		if err != nil && (strings.Contains(err.Error(), "abcdef") || len(err.Error()) > 100) {
			t.Errorf("the error tells what is there: %v", err)
		}
	}
}

func TestNativeReadsABombInLittleMemory(t *testing.T) {
	n := newTestNative(t)
	told := foreignHead + "z" + string(n.encoder.EncodeAll(bytes.Repeat([]byte(" "), 64<<20), nil))
	untold := foreignHead + "z" + compressed(t, bytes.Repeat([]byte(" "), 64<<20))
	result := testing.Benchmark(func(b *testing.B) {
		b.Helper()
		for b.Loop() {
			for _, raw := range []string{told, untold} {
				if _, err := n.decode(Key{}, raw); !errors.Is(err, ErrUnreadable) {
					b.Fatal(err)
				}
			}
		}
	})
	if result.AllocedBytesPerOp() > 8*MaxValueSize {
		t.Errorf("two bombs took %d bytes", result.AllocedBytesPerOp())
	}
}

func TestNativeIsForManyGoroutines(t *testing.T) {
	t.Parallel()
	n := newTestNative(t)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 20 {
				data := draft(500 + 1000*i + 100*j)
				raw, err := n.encode(Key{"a", "b"}, data, written())
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := n.decode(Key{"a", "b"}, string(raw)); err != nil || !bytes.Equal(got.data, data) {
					t.Errorf("%d bytes came back as %d, %v", len(data), len(got.data), err)
				}
			}
		})
	}
	group.Wait()
}

func FuzzNativeDecode(f *testing.F) {
	n := newTestNative(f)
	for _, seed := range []string{`{"a": 1}`, "null", `"` + strings.Repeat("ab", 1000) + `"`, string(draft(2000)), ""} {
		f.Add(foreignHead+" "+seed, []byte(seed), int64(1795288286325925))
		f.Add(foreignHead+"z"+compressed(f, []byte(seed)), []byte(seed), int64(0))
		if raw, err := n.encode(Key{}, []byte(seed), written()); err == nil {
			f.Add(string(raw), []byte(seed), int64(-1))
		}
	}
	f.Fuzz(func(t *testing.T, raw string, data []byte, micros int64) {
		if got, err := n.decode(Key{}, raw); err != nil {
			if !errors.Is(err, ErrUnreadable) {
				t.Fatalf("another error: %v", err)
			}
		} else if !json.Valid(got.data) || len(got.data) > MaxValueSize || got.typ == "" || got.at.IsZero() {
			t.Fatalf("read %q as %q of %q", raw, got.data, got.typ)
		}
		data, err := compact(data, MaxValueSize)
		if err != nil {
			return
		}
		at := time.UnixMicro(micros).UTC()
		own, err := n.encode(Key{}, data, at)
		if err != nil {
			if micros >= 0 && micros < 1e16 {
				t.Fatal(err)
			}
			return
		}
		got, err := n.decode(Key{}, string(own))
		if err != nil || !bytes.Equal(got.data, data) || got.at != at || got.typ != typeOf(data) {
			t.Fatalf("%q of %v came back as %q of %v, %v", data, at, got.data, got.at, err)
		}
	})
}
