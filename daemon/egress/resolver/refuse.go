// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// refusal is why a question is not answered as it was asked.
type refusal struct {
	code    dnsmessage.RCode
	reason  string
	verdict policy.HostVerdict
	alias   string // the name that was the reason, if it is not the asked one
	tunnel  bool
	quiet   bool // told before
	// enforced is false where it is only told of.
	enforced bool
}

// judge looks at the asked name and type. free says that a rule allows the name.
func (r *Resolver) judge(q *question) (no *refusal, free bool) {
	if no := r.denied(q.name); no != nil {
		return no, false
	}
	v := r.config.Judge(mustHost(q.name))
	free = ruled(v)
	if !smallType(q.asked.Type) && (!free || !freeType(q.asked.Type)) {
		reason := fmt.Sprintf("DNS records of type %s are only for names that a rule allows", typeName(q.asked.Type))
		if !freeType(q.asked.Type) {
			reason = fmt.Sprintf("DNS records of type %s are not resolved for sessions", typeName(q.asked.Type))
		}
		return &refusal{code: dnsmessage.RCodeRefused, reason: reason, verdict: v}, free
	}
	return nil, free
}

// ruled reports whether a rule allows a name. That unfamiliar ones are let through is none:
// it says nothing about whose name it is.
func ruled(v policy.HostVerdict) bool { return v.Decision == policy.NetAllow && v.Rule != "" }

// tooMuch is the refusal of what says too much.
func tooMuch(over string, first bool) *refusal {
	return &refusal{
		code: dnsmessage.RCodeNameError, tunnel: true, quiet: !first,
		reason: fmt.Sprintf("too much was said today in names of %s: that is how data leaves by DNS; a rule that allows a domain lifts this for its names", over),
	}
}

// denied looks at a name alone.
func (r *Resolver) denied(name string) *refusal {
	h := mustHost(name)
	v := r.config.Judge(h)
	if v.Cause == policy.CauseDenied {
		return &refusal{code: dnsmessage.RCodeNameError, reason: v.Reason, verdict: v}
	}
	if !ruled(v) {
		for _, domain := range encrypted {
			if under(name, domain) {
				return &refusal{
					code: dnsmessage.RCodeNameError, verdict: v,
					reason: domain + " is a DNS service over HTTPS, which hides names; a rule that allows it lifts this",
				}
			}
		}
	}
	return nil
}

// encrypted are public DNS services over HTTPS, TLS and QUIC: the names that clients
// have built in, and those of the services that people recommend. What is not in the
// list is an unfamiliar name like any other.
var encrypted = []string{
	"dns.google", "dns64.dns.google", "8888.google", "cloudflare-dns.com", "one.one.one.one", "cloudflare-gateway.com",
	"dns.quad9.net", "dns9.quad9.net", "dns10.quad9.net", "dns11.quad9.net", "doh.opendns.com", "dns.umbrella.com",
	"doh.umbrella.com", "dns.nextdns.io", "dns1.nextdns.io", "dns2.nextdns.io", "doh.cleanbrowsing.org", "dns.adguard.com",
	"dns.adguard-dns.com", "unfiltered.adguard-dns.com", "dns.mullvad.net", "doh.dns.sb", "dns.sb", "dns0.eu",
	"doh.libredns.gr", "doh.xfinity.com", "dns.comcast.net", "doh.cox.net", "dns.alidns.com", "doh.pub", "dns.pub",
	"dot.pub", "doh.360.cn", "dns.switch.ch", "doh.applied-privacy.net", "dns.digitale-gesellschaft.ch", "doh.ffmuc.net",
	"controld.com", "dns.controld.com", "freedns.controld.com", "doh.tiar.app", "odoh.cloudflare-dns.com",
	"private.canadianshield.cira.ca", "doh.la.ahadns.net", "doh.mullvad.net", "dns.twnic.tw", "public.dns.iij.jp",
	"mask.icloud.com", "mask-h2.icloud.com", // Apple's relay, which asks for these to be refused where it is not wanted
}

// mustHost is a name that was canonical already.
func mustHost(name string) policy.Host {
	h, err := policy.ParseHost(name)
	if err != nil {
		return policy.Host{} // of which every policy says no
	}
	return h
}

// typeName is "TXT" for dnsmessage's "TypeTXT".
func typeName(t dnsmessage.Type) string {
	return strings.TrimPrefix(t.String(), "Type")
}

// tellEvery is how often the same refusal is recorded.
const tellEvery = 10 * time.Second

// told remembers what was recorded lately.
type told struct {
	mu   sync.Mutex
	when map[[2]string]time.Time
}

func (t *told) init() { t.when = map[[2]string]time.Time{} }

// again notes a refusal and reports whether it was recorded lately.
func (t *told) again(session, name string) bool {
	now := time.Now()
	key := [2]string{session, name}
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.when[key]) < tellEvery {
		return true
	}
	if len(t.when) >= 8192 {
		clear(t.when)
	}
	t.when[key] = now
	return false
}

// tell records a refusal.
func (r *Resolver) tell(ctx context.Context, who egress.Flow, q *question, no *refusal) {
	r.stats.denied.Add(1)
	if no.tunnel {
		r.stats.tunnels.Add(1)
	}
	if no.quiet || !no.tunnel && r.told.again(who.Session, q.name+" "+typeName(q.asked.Type)) {
		return
	}
	ev := telemetry.Event{
		Time: time.Now(), Name: telemetry.NameNetworkDecision, Severity: telemetry.Warn, Session: who.Session,
		Attrs: map[string]any{
			telemetry.AttrGate: "resolver", telemetry.AttrDecision: "deny", telemetry.AttrDecisionEnforced: no.enforced,
			telemetry.AttrDecisionReason: no.reason, telemetry.AttrDNSQuestionName: q.name,
			telemetry.AttrDNSQuestionType: typeName(q.asked.Type),
		},
	}
	a := ev.Attrs
	if no.alias != "" {
		a[telemetry.AttrDNSAlias] = no.alias
	}
	if no.verdict.Rule != "" && no.verdict.Cause == policy.CauseDenied {
		a[telemetry.AttrRule] = no.verdict.Rule
		a[telemetry.AttrDecisionSource] = no.verdict.Origin()
	}
	if who.PID != 0 {
		a[telemetry.AttrProcessPID] = int64(who.PID)
		a[telemetry.AttrProcessStart] = int64(who.Start)
		a[telemetry.AttrProcessUserID] = int64(who.UID)
	}
	for key, value := range map[string]string{
		telemetry.AttrAgent: who.Agent, telemetry.AttrProcessExecutablePath: who.Exe,
		telemetry.AttrToolCallID: who.Why.ToolCallID, telemetry.AttrThreadID: who.Why.ThreadID,
	} {
		if value != "" {
			a[key] = value
		}
	}
	if who.Dest.IsValid() {
		a[telemetry.AttrDestinationAddress] = who.Dest.Addr().String()
		a[telemetry.AttrDestinationPort] = int64(who.Dest.Port())
	}
	if err := r.config.Events.Record(context.WithoutCancel(ctx), ev); err != nil {
		r.config.Log.Error("recording a refused name", "error", err)
	}
}
