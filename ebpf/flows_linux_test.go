// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// home is a daemon's side of the managed network: every connection and datagram is
// answered with what the kernel says of it.
type home struct {
	*Kernel
	t     testing.TB
	ports Listeners
	flows chan Flow
}

// session of every actor.
const sessionKey = 1 << 40

func newHome(t testing.TB, g Generation) *home {
	t.Helper()
	h := &home{Kernel: open(t, pinDir(t)), t: t, flows: make(chan Flow, 64)}
	g.Managed = true
	if g.Number == 0 {
		g.Number, g.Enforce = 5, true
	}
	if g.Net == nil {
		g.Net = openNet
	}
	must(t, h.SetPolicy(g))
	// Of numbers that no client gets by chance: what goes to one of these is refused, on whatever loopback address.
	h.ports = Listeners{
		Proxy4: h.listen("tcp4", "127.0.0.1:20801"), Proxy6: h.listen("tcp6", "[::1]:20802"),
		DNS4: h.listen("tcp4", "127.0.0.1:20803"), DNS6: h.listen("tcp6", "[::1]:20804"),
		DNSUDP4: h.datagrams("udp4", "127.0.0.1:20805"), DNSUDP6: h.datagrams("udp6", "[::1]:20806"),
	}
	must(t, h.SetListeners(h.ports))
	must(t, h.SetDaemon(os.Getpid(), true))
	must(t, h.Attach())
	return h
}

func describe(f Flow, err error) string {
	if errors.Is(err, ErrNoFlow) {
		return "nobody"
	}
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("kind %d, session %d, cause %d, pid %d, start %d, to %s", f.Kind, f.Session>>40, f.Cause, f.PID, f.Start, f.Destination)
}

func (h *home) listen(network, at string) uint16 {
	h.t.Helper()
	l, err := net.Listen(network, at)
	must(h.t, err)
	h.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f, err := h.FlowOf(TCP, c.RemoteAddr().(*net.TCPAddr).AddrPort(), c.LocalAddr().(*net.TCPAddr).AddrPort())
			_, _ = c.Write([]byte(describe(f, err)))
			go func() { // what was sent early must be read, or closing is a reset
				_ = c.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, c)
				c.Close()
			}()
			select {
			case h.flows <- f:
			default: // nobody wants to know
			}
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

