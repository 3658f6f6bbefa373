// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestMergeModes(t *testing.T) {
	observe, enforce := &Requirements{Mode: Observe, ModeSet: true}, &Requirements{Mode: Enforce, ModeSet: true}
	silent := &Requirements{Mode: Enforce} // a file without a mode
	tests := []struct {
		layers []*Requirements
		want   Mode
		set    bool
	}{
		{nil, Observe, false},
		{[]*Requirements{nil}, Observe, false},
		{[]*Requirements{silent}, Enforce, false},
		{[]*Requirements{observe}, Observe, true},
		{[]*Requirements{silent, observe}, Observe, true},
		{[]*Requirements{observe, silent}, Observe, true},
		{[]*Requirements{silent, nil, silent}, Enforce, false},
		{[]*Requirements{observe, enforce}, Enforce, true},
		{[]*Requirements{enforce, observe}, Enforce, true},
		{[]*Requirements{observe, Strictest()}, Enforce, true},
		{[]*Requirements{{Mode: 7, ModeSet: true}}, Enforce, true},
	}
	for i, tt := range tests {
		if got := Merge(tt.layers...); got.Mode != tt.want || got.ModeSet != tt.set {
			t.Errorf("case %d: %s, set %t; want %s, %t", i, got.Mode, got.ModeSet, tt.want, tt.set)
		}
	}
}

