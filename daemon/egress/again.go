// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// passed is what was let through on a connection, each place once, to be judged again.
type passed struct {
	all  []pass
	many bool // more than are kept
}

// pass is what is needed for that, of a judgement: there may be maxPassed on each of
// thousands of connections.
type pass struct {
	request        policy.HostRequest
	names          []policy.Host
	learned        string
	cause          policy.HostCause
	tunnelled, ech bool
}

const maxPassed = 64

func (p *passed) add(one pass) {
	place := one.place()
	switch i := slices.IndexFunc(p.all, func(other pass) bool { return other.place() == place }); {
	case i >= 0:
		p.all[i] = one
	case len(p.all) < maxPassed:
		p.all = append(p.all, one)
	default:
		p.many = true
	}
}

// place is what was judged, whatever its method.
func (p *pass) place() policy.HostRequest {
	out := p.request
	out.Method = ""
	return out
}

// denied is the judgement that a host is denied now. addr is where the connection goes.
func (p *pass) denied(host policy.Host, addr netip.Addr, v policy.HostVerdict) *judgement {
	if !host.IsValid() { // the client said none
		host = policy.HostOf(addr)
	}
	return &judgement{request: p.request, verdict: v, claim: claim{
		host: host, port: p.request.Port, protocol: p.request.Protocol, learned: p.learned,
		method: strings.TrimSuffix(p.request.Method, overridden), ech: p.ech,
	}}
}

// letPass remembers what is let through. The policy may be another one since it was
// judged: then Apply may have looked at the connection before this was there to be seen.
func (c *conn) letPass(j *judgement) {
	under := j.under
	if under == nil {
		return // it is remembered already
	}
	j.under = nil // an old policy must not live as long as the connection does
	c.mu.Lock()
	c.passed.add(pass{j.request, j.names, j.learned, j.verdict.Cause, j.tunnelled, j.ech})
	c.mu.Unlock()
	if now := c.engine.policy.Load(); now != under {
		if event := c.judgeAgain(now, map[policy.HostRequest]policy.HostVerdict{}); event != nil {
			c.engine.tell(*event)
		}
	}
}

// carry says which request is under way on the connection of a client that sends URLs.
func (c *conn) carry(request *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.within = request
}

// errCut says why a connection broke.
var errCut = errors.New("the connection was cut: other requirements deny it")

// judgeAgain cuts every connection that would be denied now.
func (e *Engine) judgeAgain(p *Policy) {
	if p.Mode != policy.Enforce {
		return
	}
	e.mu.Lock()
	open := make([]*conn, 0, len(e.all))
	for c := range e.all {
		open = append(open, c)
	}
	e.mu.Unlock()
	var events []telemetry.Event
	known := map[policy.HostRequest]policy.HostVerdict{} // thousands go to few places
	for _, c := range open {
		c.mu.Lock()
		within := c.within
		c.mu.Unlock()
		for _, c := range []*conn{c, within} {
			if c == nil {
				continue
			}
			if event := c.judgeAgain(p, known); event != nil {
				events = append(events, *event)
			}
		}
	}
	for some := range slices.Chunk(events, 256) { // the store takes all that it is given at once, or nothing
		e.tell(some...)
	}
}

// judgeAgain cuts a connection if anything that it carried is denied, and returns the
// event. What would only be asked about stays: it was allowed, by somebody or by a rule.
func (c *conn) judgeAgain(p *Policy, known map[policy.HostRequest]policy.HostVerdict) *telemetry.Event {
	if p.Mode != policy.Enforce {
		return nil
	}
	c.mu.Lock()
	passed, addr := passed{slices.Clone(c.passed.all), c.passed.many}, c.flow.Dest.Addr()
	c.mu.Unlock()
	for _, one := range passed.all {
		if denied := p.denies(&one, addr, known); denied != nil {
			return c.cut(p, denied)
		}
	}
	if passed.many {
		v := policy.HostVerdict{Cause: policy.CauseDenied, Reason: "the connection was used for more hosts than could be judged again"}
		return c.cut(p, passed.all[0].denied(passed.all[0].request.Host, addr, v))
	}
	return nil
}

// denies returns the judgement of today about what was let through to an address, if
// that denies it.
func (p *Policy) denies(one *pass, addr netip.Addr, known map[policy.HostRequest]policy.HostVerdict) *judgement {
	switch one.cause { // in mode observe
	case policy.CauseMalformed:
		return one.denied(one.request.Host, addr, policy.HostVerdict{Cause: one.cause, Reason: "what the client said could not be understood"})
	case policy.CauseMismatch:
		return one.denied(one.request.Host, addr, policy.HostVerdict{Cause: one.cause, Reason: "the client named a host that the connection does not go to"})
	}
	for _, host := range append([]policy.Host{one.request.Host}, one.names...) {
		request := one.request
		request.Host = host
		if !one.tunnelled { // of several addresses, the one that answered
			request.Addr = addr
		}
		v, ok := known[request]
		if !ok {
			v = p.decide(request)
			known[request] = v
		}
		if v.Decision == policy.NetDeny {
			return one.denied(host, addr, v)
		}
	}
	return nil
}

// cut breaks a connection, and returns the event that says why: nil if it has ended.
func (c *conn) cut(p *Policy, denied *judgement) *telemetry.Event {
	j := *denied
	j.allow, j.pass, j.by, j.held, j.mode, j.generation = false, false, "policy", 0, p.Mode, p.Generation
	j.verdict.Reason += ": the connection, which was open, is cut"
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	if c.err == nil {
		c.err = errCut
	}
	flow, first := c.flow, c.judged
	c.mu.Unlock()
	if first == nil {
		first = denied
	}
	event := laterEvent(flow, &j, first)
	event.Attrs[telemetry.AttrConnectionCut] = true
	c.abort()
	return &event
}
