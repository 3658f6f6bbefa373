// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// cut joins units, at most about limit characters of them: what is left out is
// in the middle, so that neither the program nor the end of a command, where a
// "; rm" or "| sh" stands, can be pushed out by something long. whole is false
// when anything is missing.
func cut(units []string, limit int) (out string, whole bool) {
	if length(units) <= limit {
		return strings.Join(units, ""), true
	}
	// The head is longer: it says what runs.
	head, used := 0, 0
	for head < len(units) && used+utf8.RuneCountInString(units[head]) <= limit*3/5 {
		used += utf8.RuneCountInString(units[head])
		head++
	}
	tail := len(units)
	for tail > head && used+utf8.RuneCountInString(units[tail-1]) <= limit {
		tail--
		used += utf8.RuneCountInString(units[tail])
	}
	left := length(units[head:tail])
	return fmt.Sprintf("%s ⟦%s characters left out⟧ %s", strings.Join(units[:head], ""), thousands(left), strings.Join(units[tail:], "")), false
}

func length(units []string) int {
	n := 0
	for _, u := range units {
		n += utf8.RuneCountInString(u)
	}
	return n
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
