package packed_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/packed"
)

const most = 4 << 20

func open(tb testing.TB) *packed.Packer {
	tb.Helper()
	p, err := packed.New(most)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestPack(t *testing.T) {
	t.Parallel()
	p := open(t)
	for name, data := range map[string][]byte{
		"nothing": {}, "a blank": []byte(" "), "a z": []byte("z"), "little": []byte(`{"a":1}`), "much": bytes.Repeat([]byte("people "), most/7),
	} {
		text := p.Pack(data)
		if got, err := p.Unpack(string(text)); err != nil || got == nil || !bytes.Equal(got, data) {
			t.Errorf("%s comes back as %d bytes, %v", name, len(got), err)
		}
		if len(data) > 1<<10 && len(text) > len(data)/100 {
			t.Errorf("%s takes %d bytes", name, len(text))
		}
	}
	tooMuch := p.Pack(make([]byte, 2*most))
	for _, text := range []string{"", "x", "z damaged", string(tooMuch)} {
		if _, err := p.Unpack(text); !errors.Is(err, packed.ErrDamaged) {
			t.Errorf("%.20q gives %v", text, err)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	p := open(f)
	small := p.Pack(bytes.Repeat([]byte("a"), 10_000))
	for _, seed := range []string{"", " ", " {}", "z", "zx", string(small), string(small[:len(small)-3])} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		data, err := p.Unpack(text)
		if err != nil {
			return
		}
		if data == nil || len(data) > max(most, len(text)) {
			t.Fatalf("%d bytes", len(data))
		}
		if again, err := p.Unpack(string(p.Pack(data))); err != nil || !bytes.Equal(again, data) {
			t.Fatal("it does not come back as it was", err)
		}
	})
}
