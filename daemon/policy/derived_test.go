// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

func layer(t testing.TB, kind codex.Kind, text string) *Requirements {
	t.Helper()
	req, err := ParseLayer(codex.Layer{Name: kind.String(), Kind: kind, Data: []byte(text)}, Subject{})
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// Codex lets the higher layer allow what the lower one denies; Paddock does not.
func TestDomains(t *testing.T) {
	low := layer(t, codex.System, "[experimental_network]\nenabled = true\nmanaged_allowed_domains_only = true\nreview_domains = ['r.com']\n[experimental_network.domains]\n'a.com' = 'deny'\n'b.com' = 'allow'\n'c.com' = 'allow'\n")
	high := layer(t, codex.MDM, "[network_proxy]\nenabled = false\nmanaged_allowed_domains_only = false\nreview_domains = ['b.com']\n[network_proxy.domains]\n'a.com' = 'allow'\n'c.com' = 'deny'\n'd.com' = 'allow'\n")
	merged := Merge(low, high)
	want := Domains{Enabled: true, Only: true, Upstream: true, Rules: []DomainRule{
		{"a.com", NetDeny, false, "system", 6},
		{"c.com", NetDeny, false, "mdm", 7},
		{"b.com", NetAllow, true, "system", 7},
		{"d.com", NetAllow, false, "mdm", 8},
		{"r.com", NetAllow, true, "system", 4},
	}}
	if diff := cmp.Diff(want, merged.Domains()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := merged.Codex.Network("domains").Table.Get("a.com").Text; got != "allow" {
		t.Errorf("but of Codex it is said that a.com is %s", got)
	}
}

func TestDenyRead(t *testing.T) {
	merged := Merge(
		layer(t, codex.System, "[permissions.filesystem]\ndeny_read = ['~/.ssh', '/etc/../srv/*/x']\n[hooks]\nmanaged_dir = '/a'\n"),
		layer(t, codex.MDM, "\n[permissions.filesystem]\ndeny_read = ['/b', '~/.ssh']\n[hooks]\nmanaged_dir = '/b'\n"))
	want := []Pattern{{"/b", "mdm", 3}, {"~/.ssh", "mdm", 3}, {"/srv/*/x", "system", 2}}
	if diff := cmp.Diff(want, merged.DenyRead()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if merged.CodexError == nil {
		t.Error("two directories of hooks are no error")
	}
	if got := Defaults().DenyRead(); got != nil || len(Defaults().Domains().Rules) > 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestAutoReview(t *testing.T) {
	const people, both = "allowed_approvals_reviewers = ['user']\n", "allowed_approvals_reviewers = ['auto_review', 'user']\n"
	for _, tt := range []struct {
		low, high string
		want      bool
	}{{"", "", true}, {people, "", false}, {both, "", true}, {people, both, false}, {both, people, false}} {
		if got := Merge(layer(t, codex.System, tt.low), layer(t, codex.MDM, tt.high)).AutoReview(); got != tt.want {
			t.Errorf("%q, %q: %t", tt.low, tt.high, got)
		}
	}
}

// Whatever a higher layer says, a host that a lower one denies stays denied, and what
// it says not to read stays so.
func TestHigherLayersDoNotWiden(t *testing.T) {
	draw := func(t *rapid.T, name string) string {
		var b strings.Builder
		b.WriteString("[permissions.filesystem]\ndeny_read = [")
		for _, p := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"'/a'", "'/b'", "'~/c'"}), 0, 3, rapid.ID).Draw(t, name+" paths") {
			b.WriteString(p + ", ")
		}
		b.WriteString("]\n[experimental_network.domains]\n")
		for _, host := range []string{"a", "b", "c"} {
			if what := rapid.SampledFrom([]string{"", "allow", "deny"}).Draw(t, name+" "+host); what != "" {
				fmt.Fprintf(&b, "%s = '%s'\n", host, what)
			}
		}
		return b.String()
	}
	rapid.Check(t, func(rt *rapid.T) {
		low, high := layer(t, codex.System, draw(rt, "low")), layer(t, codex.MDM, draw(rt, "high"))
		alone, both := Merge(low), Merge(low, high)
		for _, r := range alone.Domains().Rules {
			is := func(d NetDecision) bool {
				return slices.ContainsFunc(both.Domains().Rules, func(o DomainRule) bool { return o.Pattern == r.Pattern && o.Decision == d })
			}
			if r.Decision == NetDeny && (!is(NetDeny) || is(NetAllow)) {
				rt.Fatalf("%s is no longer denied: %+v", r.Pattern, both.Domains())
			}
		}
		for _, p := range alone.DenyRead() {
			if !slices.ContainsFunc(both.DenyRead(), func(o Pattern) bool { return o.Text == p.Text }) {
				rt.Fatalf("%s may be read again", p.Text)
			}
		}
	})
}