func TestMerge(t *testing.T) {
	low := &Requirements{
		Mode: Enforce, Unmatched: Prompt, Rules: []PrefixRule{rule(Prompt, "git"), rule(Forbidden, "rm")},
		Agents: []string{"codex"}, Warnings: []string{"low"}, Network: Network{Default: NetAllow},
		Telemetry: TelemetrySink{Endpoint: "http://low", Headers: map[string]string{"a": "b"}},
	}
	high := &Requirements{
		Mode: Enforce, Unmatched: Allow, Rules: []PrefixRule{rule(Forbidden, "git", "push")},
		Agents: []string{"cursor", "codex"}, Warnings: []string{"high"}, Network: Network{Default: NetAllow},
		Telemetry: TelemetrySink{Endpoint: "http://high"},
	}
	want := &Requirements{
		Mode: Enforce, Unmatched: Prompt, Rules: []PrefixRule{high.Rules[0], low.Rules[0], low.Rules[1]},
		Agents: []string{"cursor", "codex"}, Warnings: []string{"high", "low"}, Network: Network{Default: NetAllow},
		Approvals: DefaultApprovals(),
		Telemetry: high.Telemetry, // not low's headers, which may be a secret between low and its receiver
	}
	layers := []*Requirements{low, nil, high}
	if diff := cmp.Diff(want, Merge(layers...)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if layers[0] != low || layers[2] != high {
		t.Error("the layers are in another order than before")
	}
	// A layer that says nothing about agents does not make it all of them.
	if got := Merge(low, &Requirements{}).Agents; !slices.Equal(got, low.Agents) {
		t.Errorf("agents %q", got)
	}
	high.Telemetry = TelemetrySink{}
	if got := Merge(low, high).Telemetry.Endpoint; got != "http://low" {
		t.Errorf("telemetry to %q", got)
	}
}

func TestDefaultsAndStrictest(t *testing.T) {
	to := netip.MustParseAddrPort("127.0.0.1:1")
	for _, tt := range []struct {
		req  *Requirements
		mode Mode
		d    Decision
		net  NetDecision
	}{
		{Defaults(), Observe, Allow, NetAllow},
		{Strictest(), Enforce, Forbidden, NetDeny},
		{Merge(Strictest(), Defaults()), Enforce, Forbidden, NetDeny},
		{Merge(Defaults(), Strictest()), Enforce, Forbidden, NetDeny},
		{&Requirements{}, Observe, Allow, NetDeny},
	} {
		v := Compile(tt.req.Rules, tt.req.Unmatched).Decide(cmd("ls"))
		d, _ := tt.req.Network.Decide(to, TCP)
		if tt.req.Mode != tt.mode || v.Decision != tt.d || d != tt.net {
			t.Errorf("%s, ls %s, network %s; want %s, %s, %s", tt.req.Mode, v.Decision, d, tt.mode, tt.d, tt.net)
		}
	}
}

// Nobody wrote the strictest requirements: a reason that speaks of rules, or of a key,
// would send people looking for them.
func TestStrictestSaysWhy(t *testing.T) {
	r := Strictest()
	if got := CompileCommands(r).Decide(cmd("ls")).Reason; got != Unusable {
		t.Errorf("a command: %s", got)
	}
	to := HostRequest{Host: HostOf(netip.MustParseAddr("192.0.2.1")), Port: 443}
	if got := CompileHosts(r).Decide(to).Reason; got != Unusable {
		t.Errorf("a connection by name: %s", got)
	}
	if got := r.Network.Closed(); got != Unusable {
		t.Errorf("a connection by address: %s", got)
	}
	if got := CompileCommands(&Requirements{Unmatched: Forbidden}).Decide(cmd("ls")).Reason; !strings.HasPrefix(got, "no rule matches ls") {
		t.Errorf("what an administrator forbids: %s", got)
	}
	if got := (Network{None: true}).Closed(); !strings.Contains(got, `access = "none"`) {
		t.Errorf("no network, of an administrator's: %s", got)
	}
}

// A layer's narrow "allow" does not open what another layer's wide "deny" closes,
// whichever is the higher; its own does.
func TestMergeNetworks(t *testing.T) {
	closed := Network{Default: NetAllow, Rules: []NetRule{
		netRule(NetDeny, "10.0.0.0/8", 0), netRule(NetAllow, "10.2.0.0/16", TCP),
	}}
	open := Network{Default: NetAllow, Rules: []NetRule{
		netRule(NetAllow, "10.1.0.0/16", 0, PortRange{443, 443}), netRule(NetAllow, "10.2.0.0/16", 0), netRule(NetAllow, "11.0.0.0/8", 0),
	}}
	listed := Network{Default: NetDeny, Rules: []NetRule{netRule(NetAllow, "11.1.0.0/16", 0), netRule(NetAllow, "10.0.0.0/8", UDP)}}
	for to, want := range map[string][3]NetDecision{ // closed+open over TCP, over UDP, all three over TCP
		"10.1.0.1:443": {NetDeny, NetDeny, NetDeny},
		"10.2.0.1:443": {NetAllow, NetDeny, NetDeny},
		"10.3.0.1:443": {NetDeny, NetDeny, NetDeny},
		"11.0.0.1:443": {NetAllow, NetAllow, NetDeny},
		"11.1.0.1:443": {NetAllow, NetAllow, NetAllow},
		"12.0.0.1:443": {NetAllow, NetAllow, NetDeny},
	} {
		for _, two := range [][]Network{{closed, open}, {open, closed}} {
			n := Merge(&Requirements{Network: two[0]}, &Requirements{Network: two[1]}).Network
			tcp, _ := n.Decide(netip.MustParseAddrPort(to), TCP)
			udp, _ := n.Decide(netip.MustParseAddrPort(to), UDP)
			three := Merge(&Requirements{Network: two[0]}, &Requirements{Network: listed}, &Requirements{Network: two[1]}).Network
			all, _ := three.Decide(netip.MustParseAddrPort(to), TCP)
			if got := [3]NetDecision{tcp, udp, all}; got != want {
				t.Errorf("%s: %v, want %v by\n%+v", to, got, want, three.Rules)
			}
		}
	}
}

// What was added to make a merged network right says who wants it, and there is no
// more of it than needed.
func TestMergeNetworksExplains(t *testing.T) {
	wide := netRule(NetDeny, "10.0.0.0/8", TCP)
	wide.Source, wide.Line, wide.Justification = "wide", 4, "Intranet."
	n := Merge(
		&Requirements{Network: Network{Default: NetAllow, Rules: []NetRule{wide}}},
		&Requirements{Network: Network{Default: NetAllow, Rules: []NetRule{
			netRule(NetAllow, "10.1.0.0/16", 0), netRule(NetAllow, "10.1.2.0/24", TCP, PortRange{80, 80}), netRule(NetAllow, "12.0.0.0/8", 0),
		}}},
	).Network
	added := wide
	added.Prefix, added.Ports = netip.MustParsePrefix("10.1.0.0/16"), []PortRange{{0, 65535}}
	inner := added
	inner.Prefix, inner.Ports = netip.MustParsePrefix("10.1.2.0/24"), []PortRange{{80, 80}}
	if diff := cmp.Diff([]NetRule{added, inner}, n.Rules[4:], cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("added rules (-want +got):\n%s", diff)
	}
	_, r := n.Decide(netip.MustParseAddrPort("10.1.2.3:80"), TCP)
	if r == nil || r.Origin() != "wide:4" {
		t.Errorf("denied by %+v", r)
	}
	byDefault := Merge(&Requirements{Network: Network{Default: NetDeny}}, &Requirements{Network: n}).Network
	if _, r := byDefault.Decide(netip.MustParseAddrPort("12.0.0.1:80"), UDP); r == nil || r.Justification == "" {
		t.Errorf("denied by %+v", r)
	}
}

func TestMergeNetworksProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		layers := rapid.SliceOfN(drawNetwork(), 1, 4).Draw(t, "layers")
		requirements := make([]*Requirements, len(layers))
		for i := range layers {
			requirements[i] = &Requirements{Network: layers[i]}
		}
		merged := Merge(requirements...).Network
		backwards := Merge(rapid.Permutation(requirements).Draw(t, "order")...).Network
		for range 20 {
			to := netip.AddrPortFrom(drawAddr().Draw(t, "to"), drawPort().Draw(t, "port"))
			p := rapid.SampledFrom([]Protocol{TCP, UDP}).Draw(t, "protocol")
			want := NetAllow
			for _, l := range layers {
				d, _ := l.Decide(to, p)
				want = min(want, d)
			}
			if d, r := merged.Decide(to, p); d != want {
				t.Fatalf("%s %s: %s by %+v, but the layers together %s", to, p, d, r, want)
			}
			if d, _ := backwards.Decide(to, p); d != want {
				t.Fatalf("%s %s: %s with the layers in another order, want %s", to, p, d, want)
			}
		}
		if _, err := merged.Entries(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestMergeRulesProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		layers := make([]*Requirements, rapid.IntRange(1, 4).Draw(t, "layers"))
		for i := range layers {
			layers[i] = &Requirements{
				Unmatched: rapid.SampledFrom([]Decision{Allow, Prompt, Forbidden}).Draw(t, "unmatched"),
				// As Parse makes them.
				Rules: rapid.SliceOfN(drawRule().Filter(func(r PrefixRule) bool { return r.Decision != Allow }), 0, 5).Draw(t, "rules"),
			}
		}
		c := drawCommand().Draw(t, "command")
		decide := func(r *Requirements) Verdict { return Compile(r.Rules, r.Unmatched).Decide(c) }
		merged := decide(Merge(layers...))
		if v := decide(Merge(rapid.Permutation(layers).Draw(t, "order")...)); v.Decision != merged.Decision || v.Rule.HumanOnly != merged.Rule.HumanOnly {
			t.Fatalf("%s, but with the layers in another order %s", merged.Decision, v.Decision)
		}
		for i, l := range layers {
			if v := decide(l); v.Matched && v.Decision > merged.Decision {
				t.Fatalf("layer %d alone says %s, all together %s", i, v.Decision, merged.Decision)
			}
		}
	})
}
