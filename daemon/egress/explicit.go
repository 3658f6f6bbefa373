// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// Credentials are what a client must show to a listener, as Basic of HTTP and as user
// name and password of SOCKS5. Its zero value: nothing.
type Credentials struct{ User, Password string }

func (want Credentials) none() bool { return want == Credentials{} }

func (want Credentials) match(user, password string) bool {
	return subtle.ConstantTimeCompare([]byte(want.User), []byte(user))&subtle.ConstantTimeCompare([]byte(want.Password), []byte(password)) == 1
}

// ServeProxy takes connections of clients that were told to use a proxy: HTTP with
// CONNECT and with URLs, and SOCKS5 with addresses and names, on one port. origin
// tells whose they are; Dest of its answer does not count. It returns as Serve does.
func (e *Engine) ServeProxy(l *net.TCPListener, origin Origin, want Credentials) error {
	plain := e.newPlain(want)
	defer plain.close()
	return e.accept(l, func(c *net.TCPConn) {
		flow, err := origin.Flow(c)
		if err != nil || flow.Session == "" {
			e.unknown(c, err)
			return
		}
		flow.Dest = netip.AddrPort{}
		e.serve(c, flow, func(c *conn) { c.proxy(plain, want) })
	})
}

// proxy serves a client that knows that we are a proxy.
func (c *conn) proxy(plain *plain, want Credentials) {
	var version byte
	err := c.look(func(b []byte) bool {
		version = b[0]
		return true
	})
	switch {
	case err != nil:
		c.client.abort()
		c.fail(err)
		c.end()
	case version == 5:
		c.socks(want)
	case version == 4:
		c.refused(claim{protocol: policy.RawTCP, bad: malformed("SOCKS4 has no names that could be judged: use SOCKS5")}, refuseSocks4)
	default:
		c.proxyHTTP(plain, want)
	}
}

// proxyHTTP serves CONNECT, and hands a client that sends URLs over.
func (c *conn) proxyHTTP(plain *plain, want Credentials) {
	for {
		r, err := c.request()
		if r == nil {
			c.noRequest(err)
			return
		}
		if r.Method != http.MethodConnect {
			plain.take(c)
			return
		}
		head := make([]byte, r.Size)
		if err := c.client.take(head); err != nil {
			c.abort()
			c.end()
			return
		}
		if !want.none() && !want.basic(head) {
			if _, err := c.client.Write(needLogin()); err != nil {
				c.abort()
				c.end()
				return
			}
			continue
		}
		cl := claim{host: r.Host, port: r.Port, protocol: policy.HTTPS, learned: learnedConnect, method: r.Method}
		c.open(cl, refuseHTTP, []byte("HTTP/1.1 200 Connection established\r\n\r\n"), func(error) []byte {
			return httpAnswer("502 Bad Gateway", "text/plain", "", "the destination cannot be reached", r.Method)
		})
		return
	}
}

// basic looks for the credentials in a head that was read before.
func (want Credentials) basic(head []byte) bool {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if !bytes.EqualFold(name, []byte("Proxy-Authorization")) {
			continue
		}
		return want.header(string(bytes.Trim(value, " \t")))
	}
	return false
}

func (want Credentials) header(value string) bool {
	if len(value) < 6 || !bytes.EqualFold([]byte(value[:6]), []byte("Basic ")) {
		return false
	}
	text, err := base64.StdEncoding.DecodeString(value[6:])
	if err != nil {
		return false
	}
	user, password, ok := bytes.Cut(text, []byte(":"))
	return ok && want.match(string(user), string(password))
}

func needLogin() []byte {
	return []byte("HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"paddock\"\r\ncontent-length: 0\r\n\r\n")
}

