// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"slices"
)

// mergeNetworks makes the network that allows what every one of layers, given
// from high to low, allows.
//
// Its rules are theirs. That alone would not do: a layer's narrow "allow" would
// beat another layer's wide "deny". So wherever it would, a copy of what denies
// is added for just that place.
func mergeNetworks(layers []Network) Network {
	out := Network{Default: NetAllow}
	speaking := 0
	owner := []int{} // of each rule, the layer
	for i, l := range layers {
		out.None = out.None || l.None
		out.Default = min(out.Default, l.Default)
		out.ReadOnly = out.ReadOnly || l.ReadOnly
		if l.Unfamiliar.Set && (!out.Unfamiliar.Set || l.Unfamiliar.Decision < out.Unfamiliar.Decision) {
			out.Unfamiliar = l.Unfamiliar // of equal ones the highest layer's
		}
		out.Rules = append(out.Rules, l.Rules...)
		for range l.Rules {
			owner = append(owner, i)
		}
		if len(l.Rules) > 0 || l.Default == NetDeny {
			speaking++
		}
	}
	if out.None {
		return Network{None: true, Default: NetDeny}
	}
	if speaking < 2 {
		return out
	}
	points, err := out.points()
	if err != nil {
		return Network{None: true, Default: NetDeny} // a rule without a prefix: Parse makes none
	}
	m := merger{out: out, layers: layers, owner: owner, all: map[netip.Prefix]paint{}, each: map[netip.Prefix][]paint{}}
	for _, at := range points {
		m.visit(at)
	}
	return m.out
}

type merger struct {
	out    Network // grows
	layers []Network
	owner  []int
	all    map[netip.Prefix]paint   // what out says at a prefix
	each   map[netip.Prefix][]paint // what each layer says there
}

func (m *merger) visit(at point) {
	all, ok := m.all[at.parent]
	each := m.each[at.parent]
	if !ok {
		all = plain(m.out.Default)
		for _, l := range m.layers {
			each = append(each, plain(l.Default))
		}
	}
	all = m.out.over(all, at.rules)
	own := make([][]int, len(m.layers))
	for _, r := range at.rules {
		own[m.owner[r]] = append(own[m.owner[r]], r)
	}
	here := make([]paint, len(m.layers))
	for i := range m.layers {
		here[i] = m.out.over(each[i], own[i])
	}
	for _, layer := range here {
		all = m.deny(at.prefix, all, layer)
	}
	m.all[at.prefix], m.each[at.prefix] = all, here
}

// deny adds the rules that make all deny, at prefix, what layer denies.
func (m *merger) deny(prefix netip.Prefix, all, layer paint) paint {
	missing := map[int]*[2][]PortRange{} // by the rule that denies, for each protocol
	var order []int
	for i := range all {
		both(all[i], layer[i], func(is, should NetSpan) {
			if is.Decision == NetDeny || should.Decision == NetAllow {
				return
			}
			if missing[should.Rule] == nil {
				missing[should.Rule] = &[2][]PortRange{}
				order = append(order, should.Rule)
			}
			ports := &missing[should.Rule][i]
			*ports = append(*ports, PortRange{should.First, should.Last})
		})
	}
	var added []int
	for _, rule := range order {
		copied := NetRule{Justification: "another layer of requirements denies by default what it has no rule for"}
		if rule != noNetRule {
			copied = m.out.Rules[rule]
		}
		copied.Prefix, copied.Decision = prefix, NetDeny
		ports := missing[rule]
		if slices.Equal(ports[0], ports[1]) {
			ports[1] = nil
			copied.Protocols = AnyProtocol
		} else {
			copied.Protocols = TCP
		}
		for i, p := range ports {
			if len(p) == 0 {
				continue
			}
			if i > 0 {
				copied.Protocols = protocolAt(i)
			}
			copied.Ports = p
			added = append(added, len(m.out.Rules))
			m.out.Rules = append(m.out.Rules, copied)
		}
	}
	return m.out.over(all, added)
}
