// SPDX-License-Identifier: Apache-2.0

package policy

import "slices"

// paint is, for each protocol, a list of spans in order that covers every port.
type paint [2][]NetSpan

func protocolAt(i int) Protocol { return TCP << i }

// plain returns the answer where there are no rules.
func plain(d NetDecision) paint {
	var p paint
	for i := range p {
		p[i] = []NetSpan{{First: 0, Last: 65535, Protocols: protocolAt(i), Decision: d, Rule: noNetRule}}
	}
	return p
}

// over lays rules over p, one after the other, so that the last one decides.
func (n Network) over(p paint, rules []int) paint {
	for i := range p {
		for _, r := range rules {
			rule := &n.Rules[r]
			if rule.protocols()&protocolAt(i) == 0 {
				continue
			}
			ports := rule.Ports
			if len(ports) == 0 {
				ports = []PortRange{{0, 65535}}
			}
			for _, ports := range ports {
				p[i] = lay(p[i], NetSpan{
					First: ports.First, Last: ports.Last, Protocols: protocolAt(i), Decision: rule.Decision, Rule: r,
				})
			}
		}
	}
	return p
}

func (p paint) equal(q paint) bool { return slices.Equal(p[0], q[0]) && slices.Equal(p[1], q[1]) }

// lay lays s over spans, which it leaves as they are.
func lay(spans []NetSpan, s NetSpan) []NetSpan {
	if s.First > s.Last {
		return spans
	}
	out := make([]NetSpan, 0, len(spans)+2)
	placed := false
	for _, old := range spans {
		if old.First < s.First {
			left := old
			left.Last = min(old.Last, s.First-1)
			out = append(out, left)
		}
		if !placed && old.Last >= s.First {
			out, placed = append(out, s), true
		}
		if old.Last > s.Last {
			right := old
			right.First = max(old.First, s.Last+1)
			out = append(out, right)
		}
	}
	return join(out)
}

// join makes neighbours that say the same into one.
func join(spans []NetSpan) []NetSpan {
	out := spans[:0]
	for _, s := range spans {
		if len(out) > 0 {
			last := &out[len(out)-1]
			if last.Rule == s.Rule && last.Decision == s.Decision && last.Protocols == s.Protocols {
				last.Last = s.Last
				continue
			}
		}
		out = append(out, s)
	}
	return out
}

// both calls visit, in order, for the widest port ranges in which neither a nor b
// changes. Both cover every port.
func both(a, b []NetSpan, visit func(a, b NetSpan)) {
	for i, j := 0, 0; i < len(a) && j < len(b); {
		x, y := a[i], b[j]
		first, last := max(x.First, y.First), min(x.Last, y.Last)
		x.First, y.First, x.Last, y.Last = first, first, last, last
		visit(x, y)
		if a[i].Last == last {
			i++
		}
		if b[j].Last == last {
			j++
		}
	}
}

// stricter combines two answers; where they are equally strict, a
// explains, or b if a has no rule.
func stricter(a, b paint) paint {
	var out paint
	for i := range out {
		both(a[i], b[i], func(x, y NetSpan) {
			if x.Decision == NetAllow && (y.Decision == NetDeny || x.Rule == noNetRule) {
				x = y
			}
			out[i] = append(out[i], x)
		})
		out[i] = join(out[i])
	}
	return out
}

// spans returns the shorter of two ways to write p down: each protocol for
// itself, or together wherever they agree.
func (p paint) spans() []NetSpan {
	apart := append(append([]NetSpan(nil), p[0]...), p[1]...)
	var together []NetSpan
	both(p[0], p[1], func(tcp, udp NetSpan) {
		if tcp.Decision == udp.Decision && tcp.Rule == udp.Rule {
			tcp.Protocols |= udp.Protocols
			together = append(together, tcp)
			return
		}
		together = append(together, tcp, udp)
	})
	if len(together) <= len(apart) {
		return together
	}
	return apart
}
