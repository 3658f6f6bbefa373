// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// HostRequest is a connection, or a request on one, that is to be judged by name.
type HostRequest struct {
	// Host is the name the client says, or the address if it says none and is known by
	// none.
	Host     Host
	Port     uint16
	Protocol HostProtocol
	// Method is that of an HTTP request that can be read; empty otherwise.
	Method string
	// Addr is where a packet would go. Invalid where another proxy finds that out.
	Addr netip.Addr
	// Own says that this is one of the machine's own addresses.
	Own bool
}

// HostRule is a rule about one host, of a .rules file.
type HostRule struct {
	Host Host
	// Protocols are those it is about; empty: all.
	Protocols []HostProtocol
	Decision  NetDecision
	// Justification is the administrator's reason, for people. May be empty.
	Justification string
	Source        string
	Line          int
}

// HostSetting is what holds for hosts of which no rule speaks.
type HostSetting struct {
	// Set says that it is written.
	Set      bool
	Decision NetDecision
	Source   string
	Line     int
}

// Hosts is the network policy made ready to decide by name. It does not change and
// may be used by many at once.
type Hosts struct {
	network    Network
	domains    Domains
	unfamiliar HostSetting
	// managed says that what is near is denied unless it is named.
	managed bool

	rules  []hostRule
	exact  map[Host][]int32
	within map[string][]int32 // what is below a name
	globs  []int32
	byName bool
	// without is what holds without cohorts of people; nil if there are none.
	without *Hosts
}

type hostRule struct {
	HostRule
	pattern string
	glob    hostPattern
	set     uint8 // of protocols, a bit each
}

const everyProtocol = 1<<RawTCP | 1<<HTTP | 1<<HTTPS

// CompileHosts makes the network policy of requirements ready: the domains of all
// layers, the network_rules of .rules files, and [paddock.network].
//
// A pattern that Codex takes and that matches no host, such as a URL or an address
// range, allows nothing here either; if it denies, it denies what was surely meant.
func CompileHosts(r *Requirements) *Hosts {
	h := &Hosts{network: r.Network, domains: r.Domains(), exact: map[Host][]int32{}, within: map[string][]int32{}}
	for _, d := range h.domains.Rules {
		h.addPattern(d)
	}
	for _, rule := range r.HostRules {
		h.addRule(rule)
	}
	h.managed = h.domains.Enabled || r.Network.Unfamiliar.Set
	h.unfamiliar = r.Network.Unfamiliar
	switch {
	case h.unfamiliar.Set:
	case h.domains.Enabled:
		// What is not in the list is asked about in Codex, if anybody may be asked.
		h.unfamiliar.Decision = min(NetAsk, r.Network.Default)
	default:
		h.unfamiliar.Decision = r.Network.Default
	}
	if h.domains.Only {
		h.unfamiliar.Decision = NetDeny
	}
	h.byName = !r.Network.None && (h.byName || h.managed || h.domains.Only || r.Network.ReadOnly || len(h.rules) > 0)
	if r.Without != nil {
		h.without = CompileHosts(r.Without)
		h.byName = h.byName || h.without.byName && !r.Network.None
		h.domains.Upstream = h.domains.Upstream && h.without.domains.Upstream
	}
	return h
}

func (h *Hosts) addPattern(d DomainRule) {
	rule := hostRule{pattern: d.Pattern, set: everyProtocol, HostRule: HostRule{Decision: d.Decision, Source: d.Source, Line: d.Line}}
	if d.Ask {
		rule.Decision = min(d.Decision, NetAsk)
	}
	p, err := parseHostPattern(d.Pattern)
	if err != nil && rule.Decision != NetAllow {
		if prefix, cidr := netip.ParsePrefix(strings.TrimSpace(d.Pattern)); cidr == nil {
			h.network.Rules = append(slices.Clip(h.network.Rules), NetRule{
				Prefix: canonicalPrefix(prefix), Protocols: AnyProtocol, Decision: NetDeny, Source: d.Source, Line: d.Line,
			})
			h.byName = true
			return
		}
		p, err = meantHost(d.Pattern)
	}
	if err != nil {
		return // no host matches it: see codex.Effective.Hints
	}
	n := int32(len(h.rules))
	rule.Host, rule.glob = p.exact, p
	h.rules = append(h.rules, rule)
	switch {
	case p.exact.IsValid():
		h.exact[p.exact] = append(h.exact[p.exact], n)
	case p.within != "":
		h.within[p.within] = append(h.within[p.within], n)
		if p.apex {
			h.exact[Host{name: p.within}] = append(h.exact[Host{name: p.within}], n)
		}
	default:
		h.globs = append(h.globs, n)
	}
}

