package djangocache_test

import (
	"fmt"
	"log"

	"github.com/connectbot-hub/connecthub/internal/djangocache"
)

func ExampleDecode() {
	// What the bot stores for cache.set("x", {"id": 9, "tags": ("a", "b")}).
	raw := []byte("\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x02id\x94K\x09\x8c\x04tags\x94\x8c\x01a\x94\x8c\x01b\x94\x86\x94u.")
	v, err := djangocache.Decode(raw)
	if err != nil {
		log.Fatal(err)
	}
	text, err := djangocache.AppendJSON(nil, v)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%T %s\n", v, text)
	// Output: djangocache.Dict {"id":9,"tags":["a","b"]}
}

func ExampleDecode_unsafe() {
	_, err := djangocache.Decode([]byte("\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x06reboot\x85R."))
	fmt.Println(err)
	// Output: djangocache: unsafe pickle: byte 14: STACK_GLOBAL
}

func ExampleAppendString() {
	raw, err := djangocache.AppendString(nil, `{"data": {}}`)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", raw)
	text, err := djangocache.DecodeString(raw)
	fmt.Printf("%s %v\n", text, err)
	// Output:
	// "\x80\x02X\f\x00\x00\x00{\"data\": {}}."
	// {"data": {}} <nil>
}

func ExampleEncode() {
	for _, v := range []any{5, true, djangocache.List{"a", nil}} {
		raw, err := djangocache.Encode(v)
		fmt.Printf("%q %v\n", raw, err)
	}
	// Output:
	// "5" <nil>
	// "\x80\x04\x88." <nil>
	// "\x80\x04](\x8c\x01aNe." <nil>
}
