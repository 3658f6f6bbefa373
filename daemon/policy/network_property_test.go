// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawAddr draws addresses that lie near each other and near the special ones.
func drawAddr() *rapid.Generator[netip.Addr] {
	return rapid.Custom(func(t *rapid.T) netip.Addr {
		base := netip.MustParseAddr(rapid.SampledFrom([]string{
			"0.0.0.0", "10.0.0.0", "127.0.0.1", "127.0.0.0", "255.255.255.252", "::", "::1", "2001:db8::", "fe80::",
			"::ffff:0.0.0.0", "::ffff:10.0.0.0", "::ffff:127.0.0.1", "64:ff9b::10.0.0.0", "64:ff9b::", "64:ff9b::127.0.0.1", "64:ff9b:0:0:0:1::",
		}).Draw(t, "base"))
		b := base.As16()
		b[15] ^= byte(rapid.IntRange(0, 3).Draw(t, "low"))
		b[14] ^= byte(rapid.IntRange(0, 1).Draw(t, "middle"))
		a := netip.AddrFrom16(b)
		if base.Is4() {
			a = a.Unmap()
		}
		return a
	})
}

func drawPort() *rapid.Generator[uint16] {
	return rapid.SampledFrom([]uint16{0, 1, 22, 80, 81, 443, 65534, 65535})
}

func drawNetRule() *rapid.Generator[NetRule] {
	return rapid.Custom(func(t *rapid.T) NetRule {
		addr := drawAddr().Draw(t, "addr")
		near := rapid.SampledFrom([]int{0, 0, 1, 2, 8, 9, 16, 32, 96}).Draw(t, "bits")
		p, err := addr.Prefix(max(0, addr.BitLen()-near))
		if err != nil || rapid.IntRange(0, 9).Draw(t, "everything") == 0 {
			p = netip.PrefixFrom(addr, 0)
		}
		r := NetRule{
			Prefix:    p,
			Protocols: rapid.SampledFrom([]Protocol{0, TCP, UDP, AnyProtocol}).Draw(t, "protocols"),
			Decision:  rapid.SampledFrom([]NetDecision{NetDeny, NetAllow}).Draw(t, "decision"),
		}
		for range rapid.IntRange(0, 2).Draw(t, "ports") {
			a, b := drawPort().Draw(t, "first"), drawPort().Draw(t, "last")
			r.Ports = append(r.Ports, PortRange{min(a, b), max(a, b)})
		}
		return r
	})
}

func drawNetwork() *rapid.Generator[Network] {
	return rapid.Custom(func(t *rapid.T) Network {
		return Network{
			None:    rapid.IntRange(0, 30).Draw(t, "none") == 0,
			Default: rapid.SampledFrom([]NetDecision{NetDeny, NetAllow}).Draw(t, "default"),
			Rules:   rapid.SliceOfN(drawNetRule(), 0, 7).Draw(t, "rules"),
		}
	})
}

// lookUp does what the kernel does: the longest prefix, then the first span.
func lookUp(entries []NetEntry, addr netip.Addr, port uint16, p Protocol) (NetDecision, int) {
	addr = addr.WithZone("").Unmap()
	if b := addr.As16(); addr.Is6() && slices.Equal(b[:12], []byte{0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0}) {
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	best := -1
	for i, e := range entries {
		if e.Prefix.Contains(addr) && (best < 0 || e.Prefix.Bits() > entries[best].Prefix.Bits()) {
			best = i
		}
	}
	for _, s := range entries[best].Spans {
		if s.Protocols&p != 0 && s.First <= port && port <= s.Last {
			return s.Decision, s.Rule
		}
	}
	return NetDeny, -2
}

func TestEntriesSayWhatDecideSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNetwork().Draw(t, "network")
		entries, err := n.Entries()
		if err != nil {
			t.Fatalf("%d rules are too many: %v", len(n.Rules), err)
		}
		seen := map[netip.Prefix]bool{}
		for _, e := range entries {
			if seen[e.Prefix] || e.Prefix.Addr().Is4In6() {
				t.Fatalf("prefix %s twice, or of a wrong kind", e.Prefix)
			}
			seen[e.Prefix] = true
		}
		if !seen[netip.MustParsePrefix("0.0.0.0/0")] || !seen[netip.MustParsePrefix("::/0")] {
			t.Fatal("a default route is missing")
		}
		checkSpans(t, entries[rapid.IntRange(0, len(entries)-1).Draw(t, "entry")])

		for range 20 {
			addr, port := drawAddr().Draw(t, "to"), drawPort().Draw(t, "port")
			for _, p := range []Protocol{TCP, UDP} {
				d, rule := n.Decide(netip.AddrPortFrom(addr, port), p)
				e, index := lookUp(entries, addr, port, p)
				if d != e || (rule == nil) != (index == -1) || (rule != nil && rule != &n.Rules[index]) {
					t.Fatalf("%s port %d %s: Decide says %s by %+v, Entries %s by rule %d of\n%+v", addr, port, p, d, rule, e, index, entries)
				}
			}
		}
	})
}

func TestNetworkDecideProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNetwork().Draw(t, "network")
		shuffled := n
		shuffled.Rules = rapid.Permutation(append(slices.Clone(n.Rules), n.Rules...)).Draw(t, "shuffled")
		addr, port := drawAddr().Draw(t, "to"), drawPort().Draw(t, "port")
		to := netip.AddrPortFrom(addr, port)
		tcp, _ := n.Decide(to, TCP)
		udp, _ := n.Decide(to, UDP)
		both, _ := n.Decide(to, AnyProtocol)
		if both != min(tcp, udp) {
			t.Fatalf("TCP %s, UDP %s, both %s", tcp, udp, both)
		}
		if d, _ := shuffled.Decide(to, TCP); d != tcp {
			t.Fatalf("in another order %s, before %s", d, tcp)
		}
		// Other ways to write the same address reach the same place.
		if addr.Is4() {
			b := addr.As4()
			nat := [16]byte{0, 0x64, 0xff, 0x9b, 12: b[0], b[1], b[2], b[3]}
			for _, other := range []netip.Addr{netip.AddrFrom16(addr.As16()), netip.AddrFrom16(nat), netip.AddrFrom16(addr.As16()).WithZone("x")} {
				if d, _ := n.Decide(netip.AddrPortFrom(other, port), TCP); d != tcp {
					t.Fatalf("%s: %s, but as %s: %s", addr, tcp, other, d)
				}
			}
		}
	})
}
