// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"net/netip"
	"slices"
)

// Protocol is a set of transport protocols.
type Protocol uint8

const (
	// TCP stands for TCP, with Fast Open and all.
	TCP Protocol = 1 << iota
	// UDP stands for UDP, and so for QUIC and DNS.
	UDP

	// AnyProtocol is all of them.
	AnyProtocol = TCP | UDP
)

// String returns the word used in requirements files: "tcp", "udp" or "any".
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case AnyProtocol:
		return "any"
	}
	return fmt.Sprintf("Protocol(%d)", uint8(p))
}

// NetDecision is what is decided about a connection or datagram. Its zero value
// denies; the smaller one is the stricter.
type NetDecision int

const (
	// NetDeny refuses the connection.
	NetDeny NetDecision = iota
	// NetAsk holds it until somebody who may answer has answered. Rules by address
	// cannot say so: there is nothing to show to a person.
	NetAsk
	// NetAllow lets it through.
	NetAllow
)

// String returns the word used in requirements files: "deny", "ask" or "allow".
func (d NetDecision) String() string {
	switch d {
	case NetDeny:
		return "deny"
	case NetAsk:
		return "ask"
	case NetAllow:
		return "allow"
	}
	return fmt.Sprintf("NetDecision(%d)", int(d))
}

// PortRange is a range of ports, both ends included.
type PortRange struct{ First, Last uint16 }

// NetRule decides about connections to the addresses under a prefix.
type NetRule struct {
	// Prefix is masked, and of IPv4 whenever it stands for IPv4 addresses.
	Prefix netip.Prefix
	// Ports lists the ports the rule is about. Empty: all of them.
	Ports []PortRange
	// Protocols is the set of protocols the rule is about. Empty: all of them.
	Protocols Protocol
	Decision  NetDecision
	// Justification is the administrator's reason, for people. May be empty.
	Justification string
	// Source and Line (from 1) say where the rule is written.
	Source string
	Line   int
}

// Origin returns "source:line", or only the part that is known.
func (r *NetRule) Origin() string { return origin(r.Source, r.Line) }

func (r *NetRule) protocols() Protocol {
	if r.Protocols == 0 {
		return AnyProtocol
	}
	return r.Protocols
}

func (r *NetRule) covers(addr netip.Addr, port uint16, p Protocol) bool {
	if r.protocols()&p == 0 || !canonicalPrefix(r.Prefix).Contains(addr) {
		return false
	}
	return len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, func(ports PortRange) bool {
		return ports.First <= port && port <= ports.Last
	})
}

// Network says what governed processes may reach.
type Network struct {
	// None refuses everything, whatever the rules say.
	None bool
	// Why is the reason for None where no administrator wrote it. Empty: one did.
	Why string
	// Default is for what no rule is about.
	Default NetDecision
	Rules   []NetRule
	// Unfamiliar is for hosts of which no rule by name or address speaks; see
	// CompileHosts for what holds if it is not set.
	Unfamiliar HostSetting
	// ReadOnly says that requests over HTTP that can be read may only be GET, HEAD and
	// OPTIONS.
	ReadOnly bool
}

// Decide returns what is decided about connecting, or sending, to a destination.
// Of the rules about it the one with the most specific prefix wins, and among
// equal prefixes a denying one. The rule is nil when none is about it.
//
// The address that counts is the one a packet would go to: an IPv4 address
// written as IPv6 (v4-mapped, NAT64) counts as the IPv4 one. 0.0.0.0 and ::
// reach the machine itself and are denied if either they or 127.0.0.1 are, ::
// also if ::1 is. An invalid address, or a protocol that is neither TCP nor UDP, is denied.
// With both protocols asked for, it is the stricter answer.
func (n Network) Decide(to netip.AddrPort, protocol Protocol) (NetDecision, *NetRule) {
	addr := canonicalAddr(to.Addr())
	if n.None || !addr.IsValid() || protocol&AnyProtocol == 0 || protocol&^AnyProtocol != 0 {
		return NetDeny, nil
	}
	d, rule := NetAllow, (*NetRule)(nil)
	addrs := []netip.Addr{addr}
	if addr.IsUnspecified() {
		addrs = append(addrs, loopbacksOf(addr)...)
	}
	for _, a := range addrs {
		for _, p := range []Protocol{TCP, UDP} {
			if protocol&p == 0 {
				continue
			}
			i := n.winner(a, to.Port(), p)
			one, by := n.Default, (*NetRule)(nil)
			if i != noNetRule {
				one, by = n.Rules[i].Decision, &n.Rules[i]
			}
			if one == NetDeny {
				return NetDeny, by
			}
			if rule == nil {
				rule = by
			}
		}
	}
	return d, rule
}

// Closed is the reason for None.
func (n Network) Closed() string {
	if n.Why != "" {
		return n.Why
	}
	return "no connection is allowed: access = \"none\""
}

const noNetRule = -1

// winner returns the index of the rule that decides.
func (n Network) winner(addr netip.Addr, port uint16, p Protocol) int {
	best := noNetRule
	for i := range n.Rules {
		if n.Rules[i].covers(addr, port, p) && (best == noNetRule || n.Rules[i].over(&n.Rules[best])) {
			best = i
		}
	}
	return best
}

// over reports whether r, about the same destination as other, decides over it.
func (r *NetRule) over(other *NetRule) bool {
	if a, b := canonicalPrefix(r.Prefix).Bits(), canonicalPrefix(other.Prefix).Bits(); a != b {
		return a > b
	}
	return r.Decision < other.Decision
}

// nat64 is the well-known prefix of RFC 6052: its last four bytes are the IPv4
// address that the translator connects to.
func nat64() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x00, 0x64, 0xff, 0x9b}), 96)
}

// mapped is ::ffff:0:0/96 (RFC 4291, 2.5.5.2).
func mapped() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff}), 96)
}

// canonicalAddr returns the address a packet to addr would end at.
func canonicalAddr(addr netip.Addr) netip.Addr {
	addr = addr.WithZone("").Unmap()
	if addr.Is6() && nat64().Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	return addr
}

// canonicalPrefix does for a prefix what canonicalAddr does for an address.
func canonicalPrefix(p netip.Prefix) netip.Prefix {
	addr := p.Addr()
	if addr.Is4() || p.Bits() < 96 {
		return p.Masked()
	}
	// A Prefix never contains the mapped form of an address, hence the bytes.
	b := addr.As16()
	if addr.Is4In6() || nat64().Contains(addr) {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(b[12:])), p.Bits()-96).Masked()
	}
	return p.Masked()
}

// loopbacksOf returns where an unspecified address leads. From a socket bound to
// a v4-mapped address, :: leads to 127.0.0.1.
func loopbacksOf(unspecified netip.Addr) []netip.Addr {
	four := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if unspecified.Is4() {
		return []netip.Addr{four}
	}
	return []netip.Addr{netip.IPv6Loopback(), four}
}
