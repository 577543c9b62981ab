package once_test

import (
	"fmt"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// BenchmarkDo does a new thing each time, and asks again for one that was done.
func BenchmarkDo(b *testing.B) {
	o := newOnce(b, redistest.Shared(b), config(b))
	value := returns(`{"pairs":[[1,2],[3,4]]}`)
	b.Run("new", func(b *testing.B) {
		n := 0
		for b.Loop() {
			n++
			want(b, do(b.Context(), o, fmt.Sprint(b.N, "/", n, "/", b.Elapsed()), value), `{"pairs":[[1,2],[3,4]]}`, false)
		}
	})
	b.Run("repeated", func(b *testing.B) {
		do(b.Context(), o, "k", value)
		for b.Loop() {
			want(b, do(b.Context(), o, "k", value), `{"pairs":[[1,2],[3,4]]}`, true)
		}
	})
}
