// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// How a name was learned, as events say it.
const (
	learnedSNI     = "sni"
	learnedHost    = "host"      // the Host header, or the absolute target, of HTTP/1
	learnedH2      = "authority" // :authority of HTTP/2
	learnedConnect = "connect"
	learnedSocks   = "socks"
	learnedDNS     = "dns" // the resolver gave the address for it
	learnedNone    = "none"
)

// claim is what a client says about where it goes.
type claim struct {
	host     policy.Host // invalid: it says nothing
	port     uint16
	protocol policy.HostProtocol
	learned  string
	method   string
	ech      bool
	// names are all that the session was given the address for, if host is one of several.
	names []policy.Host
	// overrides says that the request asks servers to take another method for its own.
	overrides bool
	// beyond says that a proxy, which is no part of Paddock, is to connect to the host:
	// the address of the connection is not the host's.
	beyond bool
	// tunnelled says that the address that counts is not the connection's.
	tunnelled bool
	// bad is what is wrong with what the client says: it is denied.
	bad error
}

// judgement is what came of a claim.
type judgement struct {
	claim
	verdict policy.HostVerdict
	// allow says what was decided, pass whether it is let through: in mode observe
	// everything is.
	allow, pass bool
	by          string
	held        time.Duration
	mode        policy.Mode
	generation  uint64
	// request was judged under that policy.
	request policy.HostRequest
	under   *Policy
}

// overridden is after the method of a request that asks for another one, which makes it
// none of those that mode limited lets through.
const overridden = " (overridden)"

// judge decides about a claim, and waits for an answer where one is needed.
func (c *conn) judge(cl claim) *judgement {
	p := c.engine.policy.Load()
	cl, request, v := c.evaluate(p, cl)
	j := &judgement{claim: cl, verdict: v, by: "policy", mode: p.Mode, generation: p.Generation, request: request, under: p}
	j.allow = v.Decision == policy.NetAllow
	if p.Mode == policy.Observe {
		j.pass = cl.bad == nil || c.flow.Dest.IsValid() // else there is nowhere to go
		return j
	}
	if v.Decision == policy.NetAsk {
		c.hold(j)
	}
	j.pass = j.allow
	if j.pass && v.Decision == policy.NetAsk && len(cl.names) > 0 {
		return c.holdForAll(j)
	}
	return j
}

// holdForAll asks about the other names of an address too, one after the other: each of
// them may be meant. It returns the judgement about the first that is not let through.
func (c *conn) holdForAll(j *judgement) *judgement {
	allowed := []*judgement{j}
	for _, name := range j.names {
		if name == j.host {
			continue
		}
		other := *j
		p := c.engine.policy.Load()
		other.host, other.request.Host, other.by, other.held, other.allow = name, name, "policy", 0, false
		other.verdict, other.under, other.mode, other.generation = p.decide(other.request), p, p.Mode, p.Generation
		if p.Mode == policy.Observe || other.verdict.Decision == policy.NetAllow {
			continue
		}
		if other.verdict.Decision == policy.NetAsk {
			c.hold(&other)
		}
		if other.pass = other.allow; !other.pass {
			return &other
		}
		allowed = append(allowed, &other)
	}
	for _, j := range allowed {
		c.note(j)
	}
	return j
}

// hold waits for an answer. What was allowed is judged once more: the policy may be
// another one by now.
func (c *conn) hold(j *judgement) {
	began := time.Now()
	gone, stop := c.gone, func() {}
	if gone == nil {
		gone, stop = c.client.watch(&c.engine.work)
	}
	o := c.engine.holds.wait(Unfamiliar{Flow: c.flow, Host: j.host, Port: j.port, Protocol: j.protocol, Verdict: j.verdict}, j.request, gone)
	stop()
	j.held = time.Since(began)
	p := c.engine.policy.Load()
	j.mode, j.generation, j.under = p.Mode, p.Generation, p
	again := p.decide(j.request)
	if p.Mode == policy.Observe {
		again.Decision = max(again.Decision, policy.NetAsk)
	}
	switch {
	case again.Decision == policy.NetDeny, o.verdict != nil:
		j.verdict, j.allow = again, again.Decision == policy.NetAllow || p.Mode == policy.Observe
	default:
		j.by, j.allow = o.answer.By, o.answer.Allow
		if j.by == "" {
			j.by = "somebody"
		}
		switch {
		case o.answer.Reason != "":
			j.verdict.Reason = o.answer.Reason + ": " + j.verdict.Reason
		case j.allow:
			j.verdict.Reason = "allowed by " + j.by + ": " + j.verdict.Reason
		default:
			j.verdict.Reason = "denied by " + j.by + ": " + j.verdict.Reason
		}
	}
}

