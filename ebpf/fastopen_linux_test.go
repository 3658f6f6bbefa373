// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// With Fast Open, and a cookie that is known, data would be there with the first packet: it
// comes with the second, and nothing waits for it.
func TestFastOpen(t *testing.T) {
	const mode = "/proc/sys/net/ipv4/tcp_fastopen"
	had, err := os.ReadFile(mode)
	must(t, err)
	must(t, os.WriteFile(mode, []byte("3"), 0o644)) // clients and servers, of the tests' own network namespace
	t.Cleanup(func() { must(t, os.WriteFile(mode, had, 0o644)) })

	h := newNear(t, Generation{NearDenied: true})
	security := reader(t, h.Kernel, Security)
	server, client, free := h.actor(), h.actor(), newActor(t)
	other := newActor(t).govern(h.Kernel, Proc{Session: 2 << 40, Start: 99})
	observed := ""
	for _, host := range []string{"127.0.0.1", "::1"} {
		listens := func(a *actor) string { return a.listens(net.JoinHostPort(host, "0"), "fast-open") }
		nobodys := ""
		opened := func() int { return netstat(t, "TCPFastOpenPassive") }
		before := opened()
		for try := 0; opened() == before; try++ { // those before it get the cookie of the address, which is asked for in turns in two ways
			if try%10 == 0 { // the server's kernel may take no more for the same one
				nobodys = listens(free)
			}
			if got := free.do("tcp", nobodys, "fast-open"); got.Said != free.serves()+" who heard early" {
				t.Fatalf("without Paddock: %+v", got)
			}
			if try == 100 {
				for _, name := range []string{"Active", "ActiveFail", "PassiveFail", "ListenOverflow", "CookieReqd", "Blackhole"} {
					t.Logf("TCPFastOpen%s: %d", name, netstat(t, "TCPFastOpen"+name))
				}
				t.Fatal("nothing came with the first packet, without Paddock")
			}
		}
		own, others, empty := listens(server), listens(other), listens(server)
		server.do("unlisten", empty)
		for _, how := range []struct {
			do   string
			with []string
		}{{"tcp", []string{"fast-open"}}, {"deferred", nil}} {
			before = opened()
			for range 3 {
				got := client.do(how.do, own, how.with...)
				if got.Said != server.serves()+" who heard early" || got.Error != "" || got.Again > 0 {
					t.Errorf("%s %s: %+v, want the data to be there, and nothing sent twice", how.do, own, got)
				}
			}
			if got := client.do(how.do, empty, how.with...); got.Error != "ECONNREFUSED" {
				t.Errorf("%s, where nobody listens: %+v", how.do, got)
			}
			for _, to := range []string{nobodys, others} {
				got := client.do(how.do, to, how.with...)
				if got.Said != client.said(ToProxy, to) || got.Again > 1 { // no Fast Open there: at once with the answer
					t.Errorf("%s, somebody else's: %+v, want it sent to the proxy", how.do, got)
				}
			}
			if n := opened() - before; n > 0 {
				t.Errorf("%s %s: %d had data in the first packet", how.do, host, n)
			}
		}
		// Who takes the port between connect and the first packet gets no data.
		taken := listens(server)
		if got := client.do("tcp-begin", taken, "deferred"); got.Error != "" {
			t.Fatalf("%+v", got)
		}
		server.do("unlisten", taken)
		free.listens(taken, "fast-open")
		if got := client.do("tcp-end", ""); got.Said != "" {
			t.Errorf("%+v: somebody else was reached", got)
		}
		r := next[*Connect](t, h.Kernel, security)
		for r.Destination.String() == observed { // it was let in, and its last packets are not
			r = next[*Connect](t, h.Kernel, security)
		}
		if r.Rule != RuleTaken || r.Destination.String() != taken || r.PID != client.pid {
			t.Errorf("record %+v: the first must be of %s", r, taken)
		}
		// Where nothing is enforced, nothing is held back, and nothing told of.
		must(t, h.SetPolicy(Generation{Number: 6, Managed: true, OwnListeners: true, NearDenied: true, Net: openNet}))
		before = opened()
		if got := client.do("tcp", own, "fast-open"); got.Said != server.serves()+" who heard early" || opened()-before != 1 {
			t.Errorf("observed: %+v, %d with data in the first packet", got, opened()-before)
		}
		observed = own
		must(t, h.SetPolicy(Generation{Number: 5, Enforce: true, Managed: true, OwnListeners: true, NearDenied: true, Net: openNet}))
	}
}

// netstat is a count of the tests' network namespace.
func netstat(t *testing.T, name string) int {
	t.Helper()
	b, err := os.ReadFile("/proc/net/netstat")
	must(t, err)
	lines := strings.Split(string(b), "\n")
	at := slices.Index(strings.Fields(lines[0]), name)
	if at < 0 {
		t.Fatalf("the kernel does not count %s", name)
	}
	n, err := strconv.Atoi(strings.Fields(lines[1])[at])
	must(t, err)
	return n
}
