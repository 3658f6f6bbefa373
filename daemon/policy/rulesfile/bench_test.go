// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// manyRules writes a file of n rules, each with alternatives and an example; each
// of its own program, or all of one.
func manyRules(n int, shape string) []byte {
	var b strings.Builder
	for i := range n {
		program := fmt.Sprintf("p%d", i)
		if shape == "arguments" {
			program = "p"
		}
		fmt.Fprintf(&b, "prefix_rule(pattern = [%q, [\"a%d\", \"b%d\"]], decision = \"forbidden\", match = [\"%s b%d\"])\n", program, i, i, program, i)
	}
	return []byte(b.String())
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			data := manyRules(n, "programs")
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				p, err := Load(Env{}, Source{"f", data})
				if err != nil {
					b.Fatal(err)
				}
				policy.Compile(Combine(&policy.Requirements{}, p), policy.Allow)
			}
		})
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, shape := range []string{"programs", "arguments"} {
		for _, n := range []int{100, 10_000} {
			p, err := Load(Env{}, Source{"f", manyRules(n, shape)})
			if err != nil {
				b.Fatal(err)
			}
			rules := policy.Compile(Combine(&policy.Requirements{}, p), policy.Allow)
			argv := []string{fmt.Sprintf("/usr/bin/p%d", n/2), fmt.Sprintf("b%d", n/2), "x"}
			if shape == "arguments" {
				argv[0] = "/usr/bin/p"
			}
			b.Run(fmt.Sprintf("%s/%d/enforced", shape, n), func(b *testing.B) {
				c := policy.Command{Names: argv[:1], Args: argv[1:]}
				b.ReportAllocs()
				for b.Loop() {
					if rules.Decide(c).Decision != policy.Forbidden {
						b.Fatal("it is allowed")
					}
				}
			})
			b.Run(fmt.Sprintf("%s/%d/check", shape, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if len(p.Check(argv, true)) != 1 {
						b.Fatal("it does not match")
					}
				}
			})
		}
	}
}
