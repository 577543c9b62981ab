package metrics

import (
	"sort"

	"github.com/prometheus/client_golang/prometheus"
)

// Distribution is how often something took how long. The zero Distribution is of what never happened.
type Distribution struct {
	// Count is how often it was measured, and Sum how long it took altogether, in seconds.
	Count uint64
	Sum   float64
	// bounds are the upper ends of the buckets, in seconds, and upTo how often it took no longer than that.
	bounds []float64
	upTo   []uint64
}

// Plus returns both together. Both must be of the same histogram vector.
func (d Distribution) Plus(other Distribution) Distribution {
	return d.combined(other, func(a, b uint64) uint64 { return a + b }, d.Sum+other.Sum)
}

// Minus returns what came after an earlier Distribution of the same histogram.
func (d Distribution) Minus(earlier Distribution) Distribution {
	return d.combined(earlier, func(a, b uint64) uint64 { return a - b }, d.Sum-earlier.Sum)
}

func (d Distribution) combined(other Distribution, with func(a, b uint64) uint64, sum float64) Distribution {
	if other.bounds == nil {
		return d
	}
	if d.bounds == nil {
		d.bounds, d.upTo = other.bounds, make([]uint64, len(other.upTo))
	}
	result := Distribution{Count: with(d.Count, other.Count), Sum: sum, bounds: d.bounds, upTo: make([]uint64, len(d.upTo))}
	for i := range d.upTo {
		result.upTo[i] = with(d.upTo[i], other.upTo[i])
	}
	return result
}

// Mean returns how long it took on average, in seconds; 0 if it never happened.
func (d Distribution) Mean() float64 {
	if d.Count == 0 {
		return 0
	}
	return d.Sum / float64(d.Count)
}

// Quantile estimates how long a part of them, above 0 and at most 1, took at most, in seconds; 0 if it never happened. It is
// as exact as the buckets are narrow, and what is beyond the last one's end is taken for that.
func (d Distribution) Quantile(part float64) float64 {
	if d.Count == 0 || len(d.bounds) == 0 {
		return 0
	}
	rank := part * float64(d.Count)
	i := sort.Search(len(d.upTo), func(i int) bool { return float64(d.upTo[i]) >= rank })
	if i == len(d.upTo) {
		return d.bounds[len(d.bounds)-1]
	}
	var from float64
	var before uint64
	if i > 0 {
		from, before = d.bounds[i-1], d.upTo[i-1]
	}
	return from + (d.bounds[i]-from)*(rank-float64(before))/float64(d.upTo[i]-before)
}

// distributions returns what the histograms of a registry hold, by one of their labels.
func distributions(registry *prometheus.Registry, label string) map[string]Distribution {
	families, _ := registry.Gather() // Histograms can always be gathered.
	all := make(map[string]Distribution)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			h := metric.GetHistogram()
			d := Distribution{Count: h.GetSampleCount(), Sum: h.GetSampleSum()}
			for _, bucket := range h.GetBucket() {
				d.bounds, d.upTo = append(d.bounds, bucket.GetUpperBound()), append(d.upTo, bucket.GetCumulativeCount())
			}
			for _, pair := range metric.GetLabel() {
				if pair.GetName() == label {
					all[pair.GetValue()] = all[pair.GetValue()].Plus(d)
				}
			}
		}
	}
	return all
}
