// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newNear is a home where a session may talk to itself.
func newNear(t testing.TB, g Generation) *home {
	t.Helper()
	g.OwnListeners = true
	return newHome(t, g)
}

func (a *actor) serves() string { return fmt.Sprintf("served by %d", a.pid) }

// listens has an actor listen, and returns where.
func (a *actor) listens(at string, with ...string) string {
	a.t.Helper()
	got := a.do("listen", at, with...)
	if got.Error != "" {
		a.t.Fatalf("listening at %s: %+v", at, got)
	}
	return got.Local
}

// at returns another address with the port of an address.
func at(host, address string) string {
	return net.JoinHostPort(host, fmt.Sprint(netip.MustParseAddrPort(address).Port()))
}

// A session reaches what it listens on, directly, and no other process is taken for it.
func TestASessionReachesItself(t *testing.T) {
	h := newNear(t, Generation{NearDenied: true})
	volume := reader(t, h.Kernel, Volume)
	server, client := h.actor(), h.actor()
	four, six, all := server.listens("127.0.0.1:0"), server.listens("[::1]:0"), server.listens("[::]:0")
	second, third := server.listens("127.0.0.1:0"), server.listens("127.0.0.1:0")
	allFour := server.listens("0.0.0.0:0")
	for _, test := range []struct {
		name, do, to, peer string
		with               []string
	}{
		{"v4", "tcp", four, four, nil},
		{"v6", "tcp", six, six, nil},
		{"mapped", "tcp", four, at("::ffff:127.0.0.1", four), []string{"six"}},
		{"on every address", "tcp", at("127.0.0.1", allFour), at("127.0.0.1", allFour), nil},
		{"on every address, another one", "tcp", at("127.9.9.9", allFour), at("127.9.9.9", allFour), nil},
		{"of both families, v4", "tcp", at("127.0.0.1", all), at("127.0.0.1", all), nil},
		{"of both families, v6", "tcp", at("::1", all), at("::1", all), nil},
		{"unspecified", "tcp", at("0.0.0.0", four), four, nil},
		{"unspecified v6", "tcp", at("::", six), six, nil},
		{"bound", "tcp", four, four, []string{"bind=127.0.0.9:0"}},
		{"bound to the loopback device", "tcp", four, four, []string{"device=lo"}},
		{"not blocking", "tcp", four, four, []string{"nonblock"}},
		{"fast open", "tcp", four, four, []string{"fast-open"}},
		{"after another place", "tcp", "198.51.100.7:22", four, []string{"again=" + four}},
		{"datagrams", "udp-to", four, four, nil},
		{"datagrams v6", "udp-to", six, six, nil},
		{"datagrams mapped", "udp-to", second, at("::ffff:127.0.0.1", second), []string{"six"}},
		{"datagrams, connected", "udp", third, third, nil},
		{"datagrams of both families", "udp-to", at("127.0.0.1", all), at("127.0.0.1", all), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := client.do(test.do, test.to, test.with...)
			if got.Error != "" || got.Said != server.serves() || test.peer != "" && got.Peer != test.peer {
				t.Errorf("%+v, want it served by %d at %s", got, server.pid, test.peer)
			}
			r := next[*Connect](t, h.Kernel, volume)
			for r.PID != client.pid { // the server's answers
				r = next[*Connect](t, h.Kernel, volume)
			}
			if r.Rule != RuleOwnListener || !r.Allowed {
				t.Errorf("record %+v", r)
			}
		})
	}
	t.Run("and after it a DNS server, with the same socket", func(t *testing.T) {
		dns := client.said(ToDNS, "198.51.100.53:53")
		if got := client.do("udp-own-dns", four, "198.51.100.53:53"); got.Said != dns+"; "+server.serves()+"; "+dns {
			t.Errorf("%+v", got)
		}
	})
	t.Run("itself", func(t *testing.T) {
		if got := server.do("tcp", four); got.Said != server.serves() {
			t.Errorf("%+v", got)
		}
	})
	t.Run("ended", func(t *testing.T) {
		gone := server.listens("127.0.0.1:0")
		server.do("unlisten", gone)
		if got := client.do("tcp", gone); got.Error != "ECONNREFUSED" {
			t.Errorf("%+v", got)
		}
	})
}

