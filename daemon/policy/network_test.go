// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func netRule(d NetDecision, prefix string, p Protocol, ports ...PortRange) NetRule {
	return NetRule{Prefix: netip.MustParsePrefix(prefix), Ports: ports, Protocols: p, Decision: d, Source: "f"}
}

func TestNetworkDecide(t *testing.T) {
	n := Network{Default: NetAllow, Rules: []NetRule{
		0: netRule(NetDeny, "10.0.0.0/8", 0),
		1: netRule(NetAllow, "10.1.0.0/16", TCP, PortRange{443, 443}, PortRange{8000, 8100}),
		2: netRule(NetDeny, "10.1.2.0/24", TCP, PortRange{443, 443}),
		3: netRule(NetAllow, "10.1.2.0/24", AnyProtocol),
		4: netRule(NetDeny, "2001:db8::/32", UDP),
		5: netRule(NetDeny, "127.0.0.0/8", AnyProtocol, PortRange{22, 22}),
		6: netRule(NetDeny, "::1/128", TCP, PortRange{22, 22}),
		7: netRule(NetDeny, "::ffff:203.0.113.0/120", AnyProtocol),
		8: netRule(NetDeny, "64:ff9b::198.51.100.7/128", AnyProtocol),
		9: netRule(NetDeny, "0.0.0.0/32", UDP, PortRange{9, 9}),
	}}
	tests := []struct {
		to   string
		p    Protocol
		want NetDecision
		rule int
	}{
		{"192.0.2.1:443", TCP, NetAllow, -1},
		{"10.2.3.4:443", TCP, NetDeny, 0},
		{"10.1.3.4:443", TCP, NetAllow, 1},
		{"10.1.3.4:443", UDP, NetDeny, 0},
		{"10.1.3.4:443", AnyProtocol, NetDeny, 0},
		{"10.1.3.4:7999", TCP, NetDeny, 0},
		{"10.1.3.4:8000", TCP, NetAllow, 1},
		{"10.1.3.4:8100", TCP, NetAllow, 1},
		{"10.1.3.4:8101", TCP, NetDeny, 0},
		{"10.1.2.3:443", TCP, NetDeny, 2},
		{"10.1.2.3:443", UDP, NetAllow, 3},
		{"10.1.2.3:0", TCP, NetAllow, 3},
		{"[::ffff:10.2.3.4]:1", TCP, NetDeny, 0},
		{"[::ffff:10.1.3.4]:443", TCP, NetAllow, 1},
		{"[64:ff9b::10.2.3.4]:1", TCP, NetDeny, 0},
		{"[64:ff9b::1:10.2.3.4]:1", TCP, NetAllow, -1}, // beyond the /96
		{"[::10.2.3.4]:1", TCP, NetAllow, -1},          // IPv4-compatible: nothing routes it
		{"[2001:db8::1]:443", TCP, NetAllow, -1},
		{"[2001:db8::1]:443", UDP, NetDeny, 4},
		{"[2001:db8::1%eth0]:443", UDP, NetDeny, 4},
		{"127.0.0.1:22", TCP, NetDeny, 5},
		{"127.9.9.9:22", UDP, NetDeny, 5},
		{"0.0.0.0:22", TCP, NetDeny, 5}, // reaches 127.0.0.1
		{"0.0.0.0:23", TCP, NetAllow, -1},
		{"0.0.0.0:9", UDP, NetDeny, 9},
		{"127.0.0.1:9", UDP, NetAllow, -1},
		{"[::ffff:0.0.0.0]:22", TCP, NetDeny, 5},
		{"[::1]:22", TCP, NetDeny, 6},
		{"[::]:22", TCP, NetDeny, 6}, // reaches ::1
		{"[::]:22", UDP, NetDeny, 5}, // reaches 127.0.0.1 from a socket bound to a mapped address
		{"[::]:23", UDP, NetAllow, -1},
		{"203.0.113.9:1", TCP, NetDeny, 7},
		{"198.51.100.7:1", TCP, NetDeny, 8},
		{"198.51.100.8:1", TCP, NetAllow, -1},
		{"192.0.2.1:1", 0, NetDeny, -1},
		{"192.0.2.1:1", 4, NetDeny, -1},
		{"192.0.2.1:1", TCP | 4, NetDeny, -1},
	}
	for _, tt := range tests {
		d, rule := n.Decide(netip.MustParseAddrPort(tt.to), tt.p)
		var want *NetRule
		if tt.rule >= 0 {
			want = &n.Rules[tt.rule]
		}
		if d != tt.want || rule != want {
			t.Errorf("%s %s: %s by %v, want %s by rule %d", tt.to, tt.p, d, rule, tt.want, tt.rule)
		}
	}
	if d, _ := n.Decide(netip.AddrPort{}, TCP); d != NetDeny {
		t.Errorf("no address: %s", d)
	}
	n.None = true
	for _, tt := range tests {
		if d, _ := n.Decide(netip.MustParseAddrPort(tt.to), tt.p); d != NetDeny {
			t.Errorf("access none: %s %s: %s", tt.to, tt.p, d)
		}
	}
	if d, _ := (Network{}).Decide(netip.MustParseAddrPort("192.0.2.1:1"), TCP); d != NetDeny {
		t.Errorf("the zero value: %s", d)
	}
}