func (h *home) datagrams(network, at string) uint16 {
	h.t.Helper()
	c, err := net.ListenPacket(network, at)
	must(h.t, err)
	h.t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 512)
		for {
			_, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			f, err := h.FlowOf(UDP, from.(*net.UDPAddr).AddrPort(), c.LocalAddr().(*net.UDPAddr).AddrPort())
			_, _ = c.WriteTo([]byte(describe(f, err)), from)
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

func (h *home) actor() *actor {
	h.t.Helper()
	a := newActor(h.t)
	return a.govern(h.Kernel, Proc{Session: sessionKey, Cause: 77, Start: 1234})
}

// said is what the daemon should know of an actor's connection.
func (a *actor) said(kind FlowKind, to string) string {
	return describe(Flow{Kind: kind, Session: sessionKey, Cause: 77, PID: a.pid, Start: 1234, Destination: netip.MustParseAddrPort(to)}, nil)
}

// Whatever way a governed process connects, it arrives at the proxy, which knows who
// it is and where it wanted to go; and to the process it looks as if it were there.
func TestConnectionsAreSentHome(t *testing.T) {
	h := newHome(t, Generation{})
	a := h.actor()
	for _, test := range []struct {
		name, to, peer string
		with           []string
	}{
		{"v4", "198.51.100.7:443", "198.51.100.7:443", nil},
		{"v6", "[2001:db8:9::7]:443", "[2001:db8:9::7]:443", nil},
		{"mapped", "198.51.100.7:443", "[::ffff:198.51.100.7]:443", []string{"six"}},
		{"fast open", "198.51.100.7:443", "198.51.100.7:443", []string{"fast-open"}},
		{"fast open v6", "[2001:db8:9::7]:443", "[2001:db8:9::7]:443", []string{"fast-open"}},
		{"not blocking", "198.51.100.7:22", "198.51.100.7:22", []string{"nonblock"}},
		{"bound", "198.51.100.7:22", "198.51.100.7:22", []string{"bind=" + hereFour + ":0"}},
		{"bound to loopback", "198.51.100.7:22", "198.51.100.7:22", []string{"bind=127.0.0.9:0"}},
		{"bound v6", "[2001:db8:9::7]:22", "[2001:db8:9::7]:22", []string{"bind=[" + hereSix + "]:0"}},
		{"second time", "198.51.100.7:22", "198.51.100.8:2222", []string{"again=198.51.100.8:2222"}},
		{"loopback", "127.0.0.1:8080", "127.0.0.1:8080", nil},
		{"loopback v6", "[::1]:8080", "[::1]:8080", nil},
		{"unspecified", "0.0.0.0:8080", "0.0.0.0:8080", nil},
		{"nat64", "[64:ff9b::c633:6407]:443", "[64:ff9b::c633:6407]:443", nil},
		{"bound to the loopback device", "198.51.100.7:22", "198.51.100.7:22", []string{"device=lo"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := a.do("tcp", test.to, test.with...)
			want := a.said(ToProxy, netip.AddrPortFrom(netip.MustParseAddrPort(test.peer).Addr().Unmap(), netip.MustParseAddrPort(test.peer).Port()).String())
			if got.Error != "" || got.Said != want || got.Peer != test.peer {
				t.Errorf("%+v\nwant %q from %s", got, want, test.peer)
			}
		})
	}
}

// DNS to whatever server is asked of ours, whose answer comes from that server.
func TestDNSIsSentHome(t *testing.T) {
	h := newHome(t, Generation{})
	a := h.actor()
	for _, test := range []struct {
		name, do, to, peer string
		with               []string
	}{
		{"connected", "udp", "198.51.100.53:53", "198.51.100.53:53", nil},
		{"connected v6", "udp", "[2001:db8:9::53]:53", "[2001:db8:9::53]:53", nil},
		{"connected mapped", "udp", "198.51.100.53:53", "[::ffff:198.51.100.53]:53", []string{"six"}},
		{"unconnected", "udp-to", "198.51.100.53:53", "198.51.100.53:53", nil},
		{"unconnected v6", "udp-to", "[2001:db8:9::53]:53", "[2001:db8:9::53]:53", nil},
		{"unconnected mapped", "udp-to", "198.51.100.53:53", "[::ffff:198.51.100.53]:53", []string{"six"}},
		{"stub", "udp", "127.0.0.53:53", "127.0.0.53:53", nil},
		{"tcp", "tcp", "198.51.100.53:53", "198.51.100.53:53", nil},
		{"tcp v6", "tcp", "[2001:db8:9::53]:53", "[2001:db8:9::53]:53", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := a.do(test.do, test.to, test.with...)
			if want := a.said(ToDNS, test.to); got.Error != "" || got.Said != want || got.Peer != test.peer {
				t.Errorf("%+v\nwant %q from %s", got, want, test.peer)
			}
		})
	}
}