// What others listen on is judged as ever, whatever way it was come by.
func TestOthersAreNotTheSession(t *testing.T) {
	h := newNear(t, Generation{Number: 6, Enforce: true, Net: append([]NetEntry{
		{Prefix: netip.MustParsePrefix("127.0.0.66/32"), Spans: []NetSpan{{First: 0, Last: 65535, Protocols: TCP | UDP, Rule: 3}}},
	}, openNet...)})
	security := reader(t, h.Kernel, Security)
	a, free := h.actor(), newActor(t)
	other := newActor(t).govern(h.Kernel, Proc{Session: 2 << 40, Start: 99})
	mine := func(t *testing.T, who *actor, to string) {
		t.Helper()
		if got := a.do("tcp", to); got.Said != a.said(ToProxy, to) {
			t.Errorf("%+v, want it sent to the proxy", got)
		}
		if got := a.do("udp-to", to); got.Error != "EPERM" {
			t.Errorf("a datagram: %+v, want EPERM", got)
		}
		if got := a.do("udp", to); got.Error != "EPERM" {
			t.Errorf("a datagram, connected: %+v, want EPERM", got)
		}
		for next[*Connect](t, h.Kernel, security).Rule != RuleDatagram { // those of before
		}
	}
	t.Run("nobody's", func(t *testing.T) { mine(t, free, free.listens("127.0.0.1:0")) })
	t.Run("nobody's v6", func(t *testing.T) { mine(t, free, free.listens("[::1]:0")) })
	t.Run("nobody's, more exactly bound", func(t *testing.T) {
		at := free.listens("127.0.0.5:0", "shared")
		a.listens(strings.Replace(at, "127.0.0.5", "0.0.0.0", 1), "shared")
		mine(t, free, at)
	})
	t.Run("nobody's and its own, by broadcast", func(t *testing.T) {
		everywhere := share(t, "0.0.0.0:0")
		defer everywhere.Close()
		got := a.do("broadcast", fmt.Sprintf("127.255.255.255:%d", everywhere.LocalAddr().(*net.UDPAddr).Port))
		must(t, everywhere.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
		if n, _, err := everywhere.ReadFrom(make([]byte, 8)); err == nil || got.Error != "EPERM" {
			t.Errorf("%+v, and %d bytes came to somebody else", got, n)
		}
		for next[*Connect](t, h.Kernel, security).Rule != RuleDatagram {
		}
	})
	t.Run("another session's", func(t *testing.T) { mine(t, other, other.listens("127.0.0.1:0")) })
	t.Run("what a rule denies", func(t *testing.T) {
		at := a.listens("127.0.0.66:0")
		for _, do := range []string{"tcp", "udp", "udp-to"} {
			if got := a.do(do, at); got.Error != "EPERM" {
				t.Errorf("%s: %+v", do, got)
			}
		}
	})
	t.Run("where somebody may be by way of a packet filter", func(t *testing.T) {
		if got := a.do("tcp", "127.0.0.1:1"); got.Said != a.said(ToProxy, "127.0.0.1:1") {
			t.Errorf("%+v", got)
		}
		if got := a.do("tcp", "[::1]:1"); got.Error != "ECONNREFUSED" { // and then 127.0.0.1 is tried
			t.Errorf("v6: %+v", got)
		}
	})
	t.Run("another one's, passed and bound again", func(t *testing.T) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		a.begin("rebind", "", handOut(t, l.(*net.TCPListener)))
		a.end()
		if got := a.do("tcp", l.Addr().String()); got.Said != a.said(ToProxy, l.Addr().String()) {
			t.Errorf("%+v, want it sent to the proxy", got)
		}
	})
	t.Run("the daemon is dead", func(t *testing.T) {
		at := a.listens("127.0.0.1:0")
		must(t, h.SetDaemon(os.Getpid(), false))
		for _, do := range []string{"tcp", "udp", "udp-to"} {
			if got := a.do(do, at); got.Error != "EPERM" {
				t.Errorf("%s: %+v", do, got)
			}
		}
		must(t, h.SetDaemon(os.Getpid(), true))
	})
	t.Run("when requirements say no", func(t *testing.T) {
		must(t, h.SetPolicy(Generation{Number: 7, Enforce: true, Managed: true, NearDenied: true, Net: openNet}))
		mine(t, a, a.listens("127.0.0.1:0"))
	})
}

