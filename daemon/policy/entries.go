// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// MaxNetSpans is the most spans a NetEntry may have: the room there is in the
// kernel's map value, which a program without loops must be able to look through.
const MaxNetSpans = 32

// NetSpan is a range of ports, both ends included, under one decision.
type NetSpan struct {
	First, Last uint16
	Protocols   Protocol
	Decision    NetDecision
	// Rule is the index in Network.Rules of the rule that decides; -1: the default.
	Rule int
}

// NetEntry says everything about the addresses for which Prefix is the longest
// match. Its spans are disjoint and cover every port and protocol.
type NetEntry struct {
	Prefix netip.Prefix
	Spans  []NetSpan
}

// Entries flattens the rules for a longest-prefix map: of all entries, the one
// with the longest prefix that contains an address (canonical as in Decide) gives,
// alone, the answer of Decide. 0.0.0.0/0 and ::/0 are always among them. It fails
// when a prefix has too many port ranges for MaxNetSpans.
func (n Network) Entries() ([]NetEntry, error) {
	if n.None {
		n = Network{Default: NetDeny}
	}
	points, err := n.points()
	if err != nil {
		return nil, err
	}
	painted := make(map[netip.Prefix]paint, len(points))
	for _, at := range points {
		parent, ok := painted[at.parent]
		if !ok {
			parent = plain(n.Default)
		}
		p := n.over(parent, at.rules)
		painted[at.prefix] = p
	}
	out := make([]NetEntry, 0, len(points))
	var errs []error
	for _, at := range points {
		p := painted[at.prefix]
		if at.prefix.IsSingleIP() && at.prefix.Addr().IsUnspecified() {
			for _, loopback := range loopbacksOf(at.prefix.Addr()) {
				p = stricter(p, painted[netip.PrefixFrom(loopback, loopback.BitLen())])
			}
		}
		if parent, ok := painted[at.parent]; ok && p.equal(parent) {
			continue
		}
		e := NetEntry{Prefix: at.prefix, Spans: p.spans()}
		if len(e.Spans) > MaxNetSpans {
			errs = append(errs, fmt.Errorf("network rules for %s need %d port ranges, at most %d fit: use fewer or wider ranges%s",
				e.Prefix, len(e.Spans), MaxNetSpans, n.firstRuleAt(e)))
			if len(errs) == 5 {
				break
			}
			continue
		}
		out = append(out, e)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

func (n Network) firstRuleAt(e NetEntry) string {
	for _, s := range e.Spans {
		if s.Rule != noNetRule {
			if where := n.Rules[s.Rule].Origin(); where != "" {
				return " (one of the rules is at " + where + ")"
			}
		}
	}
	return ""
}

// point is a prefix at which the answer may change.
type point struct {
	prefix netip.Prefix
	parent netip.Prefix // the longest other point that contains it; invalid: none
	rules  []int        // those of this very prefix, the deciding ones last
}

// points returns every prefix of the rules, the two default routes, and the
// addresses whose answer depends on another's; each after all that contain it.
func (n Network) points() ([]point, error) {
	at := map[netip.Prefix][]int{}
	for i := range n.Rules {
		p := canonicalPrefix(n.Rules[i].Prefix)
		if !p.IsValid() {
			return nil, fmt.Errorf("network rule %d has no valid prefix", i)
		}
		at[p] = append(at[p], i)
	}
	for _, zero := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		prefixes := []netip.Prefix{netip.PrefixFrom(zero, 0), netip.PrefixFrom(zero, zero.BitLen())}
		for _, loopback := range loopbacksOf(zero) {
			prefixes = append(prefixes, netip.PrefixFrom(loopback, loopback.BitLen()))
		}
		for _, p := range prefixes {
			if _, ok := at[p]; !ok {
				at[p] = nil
			}
		}
	}
	prefixes := slices.SortedFunc(maps.Keys(at), func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	out := make([]point, 0, len(prefixes))
	var chain []netip.Prefix // each contains the next
	for _, p := range prefixes {
		for len(chain) > 0 && !chain[len(chain)-1].Overlaps(p) {
			chain = chain[:len(chain)-1]
		}
		one := point{prefix: p, rules: at[p]}
		if len(chain) > 0 {
			one.parent = chain[len(chain)-1]
		}
		chain = append(chain, p)
		// Among equal prefixes the denying rules decide, and of those the first.
		slices.SortFunc(one.rules, func(a, b int) int {
			return cmp.Or(cmp.Compare(n.Rules[b].Decision, n.Rules[a].Decision), cmp.Compare(b, a))
		})
		out = append(out, one)
	}
	return out, nil
}