// What is refused, and what the record of it says.
func TestManagedNetworkRefuses(t *testing.T) {
	h := newHome(t, Generation{Number: 6, Enforce: true, Net: append([]NetEntry{
		{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Spans: []NetSpan{{First: 0, Last: 65535, Protocols: TCP | UDP, Rule: 3}}},
		{Prefix: netip.MustParsePrefix("127.0.0.77/32"), Spans: []NetSpan{{First: 0, Last: 65535, Protocols: TCP | UDP, Allow: true, Rule: 4}}},
	}, openNet...)})
	security := reader(t, h.Kernel, Security)
	port := func(p uint16) string { return fmt.Sprintf("127.0.0.1:%d", p) }
	a := h.actor()
	for _, test := range []struct {
		name, do, to string
		rule         int
		with         []string
	}{
		{"by a rule", "tcp", "203.0.113.9:443", 3, nil},
		{"dns by a rule", "udp", "203.0.113.9:53", 3, nil},
		{"the proxy itself", "tcp", port(h.ports.Proxy4), RuleListener, nil},
		{"the proxy, mapped", "tcp", port(h.ports.Proxy4), RuleListener, []string{"six"}},
		{"the proxy, unspecified", "tcp", fmt.Sprintf("0.0.0.0:%d", h.ports.Proxy4), RuleListener, nil},
		{"the proxy, v6", "tcp", fmt.Sprintf("[::1]:%d", h.ports.Proxy6), RuleListener, nil},
		{"the proxy, v6 unspecified", "tcp", fmt.Sprintf("[::]:%d", h.ports.Proxy6), RuleListener, nil},
		{"the proxy, fast open", "tcp", port(h.ports.Proxy4), RuleListener, []string{"fast-open"}},
		{"the resolver itself", "udp-to", port(h.ports.DNSUDP4), RuleListener, nil},
		{"the resolver, connected", "udp", port(h.ports.DNSUDP4), RuleListener, nil},
		{"quic", "udp", "198.51.100.7:443", RuleDatagram, nil},
		{"quic, unconnected", "udp-to", "198.51.100.7:443", RuleDatagram, nil},
		{"mdns", "udp-to", "224.0.0.251:5353", RuleDatagram, nil},
		{"dns over tls", "tcp", "198.51.100.7:853", RuleDNSOverTLS, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := a.do(test.do, test.to, test.with...); got.Error != "EPERM" {
				t.Errorf("%+v, want EPERM", got)
			}
			if r := next[*Connect](t, h.Kernel, security); r.Rule != test.rule || r.Allowed || !r.Enforced {
				t.Errorf("record %+v, want rule %d", r, test.rule)
			}
		})
	}
	// A rule that names datagrams lets them go where they want to go.
	c, err := net.ListenPacket("udp4", "127.0.0.77:0")
	must(t, err)
	defer c.Close()
	go func() {
		b := make([]byte, 64)
		n, from, err := c.ReadFrom(b)
		if err == nil {
			_, _ = c.WriteTo(append([]byte("echo "), b[:n]...), from)
		}
	}()
	if got := a.do("udp", c.LocalAddr().String()); got.Error != "" || got.Said != "echo question" {
		t.Errorf("a datagram that a rule names: %+v", got)
	}
}

// Nobody listens any more: refused, not sent to whoever took the port.
func TestManagedNetworkFailsClosed(t *testing.T) {
	h := newHome(t, Generation{})
	security := reader(t, h.Kernel, Security)
	a, free := h.actor(), newActor(t)
	refused := func(why string, rule int) {
		t.Helper()
		for _, to := range []string{"198.51.100.7:443", "[2001:db8:9::7]:443", "198.51.100.7:53"} {
			if got := a.do("tcp", to); got.Error != "EPERM" {
				t.Errorf("%s: %s: %+v, want EPERM", why, to, got)
			}
			if r := next[*Connect](t, h.Kernel, security); r.Rule != rule {
				t.Errorf("%s: record %+v, want rule %d", why, r, rule)
			}
		}
		if got := free.do("tcp", fmt.Sprintf("127.0.0.1:%d", h.ports.Proxy4)); got.Error != "" || got.Said != "nobody" {
			t.Errorf("%s: a process nobody governs, at the proxy's port: %+v", why, got)
		}
	}
	must(t, h.SetDaemon(os.Getpid(), false))
	refused("the daemon is dead", RuleNobody)
	must(t, h.SetDaemon(os.Getpid(), true))
	must(t, h.SetListeners(Listeners{}))
	refused("no listeners", RuleNobody)
	must(t, h.SetListeners(h.ports))
	if got := a.do("tcp", "198.51.100.7:443"); got.Said != a.said(ToProxy, "198.51.100.7:443") {
		t.Errorf("after that: %+v", got)
	}
}

// Loopback of another network namespace is another one.
func TestOtherNamespacesAreRefused(t *testing.T) {
	h := newHome(t, Generation{})
	security := reader(t, h.Kernel, Security)
	a := h.actor()
	must(t, h.SetOwnPorts(h.ports.Proxy4+1))
	for _, to := range []string{"198.51.100.7:443", "127.0.0.1:53", "[::1]:80", fmt.Sprintf("127.0.0.1:%d", h.ports.Proxy4), fmt.Sprintf("127.0.0.1:%d", h.ports.Proxy4+1)} {
		if got := a.do("tcp-elsewhere", to); got.Error != "EPERM" {
			t.Errorf("%s: %+v, want EPERM", to, got)
		}
		if r := next[*Connect](t, h.Kernel, security); r.Rule != RuleNamespace {
			t.Errorf("record %+v", r)
		}
	}
}

