// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"math"
	"slices"
)

// quantile of sorted or unsorted values; 0 of none.
func quantile[T int64 | float64](values []T, q float64) T {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	if len(s) == 0 {
		return math.NaN()
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// interval is where the median lies with at least 95 % confidence, whatever the
// distribution: the order statistics that a binomial distribution of one half
// leaves outside with 2.5 % on each side. Too few values give all of them.
func interval(values []float64) (low, high float64) {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	if n == 0 {
		return math.NaN(), math.NaN()
	}
	tail, term, k := 0.0, math.Pow(0.5, float64(n)), 0
	for ; k < n/2; k++ { // term = C(n,k)/2^n
		if tail += term; tail > 0.025 {
			break
		}
		term *= float64(n-k) / float64(k+1)
	}
	if k > 0 {
		k--
	}
	return s[k], s[n-1-k]
}