// share has a socket for datagrams at an address that others may have too: it gets what comes there.
func share(t *testing.T, at string) net.PacketConn {
	t.Helper()
	c, err := (&net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) }), err)
	}}).ListenPacket(t.Context(), "udp4", at)
	must(t, err)
	return c
}

// handOut gives a listener to whoever comes to the path it returns.
func handOut(t *testing.T, l *net.TCPListener) string {
	t.Helper()
	path := t.TempDir() + "/s"
	u, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	must(t, os.Chmod(path, 0o777))
	go func() {
		defer u.Close()
		c, err := u.AcceptUnix()
		if err != nil {
			return
		}
		defer c.Close()
		file, err := l.File()
		if err != nil {
			return
		}
		defer file.Close()
		_, _, _ = c.WriteMsgUnix([]byte{0}, unix.UnixRights(int(file.Fd())), nil)
	}()
	return path
}

// Who takes the session's port while it connects gets nothing.
func TestWhoTakesThePortGetsNothing(t *testing.T) {
	h := newNear(t, Generation{NearDenied: true})
	security := reader(t, h.Kernel, Security)
	server, client, free := h.actor(), h.actor(), newActor(t)
	taken := func(t *testing.T) {
		t.Helper()
		if got := client.do("tcp-end", ""); got.Said != "" {
			t.Errorf("%+v: somebody else was reached", got)
		}
		if r := next[*Connect](t, h.Kernel, security); r.Rule != RuleTaken || r.Allowed || r.PID != client.pid {
			t.Errorf("record %+v", r)
		}
	}
	begin := func(t *testing.T, to, how string) {
		t.Helper()
		if got := client.do("tcp-begin", to, how); got.Error != "" {
			t.Fatalf("%+v", got)
		}
	}
	t.Run("before the first packet", func(t *testing.T) {
		to := server.listens("127.0.0.1:0")
		begin(t, to, "deferred")
		server.do("unlisten", to)
		free.listens(to)
		taken(t)
	})
	t.Run("where nobody was", func(t *testing.T) {
		to := server.listens("[::1]:0")
		server.do("unlisten", to)
		begin(t, to, "deferred")
		free.listens(to)
		taken(t)
	})
	t.Run("datagrams", func(t *testing.T) {
		to := server.listens("127.0.0.1:0")
		begin(t, to, "udp")
		server.do("unlisten", to)
		free.listens(to)
		taken(t)
	})
	t.Run("datagrams, before anybody does", func(t *testing.T) { // who comes now would get them
		to := server.listens("127.0.0.1:0")
		begin(t, to, "udp")
		server.do("unlisten", to)
		if got := client.do("tcp-end", ""); got.Error != "EPERM" {
			t.Errorf("%+v, want EPERM", got)
		}
		if r := next[*Connect](t, h.Kernel, security); r.Rule != RuleTaken {
			t.Errorf("record %+v", r)
		}
	})
	t.Run("with the answer to the first packet", func(t *testing.T) {
		l, err := plainListener("127.0.0.1:0")
		must(t, err)
		defer l.Close()
		whose := func(session uint64) {
			t.Helper()
			raw, err := l.(*net.TCPListener).SyscallConn()
			must(t, err)
			must(t, raw.Control(func(fd uintptr) {
				must(t, h.maps[kernelMapOwners].Put(uint32(fd), kernelOwner{Session: session}))
			}))
		}
		whose(sessionKey)
		begin(t, l.Addr().String(), "late")
		whose(2 << 40)
		taken(t)
		must(t, l.(*net.TCPListener).SetDeadline(time.Now().Add(300*time.Millisecond)))
		if c, err := l.Accept(); err == nil {
			t.Errorf("%s was accepted", c.RemoteAddr())
		}
	})
	t.Run("or shares it", func(t *testing.T) {
		// The kernel chooses by the addresses; some go to one, some to the other.
		ours, theirs := 0, 0
		for i := range 60 {
			to := free.listens(fmt.Sprintf("127.0.2.%d:0", i+1), "shared")
			server.listens(to, "shared")
			switch got := client.do("tcp-begin", to, "deferred"); {
			case got.Error != "":
				t.Fatalf("%+v", got)
			default:
				switch got := client.do("tcp-end", ""); got.Said {
				case server.serves():
					ours++
				case "":
					theirs++
				default:
					if !strings.HasPrefix(got.Said, "kind") {
						t.Errorf("%+v: somebody else was reached", got)
					}
				}
			}
			server.do("unlisten", to)
			free.do("unlisten", to)
			if ours > 0 && theirs > 0 {
				return
			}
		}
		t.Errorf("%d connections went to the session, %d to nobody", ours, theirs)
	})
}