// evaluate asks the policy. It returns the claim with the host that was judged.
func (c *conn) evaluate(p *Policy, cl claim) (claim, policy.HostRequest, policy.HostVerdict) {
	dest := c.flow.Dest
	switch {
	case cl.port != 0:
	case c.expect.IsValid():
		cl.port = c.expectPort
	default:
		cl.port = dest.Port()
	}
	request := policy.HostRequest{Host: cl.host, Port: cl.port, Protocol: cl.protocol, Method: cl.method, Addr: dest.Addr()}
	if cl.overrides {
		request.Method += overridden
	}
	if cl.beyond || c.beyond {
		request.Addr, cl.tunnelled = c.expect.Addr(), true // or none
	}
	if cl.bad != nil {
		if !cl.host.IsValid() {
			cl.host, cl.learned = policy.HostOf(dest.Addr()), learnedNone
		}
		return cl, request, policy.HostVerdict{Cause: policy.CauseMalformed, Reason: cl.bad.Error()}
	}
	if !cl.host.IsValid() {
		return c.evaluateAddr(p, cl, request)
	}
	v := p.decide(request)
	if v.Decision == policy.NetDeny || cl.beyond {
		return cl, request, v
	}
	if err := c.agrees(cl.host); err != nil {
		v = policy.HostVerdict{Cause: policy.CauseMismatch, Reason: err.Error()}
	}
	return cl, request, v
}

// evaluateAddr judges a client that names no host by the names the session was given
// the address for: the strictest answer counts, for each of them may be meant.
func (c *conn) evaluateAddr(p *Policy, cl claim, request policy.HostRequest) (claim, policy.HostRequest, policy.HostVerdict) {
	if c.expect.IsValid() {
		cl.host, cl.learned, request.Host = c.expect, learnedConnect, c.expect
		return cl, request, p.decide(request)
	}
	cl.learned = learnedDNS
	var verdict policy.HostVerdict
	names := c.names()
	for _, name := range names {
		host, err := policy.ParseHost(name)
		if err != nil {
			continue
		}
		if len(names) > 1 {
			cl.names = append(cl.names, host)
		}
		asked := request
		asked.Host = host
		if v := p.decide(asked); !cl.host.IsValid() || v.Decision < verdict.Decision {
			cl.host, request.Host, verdict = host, host, v
		}
	}
	if cl.host.IsValid() {
		return cl, request, verdict
	}
	cl.host, cl.learned = policy.HostOf(request.Addr), learnedNone
	request.Host = cl.host
	return cl, request, p.decide(request)
}

// names returns those that the session was given the destination's address for.
func (c *conn) names() []string {
	return c.engine.names.NamesOf(c.flow.Session, c.flow.Dest.Addr().Unmap())
}

// resolveTime bounds how long it may take to learn the addresses of a name.
const resolveTime = 10 * time.Second

// agrees reports whether a host leads to where the connection goes. Otherwise a
// client could name one that is allowed and reach another.
func (c *conn) agrees(host policy.Host) error {
	dest := policy.HostOf(c.flow.Dest.Addr())
	if c.expect.Addr().IsValid() {
		dest = c.expect
	}
	switch name := host.Name(); {
	case name == "":
		if host != dest {
			return fmt.Errorf("the client names %s, but the connection goes to %s", host, dest)
		}
		return nil
	case c.expect.Name() != "":
		if host != c.expect {
			return fmt.Errorf("the client names %s inside of a tunnel to %s", host, c.expect)
		}
		return nil
	case dest.Addr().IsLoopback() && (name == "localhost" || strings.HasSuffix(name, ".localhost")):
		return nil // RFC 6761: no resolver is asked for it
	case !c.beyond && slices.Contains(c.names(), name):
		return nil
	}
	ctx, cancel := context.WithTimeout(c.engine.ctx, resolveTime)
	defer cancel()
	addrs, err := c.engine.names.Resolve(ctx, c.flow.Session, host.Name())
	if err != nil {
		return fmt.Errorf("the client names %s, which does not resolve, and the connection goes to %s", host, dest)
	}
	for _, a := range addrs {
		if policy.HostOf(a) == dest {
			return nil
		}
	}
	return fmt.Errorf("the client names %s, but the connection goes to %s, which is no address of it", host, dest)
}

func isDeadline(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
