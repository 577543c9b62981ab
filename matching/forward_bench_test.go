package matching_test

import (
	"testing"

	"github.com/connectbot-hub/connecthub/matching"
)

// BenchmarkForward is a request of 20 people that the service answers at once.
func BenchmarkForward(b *testing.B) {
	h := start(b, options{})
	body := people(20)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := h.Simple(b.Context(), matching.Terms{}, body); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
