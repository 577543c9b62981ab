package tempdata

import (
	"bytes"
	"encoding/json"
	"strconv"
	"testing"
)

func eachDraft(b *testing.B, run func(b *testing.B, data []byte)) {
	b.Helper()
	for _, size := range []int{100, 900, 4 << 10, 64 << 10} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			data := draft(size)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			run(b, data)
		})
	}
}

func BenchmarkNativeEncode(b *testing.B) {
	n := newTestNative(b)
	eachDraft(b, func(b *testing.B, data []byte) {
		b.Helper()
		var raw []byte
		var err error
		at := written()
		for b.Loop() {
			if raw, err = n.encode(Key{}, data, at); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(raw))/float64(len(data)), "ratio")
	})
}

func BenchmarkNativeDecode(b *testing.B) {
	n := newTestNative(b)
	eachDraft(b, func(b *testing.B, data []byte) {
		b.Helper()
		own, err := n.encode(Key{}, data, written())
		if err != nil {
			b.Fatal(err)
		}
		raw := string(own)
		for b.Loop() {
			if _, err := n.decode(Key{}, raw); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkNativeDecodeForeign is what it would cost to parse every value that is read.
func BenchmarkNativeDecodeForeign(b *testing.B) {
	n := newTestNative(b)
	eachDraft(b, func(b *testing.B, data []byte) {
		b.Helper()
		raw := foreignHead + " " + string(data)
		for b.Loop() {
			if _, err := n.decode(Key{}, raw); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCompact(b *testing.B) {
	eachDraft(b, func(b *testing.B, data []byte) {
		b.Helper()
		for b.Loop() {
			if _, err := compact(data, MaxValueSize); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCompactStandard does less, as it takes a member that is named twice.
func BenchmarkCompactStandard(b *testing.B) {
	eachDraft(b, func(b *testing.B, data []byte) {
		b.Helper()
		for b.Loop() {
			out := bytes.NewBuffer(make([]byte, 0, len(data)))
			if err := json.Compact(out, data); err != nil || !json.Valid(data) {
				b.Fatal("it is valid")
			}
		}
	})
}

func BenchmarkMergePatch(b *testing.B) {
	patch := []byte(`{"step":"name","comment":null,"extra":{"a":1,"b":null}}`)
	eachDraft(b, func(b *testing.B, data []byte) {
		b.Helper()
		for b.Loop() {
			if _, err := mergePatch(data, patch); err != nil {
				b.Fatal(err)
			}
		}
	})
}