func (h *Hosts) addRule(rule HostRule) {
	r := hostRule{HostRule: rule, pattern: rule.Host.String(), set: everyProtocol, glob: hostPattern{exact: rule.Host}}
	if len(rule.Protocols) > 0 {
		r.set = 0
	}
	for _, p := range rule.Protocols {
		r.set |= 1 << p
	}
	h.exact[rule.Host] = append(h.exact[rule.Host], int32(len(h.rules)))
	h.rules = append(h.rules, r)
}

// ByName reports whether names make any difference. If not, Network decides alone,
// and nothing needs to come to the proxy.
func (h *Hosts) ByName() bool { return h.byName }

// Upstream reports whether the proxy that is set for the machine may be used.
func (h *Hosts) Upstream() bool { return h.domains.Upstream }

// OwnListeners reports whether a session may connect, on loopback, to what it itself
// listens on: unless requirements say that loopback may not be reached, or deny or review
// one of its names or addresses. What rules by address deny is denied all the same.
func (h *Hosts) OwnListeners() bool {
	if h.network.None || h.domains.LocalDenied || h.without != nil && !h.without.OwnListeners() {
		return false
	}
	return !slices.ContainsFunc(h.rules, func(r hostRule) bool { return r.Decision != NetAllow && r.loops() })
}

// LoopbackDenied reports whether no rule by name opens any of loopback to anybody else's
// services.
func (h *Hosts) LoopbackDenied() bool {
	if h.network.None {
		return true
	}
	return h.managed && !h.domains.LocalBinding && !slices.ContainsFunc(h.rules, func(r hostRule) bool { return r.literal() && r.loops() })
}

// loops reports whether the rule is about the machine itself.
func (r *hostRule) loops() bool {
	own := func(name string) bool { return localName(name) == private }
	switch p := r.glob; {
	case p.exact.IsValid():
		a := canonicalAddr(p.exact.Addr())
		return own(p.exact.Name()) || a.IsValid() && (a.IsLoopback() || a.IsUnspecified())
	case p.within != "":
		return own(p.within) || own("any."+p.within)
	default:
		return slices.ContainsFunc([]string{"localhost", "any.localhost", "127.0.0.1", "127.0.0.2", "::1", "0.0.0.0", "::"}, p.glob.MatchString)
	}
}

// Network returns the rules by address.
func (h *Hosts) Network() Network { return h.network }

// find returns the rule that decides about a host by name: the strictest, and of
// equal ones the first. Nil: there is none.
func (h *Hosts) find(host Host, p HostProtocol) *hostRule {
	var best *hostRule
	consider := func(list []int32) {
		for _, i := range list {
			r := &h.rules[i]
			if r.set&(1<<p) != 0 && (best == nil || r.Decision < best.Decision) {
				best = r
			}
		}
	}
	consider(h.exact[host])
	for name := host.Name(); ; {
		i := strings.IndexByte(name, '.')
		if i < 0 {
			break
		}
		name = name[i+1:]
		consider(h.within[name])
	}
	for _, i := range h.globs {
		if h.rules[i].glob.glob.MatchString(host.String()) {
			consider([]int32{i})
		}
	}
	return best
}

// Decide judges a connection, or one request on it. What denies comes first: a rule
// about the name, about the address, what is near and not named. Then what asks, then
// what allows, a rule by name or by address, and in the end what holds for what no
// rule is about.
//
// What cohorts of people allow counts only as far as it is allowed without them.
func (h *Hosts) Decide(q HostRequest) HostVerdict {
	v := h.decide(q)
	if h.without != nil {
		if without := h.without.Decide(q); without.Decision < v.Decision {
			return without
		}
	}
	return v
}

func (h *Hosts) decide(q HostRequest) HostVerdict {
	addr := q.Addr
	if q.Host.Addr().IsValid() {
		addr = q.Host.Addr()
	}
	addr = canonicalAddr(addr)
	switch {
	case h.network.None:
		return deny(CauseNotAllowed, h.network.Closed())
	case !q.Host.IsValid() || q.Port == 0:
		return deny(CauseMalformed, "the destination cannot be understood")
	}
	name := h.find(q.Host, q.Protocol)
	if name != nil && name.Decision == NetDeny {
		return name.verdict(CauseDenied, q.Host.String()+" is denied")
	}
	var network *NetRule
	if addr.IsValid() {
		if r := h.find(HostOf(addr), q.Protocol); r != nil && r.Decision == NetDeny {
			return r.verdict(CauseDenied, fmt.Sprintf("%s, the address of %s, is denied", addr, q.Host))
		}
		var d NetDecision
		d, network = h.network.Decide(netip.AddrPortFrom(addr, q.Port), TCP)
		if d == NetDeny && network != nil {
			return network.verdict(NetDeny, CauseDenied, fmt.Sprintf("%s is denied by address", addr))
		}
	}
	if v, near := h.near(q, addr, network); near {
		return v
	}
	if h.network.ReadOnly && q.Protocol == HTTP && q.Method != "" && !readOnly(q.Method) {
		return deny(CauseMethod, fmt.Sprintf("method %s is not allowed: mode = \"limited\" has GET, HEAD and OPTIONS", q.Method))
	}
	if name != nil {
		cause := CauseAllowed
		if name.Decision == NetAsk {
			cause = CauseReview
		}
		return name.verdict(cause, "")
	}
	if network != nil {
		return network.verdict(NetAllow, CauseAllowed, "")
	}
	return h.other(q.Host)
}

