// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// manyRules writes a file of n rules: each program its own, all of one program, or
// all of one subcommand of one program.
func manyRules(n int, shape string) []byte {
	var b strings.Builder
	b.WriteString("[rules]\nprefix_rules = [\n")
	for i := range n {
		switch shape {
		case "programs":
			fmt.Fprintf(&b, "{pattern=[{token=\"p%d\"},{any_of=[\"a\",\"b\"]}],decision=\"forbidden\"},\n", i)
		case "arguments":
			fmt.Fprintf(&b, "{pattern=[{token=\"p\"},{any_of=[\"a%d\",\"b%d\"]}],decision=\"forbidden\"},\n", i, i)
		case "deep":
			fmt.Fprintf(&b, "{pattern=[{token=\"p\"},{any_of=[\"a\",\"b\"]},{token=\"x%d\"}],decision=\"forbidden\"},\n", i)
		}
	}
	b.WriteString("]\n")
	return []byte(b.String())
}

const many = 100_000

func BenchmarkParse(b *testing.B) {
	data := manyRules(many, "programs")
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		req, err := Parse("f", data)
		if err != nil || len(req.Rules) != many {
			b.Fatal(len(req.Rules), err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, shape := range []string{"programs", "arguments", "deep"} {
		b.Run(shape, func(b *testing.B) {
			req, err := Parse("f", manyRules(many, shape))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				Compile(req.Rules, Allow)
			}
		})
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, shape := range []string{"programs", "arguments", "deep"} {
		req, err := Parse("f", manyRules(many, shape))
		if err != nil {
			b.Fatal(err)
		}
		rules := Compile(req.Rules, Allow)
		n := fmt.Sprint(many / 2)
		hit := map[string]Command{
			"programs": cmd("p"+n, "b"), "arguments": cmd("p", "b"+n), "deep": cmd("p", "b", "x"+n),
		}[shape]
		for name, c := range map[string]Command{"hit": hit, "miss": cmd("p", "c", "y"), "other": cmd("ls", "-l")} {
			b.Run(shape+"/"+name, func(b *testing.B) {
				if rules.Decide(c).Matched != (name == "hit") {
					b.Fatal("it decides otherwise")
				}
				b.ReportAllocs()
				for b.Loop() {
					rules.Decide(c)
				}
			})
		}
	}
}

func manyNetRules(n int) []NetRule {
	rules := make([]NetRule, n)
	for i := range rules {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0})
		rules[i] = NetRule{Prefix: netip.PrefixFrom(a, 24), Decision: NetDecision(i % 2), Ports: []PortRange{{443, 443}}}
	}
	return rules
}

func BenchmarkEntries(b *testing.B) {
	n := Network{Default: NetAllow, Rules: manyNetRules(10_000)}
	b.ReportAllocs()
	for b.Loop() {
		if entries, err := n.Entries(); err != nil || len(entries) < len(n.Rules) {
			b.Fatal(len(entries), err)
		}
	}
}

func BenchmarkMergeNetworks(b *testing.B) {
	low := &Requirements{Network: Network{Default: NetAllow, Rules: manyNetRules(10_000)}}
	high := &Requirements{Network: Network{Default: NetDeny, Rules: manyNetRules(5_000)}}
	b.ReportAllocs()
	for b.Loop() {
		Merge(low, high)
	}
}
