// SPDX-License-Identifier: Apache-2.0

package show

import (
	"strings"
)

// bare needs no quotes in a shell.
const bare = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+./,:=@%^"

// Argv writes the words of a command so that it is seen where each begins and
// ends. A shell reads the line back as the same words, unless spaces were
// counted; see Exact.
func Argv(args []string) string { return strings.Join(argv(args), "") }

func argv(args []string) []string {
	var out []string
	for i, arg := range args {
		if i > 0 {
			out = append(out, " ")
		}
		switch {
		case arg != "" && strings.Trim(arg, bare) == "":
			out = append(out, strings.Split(arg, "")...)
		case Exact(arg) == arg && !strings.Contains(arg, "'"):
			out = append(out, "'")
			out = append(out, exact(arg)...)
			out = append(out, "'")
		default:
			out = append(out, "$'")
			out = append(out, exact(strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(arg))...)
			out = append(out, "'")
		}
	}
	return out
}
