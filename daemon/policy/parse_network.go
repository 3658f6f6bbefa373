// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"strconv"
	"strings"
)

// access is how [paddock.network] access is spelt.
type access string

const (
	accessRules access = "rules"
	accessNone  access = "none"
)

func (a access) String() string { return string(a) }

func (f *file) network(key string, v *value) (Network, error) {
	n := Network{Default: NetAllow}
	t, err := tableOf(key, v, "access", "default", "rules")
	if err != nil {
		return n, err
	}
	if v := t.get("access"); v != nil {
		a, err := enum(key+".access", v, "access", accessRules, accessNone)
		if err != nil {
			return n, err
		}
		n.None = a == accessNone
	}
	if v := t.get("default"); v != nil {
		if n.Default, err = enum(key+".default", v, "default", NetAllow, NetDeny); err != nil {
			return n, err
		}
	}
	if v := t.get("rules"); v != nil {
		items, err := arrayOf(key+".rules", v)
		if err != nil {
			return n, err
		}
		n.Rules = make([]NetRule, len(items))
		for i, item := range items {
			if n.Rules[i], err = f.netRule(at(key+".rules", i), item); err != nil {
				return n, err
			}
		}
	}
	if n.None && (len(n.Rules) > 0 || t.get("default") != nil) {
		f.warn(int(v.line), `access = "none" refuses every connection: default and rules of [%s] have no effect`, key)
	}
	return n, nil
}

func (f *file) netRule(key string, v *value) (NetRule, error) {
	r := NetRule{Source: f.source, Line: int(v.line)}
	t, err := tableOf(key, v, "cidr", "decision", "justification", "ports", "protocol")
	if err != nil {
		return r, err
	}
	cidr, err := required(t, v, key, "cidr")
	if err != nil {
		return r, err
	}
	if r.Prefix, err = f.cidr(key+".cidr", cidr); err != nil {
		return r, err
	}
	decision, err := required(t, v, key, "decision")
	if err != nil {
		return r, err
	}
	if r.Decision, err = enum(key+".decision", decision, "decision", NetAllow, NetDeny); err != nil {
		return r, err
	}
	r.Protocols = AnyProtocol
	if v := t.get("protocol"); v != nil {
		if r.Protocols, err = enum(key+".protocol", v, "protocol", TCP, UDP, AnyProtocol); err != nil {
			return r, err
		}
	}
	if v := t.get("ports"); v != nil {
		if r.Ports, err = ports(key+".ports", v); err != nil {
			return r, err
		}
	}
	if v := t.get("justification"); v != nil {
		if r.Justification, err = stringOf(key+".justification", v); err != nil {
			return r, err
		}
		if strings.TrimSpace(r.Justification) == "" {
			return r, fail(v, key+".justification", "cannot be empty; leave it out or give the reason")
		}
	}
	return r, nil
}

// cidr reads an address or a prefix in CIDR notation.
func (f *file) cidr(key string, v *value) (netip.Prefix, error) {
	s, err := stringOf(key, v)
	if err != nil {
		return netip.Prefix{}, err
	}
	p, err := netip.ParsePrefix(s)
	if addr, addrErr := netip.ParseAddr(s); addrErr == nil && addr.Zone() == "" {
		p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err != nil {
		return p, fail(v, key, `bad address range %s (write "10.0.0.0/8", "2001:db8::/32" or a single address; names are not possible here)`, quoted(s))
	}
	if p.Masked() != p {
		return p, fail(v, key, "%s has address bits beyond its /%d: did you mean %s or %s?", quoted(s), p.Bits(), p.Masked(), p.Addr())
	}
	// An IPv4 address in IPv6 clothes is judged by the rules for IPv4 alone.
	if p.Addr().Is6() && 0 < p.Bits() && p.Bits() < 96 && (p.Contains(nat64().Addr()) || sharesBits(p, mapped())) {
		f.warn(int(v.line), "%s also covers IPv4 addresses written as IPv6; those are judged by rules for IPv4 addresses only", p)
	}
	return canonicalPrefix(p), nil
}

// sharesBits reports whether outer contains inner; netip says no for v4-mapped.
func sharesBits(outer, inner netip.Prefix) bool {
	p, err := inner.Addr().Prefix(outer.Bits())
	return err == nil && p.Addr().As16() == outer.Addr().As16()
}

// maxPorts is the most port ranges in one rule: more never fit into an entry.
const maxPorts = MaxNetSpans

// ports reads 443, "443", "8000-8100" or a list of such.
func ports(key string, v *value) ([]PortRange, error) {
	if v.kind != kindArray {
		p, err := portRange(key, v)
		return []PortRange{p}, err
	}
	switch n := len(v.items); {
	case n == 0:
		return nil, fail(v, key, "an empty list matches nothing; leave it out to mean every port")
	case n > maxPorts:
		return nil, fail(v, key, "%d ports and ranges in one rule, at most %d are possible: use ranges", n, maxPorts)
	}
	out := make([]PortRange, len(v.items))
	for i, item := range v.items {
		var err error
		if out[i], err = portRange(at(key, i), item); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func portRange(key string, v *value) (PortRange, error) {
	bad := func(why string) error {
		return fail(v, key, `bad port %s%s (write 443, "443", "8000-8100" or a list of these; ports are 0 to 65535)`, quoted(v.text), why)
	}
	if v.kind != kindInteger && v.kind != kindString {
		return PortRange{}, fail(v, key, `expected a port, a range like "8000-8100" or a list of these, found %s`, found(v))
	}
	if v.kind == kindInteger { // of any form TOML has for it: 0x1bb, 8_080
		n, err := strconv.ParseInt(v.text, 0, 64)
		if err != nil || n < 0 || n > 65535 {
			return PortRange{}, bad("")
		}
		return PortRange{uint16(n), uint16(n)}, nil
	}
	first, last, isRange := strings.Cut(v.text, "-")
	if !isRange {
		last = first
	}
	a, err := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
	if err != nil {
		return PortRange{}, bad("")
	}
	b, err := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
	if err != nil {
		return PortRange{}, bad("")
	}
	if a > b {
		return PortRange{}, bad(": the range ends before it begins")
	}
	return PortRange{uint16(a), uint16(b)}, nil
}