// open judges a host that a client asks for, connects to it, says so, and serves what
// comes through: that must be for the same host.
func (c *conn) open(cl claim, refused refusal, opened []byte, failed func(error) []byte) {
	targets, j := c.judgeName(cl)
	c.note(j)
	if !j.pass {
		c.refuse(j, refused)
		return
	}
	if err := c.connectFirst(targets, j); err != nil {
		c.fail(err)
		_, _ = c.client.Write(failed(err))
		_ = c.client.CloseWrite()
		c.drain()
		c.end()
		return
	}
	if _, err := c.client.Write(opened); err != nil {
		c.abort()
		c.end()
		return
	}
	c.expect, c.expectPort = j.host, j.port
	if j.mode == policy.Observe {
		c.through(j, nil)
		return
	}
	// The client answers soon: to wait for it here costs less than a goroutine more.
	c.begin()
	c.late()
}

// judgeName judges a host whose addresses are not known yet, and returns those that
// may be connected to. Of the verdicts about these the strictest counts.
func (c *conn) judgeName(cl claim) ([]netip.AddrPort, *judgement) {
	p := c.engine.policy.Load()
	// What is denied by its name is not resolved: a question is a message too.
	if v := p.decide(policy.HostRequest{Host: cl.host, Port: cl.port, Protocol: cl.protocol, Method: cl.method}); v.Decision == policy.NetDeny && p.Mode == policy.Enforce {
		return nil, &judgement{claim: cl, verdict: v, by: "policy", mode: p.Mode, generation: p.Generation}
	}
	addrs, err := c.addresses(cl.host)
	if err != nil {
		if proxy, _ := p.upstream(cl.host, cl.port, cl.protocol); proxy != nil && !errors.Is(err, ErrRefused) {
			cl.beyond = true // the proxy of the machine may know it
			j := c.judge(cl)
			j.beyond = false
			return nil, j
		}
		// Codex's own proxy says so too: it is closed where it is not known.
		return nil, &judgement{
			claim: cl, by: "policy", mode: p.Mode, generation: p.Generation,
			verdict: policy.HostVerdict{Cause: policy.CauseLocal, Reason: fmt.Sprintf("%s does not resolve: %v", cl.host, err)},
		}
	}
	var targets []netip.AddrPort
	var strictest, refused *policy.HostVerdict
	at := 0
	for i, addr := range addrs {
		v := p.decide(policy.HostRequest{Host: cl.host, Port: cl.port, Protocol: cl.protocol, Method: cl.method, Addr: addr})
		if v.Decision == policy.NetDeny && p.Mode == policy.Enforce {
			refused = &v
			continue
		}
		targets = append(targets, netip.AddrPortFrom(addr, cl.port))
		if strictest == nil || v.Decision < strictest.Decision {
			strictest, at = &v, i
		}
	}
	if strictest == nil {
		c.heads(netip.AddrPortFrom(addrs[0], cl.port))
		return nil, &judgement{claim: cl, verdict: *refused, by: "policy", mode: p.Mode, generation: p.Generation}
	}
	c.heads(netip.AddrPortFrom(addrs[at], cl.port))
	before := c.expect
	c.expect = cl.host // it was just resolved: there is nothing to disagree with
	j := c.judge(cl)
	c.expect = before
	return targets, j
}

// addresses returns those of a host, in their canonical form.
func (c *conn) addresses(host policy.Host) ([]netip.Addr, error) {
	if host.Addr().IsValid() {
		return []netip.Addr{host.Addr()}, nil
	}
	if host.Name() == "localhost" {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	ctx, cancel := context.WithTimeout(c.engine.ctx, resolveTime)
	defer cancel()
	addrs, err := c.engine.names.Resolve(ctx, c.flow.Session, host.Name())
	if err == nil && len(addrs) == 0 {
		err = errors.New("it has no address")
	}
	out := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		out[i] = policy.HostOf(a).Addr()
	}
	return out, err
}

// heads remembers where the connection goes from now on.
func (c *conn) heads(to netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flow.Dest = to
}

