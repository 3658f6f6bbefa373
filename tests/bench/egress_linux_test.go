// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/seed-649e9bbc/paddock/tests/codex"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

// load is how much of each is measured.
type load struct {
	rounds   int
	transfer int64 // bytes of one
	connects int   // of one round and path, one after the other
	idle     int   // connections at the same time
}

func chosenLoad() load {
	if thorough() {
		return load{rounds: 3, transfer: 1 << 30, connects: 1000, idle: 5000}
	}
	return load{rounds: 1, transfer: 8 << 20, connects: 20, idle: 100}
}

// path is a way to the server.
type path struct {
	name string
	open func() (net.Conn, error)
}

// sink answers "GET n": that many bytes; to anything else, one byte for one.
func sink(t *testing.T) netip.AddrPort {
	block := make([]byte, 256<<10)
	return rig.TCP(t, func(c *net.TCPConn) {
		in := bufio.NewReaderSize(c, 64)
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if size, ok := strings.CutPrefix(line, "\x00GET "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(size), 10, 64)
			for n > 0 {
				m, err := c.Write(block[:min(n, int64(len(block)))])
				if err != nil {
					return
				}
				n -= int64(m)
			}
			return
		}
		_, _ = c.Write([]byte("."))
		_, _ = io.Copy(struct{ io.Writer }{c}, in) // splice would take a pipe for each
	})
}

// contender is one of the ways to the server, and what is known of it.
type contender struct {
	path
	// measure is that of path, unless the client is somewhere else.
	measure func(load) (figures, error)
	// pid is the process on the way; 0: there is none, or more than one.
	pid int
	// idle returns how much memory an idle connection takes there, in bytes; nil: pid grows.
	idle func(load) (int64, error)
	figures
}

// TestEgress compares the managed network's proxy with others, side by side: the real
// Codex's own among them, so it runs where there is no network but loopback.
func TestEgress(t *testing.T) {
	codex.Isolated(t, func(t *testing.T) {
		if thorough() {
			comeFirst(t)
		}
		raiseFiles(t)
		l := chosenLoad()
		dest := sink(t)
		engine, proxy := rig.StartProcess(t, dest), rig.StartProcess(t, dest) // one for each, for the sake of memory
		all := []*contender{
			{path: path{"direct", func() (net.Conn, error) { return net.Dial("tcp", dest.String()) }}},
			{path: path{"Paddock, redirected", func() (net.Conn, error) { return net.Dial("tcp", engine.Redirect) }}, pid: engine.PID},
			{path: path{"Paddock, CONNECT", through(proxy.Proxy, "allowed.test", dest.Port())}, pid: proxy.PID},
			codexProxy(t, dest),
		}
		for _, start := range []func(*testing.T, netip.AddrPort) *contender{tinyproxy, squid, haproxy} {
			if c := start(t, dest); c != nil {
				all = append(all, c)
			}
		}
		for round := range l.rounds { // in turns: whatever else goes on meets all of them
			for i := range all {
				c := all[(i+round)%len(all)]
				var f figures
				var err error
				if c.measure != nil {
					f, err = c.measure(l)
				} else {
					f, err = c.path.measure(l, c.pid)
				}
				if err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
				c.add(f)
			}
		}
		for _, c := range all[1:] {
			if c.idle == nil {
				c.idle = func(l load) (int64, error) {
					return idleMemory(c.pid, c.path, l.idle, func() { engine.Open(t); proxy.Open(t) })
				}
			}
			var err error
			if c.figures.idle, err = c.idle(l); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		t.Log("\n" + comparison(all, l))
		if per := bytesOf(all[1].figures.idle); thorough() && per > 16<<10 {
			t.Errorf("an idle connection takes %s, more than 16 KiB", per)
		}
	})
}

func comparison(all []*contender, l load) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\t%d MiB, GB/s\tof direct\tits processor, s/GB\tnew connection p50, us\tmore than direct\tp99\tconnections/s, one by one\t8 at a time\tan idle one\n", l.transfer>>20)
	direct := quantile(all[0].Latency, 0.5)
	for _, c := range all {
		processor, idle := "", ""
		if c.pid != 0 {
			processor = fmt.Sprintf("%.2f", c.Processor/float64(l.rounds)/float64(l.transfer)*1e9)
		}
		if c.figures.idle != 0 {
			idle = bytesOf(c.figures.idle).String()
		}
		p50 := quantile(c.Latency, 0.5)
		fmt.Fprintf(w, "%s\t%.2f\t%.2fx\t%s\t%.0f\t%+.0f\t%.0f\t%.0f\t%.0f\t%s\n", c.name, median(c.Rate)/1e9, median(c.Rate)/median(all[0].Rate), processor,
			float64(p50)/1e3, float64(p50-direct)/1e3, float64(quantile(c.Latency, 0.99))/1e3, median(c.OneByOne), median(c.Many), idle)
	}
	_ = w.Flush()
	return b.String()
}