// near denies what is near the machine and not named.
func (h *Hosts) near(q HostRequest, addr netip.Addr, network *NetRule) (HostVerdict, bool) {
	if !h.managed {
		return HostVerdict{}, false
	}
	is, where := localName(q.Host.Name()), q.Host.String()
	if addr.IsValid() {
		is = localityOf(addr)
		if q.Own {
			is = max(is, private) // as loopback: whoever listens on the machine answers
		}
		if h.namesAddr(q, addr) || network != nil && network.Decision == NetAllow {
			return HostVerdict{}, false
		}
		if where != addr.String() {
			where += " (" + addr.String() + ")"
		}
	} else if r := h.find(q.Host, q.Protocol); r != nil && r.literal() {
		return HostVerdict{}, false
	}
	switch {
	case is == public, is == private && h.domains.LocalBinding:
		return HostVerdict{}, false
	case is == metadata:
		return deny(CauseLocal, where+" is link-local, where clouds keep credentials: only a rule that names the address opens it"), true
	}
	if q.Own {
		where += ", an address of this machine,"
	}
	return deny(CauseLocal, where+" is a local or private address: only a rule that names the address, or allow_local_binding, opens it"), true
}

// namesAddr reports whether a rule names the address itself, or localhost for what
// that is.
func (h *Hosts) namesAddr(q HostRequest, addr netip.Addr) bool {
	if r := h.find(HostOf(addr), q.Protocol); r != nil && r.literal() {
		return true
	}
	if q.Host.Name() != "localhost" || !addr.IsLoopback() {
		return false
	}
	r := h.find(q.Host, q.Protocol)
	return r != nil && r.literal()
}

// literal reports whether the rule names one host.
func (r *hostRule) literal() bool { return r.glob.exact.IsValid() && r.Decision != NetDeny }

// other is for what no rule speaks of.
func (h *Hosts) other(host Host) HostVerdict {
	d := h.unfamiliar.Decision
	if host.Addr().IsValid() {
		d = min(d, h.network.Default)
	}
	v := HostVerdict{Decision: d, Cause: CauseNotAllowed, Source: h.unfamiliar.Source, Line: h.unfamiliar.Line}
	switch {
	case d == NetAllow:
		v.Cause, v.Reason = CauseAllowed, "no rule is about "+host.String()
	case h.domains.Only:
		v.Source, v.Line = "", 0
		v.Reason = host.String() + " is not allowed, and managed_allowed_domains_only is set"
	case d == NetAsk:
		v.Reason = host.String() + " is unfamiliar"
	default:
		v.Reason = "no rule allows " + host.String()
	}
	if at := v.Origin(); at != "" && d != NetAllow {
		v.Reason += " (" + at + ")"
	}
	return v
}

func deny(cause HostCause, reason string) HostVerdict {
	return HostVerdict{Decision: NetDeny, Cause: cause, Reason: reason}
}

// verdict makes the sentence: the administrator's reason if there is one.
func (r *hostRule) verdict(cause HostCause, reason string) HostVerdict {
	v := HostVerdict{Decision: r.Decision, Cause: cause, Rule: r.pattern, Source: r.Source, Line: r.Line}
	if r.Justification != "" {
		reason = r.Justification
	}
	v.Reason = withRule(reason, r.Decision, r.pattern, v.Origin())
	return v
}

func (r *NetRule) verdict(d NetDecision, cause HostCause, reason string) HostVerdict {
	if r.Justification != "" {
		reason = r.Justification
	}
	return HostVerdict{
		Decision: d, Cause: cause, Rule: r.Prefix.String(), Source: r.Source, Line: r.Line,
		Reason: withRule(reason, d, r.Prefix.String(), r.Origin()),
	}
}

func withRule(reason string, d NetDecision, rule, at string) string {
	by := fmt.Sprintf("rule %q = %q", rule, d)
	if at != "" {
		by += ", " + at
	}
	if reason == "" {
		return by
	}
	return reason + " (" + by + ")"
}

func readOnly(method string) bool { return slices.Contains([]string{"GET", "HEAD", "OPTIONS"}, method) }
