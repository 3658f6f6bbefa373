// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"text/tabwriter"
	"time"
)

// managedRules judge by name; the servers of workers are named, and not reached past the proxy because they are their own.
const managedRules = `[experimental_network]
enabled = true
managed_allowed_domains_only = true
allow_local_binding = false
[experimental_network.domains]
"127.0.0.1" = "allow"
`

// testRedirect measures a new connection until the first byte of the answer to its
// first request: without Paddock, and through the redirect and the proxy.
func testRedirect(t *testing.T, binary string) {
	e := chosen()
	m := newMachine(t, binary)
	m.write("root/etc/paddock/requirements.toml", managedRules)
	m.start()
	outside, inside := startWorker(t), startWorker(t, m.run()...)
	ask := order{Op: "request", N: e.connects}
	all := map[string][]int64{}
	for range e.rounds { // alternating: whatever else goes on meets both
		for range e.batches {
			for name, w := range map[string]*worker{"not governed": outside, "governed, redirected": inside} {
				each := w.do(ask)
				all[name] = append(all[name], each[len(each)/10:]...)
			}
		}
	}
	c := m.settled().Counters
	if want := uint64(e.rounds * e.batches * e.connects); c["egress.accepted"] < want || c["egress.unknown"] > 0 {
		t.Errorf("%d connections came to the proxy, of nobody %d; want %d and 0", c["egress.accepted"], c["egress.unknown"], want)
	}
	inside.stop()
	m.stop()

	direct := quantile(all["not governed"], 0.5)
	fmt.Printf("\nA new connection on loopback, until the first byte of the answer to its first request (HTTP, judged by host).\n\n")
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tp50 us\tp99 us\textra us\tgoal\t")
	for _, name := range []string{"not governed", "governed, redirected"} {
		p50, p99 := quantile(all[name], 0.5), quantile(all[name], 0.99)
		goal, ok := "", ""
		if name != "not governed" {
			goal, ok = "<= +300 us", verdict(p50-direct <= 300e3)
		}
		fmt.Fprintf(w, "  %s\t%.1f\t%.1f\t%+.1f\t%s\t%s\n", name, float64(p50)/1e3, float64(p99)/1e3, float64(p50-direct)/1e3, goal, ok)
	}
	must(t, w.Flush())
}

// requests measures connections to a server of the process's own.
func requests(n int) ([]int64, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := bufio.NewReader(c).ReadString('\n'); err == nil {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
				}
			}()
		}
	}()
	ask := "GET / HTTP/1.1\r\nHost: " + l.Addr().String() + "\r\nConnection: close\r\n\r\n"
	each := make([]int64, 0, n)
	var b [256]byte
	for range n {
		began := time.Now()
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			return nil, err
		}
		if _, err := io.WriteString(c, ask); err != nil {
			return nil, err
		}
		got, err := c.Read(b[:])
		if err != nil {
			return nil, err
		}
		each = append(each, int64(time.Since(began)))
		c.Close()
		if string(b[9:min(got, 12)]) != "200" {
			return nil, fmt.Errorf("the answer is %.60q", b[:got])
		}
	}
	return each, nil
}
