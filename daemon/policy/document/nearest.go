// SPDX-License-Identifier: Apache-2.0

package document

import "strings"

// Nearest returns the possible word that bad was most probably meant to be. It
// gives no advice when none is near: wrong advice costs more than none.
func Nearest(bad string, possible []string) (string, bool) {
	const longest = 64 // a distance costs the product of the lengths
	best, least := "", -1
	for _, p := range possible {
		if len(bad) > longest {
			break
		}
		if d := distance(strings.ToLower(bad), p); least < 0 || d < least {
			best, least = p, d
		}
	}
	return best, least >= 0 && least <= max(1, len(best)/3)
}

// distance is the number of letters to insert, delete, replace or swap with their
// neighbour to make a into b.
func distance(a, b string) int {
	previous, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(next[j]+1, row[j+1]+1, row[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], previous[j-1]+1)
			}
		}
		previous, row, next = row, next, previous
	}
	return row[len(b)]
}
