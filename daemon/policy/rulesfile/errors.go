// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"fmt"
)

// Error says why a file cannot be used.
type Error struct {
	// File is the name the file was given by the caller; Line is from 1, and 0
	// when the whole file is meant.
	File string
	Line int
	// Cause is what is wrong, in the words of Codex where it has words for it, so
	// that what people find about it on the net fits.
	Cause string
	// Fix says what to write instead. May be empty.
	Fix string
}

// Error returns "file:line: cause (fix: ...)".
func (e *Error) Error() string {
	s := e.File
	if e.Line > 0 {
		s = fmt.Sprintf("%s:%d", e.File, e.Line)
	}
	s += ": " + e.Cause
	if e.Fix != "" {
		s += " (fix: " + e.Fix + ")"
	}
	return s
}

// fault is an error that does not know its place yet.
type fault struct {
	cause, fix string
	bound      bool // more than is read: nothing before it is looked at again
}

func (f *fault) Error() string { return f.cause }

func faultf(fix, format string, args ...any) *fault {
	return &fault{cause: fmt.Sprintf(format, args...), fix: fix}
}

func boundf(fix, format string, args ...any) *fault {
	f := faultf(fix, format, args...)
	f.bound = true
	return f
}

// nearest returns the name most like name, or "" when none is like it: one
// difference for the shortest, two for the others, as in Codex.
func nearest(name string, known []string) string {
	distance := 2
	if len(name) <= 2 {
		distance = 1
	}
	best := ""
	for _, k := range known {
		if d := editDistance(name, k); d < distance || d == distance && best == "" {
			best, distance = k, d
		}
	}
	return best
}

// editDistance is the Levenshtein distance of short names; of others it is great.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