func TestNetworkWords(t *testing.T) {
	for got, want := range map[string]string{
		TCP.String(): "tcp", UDP.String(): "udp", AnyProtocol.String(): "any", Protocol(8).String(): "Protocol(8)",
		NetAllow.String(): "allow", NetDeny.String(): "deny", NetDecision(7).String(): "NetDecision(7)",
		Observe.String(): "observe", Enforce.String(): "enforce", Mode(7).String(): "Mode(7)",
		Allow.String(): "allow", Prompt.String(): "prompt", Forbidden.String(): "forbidden", Decision(-1).String(): "Decision(-1)",
		PrefixRule{Source: "f", Line: 3}.Origin(): "f:3", PrefixRule{Line: 3}.Origin(): "line 3", (&NetRule{Source: "f"}).Origin(): "f",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if TCP != 1 || UDP != 2 || NetDeny != 0 || Allow >= Prompt || Prompt >= Forbidden {
		t.Error("numbers the kernel side and the order of decisions depend on have changed")
	}
}

func TestEntries(t *testing.T) {
	all := func(d NetDecision, rule int) NetSpan { return NetSpan{0, 65535, AnyProtocol, d, rule} }
	tests := []struct {
		name string
		n    Network
		want []NetEntry
	}{
		{"nothing", Network{Default: NetAllow}, []NetEntry{
			{netip.MustParsePrefix("0.0.0.0/0"), []NetSpan{all(NetAllow, -1)}},
			{netip.MustParsePrefix("::/0"), []NetSpan{all(NetAllow, -1)}},
		}},
		{"none", Network{None: true, Default: NetAllow, Rules: []NetRule{netRule(NetAllow, "10.0.0.0/8", 0)}}, []NetEntry{
			{netip.MustParsePrefix("0.0.0.0/0"), []NetSpan{all(NetDeny, -1)}},
			{netip.MustParsePrefix("::/0"), []NetSpan{all(NetDeny, -1)}},
		}},
		{"ports", Network{Default: NetAllow, Rules: []NetRule{
			netRule(NetDeny, "10.0.0.0/8", TCP, PortRange{443, 443}),
			netRule(NetDeny, "10.1.0.0/16", 0, PortRange{0, 99}, PortRange{65000, 65535}),
			netRule(NetAllow, "10.2.0.0/16", 0),
			netRule(NetAllow, "10.3.0.0/16", TCP, PortRange{1, 1}),
		}}, []NetEntry{
			{netip.MustParsePrefix("0.0.0.0/0"), []NetSpan{all(NetAllow, -1)}},
			{netip.MustParsePrefix("10.0.0.0/8"), []NetSpan{
				{0, 442, AnyProtocol, NetAllow, -1},
				{443, 443, TCP, NetDeny, 0},
				{443, 443, UDP, NetAllow, -1},
				{444, 65535, AnyProtocol, NetAllow, -1},
			}},
			{netip.MustParsePrefix("10.1.0.0/16"), []NetSpan{
				{0, 99, AnyProtocol, NetDeny, 1},
				{100, 442, AnyProtocol, NetAllow, -1},
				{443, 443, TCP, NetDeny, 0},
				{443, 443, UDP, NetAllow, -1},
				{444, 64999, AnyProtocol, NetAllow, -1},
				{65000, 65535, AnyProtocol, NetDeny, 1},
			}},
			{netip.MustParsePrefix("10.2.0.0/16"), []NetSpan{all(NetAllow, 2)}},
			{netip.MustParsePrefix("10.3.0.0/16"), []NetSpan{ // shorter with the protocols apart
				{0, 0, TCP, NetAllow, -1},
				{1, 1, TCP, NetAllow, 3},
				{2, 442, TCP, NetAllow, -1},
				{443, 443, TCP, NetDeny, 0},
				{444, 65535, TCP, NetAllow, -1},
				{0, 65535, UDP, NetAllow, -1},
			}},
			{netip.MustParsePrefix("::/0"), []NetSpan{all(NetAllow, -1)}},
		}},
		{"loopback and zero", Network{Default: NetAllow, Rules: []NetRule{
			netRule(NetDeny, "127.0.0.0/8", 0), netRule(NetDeny, "::1/128", 0), netRule(NetAllow, "::/128", 0),
		}}, []NetEntry{
			{netip.MustParsePrefix("0.0.0.0/0"), []NetSpan{all(NetAllow, -1)}},
			{netip.MustParsePrefix("0.0.0.0/32"), []NetSpan{all(NetDeny, 0)}},
			{netip.MustParsePrefix("127.0.0.0/8"), []NetSpan{all(NetDeny, 0)}},
			{netip.MustParsePrefix("::/0"), []NetSpan{all(NetAllow, -1)}},
			{netip.MustParsePrefix("::/128"), []NetSpan{all(NetDeny, 1)}},
			{netip.MustParsePrefix("::1/128"), []NetSpan{all(NetDeny, 1)}},
		}},
		{"the default routes have rules", Network{Default: NetAllow, Rules: []NetRule{
			netRule(NetDeny, "0.0.0.0/0", 0), netRule(NetDeny, "::/0", UDP),
		}}, []NetEntry{
			{netip.MustParsePrefix("0.0.0.0/0"), []NetSpan{all(NetDeny, 0)}},
			{netip.MustParsePrefix("::/0"), []NetSpan{{0, 65535, TCP, NetAllow, -1}, {0, 65535, UDP, NetDeny, 1}}},
			{netip.MustParsePrefix("::/128"), []NetSpan{{0, 65535, TCP, NetDeny, 0}, {0, 65535, UDP, NetDeny, 1}}},
		}},
	}
	for _, tt := range tests {
		got, err := tt.n.Entries()
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// checkSpans fails unless the spans cover everything once.
func checkSpans(t interface{ Fatalf(string, ...any) }, e NetEntry) {
	if len(e.Spans) > MaxNetSpans || e.Prefix != e.Prefix.Masked() {
		t.Fatalf("%s: %d spans", e.Prefix, len(e.Spans))
	}
	var times [2][65536]uint8
	for _, s := range e.Spans {
		if s.First > s.Last || s.Protocols == 0 || s.Protocols&^AnyProtocol != 0 {
			t.Fatalf("%s: span %+v", e.Prefix, s)
		}
		for i := range times {
			if s.Protocols&protocolAt(i) != 0 {
				for port := int(s.First); port <= int(s.Last); port++ {
					times[i][port]++
				}
			}
		}
	}
	for i := range times {
		for port, n := range times[i] {
			if n != 1 {
				t.Fatalf("%s: port %d of %s is in %d spans: %+v", e.Prefix, port, protocolAt(i), n, e.Spans)
			}
		}
	}
}

func TestEntriesErrors(t *testing.T) {
	var many Network
	for port := range uint16(20) {
		many.Rules = append(many.Rules, netRule(NetAllow, "192.0.2.0/24", TCP, PortRange{port * 10, port * 10}))
	}
	many.Rules[3].Line = 7
	_, err := many.Entries()
	if err == nil || !strings.Contains(err.Error(), "network rules for 192.0.2.0/24 need 41 port ranges, at most 32 fit") {
		t.Errorf("too many ranges: %v", err)
	}
	// Together they fit again.
	many.Rules = append(many.Rules, netRule(NetDeny, "192.0.2.0/24", 0))
	if _, err := many.Entries(); err != nil {
		t.Errorf("covered by one rule: %v", err)
	}
	if _, err := (Network{Rules: make([]NetRule, 1)}).Entries(); err == nil {
		t.Error("a rule without a prefix: no error")
	}
}