// A session's server for datagrams answers the programs of its user that are connected to
// it, and nobody else: a socket that is not connected may be a server's.
func TestAServerForDatagramsAnswersItsClients(t *testing.T) {
	h := newNear(t, Generation{NearDenied: true})
	security, volume := reader(t, h.Kernel, Security), reader(t, h.Kernel, Volume)
	const user = "1000"
	become := func(a *actor, user string) *actor {
		t.Helper()
		if got := a.do("become", user); got.Error != "" {
			t.Fatalf("%+v", got)
		}
		return a
	}
	server := h.actor()
	dns := server.listens("127.0.0.1:53")
	become(server, user)
	four, six, all := server.listens("127.0.0.1:0"), server.listens("[::1]:0"), server.listens("[::]:0")
	client, stranger, root := become(newActor(t), user), become(newActor(t), "1001"), newActor(t)
	other := become(newActor(t).govern(h.Kernel, Proc{Session: 2 << 40, Start: 99}), user)
	for _, test := range []struct {
		name, to string
		with     []string
	}{
		{"v4", four, nil},
		{"v6", six, nil},
		{"mapped", four, []string{"six"}},
		{"of both families, v4", at("127.0.0.1", all), nil},
		{"of both families, v6", at("::1", all), nil},
		{"bound", four, []string{"bind=127.0.0.9:0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for range 2 {
				if got := client.do("udp-ask", test.to, test.with...); got.Said != server.serves() {
					t.Errorf("%+v", got)
				}
			}
			r := next[*Connect](t, h.Kernel, volume)
			for r.Rule != RuleOwnClient || r.PID != server.pid || !r.Allowed {
				r = next[*Connect](t, h.Kernel, volume)
			}
		})
	}
	refused := func(t *testing.T, got answer, rule int) {
		t.Helper()
		if got.Said != "" || got.Error != "EAGAIN" {
			t.Errorf("%+v: it was answered", got)
		}
		if r := next[*Connect](t, h.Kernel, security); r.Rule != rule || r.PID != server.pid || r.Destination.String() != got.Local && got.Local != "" {
			t.Errorf("record %+v", r)
		}
	}
	for _, test := range []struct {
		name, to string
		who      *actor
		with     []string
	}{
		{"who is not connected", four, client, []string{"unconnected", "bind=127.0.0.1:0"}},
		{"who is not connected, v6", six, client, []string{"unconnected", "bind=[::1]:0"}},
		{"who was connected", four, client, []string{"left", "bind=127.0.0.1:0"}},
		{"another user's", four, stranger, nil},
		{"root's", four, root, nil},
		{"who asks for names", dns, client, nil},
	} {
		t.Run(test.name, func(t *testing.T) { refused(t, test.who.do("udp-ask", test.to, test.with...), RuleDatagram) })
	}
	t.Run("root's, as root", func(t *testing.T) {
		server := h.actor()
		if got := root.do("udp-ask", server.listens("127.0.0.1:0")); got.Said != "" {
			t.Errorf("%+v: it was answered", got)
		}
		if r := next[*Connect](t, h.Kernel, security); r.Rule != RuleDatagram || r.PID != server.pid {
			t.Errorf("record %+v", r)
		}
	})
	eperm := func(t *testing.T, got answer) {
		t.Helper()
		if got.Error != "EPERM" {
			t.Errorf("%+v, want EPERM", got)
		}
		for next[*Connect](t, h.Kernel, security).Rule == RuleOwnClient {
		}
	}
	t.Run("from another port", func(t *testing.T) {
		c := client.do("tcp-begin", four, "udp")
		eperm(t, server.do("udp-ask", c.Local, "unconnected"))
		eperm(t, server.do("udp-ask", c.Local, "unconnected", "bind="+at("127.0.0.9", four)))
		eperm(t, server.do("udp-ask", c.Local))
		eperm(t, other.do("udp-ask", c.Local, "unconnected"))
		client.do("tcp-end", "")
	})
	t.Run("a server that was started again", func(t *testing.T) {
		at := server.listens("127.0.0.1:0")
		c := client.do("tcp-begin", at, "udp")
		server.do("unlisten", at)
		got := server.do("udp-ask", c.Local, "unconnected", "bind="+at)
		if got.Error != "EAGAIN" {
			t.Errorf("%+v: it was refused", got)
		}
		client.do("tcp-end", "")
	})
	t.Run("somebody else's, by the same port", func(t *testing.T) {
		theirs := share(t, "127.0.0.1:0")
		defer theirs.Close()
		c := client.do("tcp-begin", theirs.LocalAddr().String(), "udp")
		eperm(t, server.do("udp-ask", c.Local, "unconnected", "bind="+theirs.LocalAddr().String()))
		client.do("tcp-end", "")
	})
	t.Run("who speaks to somebody else at the port by now", func(t *testing.T) {
		at := server.do("udp-keep", "127.0.0.1:0").Local
		c := client.do("tcp-begin", at, "udp")
		if got := server.do("udp-say", c.Local); got.Error != "" {
			t.Errorf("%+v", got)
		}
		theirs := share(t, at)
		eperm(t, server.do("udp-say", c.Local))
		must(t, theirs.Close())
		if got := server.do("udp-say", c.Local); got.Error != "" {
			t.Errorf("%+v, when they are gone", got)
		}
		client.do("tcp-end", "")
	})
	t.Run("when requirements say no", func(t *testing.T) {
		must(t, h.SetPolicy(Generation{Number: 7, Enforce: true, Managed: true, NearDenied: true, Net: openNet}))
		refused(t, client.do("udp-ask", four), RuleDatagram)
	})
}