// mayReach heads for an address unless it is denied by now: each is dialled after the one
// before did not answer, and the policy may be another one than the request was judged
// under. In this order, so that Apply sees the address if this does not see the policy.
func (c *conn) mayReach(to netip.AddrPort, request policy.HostRequest) error {
	c.heads(to)
	p := c.engine.policy.Load()
	if p.Mode != policy.Enforce || !to.IsValid() { // a proxy that knows the address is asked by name
		return nil
	}
	request.Addr = to.Addr()
	if v := p.decide(request); v.Decision == policy.NetDeny {
		return fmt.Errorf("%s is denied by now: %s", to, v.Reason)
	}
	return nil
}

// connectFirst connects to the first address that answers.
func (c *conn) connectFirst(targets []netip.AddrPort, j *judgement) error {
	p := c.engine.policy.Load()
	proxy, err := p.upstream(j.host, j.port, j.protocol)
	if err != nil {
		return err
	}
	if proxy != nil {
		targets = []netip.AddrPort{c.flow.Dest} // dial does not look at it
	}
	server, err := dialEach(c.engine.ctx, c.engine.limits.Dial, targets, func(ctx context.Context, to netip.AddrPort) (*sock, error) {
		if err := c.mayReach(to, j.request); err != nil {
			return nil, err
		}
		return c.engine.dial(ctx, c, j)
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		server.abort()
		return ErrShutdown
	}
	c.server = server
	return nil
}

// socks serves a client of SOCKS5.
func (c *conn) socks(want Credentials) {
	r, code, err := c.socksRequest(want)
	if err != nil || code != socksOK {
		j := c.judge(claim{host: r.Host, port: r.Port, protocol: policy.RawTCP, learned: learnedSocks, bad: malformed(reasonOf(errors.Join(err)))})
		j.allow, j.pass = false, false
		c.note(j)
		c.refuse(j, func(*judgement) []byte {
			if code == socksNone {
				return []byte{5, socksNone}
			}
			return socksReply(code)
		})
		return
	}
	cl := claim{host: r.Host, port: r.Port, protocol: policy.RawTCP, learned: learnedSocks}
	c.open(cl, func(*judgement) []byte { return socksReply(socksNotAllowed) }, socksReply(socksOK), func(err error) []byte {
		var op *net.OpError
		if errors.As(err, &op) && op.Timeout() {
			return socksReply(socksUnreachable)
		}
		return socksReply(socksRefused)
	})
}

// socksRequest does the greeting and the login, and reads the request.
func (c *conn) socksRequest(want Credentials) (r socksRequest, code byte, err error) {
	var methods []byte
	if err := c.consume(func(b []byte) (n int, err error) {
		m, n, err := parseGreeting(b)
		methods = bytes.Clone(m)
		return n, err
	}); err != nil {
		return r, socksNone, err
	}
	method := byte(socksNoAuth)
	if !want.none() {
		method = socksPassword
	}
	if bytes.IndexByte(methods, method) < 0 {
		return r, socksNone, errors.New("the client offers no login that is known here")
	}
	if _, err := c.client.Write([]byte{5, method}); err != nil {
		return r, socksNone, err
	}
	if method == socksPassword {
		var user, password string
		if err := c.consume(func(b []byte) (n int, err error) { user, password, n, err = parsePassword(b); return n, err }); err != nil {
			return r, socksFailed, err
		}
		if !want.match(user, password) {
			_, _ = c.client.Write([]byte{1, 1})
			return r, socksFailed, errors.New("the login is wrong")
		}
		if _, err := c.client.Write([]byte{1, 0}); err != nil {
			return r, socksFailed, err
		}
	}
	if err := c.consume(func(b []byte) (n int, err error) { r, n, err = parseSocksRequest(b); return n, err }); err != nil {
		return socksRequest{}, socksNotAllowed, err
	}
	if r.Command != 1 {
		return r, socksCommand, errors.New("of SOCKS5 only CONNECT is possible")
	}
	return r, socksOK, nil
}

// consume takes one message of the client's.
func (c *conn) consume(parse func([]byte) (int, error)) error {
	size, err := c.message(parse)
	if err != nil {
		return err
	}
	return c.client.take(make([]byte, size))
}