// In a namespace of their own anybody may have any address: what they do there with ours says nothing of who is at the other end of a
// connection at home.
func TestOtherNamespacesHideNobody(t *testing.T) {
	h := newHome(t, Generation{})
	a, free := h.actor(), newActor(t)
	port := h.listen("tcp4", "127.0.0.1:0")
	must(t, h.SetOwnPorts(port))
	path := namespace(t)
	for kind, to := range map[FlowKind]string{ToProxy: "198.51.100.7:443", ToService: fmt.Sprintf("127.0.0.1:%d", port)} {
		got := a.do("tcp", to)
		if got.Error != "" || got.Said != a.said(kind, to) {
			t.Fatalf("%+v", got)
		}
		at := netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", h.ports.Proxy4))
		if kind == ToService {
			at = netip.MustParseAddrPort(to)
		}
		client := netip.MustParseAddrPort(got.Local)
		if there := free.do("tcp-inside", at.String(), path, "bind="+got.Local); there.Error != "ECONNREFUSED" {
			t.Fatalf("from %s to %s in another namespace: %+v", got.Local, at, there)
		}
		if said := describe(h.FlowOf(TCP, client, at)); said != a.said(kind, to) {
			t.Errorf("after somebody connected with the same addresses elsewhere, %s is %s", to, said)
		}
	}
}

// Paddock's own services: reached whatever the policy says, and known who reaches them.
func TestOwnServicesKnowTheirClients(t *testing.T) {
	h := newHome(t, Generation{Number: 5, Enforce: true, Net: []NetEntry{}})
	port := h.listen("tcp4", "127.0.0.1:0")
	a, free := h.actor(), newActor(t)
	to := fmt.Sprintf("127.0.0.1:%d", port)
	if got := a.do("tcp", to); got.Error != "EPERM" {
		t.Errorf("a port that is none of ours: %+v", got)
	}
	must(t, h.SetOwnPorts(port))
	for range 2 {
		if got := a.do("tcp", to); got.Error != "" || got.Peer != to || got.Said != a.said(ToService, to) {
			t.Errorf("%+v", got)
		}
		// The same address again, by somebody who is not governed.
		local := a.do("tcp", to).Local
		if got := free.do("tcp", to, "bind="+local); got.Error == "" && got.Said != "nobody" {
			t.Errorf("a process nobody governs, from %s: %+v", local, got)
		}
	}
	must(t, h.SetOwnPorts())
	if got := a.do("tcp", to); got.Error != "EPERM" {
		t.Errorf("a port that is no longer ours: %+v", got)
	}
}

// Under a generation that is not managed everything is as without a managed network.
func TestUnmanagedGenerationRedirectsNothing(t *testing.T) {
	h := newHome(t, Generation{})
	l, err := net.Listen("tcp4", hereFour+":0")
	must(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("direct"))
			c.Close()
		}
	}()
	a := h.actor()
	to := l.Addr().String()
	if got := a.do("tcp", to); got.Said != a.said(ToProxy, to) {
		t.Errorf("managed: %+v", got)
	}
	must(t, h.SetPolicy(Generation{Number: 9, Enforce: true, Net: openNet}))
	if got := a.do("tcp", to); got.Said != "direct" || got.Peer != to {
		t.Errorf("not managed: %+v", got)
	}
	if got := newActor(t).do("tcp", to); got.Said != "direct" {
		t.Errorf("not governed: %+v", got)
	}
	select {
	case f := <-h.flows:
		if f.Kind != ToProxy || f.Rule != RuleDefault || !f.Allowed || !f.Enforced {
			t.Errorf("flow %+v", f)
		}
	default:
		t.Error("no flow")
	}
}

// namespace makes a network namespace with loopback, and returns a path of it.
func namespace(t *testing.T) string {
	t.Helper()
	var ns int
	must(t, elsewhere(func() error {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		var err error
		ns, err = unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	}))
	t.Cleanup(func() { unix.Close(ns) })
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns)
}
