package metrics_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/metrics"
)

func TestDistribution(t *testing.T) {
	t.Parallel()
	m := metrics.New("1")
	if got := m.JavaCalls(); len(got) != 0 {
		t.Errorf("calls before the first: %v", got)
	}
	// Half of them take 60 ms, and of those in the bucket from 50 to 100 ms the estimate is the middle.
	for range 50 {
		m.JavaCall("simple", true, 60*time.Millisecond)
		m.JavaCall("simple", false, 2*time.Second)
	}
	m.JavaCall("teams", true, time.Millisecond)
	before := m.JavaCalls()
	simple := before["simple"]
	for what, pair := range map[string][2]float64{
		"count": {float64(simple.Count), 100},
		"mean":  {simple.Mean(), 1.03},
		"p25":   {simple.Quantile(.25), .075},
		"p50":   {simple.Quantile(.5), .1},
		"p75":   {simple.Quantile(.75), 1.75},
		"p100":  {simple.Quantile(1), 2.5},
		"first": {before["teams"].Quantile(1), .005},
		"none":  {metrics.Distribution{}.Quantile(.5) + metrics.Distribution{}.Mean(), 0},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-9 {
			t.Errorf("%s is %v, want %v", what, pair[0], pair[1])
		}
	}
	// What came later, and what is longer than any bucket.
	m.JavaCall("simple", false, time.Hour)
	m.JavaCall("algorithms", true, time.Millisecond)
	later := m.JavaCalls()
	if d := later["simple"].Minus(simple); d.Count != 1 || math.Abs(d.Sum-3600) > 1e-6 || d.Quantile(.5) != 30 {
		t.Errorf("what came later is %+v", d)
	}
	if d := later["algorithms"].Minus(before["algorithms"]); d.Count != 1 || d.Quantile(.5) != .0025 {
		t.Errorf("what came first later is %+v", d)
	}
	if d := later["teams"].Minus(before["teams"]); d.Count != 0 || d.Quantile(.99) != 0 || d.Mean() != 0 {
		t.Errorf("what did not come again is %+v", d)
	}
}

// TestQuantilesAreInTheRightBucket compares estimates with the truth: both are in the same bucket.
func TestQuantilesAreInTheRightBucket(t *testing.T) {
	t.Parallel()
	m := metrics.New("1")
	bounds := []float64{0, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 20, 30}
	random := rand.New(rand.NewPCG(1, 2))
	var took []float64
	for range 1000 {
		seconds := math.Exp(random.NormFloat64()*1.5 - 2)
		took = append(took, min(seconds, 29))
		m.JavaCall("simple", true, time.Duration(took[len(took)-1]*float64(time.Second)))
	}
	slices.Sort(took)
	for _, part := range []float64{.01, .5, .9, .95, .99, 1} {
		truth := took[int(part*1000)-1]
		got := m.JavaCalls()["simple"].Quantile(part)
		i, _ := slices.BinarySearch(bounds, truth)
		if got < bounds[i-1] || got > bounds[i] {
			t.Errorf("%v of them took %v, and it is said %v", part, truth, got)
		}
	}
}
