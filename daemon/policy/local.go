// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"strings"
)

// locality is how near an address is.
type locality int

const (
	// public is everywhere else.
	public locality = iota
	// private is the machine itself or a network around it: allow_local_binding opens it.
	private
	// metadata is where a cloud gives out credentials of the machine, and the link-local
	// ranges these lie in. Nothing opens it but a rule that names it.
	metadata
)

// nearby lists what is no public address: RFC 6890 and its successors, without the
// ranges for documentation, which lead nowhere.
var nearby = []struct {
	prefix netip.Prefix
	is     locality
}{
	{netip.MustParsePrefix("169.254.0.0/16"), metadata},     // link-local; AWS, Azure, GCP and most others
	{netip.MustParsePrefix("fe80::/10"), metadata},          // link-local
	{netip.MustParsePrefix("fd00:ec2::/32"), metadata},      // AWS
	{netip.MustParsePrefix("fd20:ce::254/128"), metadata},   // Google
	{netip.MustParsePrefix("fd00:42::42/128"), metadata},    // Scaleway
	{netip.MustParsePrefix("100.100.100.200/32"), metadata}, // Alibaba
	{netip.MustParsePrefix("168.63.129.16/32"), metadata},   // Azure's WireServer, a public address by its look
	{netip.MustParsePrefix("192.0.0.0/24"), metadata},       // IETF protocol assignments; Oracle's is .192
	{netip.MustParsePrefix("127.0.0.0/8"), private},
	{netip.MustParsePrefix("0.0.0.0/8"), private}, // "this network": Linux takes 0.0.0.0 for itself
	{netip.MustParsePrefix("10.0.0.0/8"), private},
	{netip.MustParsePrefix("172.16.0.0/12"), private},
	{netip.MustParsePrefix("192.168.0.0/16"), private},
	{netip.MustParsePrefix("100.64.0.0/10"), private}, // carrier-grade NAT, and many a VPN
	{netip.MustParsePrefix("198.18.0.0/15"), private}, // benchmarks, and the made-up addresses of some VPNs
	{netip.MustParsePrefix("224.0.0.0/3"), private},   // multicast, reserved, broadcast
	{netip.MustParsePrefix("::/96"), private},         // unspecified, loopback, IPv4-compatible
	{netip.MustParsePrefix("64:ff9b:1::/48"), private},
	{netip.MustParsePrefix("fc00::/7"), private},
	{netip.MustParsePrefix("fec0::/10"), private}, // site-local, before ULA
	{netip.MustParsePrefix("ff00::/8"), private},
}

// localityOf looks at an address in canonical form, and at the IPv4 address in it
// where a tunnel or a translator would take it from there.
func localityOf(addr netip.Addr) locality {
	is := public
	for _, n := range nearby {
		if n.prefix.Contains(addr) {
			is = n.is
			break
		}
	}
	if inner, ok := embedded(addr); ok {
		is = max(is, localityOf(inner))
	}
	return is
}

var (
	sixToFour = netip.MustParsePrefix("2002::/16") // RFC 3056
	teredo    = netip.MustParsePrefix("2001::/32") // RFC 4380: the client's address, inverted
	siit      = netip.PrefixFrom(netip.AddrFrom16([16]byte{8: 0xff, 9: 0xff}), 96)
)

// embedded returns the IPv4 address that a transition mechanism finds in an IPv6 one.
// v4-mapped and NAT64 are not here: their canonical form is the IPv4 address.
func embedded(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	b := addr.As16()
	last := [4]byte(b[12:])
	switch {
	case sixToFour.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case teredo.Contains(addr):
		for i := range last {
			last[i] = ^last[i]
		}
		return netip.AddrFrom4(last), true
	case siit.Contains(addr):
		return netip.AddrFrom4(last), true
	case b[8]&^3 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP, RFC 5214
		return netip.AddrFrom4(last), true
	}
	return netip.Addr{}, false
}

// localName says what a name means by itself, for where its address is not known.
func localName(name string) locality {
	switch name {
	case "localhost", "ip6-localhost", "ip6-loopback":
		return private
	case "metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal":
		return metadata
	}
	if strings.HasSuffix(name, ".localhost") || strings.HasSuffix(name, ".localdomain") {
		return private
	}
	return public
}
