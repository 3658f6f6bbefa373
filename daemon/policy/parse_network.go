// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// access is how [paddock.network] access is spelt.
type access string

const (
	accessRules access = "rules"
	accessNone  access = "none"
)

func (a access) String() string { return string(a) }

// httpMode is how [paddock.network] mode is spelt. The words are Codex's.
type httpMode string

const (
	modeFull    httpMode = "full"
	modeLimited httpMode = "limited"
)

func (m httpMode) String() string { return string(m) }

func (f *file) network(key string, v *document.Value) (Network, error) {
	n := Network{Default: NetAllow}
	t, err := document.TableOf(key, v, keysOf(networkShape)...)
	if err != nil {
		return n, err
	}
	if v := t.Get("access"); v != nil {
		a, err := document.Enum(key+".access", v, "access", accessRules, accessNone)
		if err != nil {
			return n, err
		}
		n.None = a == accessNone
	}
	if v := t.Get("default"); v != nil {
		if n.Default, err = document.Enum(key+".default", v, "default", NetAllow, NetDeny); err != nil {
			return n, err
		}
	}
	if v := t.Get("unfamiliar"); v != nil {
		n.Unfamiliar = HostSetting{Set: true, Source: f.source, Line: int(v.At.Line)}
		if n.Unfamiliar.Decision, err = document.Enum(key+".unfamiliar", v, "decision", NetAllow, NetAsk, NetDeny); err != nil {
			return n, err
		}
	}
	if v := t.Get("mode"); v != nil {
		m, err := document.Enum(key+".mode", v, "mode", modeFull, modeLimited)
		if err != nil {
			return n, err
		}
		n.ReadOnly = m == modeLimited
	}
	if v := t.Get("rules"); v != nil {
		items, err := document.ArrayOf(key+".rules", v)
		if err != nil {
			return n, err
		}
		n.Rules = make([]NetRule, len(items))
		for i, item := range items {
			if n.Rules[i], err = f.netRule(document.Element(key+".rules", i), item); err != nil {
				return n, err
			}
		}
	}
	if n.None && (len(n.Rules) > 0 || t.Get("default") != nil || n.Unfamiliar.Set) {
		f.warn(v.At, `access = "none" refuses every connection: default, rules and unfamiliar of [%s] have no effect`, key)
	}
	return n, nil
}

func (f *file) netRule(key string, v *document.Value) (NetRule, error) {
	r := NetRule{Source: f.source, Line: int(v.At.Line)}
	t, err := document.TableOf(key, v, keysOf(netRuleShape)...)
	if err != nil {
		return r, err
	}
	cidr, err := document.Required(t, v, key, "cidr")
	if err != nil {
		return r, err
	}
	if r.Prefix, err = f.cidr(key+".cidr", cidr); err != nil {
		return r, err
	}
	decision, err := document.Required(t, v, key, "decision")
	if err != nil {
		return r, err
	}
	if r.Decision, err = document.Enum(key+".decision", decision, "decision", NetAllow, NetDeny); err != nil {
		return r, err
	}
	r.Protocols = AnyProtocol
	if v := t.Get("protocol"); v != nil {
		if r.Protocols, err = document.Enum(key+".protocol", v, "protocol", TCP, UDP, AnyProtocol); err != nil {
			return r, err
		}
	}
	if v := t.Get("ports"); v != nil {
		if r.Ports, err = ports(key+".ports", v); err != nil {
			return r, err
		}
	}
	if v := t.Get("justification"); v != nil {
		if r.Justification, err = document.StringOf(key+".justification", v); err != nil {
			return r, err
		}
		if strings.TrimSpace(r.Justification) == "" {
			return r, document.Fail(v, key+".justification", "cannot be empty; leave it out or give the reason")
		}
	}
	return r, nil
}

// cidr reads an address or a prefix in CIDR notation.
func (f *file) cidr(key string, v *document.Value) (netip.Prefix, error) {
	s, err := document.StringOf(key, v)
	if err != nil {
		return netip.Prefix{}, err
	}
	p, err := netip.ParsePrefix(s)
	if addr, addrErr := netip.ParseAddr(s); addrErr == nil && addr.Zone() == "" {
		p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err != nil {
		return p, document.Fail(v, key, `bad address range %s (write "10.0.0.0/8", "2001:db8::/32" or a single address; names are not possible here)`, document.Quoted(s))
	}
	if p.Masked() != p {
		return p, document.Fail(v, key, "%s has address bits beyond its /%d: did you mean %s or %s?", document.Quoted(s), p.Bits(), p.Masked(), p.Addr())
	}
	// An IPv4 address in IPv6 clothes is judged by the rules for IPv4 alone.
	if p.Addr().Is6() && 0 < p.Bits() && p.Bits() < 96 && (p.Contains(nat64().Addr()) || sharesBits(p, mapped())) {
		f.warn(v.At, "%s also covers IPv4 addresses written as IPv6; those are judged by rules for IPv4 addresses only", p)
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
func ports(key string, v *document.Value) ([]PortRange, error) {
	if v.Kind != document.KindArray {
		p, err := portRange(key, v)
		return []PortRange{p}, err
	}
	switch n := len(v.Items); {
	case n == 0:
		return nil, document.Fail(v, key, "an empty list matches nothing; leave it out to mean every port")
	case n > maxPorts:
		return nil, document.Fail(v, key, "%d ports and ranges in one rule, at most %d are possible: use ranges", n, maxPorts)
	}
	out := make([]PortRange, len(v.Items))
	for i, item := range v.Items {
		var err error
		if out[i], err = portRange(document.Element(key, i), item); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func portRange(key string, v *document.Value) (PortRange, error) {
	bad := func(why string) error {
		return document.Fail(v, key, `bad port %s%s (write 443, "443", "8000-8100" or a list of these; ports are 0 to 65535)`, document.Quoted(v.Text), why)
	}
	if v.Kind != document.KindInteger && v.Kind != document.KindString {
		return PortRange{}, document.Fail(v, key, `expected a port, a range like "8000-8100" or a list of these, found %s`, document.Found(v))
	}
	if v.Kind == document.KindInteger { // of any form TOML has for it: 0x1bb, 8_080
		n, err := strconv.ParseInt(v.Text, 0, 64)
		if err != nil || n < 0 || n > 65535 {
			return PortRange{}, bad("")
		}
		return PortRange{uint16(n), uint16(n)}, nil
	}
	first, last, isRange := strings.Cut(v.Text, "-")
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