// In another network namespace a session reaches itself as well, and what the daemon
// serves for it, which is that listener alone.
func TestOtherNamespacesHaveTheirOwn(t *testing.T) {
	h := newNear(t, Generation{NearDenied: true})
	a, free := h.actor(), newActor(t)
	other := newActor(t).govern(h.Kernel, Proc{Session: 2 << 40, Start: 99})
	path := namespace(t)
	inside := func(who *actor, to, want string) {
		t.Helper()
		if got := who.do("tcp-inside", to, path); got.Said+got.Error != want {
			t.Errorf("%s: %+v, want %s", to, got, want)
		}
	}
	own, others := a.listens("127.0.0.1:0", "inside="+path), free.listens("127.0.0.1:0", "inside="+path)
	inside(a, own, a.serves())
	inside(other, own, "EPERM")
	inside(a, others, "EPERM")
	inside(a, "198.51.100.7:443", "EPERM")

	must(t, h.SetPolicy(Generation{Number: 7, Enforce: true, Managed: true, Net: []NetEntry{}}))
	inside(a, own, "EPERM")
	l := insideListener(t, path, "127.0.0.1:0")
	to := l.Addr().String()
	inside(a, to, "EPERM")
	stop, err := h.Serve(l, sessionKey)
	must(t, err)
	inside(a, to, "served")
	inside(other, to, "EPERM")
	// On another address there is somebody else, at the same port.
	beside := free.listens(at("127.0.0.2", to), "inside="+path)
	inside(a, beside, "EPERM")
	if _, err := h.Serve(l, 2<<40); err == nil {
		t.Error("one listener is served for two sessions")
	}
	must(t, h.SetDaemon(os.Getpid(), false))
	inside(a, to, "EPERM")
	must(t, h.SetDaemon(free.pid, true)) // the next one knows nothing of it
	inside(a, to, "EPERM")
	must(t, h.SetDaemon(os.Getpid(), true))
	inside(a, to, "served")
	must(t, stop())
	inside(a, to, "EPERM")
}

// plainListener is none of MPTCP, whose sockets are two each.
func plainListener(address string) (net.Listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	return config.Listen(context.Background(), "tcp4", address)
}

// insideListener listens in a network namespace and says "served" to who comes.
func insideListener(t *testing.T, path, address string) *net.TCPListener {
	t.Helper()
	type result struct {
		l   net.Listener
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread()
		err := enter(path)
		var l net.Listener
		if err == nil {
			l, err = plainListener(address)
		}
		done <- result{l, err}
		select {} // with the thread would end the processes that it started before
	}()
	r := <-done
	must(t, r.err)
	t.Cleanup(func() { r.l.Close() })
	go func() {
		for {
			c, err := r.l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("served"))
			c.Close()
		}
	}()
	return r.l.(*net.TCPListener)
}
