package local_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/connectbot-hub/connecthub/matching/local"
)

func BenchmarkPairs(b *testing.B) {
	for _, c := range badCases() {
		for _, n := range []int{200, 2000, 5000} {
			b.Run(c.name+"/"+strconv.Itoa(n), func(b *testing.B) {
				people := c.people(n)
				b.ReportAllocs()
				for seed := uint64(0); b.Loop(); seed++ {
					if _, _, err := local.Pairs(context.Background(), people, seed); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkTeams(b *testing.B) {
	members := skilled(5000)
	for _, size := range []int{2, 5, 50} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			for seed := uint64(0); b.Loop(); seed++ {
				local.Teams(members, size, 0, true, seed)
			}
		})
	}
}
