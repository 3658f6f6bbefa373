// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// What Codex's own keys mean for every agent. Where Codex lets a higher layer widen
// what a lower one says, Paddock does not: a machine that is under several layers is
// under each of them.

// Pattern is a path or a pattern for paths.
type Pattern struct {
	// Text is absolute, or begins with ~/ for the home directory of whoever it is
	// about. *, ? and [ are wildcards.
	Text string
	// Source and Line are the layer and the line that say so.
	Source string
	Line   int
}

// DomainRule is what holds for hosts.
type DomainRule struct {
	// Pattern is a host name, "*.x" for all below x, or "**.x" for x and all below.
	Pattern string
	// Decision is NetAllow or NetDeny. Of all rules about a host, a denying one
	// decides.
	Decision NetDecision
	// Ask says that each connection that is allowed is asked about.
	Ask bool
	// Source and Line are the layer and the line that say so.
	Source string
	Line   int
}

// Domains is what Codex's network table says of hosts.
type Domains struct {
	// Enabled says that some layer starts a managed network.
	Enabled bool
	// Only says that some layer lets nothing through that is not allowed here.
	Only bool
	// LocalBinding says that loopback and private addresses may be reached: a layer
	// says so, and no other one says that they may not.
	LocalBinding bool
	// LocalDenied says that a layer says that they may not be.
	LocalDenied bool
	// Upstream says that the proxy of the machine may be used: no layer says that it
	// may not.
	Upstream bool
	// Rules has the denying ones first.
	Rules []DomainRule
}

// AutoReview reports whether anybody but a person may answer for an agent: not if a
// layer's allowed_approvals_reviewers leaves the automatic review out.
func (r *Requirements) AutoReview() bool {
	for _, l := range r.layersOf() {
		list := l.Doc.Table.Get("allowed_approvals_reviewers")
		if list != nil && !slices.Contains(codex.Texts(list), "auto_review") {
			return false
		}
	}
	return true
}

func (r *Requirements) layersOf() []*codex.Parsed {
	switch {
	case r.Codex != nil:
		return r.Codex.Layers
	case r.Layer != nil:
		return []*codex.Parsed{r.Layer}
	}
	return nil
}

// DenyRead returns what no agent may read, of all layers, the highest layer's first.
// Only merged requirements have it.
func (r *Requirements) DenyRead() []Pattern {
	if r.Codex == nil {
		return nil
	}
	var out []Pattern
	for _, item := range r.Codex.Get("permissions", "filesystem", "deny_read").ItemsOf() {
		out = append(out, Pattern{item.Text, r.Codex.Source(item), int(item.At.Line)})
	}
	return out
}

// Domains returns what the layers say of hosts. A host that any of them denies is
// denied, one that any of them reviews is asked about, and what one of them allows is
// allowed unless a higher one denies it. Only merged requirements have it.
func (r *Requirements) Domains() Domains {
	out := Domains{Upstream: true}
	e := r.Codex
	if e == nil {
		return out
	}
	for _, l := range e.Layers {
		for _, surface := range [][]string{{"experimental_network"}, {"permissions", "network"}} {
			out.Enabled = out.Enabled || isTrue(l.Doc, append(surface, "enabled"))
			out.Only = out.Only || isTrue(l.Doc, append(surface, "managed_allowed_domains_only"))
			local := append(surface, "allow_local_binding")
			out.LocalBinding = out.LocalBinding || isTrue(l.Doc, local)
			out.LocalDenied = out.LocalDenied || isFalse(l.Doc, local)
			out.Upstream = out.Upstream && !isFalse(l.Doc, append(surface, "allow_upstream_proxy"))
		}
	}
	out.LocalBinding = out.LocalBinding && !out.LocalDenied
	reviewed := map[string]*document.Value{}
	for _, item := range e.Reviewed {
		reviewed[item.Text] = item
	}
	for _, denied := range e.Sticky {
		out.Rules = append(out.Rules, DomainRule{denied.Host, NetDeny, false, e.Source(denied.Value), int(denied.Value.At.Line)})
	}
	if allowed := e.Network("domains"); allowed != nil {
		for i, host := range allowed.Table.Keys {
			v := allowed.Table.Vals[i]
			if v.Text != "allow" || slices.ContainsFunc(e.Sticky, func(d codex.Denied) bool { return d.Host == host }) {
				continue
			}
			out.Rules = append(out.Rules, DomainRule{host, NetAllow, reviewed[host] != nil, e.Source(v), int(v.At.Line)})
			delete(reviewed, host)
		}
	}
	for _, item := range e.Reviewed {
		if reviewed[item.Text] != nil {
			out.Rules = append(out.Rules, DomainRule{item.Text, NetAllow, true, e.Source(item), int(item.At.Line)})
		}
	}
	return out
}

func isTrue(v *document.Value, names []string) bool { return isBool(v, names, "true") }

func isFalse(v *document.Value, names []string) bool { return isBool(v, names, "false") }

func isBool(v *document.Value, names []string, text string) bool {
	for _, name := range names {
		if v == nil || v.Kind != document.KindTable {
			return false
		}
		v = v.Table.Get(name)
	}
	return v != nil && v.Kind == document.KindBool && v.Text == text
}
